// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/hinshun/vt10x"
)

// One character's place, in pixels.
const (
	wide   = 9
	high   = 19
	margin = 14
)

// The bits of vt10x.Glyph.Mode, to which the package gives no names.
const (
	underlined = 1 << 1
	bold       = 1 << 2
)

var colors = [16]string{
	"#1e1e1e", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0",
	"#7f848e", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#ffffff",
}

// color is a color of the terminal in the notation of SVG; otherwise is for its default,
// and for the colors beyond the first sixteen, which no line of the picture has.
func color(c vt10x.Color, otherwise string) string {
	if c.ANSI() {
		return colors[c]
	}
	return otherwise
}

// svg draws a screen: a rectangle for each cell that has a background, and a text for
// each run of cells that look the same.
func svg(screen vt10x.View, title string) []byte {
	cols, rows := screen.Size()
	for rows > 1 && blank(screen, cols, rows-1) {
		rows--
	}
	width, height := cols*wide+2*margin, rows*high+2*margin
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", width, height)
	fmt.Fprintf(&out, "<!-- SPDX-License-Identifier: Apache-2.0; written by scripts/picture -->\n<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&out, "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"%s\"/>\n", width, height, colors[0])
	fmt.Fprintln(&out, `<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="15" xml:space="preserve">`)
	for y := range rows {
		for x := 0; x < cols; {
			first, from := screen.Cell(x, y), x
			var text strings.Builder
			for ; x < cols; x++ {
				cell := screen.Cell(x, y)
				if cell.FG != first.FG || cell.BG != first.BG || cell.Mode&(bold|underlined) != first.Mode&(bold|underlined) {
					break
				}
				text.WriteRune(max(cell.Char, ' '))
			}
			run(&out, first, from, x, y, text.String())
		}
	}
	out.WriteString("</g>\n</svg>\n")
	return out.Bytes()
}

// run draws the cells from..to of line y.
func run(out *bytes.Buffer, look vt10x.Glyph, from, to, y int, text string) {
	left, top := margin+from*wide, margin+y*high
	if back := color(look.BG, ""); back != "" {
		fmt.Fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", left, top, (to-from)*wide, high, back)
	}
	text = strings.TrimRight(text, " ")
	if text == "" {
		return
	}
	style := ""
	if look.Mode&bold != 0 {
		style += ` font-weight="bold"`
	}
	if look.Mode&underlined != 0 {
		style += ` text-decoration="underline"`
	}
	fmt.Fprintf(out, "<text x=\"%d\" y=\"%d\" textLength=\"%d\" fill=\"%s\"%s>%s</text>\n",
		left, top+high-5, len([]rune(text))*wide, color(look.FG, colors[7]), style, html.EscapeString(text))
}

func blank(screen vt10x.View, cols, y int) bool {
	for x := range cols {
		if cell := screen.Cell(x, y); cell.Char > ' ' || cell.BG.ANSI() {
			return false
		}
	}
	return true
}
