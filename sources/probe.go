package sources

import (
	"context"
	"errors"
	"fmt"
)

// ErrSize: the file at the origin has another size than it should.
var ErrSize = errors.New("of another size")

// Prober is the extra power to say what an origin has without reading it.
type Prober interface {
	// Probe returns the size of the file at path, in bytes (-1: the origin does not say), and whether parts of it can be
	// read. Errors are those of ReadRange.
	Probe(ctx context.Context, path string) (size int64, ranges bool, err error)
}

// Probe looks whether o has the file at path, of length bytes, at the cost of a question or two. The outcomes: nil,
// ErrSize, ErrNoRanges, or an error of ReadRange.
func Probe(ctx context.Context, o Origin, path string, length int64) error {
	if p, ok := o.(Prober); ok {
		size, ranges, err := p.Probe(ctx, path)
		switch {
		case err != nil:
			return err
		case size >= 0 && size != length:
			return fmt.Errorf("%w: %d bytes and not %d", ErrSize, size, length)
		case !ranges:
			return ErrNoRanges
		}
		return nil
	}
	one := make([]byte, 1)
	if length > 0 {
		if err := o.ReadRange(ctx, path, length-1, one); errors.Is(err, ErrChanged) {
			return fmt.Errorf("%w: less than %d bytes", ErrSize, length)
		} else if err != nil {
			return err
		}
	}
	switch err := o.ReadRange(ctx, path, length, one); {
	case err == nil:
		return fmt.Errorf("%w: more than %d bytes", ErrSize, length)
	case errors.Is(err, ErrChanged):
		return nil
	default:
		return err
	}
}
