// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// test is one test or subtest of one package in one run.
type test struct {
	name    string
	output  []string
	elapsed float64
	result  string // pass, fail, skip; "" while it runs
}

// pack is one package in one run.
type pack struct {
	path   string
	tests  map[string]*test
	order  []*test
	output []string // what belongs to no test
}

// run is one call of go test.
type run struct {
	title    string
	packs    map[string]*pack
	words    []string            // of the go command itself
	builds   map[string][]string // of the compiler, by import path
	executed int                 // tests that came to an end
	failures int
}

// entry is something to print in the end: a failure or a skip.
type entry struct {
	where string
	lines []string
}

type report struct {
	out                     io.Writer
	run                     *run
	runs                    int
	passed, failed, skipped int
	failures, skips         []entry
	slow                    []timed
}

type timed struct {
	where   string
	elapsed float64
}

func newReport(out io.Writer) *report { return &report{out: out} }

// take is told one line of the stream.
func (r *report) take(e event) {
	if e.Run != "" {
		r.endRun(e.Status)
		if e.Status == nil {
			r.run = &run{title: e.Run, packs: map[string]*pack{}, builds: map[string][]string{}}
			r.runs++
		}
		return
	}
	if r.run == nil { // words before the first run or between two
		r.fail("outside of all runs", []string{e.Output})
		return
	}
	switch e.Action {
	case "words":
		r.run.words = append(r.run.words, e.Output)
	case "build-output":
		r.run.builds[e.ImportPath] = append(r.run.builds[e.ImportPath], e.Output)
	case "start", "run", "output", "pass", "fail", "skip":
		if e.Package != "" {
			r.takeTest(r.run.pack(e.Package), e)
		}
	}
}

func (r *run) pack(path string) *pack {
	p := r.packs[path]
	if p == nil {
		p = &pack{path: path, tests: map[string]*test{}}
		r.packs[path] = p
	}
	return p
}

// test returns the test of that name. With -count a name comes again: the one that
// has ended gives way to the new one.
func (p *pack) test(name, action string) *test {
	t := p.tests[name]
	if t == nil || action == "run" && t.result != "" {
		t = &test{name: name}
		p.tests[name] = t
		p.order = append(p.order, t)
	}
	return t
}

func (r *report) takeTest(p *pack, e event) {
	if e.Test == "" {
		switch e.Action {
		case "output":
			p.output = append(p.output, e.Output)
		case "pass", "fail", "skip": // skip: it has no test files
			r.endPack(p, e)
		}
		return
	}
	t := p.test(e.Test, e.Action)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.result, t.elapsed = e.Action, e.Elapsed
		r.run.executed++
		if t.result == "pass" {
			t.output = nil
		} else {
			fmt.Fprintf(r.out, "%s: %s\n", t.result, r.where(p, t.name))
		}
	}
}

func (r *report) where(p *pack, name string) string {
	return strings.TrimSpace(fmt.Sprintf("[%s] %s %s", r.run.title, p.path, name))
}

// fail notes and counts a failure that is no test's.
func (r *report) fail(where string, lines []string) {
	r.failures = append(r.failures, entry{where: where, lines: lines})
	r.failed++
	if r.run != nil {
		r.run.failures++
	}
}

// endPack judges a package that has ended. It is forgotten, so that no package's
// output is kept for longer than it runs.
func (r *report) endPack(p *pack, e event) {
	delete(r.run.packs, p.path)
	before := r.failed
	for _, t := range p.order {
		r.judge(p, t)
	}
	r.time(p)
	own := withoutFrame(append(r.run.builds[e.FailedBuild], p.output...))
	switch {
	case e.Action == "fail" && r.failed == before:
		r.fail(r.where(p, ""), own)
	case e.Action == "fail" && len(own) > 0:
		// Its tests are counted; what the package says beside them may be why.
		r.failures = append(r.failures, entry{where: r.where(p, "(the package itself)"), lines: own})
	}
	if e.Action != "skip" {
		fmt.Fprintf(r.out, "%-4s [%s] %s  %.1fs, %d tests\n", map[bool]string{true: "FAIL", false: "ok"}[r.failed > before], r.run.title, p.path, e.Elapsed, len(p.order))
	}
}

// time notes how long the tests took, each with its subtests. Those that run in
// parallel are not in their parent's own time: they are added up.
func (r *report) time(p *pack) {
	below := map[string]float64{}
	for _, t := range slices.Backward(p.order) { // subtests began after their parent
		took := max(t.elapsed, below[t.name])
		if parent := p.parent(t.name); parent != "" {
			below[parent] += took
			continue
		}
		r.slow = append(r.slow, timed{where: r.where(p, t.name), elapsed: took})
		delete(below, t.name) // with -count the name comes again
	}
}

// judge counts one test. Whatever has not ended when its package has, failed.
func (r *report) judge(p *pack, t *test) {
	where := r.where(p, t.name)
	switch t.result {
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, entry{where: where, lines: withoutFrame(t.output)})
	default:
		r.failed++
		r.run.failures++
		lines := withoutFrame(t.output)
		// A test that failed by its subtests alone has no words of its own.
		if len(lines) == 0 && p.failedBelow(t) {
			return
		}
		if t.result == "" {
			lines = append(lines, "(it did not end)\n")
		}
		r.failures = append(r.failures, entry{where: where, lines: lines})
	}
}

// parent is the name of the test that a subtest is of, or "". A subtest's own name may
// have slashes.
func (p *pack) parent(name string) string {
	for at := strings.LastIndex(name, "/"); at >= 0; at = strings.LastIndex(name, "/") {
		if name = name[:at]; p.tests[name] != nil {
			return name
		}
	}
	return ""
}

func (p *pack) failedBelow(t *test) bool {
	for _, other := range p.order {
		if strings.HasPrefix(other.name, t.name+"/") && other.result != "pass" && other.result != "skip" {
			return true
		}
	}
	return false
}

// frame matches the lines in which the testing package and go test say that
// something began or ended. The events have told that.
var frame = regexp.MustCompile(`^(=== (RUN|PAUSE|CONT|NAME) | *--- (FAIL|SKIP|PASS): |(FAIL|PASS)\n|(FAIL|ok  |\?   )\t|exit status \d+\n|coverage: )`)

// withoutFrame leaves out the frame.
func withoutFrame(output []string) (lines []string) {
	for _, line := range strings.SplitAfter(strings.Join(output, ""), "\n") {
		if line != "" && !frame.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// endRun judges a run that has ended, with its exit status if it came to one.
func (r *report) endRun(status *int) {
	if r.run == nil {
		return
	}
	for _, p := range r.run.packs { // no end of these was told
		r.endPack(p, event{Action: "fail"})
	}
	title := "[" + r.run.title + "]"
	switch {
	case status == nil:
		r.fail(title, append(r.run.words, "the run was cut off\n"))
	case *status != 0 && r.run.failures == 0:
		r.fail(title, append(r.run.words, fmt.Sprintf("go test ended with status %d\n", *status)))
	case *status != 0 && len(r.run.words) > 0:
		r.failures = append(r.failures, entry{where: title, lines: r.run.words})
	case r.run.executed == 0 && r.run.failures == 0:
		r.fail(title, append(r.run.words, "the run executed no test\n"))
	}
	r.run = nil
}
