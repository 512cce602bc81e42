package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A real qBittorrent takes the manifest, by the same info-hash and with the same files.
func TestQBittorrentOpensIt(t *testing.T) {
	path := program(t, "qbittorrent-nox", "qbittorrent-nox")
	m, file := published(t)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	profile := t.TempDir()
	config := filepath.Join(profile, "qBittorrent", "config", "qBittorrent.conf")
	if err := os.MkdirAll(filepath.Dir(config), 0o755); err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf(`[LegalNotice]
Accepted=true
[BitTorrent]
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\Interface=lo
[Preferences]
WebUI\Address=127.0.0.1
WebUI\Port=%d
WebUI\LocalHostAuth=false
WebUI\CSRFProtection=false
`, port)
	if err := os.WriteFile(config, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--profile="+profile)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()

	api := fmt.Sprintf("http://127.0.0.1:%d/api/v2", port)
	client := http.Client{Timeout: 5 * time.Second}
	get := func(path string, into any) error {
		resp, err := client.Get(api + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s %s %v", path, resp.Status, body, err)
		}
		return json.Unmarshal(body, into)
	}
	wait := func(what string, try func() error) {
		t.Helper()
		var err error
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if err = try(); err == nil {
				return
			}
		}
		t.Fatalf("%s: %v\n%s", what, err, &said)
	}
	wait("add the manifest", func() error {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("torrents", "pkg.torrent")
		if err == nil {
			_, err = part.Write(raw)
		}
		if err := errors.Join(err, w.WriteField("paused", "true"), w.Close()); err != nil {
			return err
		}
		resp, err := client.Post(api+"/torrents/add", w.FormDataContentType(), &form)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s", resp.Status)
		}
		return nil
	})
	var torrents []struct{ Hash, Name string }
	wait("see it listed", func() error {
		if err := get("/torrents/info", &torrents); err != nil {
			return err
		}
		if len(torrents) == 0 {
			return fmt.Errorf("nothing is listed")
		}
		return nil
	})
	if torrents[0].Hash != m.InfoHash.String() || torrents[0].Name != m.Root {
		t.Errorf("listed as %+v, want %v %q", torrents, m.InfoHash, m.Root)
	}
	var files []struct {
		Name string
		Size int64
	}
	wait("see its files", func() error { return get("/torrents/files?hash="+m.InfoHash.String(), &files) })
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	for _, want := range regular(m) {
		if !slices.Contains(names, want) {
			t.Errorf("%q is not among its files: %q", want, names)
		}
	}
}
