package manifest

import (
	"errors"
	"strings"
	"testing"
)

type verdict int

const (
	fine         verdict = iota
	notOnWindows         // refused unless waived
	never                // refused everywhere
)

var pathCases = []struct {
	path string
	want verdict
}{
	{"a", fine},
	{"a/b/c.txt", fine},
	{".hidden", fine},
	{"..a", fine},
	{"a..b", fine},
	{" leading", fine},
	{"日本語/ファイル", fine},
	{"u\u0308", fine},
	{"ü", fine},
	{"console", fine},
	{"com", fine},
	{"com10", fine},
	{"lpt", fine},
	{"nullable.txt", fine},
	{"COM\u2074", fine}, // only ¹²³ are in Latin-1, and only they count
	{"a;b,c=d [e] {f} (g) 'h' !&%$#@~^+`", fine},
	{strings.Repeat("x", 255), fine},
	{strings.Repeat("ü", 127), fine},

	{"C:", notOnWindows},
	{"c:/x", notOnWindows},
	{"a:b", notOnWindows},
	{`a\b`, notOnWindows},
	{`\\server\share`, notOnWindows},
	{"a<b", notOnWindows},
	{"a>b", notOnWindows},
	{`a"b`, notOnWindows},
	{"a|b", notOnWindows},
	{"a?", notOnWindows},
	{"a*", notOnWindows},
	{"a.", notOnWindows},
	{"a ", notOnWindows},
	{"a./b", notOnWindows},
	{"...", notOnWindows},
	{"con", notOnWindows},
	{"Prn.txt", notOnWindows},
	{"aux.h", notOnWindows},
	{"x/NUL/y", notOnWindows},
	{"nul .txt", notOnWindows},
	{"COM0", notOnWindows},
	{"com9.log", notOnWindows},
	{"LPT³", notOnWindows},
	{"CONOUT$", notOnWindows},

	{"", never},
	{".", never},
	{"..", never},
	{"/", never},
	{"/a", never},
	{"a/", never},
	{"a//b", never},
	{"a/./b", never},
	{"a/../b", never},
	{"../a", never},
	{"a\x00b", never},
	{"a\nb", never},
	{"a\x7fb", never},
	{"a\u0085b", never},
	{"a\xffb", never},
	{"\xed\xa0\x80", never}, // half a surrogate pair
	{strings.Repeat("x", 256), never},
	{strings.Repeat("ü", 128), never},
	{strings.Repeat("x/", MaxPath), never},
}

func TestPaths(t *testing.T) {
	for _, c := range pathCases {
		got := fine
		err := CheckPath(c.path)
		if err != nil {
			got = never
		} else if err = CheckWindows(c.path); err != nil {
			got = notOnWindows
		}
		if got != c.want {
			t.Errorf("%.40q: %v, want verdict %d", c.path, err, c.want)
		}
		if errors.Is(err, ErrWindowsName) != (got == notOnWindows) {
			t.Errorf("%.40q: %v", c.path, err)
		}
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"a", "A", true}, {"ä", "Ä", true}, {"σ", "ς", true}, {"k", "\u212a", true}, {"s", "ſ", true},
		{"a", "b", false}, {"u\u0308", "ü", false}, {"ss", "ß", false}, {"i", "ı", false},
	} {
		if (fold(c.a) == fold(c.b)) != c.same {
			t.Errorf("%q and %q: %q and %q", c.a, c.b, fold(c.a), fold(c.b))
		}
	}
}
