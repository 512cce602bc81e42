package httporigin

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources/sourcetest"
)

// Servers behind one name have other ETags and dates of the same bytes, and some answer 200 or 412 to a validator. Bytes
// are judged by their hash, so nothing else a server says of them may keep a read from them.
func TestValidatorsDecideNothing(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name     string
		etags    [2]string
		modified [2]time.Time
		longer   bool
		refuses  bool // the server answers 412 to every validator
	}{
		{name: "strong ETag", etags: [2]string{`"a"`, `"b"`}},
		{name: "weak ETag", etags: [2]string{`W/"a"`, `W/"b"`}},
		{name: "strong, then weak", etags: [2]string{`"a"`, `W/"a"`}},
		{name: "no quotes", etags: [2]string{"a", "b"}},
		{name: "date", modified: [2]time.Time{day, day.Add(time.Second)}},
		{name: "ETag no longer sent", etags: [2]string{`"a"`, ""}},
		{name: "ETag sent later", etags: [2]string{"", `"a"`}},
		{name: "412 to a validator", etags: [2]string{`"a"`, `"b"`}, refuses: true},
		{name: "a file that grew", longer: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				w := newWire(t)
				h := w.serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
					version := asked % 2
					asked++
					if c.refuses && r.Header.Get("If-Range")+r.Header.Get("If-Match")+r.Header.Get("If-Unmodified-Since") != "" {
						w.WriteHeader(http.StatusPreconditionFailed)
						return
					}
					if e := c.etags[version]; e != "" {
						w.Header()["Etag"] = []string{e}
					}
					data := content64K
					if c.longer && version == 1 {
						data = append(bytes.Clone(data), 1)
					}
					http.ServeContent(w, r, "", c.modified[version], bytes.NewReader(data))
				})
				for off := 0; off < 8000; off += 1000 {
					wantRead(t, h, "f", off, content64K[off:off+1000])
				}
				if asked != 8 || w.connections() != 1 {
					t.Errorf("%d requests over %d connections for 8 reads", asked, w.connections())
				}
			})
		})
	}
}

// Two nginx with the same files, written at other times, behind a third that asks them in turn.
func TestTwoServersBehindOneName(t *testing.T) {
	var upstream strings.Builder
	for i := range 2 {
		dir := writeTree(t, map[string][]byte{"f": content64K})
		at := time.Date(2020+i, 1, 2, 3, 4, 5, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(dir, "f"), at, at); err != nil {
			t.Fatal(err)
		}
		n := &sourcetest.Nginx{Root: dir}
		startNginx(t, n)
		fmt.Fprintf(&upstream, "server %s; ", n.Address)
	}
	front := &sourcetest.Nginx{Root: t.TempDir(), HTTP: "upstream both { " + upstream.String() + "}",
		Server: "location / { proxy_pass http://both; }"}
	startNginx(t, front)
	h := mustOpen(t, front.URL, Options{})
	for off := 0; off < len(content64K); off += 8 << 10 {
		wantRead(t, h, "f", off, content64K[off:off+8<<10])
	}
}
