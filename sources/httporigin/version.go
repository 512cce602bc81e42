package httporigin

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"handout/sources"
)

// version tells one content of a file from another, as far as the server lets us.
type version struct {
	etag     string
	modified string
	total    int64 // bytes; -1: not known
}

func versionOf(h http.Header, total int64) version {
	return version{h.Get("Etag"), h.Get("Last-Modified"), total}
}

// ifRange is the validator for If-Range: only a strong one may be used there (RFC 9110 section 13.1.5).
func (v version) ifRange() string {
	if strings.HasPrefix(v.etag, "W/") {
		return ""
	}
	return v.etag
}

// check reports, as an ErrChanged, that now is another content. What either doesn't say is not compared.
func (v version) check(now version) error {
	switch {
	case v.total >= 0 && now.total >= 0 && v.total != now.total:
		return fmt.Errorf("%w: it had %d bytes and has %d", sources.ErrChanged, v.total, now.total)
	case v.etag != "" && now.etag != "":
		if v.etag == now.etag {
			return nil
		}
		return fmt.Errorf("%w: its ETag was %q and is %q", sources.ErrChanged, v.etag, now.etag)
	case v.modified != "" && now.modified != "" && v.modified != now.modified:
		return fmt.Errorf("%w: it was modified %q", sources.ErrChanged, now.modified)
	}
	return nil
}

// maxVersions bounds how many files are remembered. Files read whole by one request are not, so that these are the large
// ones, of which a package has few at a time.
const maxVersions = 1024

// versions remembers what the files read in parts were. The zero value is empty.
type versions struct {
	mu sync.Mutex
	m  map[string]version
}

func (s *versions) get(path string) (version, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[path]
	return v, ok
}

// put remembers what the file at path is. A full memory starts anew: it serves to fail early, the hash decides.
func (s *versions) put(path string, v version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= maxVersions {
		s.m = make(map[string]version)
	}
	s.m[path] = v
}

// forget lets the next read of a changed file begin with what it is by then.
func (s *versions) forget(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, path)
}
