package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestLineShowsWhenItGrew(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []Point
		want   string
	}{
		{"evenly", []Point{{0, 0}, {4, 4}}, "████"},
		{"at half speed", []Point{{0, 0}, {4, 2}}, "▄▄▄▄"},
		{"then not at all", []Point{{0, 0}, {2, 2}, {4, 2}}, "██  "},
		{"faster than full", []Point{{0, 0}, {1, 0}, {2, 9}, {4, 9}}, " █  "},
		{"no time passed", []Point{{0, 0}}, "    "},
		{"nothing seen", nil, "    "},
	} {
		if got := (Curve{Points: c.points}).Line(4, 1); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Names come from the command line and from tools: the file must open all the same.
func TestSVGIsWellFormed(t *testing.T) {
	g := Grid{Title: "a < b & \"c\"", X: "s", Y: "F", Rows: [][]Panel{
		{{Title: "<1>", Curves: []Curve{{"one", []Point{{0, 0}, {10, 2}}}, {"other", nil}}}, {Title: "empty"}},
		{{Title: "a row that is short"}},
	}}
	svg := string(g.SVG())
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	// The curve ends at the right edge of its panel, at the top.
	if want := "60.0,196.0 360.0,76.0"; !strings.Contains(svg, want) {
		t.Errorf("no curve %s in %s", want, svg)
	}
}
