package httporigin

import (
	"context"
	"io"
	"math"
	"net/http"
)

// whole is the length asked for by who takes the file as long as it is.
const whole = -1

// ReadFile reads the one file that the URL names, if it has no more than limit bytes; else one byte more than that. Its
// first bytes, head of them where there are as many, are shown to look before the rest is read: an error of look ends the
// reading and is returned as it is. The errors are those of ReadRange.
func (h *Origin) ReadFile(ctx context.Context, limit int64, head int, look func(head []byte) error) ([]byte, error) {
	b, err := h.open(ctx, "", 0, whole)
	if err != nil {
		return nil, h.readError("", 0, err)
	}
	defer b.Close()
	raw := make([]byte, head)
	n, err := io.ReadFull(b, raw)
	raw = raw[:n]
	if err == nil || b.ended() {
		if err := look(raw); err != nil {
			return nil, b.coding.explain(err)
		}
	}
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(b, limit+1-int64(n)))
		raw = append(raw, rest...)
	}
	if err != nil && !b.ended() {
		return nil, h.readError("", int64(len(raw)), err)
	}
	return raw, nil
}

// wholeLength is how many bytes are wanted of an answer to a request for the whole file.
func wholeLength(resp *http.Response) int64 {
	if resp.ContentLength >= 0 {
		return resp.ContentLength
	}
	return math.MaxInt64
}

// ended reports whether all that was wanted was read: of an answer that does not say its length, all there is.
func (b *body) ended() bool { return b.left == 0 || b.err == io.EOF }
