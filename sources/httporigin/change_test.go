package httporigin

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"handout/sources"
)

// A file that is replaced between two reads must not be pieced together from both.
func TestFileChangedUnderUs(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name          string
		etags         [2]string
		modified      [2]time.Time
		ignoresIfs    bool // the server doesn't know If-Range
		wantIfRange   string
		longer, fails bool
	}{
		{name: "strong ETag", etags: [2]string{`"a"`, `"b"`}, wantIfRange: `"a"`, fails: true},
		{name: "strong ETag, no If-Range there", etags: [2]string{`"a"`, `"b"`}, ignoresIfs: true, wantIfRange: `"a"`, fails: true},
		{name: "weak ETag", etags: [2]string{`W/"a"`, `W/"b"`}, fails: true},
		{name: "date alone", modified: [2]time.Time{day, day.Add(time.Second)}, fails: true},
		{name: "length alone", longer: true, fails: true},
		{name: "same ETag, another date", etags: [2]string{`"a"`, `"a"`}, modified: [2]time.Time{day, day.Add(time.Second)}, wantIfRange: `"a"`},
		{name: "ETag no longer sent", etags: [2]string{`"a"`, ""}, ignoresIfs: true, wantIfRange: `"a"`},
		{name: "nothing said"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				version, ifRange := 0, ""
				w := newWire(t)
				h := w.serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
					ifRange = r.Header.Get("If-Range")
					if c.ignoresIfs {
						r.Header.Del("If-Range")
					}
					if e := c.etags[version]; e != "" {
						w.Header().Set("Etag", e)
					}
					data := content64K
					if c.longer && version == 1 {
						data = append(bytes.Clone(data), 1)
					}
					http.ServeContent(w, r, "", c.modified[version], bytes.NewReader(data))
				})
				wantRead(t, h, "f", 0, content64K[:1000])
				version = 1
				err := h.ReadRange(t.Context(), "f", 1000, make([]byte, 1000))
				if errors.Is(err, sources.ErrChanged) != c.fails || !c.fails && err != nil {
					t.Errorf("%v", err)
				}
				if ifRange != c.wantIfRange {
					t.Errorf("If-Range %q, want %q", ifRange, c.wantIfRange)
				}
				wantRead(t, h, "f", 2000, content64K[2000:3000]) // the hash will judge what it is now
				if w.connections() != 1 {
					t.Errorf("%d connections", w.connections())
				}
			})
		})
	}
}

// What is remembered of files must not grow with the package.
func TestMemoryOfVersionsIsBounded(t *testing.T) {
	var s versions
	for i := range 5 * maxVersions {
		s.put(strings.Repeat("x", i%3000)+string(rune(i)), version{})
		if len(s.m) > maxVersions {
			t.Fatalf("%d remembered", len(s.m))
		}
	}
}

// Files read whole by one request are not worth remembering.
func TestWholeFilesAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newWire(t).serve("http://server", Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"a"`)
			partial(w, r, content64K)
		})
		wantRead(t, h, "f", 0, content64K)
		if len(h.seen.m) != 0 {
			t.Errorf("remembered: %v", h.seen.m)
		}
	})
}
