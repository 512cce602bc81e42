package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzOpen: whatever a stranger sends, Open ends without a panic, and what it takes keeps every promise.
func FuzzOpen(f *testing.F) {
	for _, v := range vectors() {
		if len(v.raw) < 64<<10 {
			f.Add(v.raw)
		}
	}
	signed, _ := signedSample(f)
	f.Add(signed)
	single := draftOf("root")
	single.info["length"] = 5
	delete(single.info, "files")
	f.Add(single.encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Open(raw, Trust{AllowUnsigned: true})
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUntrusted) {
				t.Errorf("%v is neither ErrInvalid nor ErrUntrusted", err)
			}
			checkPrintable(t, err)
			return
		}
		checkInvariants(t, m)
	})
}

// FuzzInfo goes behind the hash that keeps FuzzOpen from changing one half alone.
func FuzzInfo(f *testing.F) {
	for _, d := range []draft{
		draftOf("a/", "a/file", "b>a/file"), draftOf("a/", "a/b/", "a/b/x>../../up/../f", "f", "up>a/b"), draftOf("", ".."),
	} {
		f.Add(encodeAny(d.info), encodeAny(d.handout))
		d.handout["root mode"], d.handout["root mtime"] = 0o700, 1
		d.handout["dropped"] = dict{"acl": 2, "hard link": 1, "later": "x"}
		f.Add(encodeAny(d.info), encodeAny(d.handout))
	}
	f.Fuzz(func(t *testing.T, info, handout []byte) {
		d, err := readInfo(info)
		if err != nil {
			checkPrintable(t, err)
			return
		}
		h, err := readHandout(handout)
		if err != nil {
			checkPrintable(t, err)
			return
		}
		m, err := join(&frame{info: info, raw: info}, d, h)
		if err != nil {
			checkPrintable(t, err)
			return
		}
		checkInvariants(t, m)
	})
}

func checkPrintable(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }) {
		t.Errorf("an error that is not fit to print: %q", s)
	}
}

// FuzzPath: a path that both checks let through means the same on every system, and stays below the root.
func FuzzPath(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.path, "target")
	}
	f.Add("a/b", "../../x")
	f.Fuzz(func(t *testing.T, path, target string) {
		if err := CheckPath(path); err != nil {
			checkPrintable(t, err)
			return
		}
		checkPathInvariants(t, path)
		if len(path) > MaxPath {
			t.Errorf("%d bytes", len(path))
		}
		windows := CheckWindows(path)
		if windows != nil {
			checkPrintable(t, windows)
			if !errors.Is(windows, ErrWindowsName) {
				t.Errorf("%v is not ErrWindowsName", windows)
			}
		} else if !localOnWindows(path) {
			t.Errorf("%q leads elsewhere on Windows", path)
		}
		if fold(fold(path)) != fold(path) || !strings.EqualFold(fold(path), path) {
			t.Errorf("%q folds to %q and %q", path, fold(path), fold(fold(path)))
		}
		if err := checkTarget(path, target); err != nil {
			checkPrintable(t, err)
			return
		}
		if resolved, ok := lexicalTarget(path, target); !ok || resolved != "" && len(resolved) < MaxPath && CheckPath(resolved) != nil &&
			!strings.Contains(CheckPath(resolved).Error(), "limit") {
			t.Errorf("%q leads from %q to %q", target, path, resolved)
		}
	})
}

// localOnWindows says in few words what a path must not have to stay where it is put.
func localOnWindows(path string) bool {
	for element := range strings.SplitSeq(path, "/") {
		if strings.ContainsAny(element, `\:`) || strings.TrimRight(element, ". ") != element {
			return false
		}
		switch strings.ToLower(element) {
		case "nul", "con", "prn", "aux", "com1", "lpt1":
			return false
		}
	}
	return true
}

// FuzzReadExcludes: a file of patterns may come out of any editor.
func FuzzReadExcludes(f *testing.F) {
	for _, s := range []string{"a\n", "# no\n\n a/**/b \r\n", "\ufeffa", "\xff\xfea\x00", "[", "a\x00b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		patterns, err := ReadExcludes(bytes.NewReader(text))
		if err != nil {
			checkPrintable(t, err)
			return
		}
		if _, err := newExcluder(patterns); err != nil {
			t.Errorf("read from a file, and then refused: %v", err)
		}
	})
}

// FuzzExcludePattern: the pattern that is proposed for a path matches it.
func FuzzExcludePattern(f *testing.F) {
	for _, s := range []string{"a/b", "a?", "[x]", "a\\b", "a\xffb", "a\x1bb", "**", "a/**/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for element := range strings.SplitSeq(path, "/") {
			if element == "" || element == "." || element == ".." {
				return // a folder has no such entry
			}
		}
		e, err := newExcluder([]string{ExcludePattern(path)})
		if err != nil || !e.has(path) {
			t.Errorf("%q: %q, %v", path, ExcludePattern(path), err)
		}
	})
}
