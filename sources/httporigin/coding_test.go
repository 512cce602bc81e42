package httporigin

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"handout/sources"
	"handout/sources/sourcetest"
)

// What is stored compressed is what the package has, whatever the server calls it.
func TestStoredFileWithContentEncoding(t *testing.T) {
	for _, coding := range []string{"gzip", "x-gzip", "br", "zstd", "identity", "Identity", "GZIP", "gzip, br", "rot13", ""} {
		for _, whole := range []bool{false, true} { // a server without ranges
			synctest.Test(t, func(t *testing.T) {
				h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Encoding", coding)
					if whole {
						w.Header().Set("Content-Length", strconv.Itoa(len(content64K)))
						w.Write(content64K)
						return
					}
					partial(w, r, content64K)
				})
				wantRead(t, h, "a.tgz", 0, content64K)
				wantRead(t, h, "a.tgz", 1000, content64K[1000:5000])
				if doubt := h.Doubt("a.tgz"); (doubt != "") != (coding != "" && !strings.EqualFold(coding, "identity")) {
					t.Errorf("%q: doubt %q", coding, doubt)
				}
			})
		}
	}
}

// A server that compresses what it sends, though asked not to, has other lengths than the file: the error says why.
func TestServerThatCompresses(t *testing.T) {
	plain := bytes.Repeat([]byte("all the same "), 20000)
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	z.Write(plain)
	z.Close()
	for _, chunked := range []bool{false, true} {
		for _, ranges := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Accept-Encoding") != "identity" {
						t.Errorf("Accept-Encoding: %q", r.Header.Get("Accept-Encoding"))
					}
					w.Header().Set("Content-Encoding", "gzip")
					switch {
					case ranges:
						partial(w, r, small.Bytes())
					case chunked:
						w.(http.Flusher).Flush()
						fallthrough
					default:
						w.Write(small.Bytes())
					}
				})
				err := h.ReadRange(t.Context(), "f", 0, make([]byte, len(plain)))
				if !errors.Is(err, sources.ErrChanged) || !strings.Contains(err.Error(), "compress") {
					t.Errorf("chunked %v, ranges %v: %v", chunked, ranges, err)
				}
			})
		}
	}
}

// nginx compresses for who wants it, and can be told to call what is stored so.
func TestNginxContentEncoding(t *testing.T) {
	text := bytes.Repeat([]byte("all the same "), 20000)
	n := &sourcetest.Nginx{Root: writeTree(t, map[string][]byte{"a.txt": text, "a.tgz": content64K, "a.svgz": content64K}),
		Server: `gzip on; gzip_types *; gzip_min_length 1;
			location ~ [.]tgz$ { add_header Content-Encoding x-gzip; } location ~ [.]svgz$ { add_header Content-Encoding gzip; }`}
	startNginx(t, n)
	h := mustOpen(t, n.URL, Options{})
	for path, want := range map[string][]byte{"a.txt": text, "a.tgz": content64K, "a.svgz": content64K} {
		wantRead(t, h, path, 0, want)
		wantRead(t, h, path, 3000, want[3000:9000])
	}
}
