package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestOriginServesWhatAFileServerWouldRedirect(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "go")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(tree, "index.html"), filepath.Join(filepath.Dir(tree), "secret")} {
		if err := os.WriteFile(path, []byte("0123456789"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o, err := serve(tree)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, c := range []struct {
		path, rang, body string
		status           int
	}{
		{"/index.html", "", "0123456789", 200},
		{"/index.html", "bytes=3-5", "345", 206},
		{"/nowhere", "", "404 page not found\n", 404},
		{"/..%2fsecret", "", "404 page not found\n", 404},
		{"", "", "404 page not found\n", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", o.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.rang != "" {
			req.Header.Set("Range", c.rang)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || string(body) != c.body {
			t.Errorf("GET %s %s: %s, %q, %v", c.path, c.rang, resp.Status, body, err)
		}
	}
	if n := o.carried.Load(); n != 13 {
		t.Errorf("%d bytes counted, 13 were carried", n)
	}
}
