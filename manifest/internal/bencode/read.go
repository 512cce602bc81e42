// Package bencode reads and writes bencoding (BEP 3) for the gate through which strangers' manifests come.
//
// The engine's own decoder is not used for that: it takes a key that comes twice, keys out of order and, into typed
// fields, values of another kind than it wrote itself, so that two programs may read two different packages out of
// one file. Reader takes exactly one spelling of every value, never allocates what a length merely promises, nests
// to a fixed depth, and hands out slices of its input so that hashes and signatures are over the very bytes received.
package bencode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// MaxDepth is how deep lists and dictionaries may nest. A torrent needs five.
const MaxDepth = 24

// Reader walks over one bencoded value. Its methods consume the value that begins at the current place or return an
// error that says where the input is wrong; after an error the Reader is of no further use.
type Reader struct {
	in    []byte
	at    int
	depth int
}

// NewReader returns a Reader at the start of in, which must not change while slices from it are in use.
func NewReader(in []byte) *Reader { return &Reader{in: in} }

func (r *Reader) fail(format string, args ...any) error {
	return fmt.Errorf("bencoding at byte %d: %s", r.at, fmt.Sprintf(format, args...))
}

func (r *Reader) peek() (byte, error) {
	if r.at >= len(r.in) {
		return 0, r.fail("the input ends too early")
	}
	return r.in[r.at], nil
}

// expect consumes the byte c.
func (r *Reader) expect(c byte, what string) error {
	b, err := r.peek()
	if err != nil {
		return err
	}
	if b != c {
		return r.fail("%q where %s should be", b, what)
	}
	r.at++
	return nil
}

// digits consumes a number without sign or leading zeros that is at most limit.
func (r *Reader) digits(limit uint64) (uint64, error) {
	start, n := r.at, uint64(0)
	for ; r.at < len(r.in) && '0' <= r.in[r.at] && r.in[r.at] <= '9'; r.at++ {
		d := uint64(r.in[r.at] - '0')
		if n > (limit-d)/10 {
			return 0, r.fail("a number is too large")
		}
		n = n*10 + d
	}
	switch length := r.at - start; {
	case length == 0:
		return 0, r.fail("no digit where a number should be")
	case length > 1 && r.in[start] == '0':
		return 0, r.fail("a number with leading zeros")
	}
	return n, nil
}

// Int consumes an integer that fits an int64.
func (r *Reader) Int() (int64, error) {
	if err := r.expect('i', "an integer"); err != nil {
		return 0, err
	}
	limit, negative := uint64(math.MaxInt64), false
	if b, err := r.peek(); err == nil && b == '-' {
		r.at++
		limit, negative = limit+1, true
	}
	n, err := r.digits(limit)
	if err != nil {
		return 0, err
	}
	if negative && n == 0 {
		return 0, r.fail("minus zero")
	}
	if err := r.expect('e', "the end of an integer"); err != nil {
		return 0, err
	}
	if negative {
		return -int64(n-1) - 1, nil
	}
	return int64(n), nil
}

// Bytes consumes a string and returns it as a slice of the input.
func (r *Reader) Bytes() ([]byte, error) {
	n, err := r.digits(math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if err := r.expect(':', "a colon"); err != nil {
		return nil, err
	}
	if n > uint64(len(r.in)-r.at) {
		return nil, r.fail("a string of %d bytes in the last %d of the input", n, len(r.in)-r.at)
	}
	s := r.in[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return s, nil
}

// List consumes a list and calls each at every element, which each may consume; one it leaves alone is skipped.
func (r *Reader) List(each func() error) error {
	return r.container('l', "a list", func() error { return r.element(each) })
}

// Dict consumes a dictionary and calls each with every key, at the key's value, which each may consume; one it leaves
// alone is skipped. Keys must come in ascending order, none twice (BEP 3).
func (r *Reader) Dict(each func(key []byte) error) error {
	var last []byte
	return r.container('d', "a dictionary", func() error {
		start := r.at
		key, err := r.Bytes()
		if err != nil {
			return err
		}
		if last != nil {
			if order := bytes.Compare(last, key); order >= 0 {
				r.at = start
				return r.fail("key %.60q after %.60q: keys must ascend, none twice", key, last)
			}
		}
		last = key
		return r.element(func() error { return each(key) })
	})
}

func (r *Reader) container(open byte, what string, next func() error) error {
	if err := r.expect(open, what); err != nil {
		return err
	}
	if r.depth++; r.depth > MaxDepth {
		return r.fail("nested deeper than %d", MaxDepth)
	}
	for {
		b, err := r.peek()
		if err != nil {
			return err
		}
		if b == 'e' {
			r.at++
			r.depth--
			return nil
		}
		if err := next(); err != nil {
			return err
		}
	}
}

func (r *Reader) element(each func() error) error {
	start := r.at
	if err := each(); err != nil {
		return err
	}
	if r.at > start {
		return nil
	}
	return r.skip()
}

func (r *Reader) skip() error {
	b, err := r.peek()
	if err != nil {
		return err
	}
	switch b {
	case 'i':
		_, err = r.Int()
	case 'l':
		err = r.List(func() error { return nil })
	case 'd':
		err = r.Dict(func([]byte) error { return nil })
	default:
		_, err = r.Bytes()
	}
	return err
}

// Raw consumes any value and returns its bytes as they stand in the input. The whole value is well-formed.
func (r *Reader) Raw() ([]byte, error) {
	start := r.at
	if err := r.skip(); err != nil {
		return nil, err
	}
	return r.in[start:r.at:r.at], nil
}

// End returns an error unless the whole input was consumed.
func (r *Reader) End() error {
	if r.at < len(r.in) {
		return fmt.Errorf("bencoding at byte %d: %w: %d bytes", r.at, errTrailing, len(r.in)-r.at)
	}
	return nil
}

var errTrailing = errors.New("more after the end")
