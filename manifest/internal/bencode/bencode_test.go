package bencode

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestOneSpellingOnly(t *testing.T) {
	for in, fine := range map[string]bool{
		"i0e": true, "i7e": true, "i-7e": true, "i9223372036854775807e": true, "i-9223372036854775808e": true,
		"0:": true, "3:abc": true, "le": true, "de": true, "d1:ai1e1:bi2ee": true, "d0:i1ee": true,

		"": false, "i": false, "ie": false, "i-e": false, "i-0e": false, "i00e": false, "i07e": false, "i+1e": false, "i1.5e": false,
		"i 1e": false, "i9223372036854775808e": false, "i-9223372036854775809e": false, "i99999999999999999999e": false,
		"00:": false, "03:abc": false, "3:ab": false, "-1:a": false, "3abc": false, "99999999999999999999:": false,
		"l": false, "d": false, "e": false, "di1ei2ee": false, "d1:a": false, "d1:ae": false, "d1:bi1e1:ai2ee": false,
		"d1:ai1e1:ai2ee": false, "d2:aai1e1:ai1ee": false, "lee": false, "i1ei2e": false, "x": false,
	} {
		r := NewReader([]byte(in))
		raw, err := r.Raw()
		if err == nil {
			err = r.End()
		}
		if (err == nil) != fine {
			t.Errorf("%q: %v", in, err)
		}
		if fine && string(raw) != in {
			t.Errorf("%q: raw %q", in, raw)
		}
	}
}

func TestDepth(t *testing.T) {
	for depth, fine := range map[int]bool{MaxDepth: true, MaxDepth + 1: false, 1 << 20: false} {
		_, err := NewReader([]byte(strings.Repeat("l", depth) + strings.Repeat("e", depth))).Raw()
		if (err == nil) != fine {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, n := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, 1234567890} {
		if got, err := NewReader(AppendInt(nil, n)).Int(); err != nil || got != n {
			t.Errorf("%d comes back as %d: %v", n, got, err)
		}
	}
}

// TestSkipsWhatIsLeftAlone: unknown keys are passed over whole.
func TestSkipsWhatIsLeftAlone(t *testing.T) {
	r := NewReader([]byte("d1:ali1ed1:x1:yee1:bi7e1:c0:e"))
	seen, b := "", int64(0)
	err := r.Dict(func(key []byte) (err error) {
		seen += string(key)
		if string(key) == "b" {
			b, err = r.Int()
		}
		return err
	})
	if err != nil || r.End() != nil || seen != "abc" || b != 7 {
		t.Errorf("%q %d %v", seen, b, err)
	}
}

// FuzzReader: what is well-formed is its own only spelling: read and written again it is the same.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"i1e", "d1:ali1ed1:x1:yee1:bi7e1:c0:e", "i-9223372036854775808e", "lllllleeeeee"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(in)
		out, err := rewrite(r, nil)
		if err == nil && !bytes.Equal(out, in[:r.at]) {
			t.Errorf("%q was read as %q", in[:r.at], out)
		}
	})
}

func rewrite(r *Reader, out []byte) ([]byte, error) {
	b, err := r.peek()
	if err != nil {
		return nil, err
	}
	switch b {
	case 'i':
		n, err := r.Int()
		return AppendInt(out, n), err
	case 'l':
		out = append(out, 'l')
		err := r.List(func() (err error) {
			out, err = rewrite(r, out)
			return err
		})
		return append(out, 'e'), err
	case 'd':
		out = append(out, 'd')
		err := r.Dict(func(key []byte) (err error) {
			out, err = rewrite(r, AppendString(out, key))
			return err
		})
		return append(out, 'e'), err
	}
	s, err := r.Bytes()
	return AppendString(out, s), err
}
