package httporigin

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// coding is the Content-Encoding of an answer; "": none. It ends nothing by itself: many servers say "gzip" of every stored
// .tgz (Apache's AddEncoding) and send its bytes as they are. It explains, though, why bytes or lengths don't fit where a
// server compresses what it sends.
type coding string

func contentCoding(h http.Header) coding {
	c := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ", "))
	if c == "identity" {
		return ""
	}
	return coding(c)
}

// hint says what may be wrong with a file that came with the coding.
func (c coding) hint() string {
	return fmt.Sprintf("the server sends it as encoded (Content-Encoding: %q) though asked not to, and seems to compress it on the way: "+
		"turn that off for this folder", string(c))
}

// explain adds the hint to the error of an answer with the coding.
func (c coding) explain(err error) error {
	if c == "" || err == nil {
		return err
	}
	return fmt.Errorf("%w: %s", err, c.hint())
}

// maxCodings bounds how many files are remembered.
const maxCodings = 256

// codings remembers which files came with one. The zero value is empty.
type codings struct {
	mu sync.Mutex
	m  map[string]coding
}

func (s *codings) note(path string, c coding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c == "":
		delete(s.m, path)
	case s.m == nil:
		s.m = map[string]coding{path: c}
	case len(s.m) < maxCodings:
		s.m[path] = c
	}
}

// of is the coding of an answer about the file at path, or of one before where this one has no content.
func (s *codings) of(path string, h http.Header) coding {
	if c := contentCoding(h); c != "" {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[path]
}

// Doubt implements sources.Doubter.
func (h *Origin) Doubt(path string) string {
	h.codings.mu.Lock()
	defer h.codings.mu.Unlock()
	if c := h.codings.m[path]; c != "" {
		return c.hint()
	}
	return ""
}
