package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// excluder applies BuildOptions.Exclude. It may be used concurrently.
type excluder struct {
	rules []exclusion
	count atomic.Int64 // of entries that were left out
}

type exclusion struct {
	text   string
	names  []string
	hit    atomic.Bool // it matched something
	beyond atomic.Bool // a folder in which it may have matched something was left out by another
}

func newExcluder(patterns []string) (*excluder, error) {
	e := &excluder{rules: make([]exclusion, len(patterns))}
	for i, text := range patterns {
		names, err := parsePatterns([]string{text})
		if err != nil {
			return nil, err
		}
		e.rules[i].text, e.rules[i].names = text, names[0]
	}
	return e, nil
}

// has reports whether path, of a tree whose folder above it is not excluded, is left out.
func (e *excluder) has(path string) bool {
	if len(e.rules) == 0 {
		return false
	}
	names := strings.Split(path, "/")
	out := false
	for i := range e.rules {
		if r := &e.rules[i]; matches(r.names, names) {
			r.hit.Store(true)
			out = true
		}
	}
	if out {
		e.count.Add(1)
		for i := range e.rules {
			if r := &e.rules[i]; r.leadsBelow(names) {
				r.beyond.Store(true)
			}
		}
	}
	return out
}

// leadsBelow reports whether the rule names something in just this folder. One that begins with ** may match anywhere,
// and so says nothing of it.
func (r *exclusion) leadsBelow(folder []string) bool {
	if len(r.names) <= len(folder) {
		return false
	}
	for i, name := range folder {
		if ok, _ := path.Match(r.names[i], name); !ok || r.names[i] == "**" {
			return false
		}
	}
	return true
}

// unmatched are the patterns that matched nothing.
func (e *excluder) unmatched() (patterns []string) {
	for i := range e.rules {
		if r := &e.rules[i]; !r.hit.Load() && !r.beyond.Load() {
			patterns = append(patterns, r.text)
		}
	}
	return patterns
}

// maxExcludes is how many bytes a file of patterns may have.
const maxExcludes = 1 << 20

// ReadExcludes reads patterns for BuildOptions.Exclude, one on each line. Blank lines, and those that begin with #, say
// nothing (\# is a # that begins a name); spaces around a pattern don't count. Editors on Windows may have been at the
// file: lines may end in CRLF, and it may begin with a byte order mark, of UTF-16 too. Errors name the line.
func ReadExcludes(r io.Reader) (patterns []string, err error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxExcludes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxExcludes {
		return nil, fmt.Errorf("more than %d bytes: not a list of patterns", maxExcludes)
	}
	if raw = fromUTF16(raw); !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8 text")
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxExcludes+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimFunc(lines.Text(), func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
		if line == "" || line[0] == '#' {
			continue
		}
		if _, err := parsePatterns([]string{line}); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		patterns = append(patterns, line)
	}
	return patterns, lines.Err()
}

// fromUTF16 turns text with a byte order mark of UTF-16 into UTF-8, and leaves any other as it is.
func fromUTF16(raw []byte) []byte {
	if len(raw) < 2 || len(raw)%2 != 0 {
		return raw
	}
	low, high := 0, 1
	switch {
	case raw[0] == 0xff && raw[1] == 0xfe:
	case raw[0] == 0xfe && raw[1] == 0xff:
		low, high = 1, 0
	default:
		return raw
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i+low]) | uint16(raw[2*i+high])<<8
	}
	return []byte(string(utf16.Decode(units)))
}

// ExcludePattern is the pattern that matches path, and little else: what no pattern can say is a ? in it.
func ExcludePattern(path string) string {
	var b strings.Builder
	for i, r := range path {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(path[i:], "\uFFFD"), !unicode.IsPrint(r):
			b.WriteByte('?')
		case strings.ContainsRune(`*?[\`, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
