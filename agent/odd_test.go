package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"handout/sources/sourcetest"
)

// However a server answers ranges, a lone machine ends with the right tree, and does not ask a thousand times.
func TestFetchFromOddServers(t *testing.T) {
	dir := tree(t)
	files := map[string][]byte{}
	m := publish(t, dir)
	for _, f := range m.Files {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		files[f.Path] = b
	}
	for _, o := range sourcetest.Odds() {
		t.Run(o.Name, func(t *testing.T) {
			t.Parallel()
			var asked, big atomic.Int32
			odd := o.Handler(files)
			m := publish(t, dir, server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if strings.HasSuffix(r.URL.Path, "big.bin") {
					big.Add(1)
				}
				odd.ServeHTTP(w, r)
			})))
			dest := filepath.Join(t.TempDir(), "out")
			if _, err := run(t, Config{NoPeers: true}).Fetch(fetchContext(t), m, dest, FetchOptions{}); err != nil {
				t.Fatal(err)
			}
			mustMatch(t, m, dest)
			if n := big.Load(); n > 200 {
				t.Errorf("%d requests for a file of 3 MiB, %d in all", n, asked.Load())
			}
		})
	}
}
