package smborigin

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

// TestOddNames: which of Samba's settings let names through that Windows can't have, and what a client says without.
func TestOddNames(t *testing.T) {
	odd := []string{"q?", "a:b", "*", `"<x>"`, "pipe|", `back\slash`, "dot.", "blank ", "d?/f", "aux", "tab\tand\nline"}
	files := map[string][]byte{"plain": []byte("plain")}
	for _, name := range odd {
		files[name] = []byte(name)
	}
	mappings := "vfs objects = catia\ncatia:mappings = "
	for _, c := range []struct {
		what, share string
		lost        []string // these can't be read
	}{
		{"nothing said", "", []string{"q?", "a:b", "*", `"<x>"`, "pipe|", `back\slash`, "d?/f", "tab\tand\nline"}},
		{"catia alone", "vfs objects = catia", []string{"q?", "a:b", "*", `"<x>"`, "pipe|", `back\slash`, "d?/f", "tab\tand\nline"}},
		{"catia and fruit with Linux's names", "vfs objects = catia fruit streams_xattr\nfruit:encoding = native", nil},
		{"catia with mappings as macOS has them", mappings + "0x22:0xf020,0x2a:0xf021,0x3a:0xf022,0x3c:0xf023,0x3e:0xf024,0x3f:0xf025,0x5c:0xf026,0x7c:0xf027",
			[]string{"tab\tand\nline"}},
		{"catia with the mappings of Services for Unix", mappings + "0x22:0xf022,0x2a:0xf02a,0x3a:0xf03a,0x3c:0xf03c,0x3e:0xf03e,0x3f:0xf03f,0x5c:0xf05c,0x7c:0xf07c",
			[]string{"tab\tand\nline"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s, _ := serve(t, files, func(s *sourcetest.Samba) { s.Share = c.share })
			o := patient(open(t, s, Options{}))
			for name, content := range files {
				got := make([]byte, len(content))
				err := o.ReadRange(t.Context(), name, 0, got)
				switch lost := slices.Contains(c.lost, name); {
				case !lost && (err != nil || string(got) != string(content)):
					t.Errorf("%q: %q, %v", name, got, err)
				case lost && (!errors.Is(err, sources.ErrMissing) || !strings.Contains(err.Error(), "fruit:encoding") || !strings.Contains(err.Error(), "Windows can't have")):
					t.Errorf("%q: %v", name, err)
				case lost && strings.ContainsFunc(err.Error(), func(r rune) bool { return r >= 0xf000 && r < 0xf100 }):
					t.Errorf("%q: %q is not fit to print", name, err)
				}
			}
			err := o.ReadRange(t.Context(), "absent", 0, make([]byte, 1))
			if !errors.Is(err, sources.ErrMissing) || strings.Contains(err.Error(), "fruit") {
				t.Errorf("a name like any other: %v", err)
			}
		})
	}
	s, _ := serve(t, files, func(s *sourcetest.Samba) { s.Share = "" })
	if r, err := open(t, s, Options{}).Inspect(t.Context()); err != nil || r.Mangled == "" {
		t.Errorf("looked at: %+v, %v", r, err)
	}
}
