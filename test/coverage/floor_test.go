// SPDX-License-Identifier: Apache-2.0

package coverage

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// floor is what each package's coverage may not fall below.
const floor = "../../scripts/coverage.floor"

// What the tests of scripts/test covered is above the floor, of every package that the
// programs are made of.
func TestFloor(t *testing.T) {
	data := os.Getenv("BERTH_COVERAGE")
	if data == "" {
		t.Skip("no BERTH_COVERAGE: `make cover` runs this")
	}
	out, err := exec.Command("go", "tool", "covdata", "percent", "-i="+data).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(floor)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range compare(percentages(string(out)), string(text)) {
		t.Error(fault)
	}
}

// percent matches what covdata says of a package; one without statements has no figure,
// and no end of its line.
var percent = regexp.MustCompile(`\t(berth/\S+)\t\tcoverage: ([0-9.]+)% of statements`)

func percentages(covdata string) map[string]float64 {
	have := map[string]float64{}
	for _, m := range percent.FindAllStringSubmatch(covdata, -1) {
		var figure float64
		if _, err := fmt.Sscan(m[2], &figure); err == nil && !strings.HasPrefix(m[1], "berth/test/") {
			have[m[1]] = figure
		}
	}
	return have
}

// compare says what is below the floor, and which packages only one of both has.
func compare(have map[string]float64, floor string) (faults []string) {
	known := map[string]bool{}
	for line := range strings.Lines(floor) {
		var pkg string
		var least float64
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &pkg, &least); err != nil {
			faults = append(faults, fmt.Sprintf("%q: %v", line, err))
			continue
		}
		known[pkg] = true
		switch figure, there := have[pkg]; {
		case !there:
			faults = append(faults, pkg+" has a floor, and nothing says what of it was covered")
		case figure < least:
			faults = append(faults, fmt.Sprintf("%s: %.1f %% of the statements are covered; the floor is %g %%", pkg, figure, least))
		}
	}
	for pkg, figure := range have {
		if !known[pkg] {
			faults = append(faults, fmt.Sprintf("%s has no floor; %.1f %% of it are covered", pkg, figure))
		}
	}
	return faults
}

func TestCompare(t *testing.T) {
	have := percentages("\tberth/a\t\tcoverage: 80.0% of statements\n\tberth/none\t\t\tberth/b\t\tcoverage: 7.5% of statements\n" +
		"\tberth/test/coverage\t\tcoverage: 1.0% of statements\n")
	if len(have) != 2 || have["berth/a"] != 80 || have["berth/b"] != 7.5 {
		t.Fatalf("%v", have)
	}
	for floor, want := range map[string]string{
		"# words\nberth/a 80\nberth/b 7":   "",
		"berth/a 81\nberth/b 7":            "berth/a: 80.0 % of the statements are covered; the floor is 81 %",
		"berth/a 80":                       "berth/b has no floor; 7.5 % of it are covered",
		"berth/a 80\nberth/b 7\nberth/c 1": "berth/c has a floor, and nothing says what of it was covered",
		"berth/a 80\nberth/b 7\nberth/a":   `"berth/a": EOF`,
	} {
		if got := strings.Join(compare(have, floor), "; "); got != want {
			t.Errorf("%q: %q, not %q", floor, got, want)
		}
	}
}
