// Package picture draws how something grew over time: small panels in a grid as SVG, and a line of blocks for a terminal.
package picture

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// Point is what a curve had reached at X.
type Point struct{ X, Y float64 }

// Curve grows from left to right.
type Curve struct {
	Name   string
	Points []Point
}

// Panel is one small drawing. Curves of the same place have the same name in every panel of a grid.
type Panel struct {
	Title  string
	Curves []Curve
}

// Grid is a picture: panels of one column share their axes, so that they can be compared downwards.
type Grid struct {
	Title string
	X, Y  string    // what the axes count
	Rows  [][]Panel // of equal length
}

const (
	width, height = 300.0, 120.0 // of a panel's drawing
	left, top     = 60.0, 76.0   // of the first panel
	right, below  = 50.0, 60.0   // after each panel
)

// Told apart in grey and by the colour-blind too.
var colours = []string{"#d35400", "#1f618d", "#7d8c8d"}

// SVG is the picture as a file.
func (g Grid) SVG() []byte {
	var b bytes.Buffer
	columns := 0
	for _, row := range g.Rows {
		columns = max(columns, len(row))
	}
	w, h := left+float64(columns)*(width+right), top+float64(len(g.Rows))*(height+below)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="11">`+"\n", w, h)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	text(&b, left, 20, "font-size=\"15\"", g.Title)
	text(&b, left, 38, "fill=\"#555\"", fmt.Sprintf("across: %s; up: %s", g.X, g.Y))
	g.legend(&b)
	for c := range columns {
		maxX, maxY := g.reach(c)
		for r, row := range g.Rows {
			if c < len(row) {
				row[c].draw(&b, left+float64(c)*(width+right), top+float64(r)*(height+below), maxX, maxY)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (g Grid) legend(b *bytes.Buffer) {
	if len(g.Rows) == 0 || len(g.Rows[0]) == 0 {
		return
	}
	x := left
	for i, c := range g.Rows[0][0].Curves {
		text(b, x, 54, fmt.Sprintf("fill=%q", colours[i%len(colours)]), "— "+c.Name)
		x += 200
	}
}

// reach is how far the panels of column c go.
func (g Grid) reach(c int) (x, y float64) {
	for _, row := range g.Rows {
		if c >= len(row) {
			continue
		}
		for _, curve := range row[c].Curves {
			for _, p := range curve.Points {
				x, y = max(x, p.X), max(y, p.Y)
			}
		}
	}
	// Nothing moved: any scale will do, but for none.
	if x == 0 {
		x = 1
	}
	if y == 0 {
		y = 1
	}
	return x, y
}

func (p Panel) draw(b *bytes.Buffer, x, y, maxX, maxY float64) {
	text(b, x, y-4, "", p.Title)
	fmt.Fprintf(b, `<path d="M%.1f %.1fv%.1fh%.1f" fill="none" stroke="#999"/>`+"\n", x, y, height, width)
	for _, part := range []float64{0, 0.5, 1} {
		text(b, x+part*width, y+height+13, `text-anchor="middle" fill="#555"`, number(part*maxX))
		text(b, x-5, y+height*(1-part)+4, `text-anchor="end" fill="#555"`, number(part*maxY))
	}
	for i, c := range p.Curves {
		var at []string
		for _, q := range c.Points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", x+q.X/maxX*width, y+height-q.Y/maxY*height))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(at, " "), colours[i%len(colours)])
	}
}

func text(b *bytes.Buffer, x, y float64, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(s))
}

func number(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", math.Round(v*100)/100)
}

var blocks = []rune(" ▁▂▃▄▅▆▇█")

// Line shows how fast a curve grew, in so many characters from 0 to its last point. A full block is a growth of full per
// unit of X, or more.
func (c Curve) Line(characters int, full float64) string {
	if len(c.Points) == 0 || full <= 0 {
		return strings.Repeat(" ", characters)
	}
	end := c.Points[len(c.Points)-1].X
	var line strings.Builder
	for i := range characters {
		from, to := float64(i)*end/float64(characters), float64(i+1)*end/float64(characters)
		share := 0.0
		if to > from {
			share = (c.at(to) - c.at(from)) / (to - from) / full
		}
		k := int(math.Ceil(share*float64(len(blocks)-1) - 0.5))
		line.WriteRune(blocks[min(max(k, 0), len(blocks)-1)])
	}
	return line.String()
}

// at is the curve between its points.
func (c Curve) at(x float64) float64 {
	var before Point
	for _, p := range c.Points {
		if p.X >= x {
			if p.X == before.X {
				return p.Y
			}
			return before.Y + (p.Y-before.Y)*(x-before.X)/(p.X-before.X)
		}
		before = p
	}
	return before.Y
}
