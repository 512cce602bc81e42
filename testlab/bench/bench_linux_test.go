package main

import (
	"crypto/sha1"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"handout/testlab/lab"
	"handout/testlab/payload"
	"handout/testlab/room"
)

func TestTrackerTellsOfTheOthers(t *testing.T) {
	server := &tracker{peers: map[string][]netip.AddrPort{}}
	announce := func(from, query string) string {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/announce?"+query, nil)
		r.RemoteAddr = from
		server.ServeHTTP(w, r)
		return w.Body.String()
	}
	const none = "d8:intervali5e5:peers0:e"
	if got := announce("10.0.0.1:999", "info_hash=a&port=6881"); got != none {
		t.Errorf("the first was told %q", got)
	}
	if got, want := announce("10.0.0.2:999", "info_hash=a&port=6882"), "d8:intervali5e5:peers6:\x0a\x00\x00\x01\x1a\xe1e"; got != want {
		t.Errorf("the second was told %q, want %q", got, want)
	}
	if got := announce("10.0.0.3:999", "info_hash=b&port=6881"); got != none {
		t.Errorf("the first of another torrent was told %q", got)
	}
}

func TestProcessorTimeOfARunningProcess(t *testing.T) {
	m := lab.Local()
	defer m.Close()
	p, err := m.Start(exec.Command("sh", "-c", "while :; do :; done"))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		used, err := cpuSoFar(p)
		if err != nil {
			t.Fatal(err)
		}
		if used > time.Since(p.Started)+50*time.Millisecond {
			t.Fatalf("one thread used %v in %v", used, time.Since(p.Started))
		}
		if used >= 50*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy process used %v in 5 s", used)
		}
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[int][]int{1: {1}, 2: {3, 1, 2}, 5: {9, 5, 1, 7}} {
		if got := median(values); got != want {
			t.Errorf("of %v: %d, want %d", values, got, want)
		}
	}
}

// Rivals would be shown as not done if their torrent were wrong.
func TestTorrentDescribesSomeFilesOfAFolder(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	if err := payload.Write(tree, 1, 3<<20); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "tree.torrent")
	if err := torrentOf(tree, []string{payload.Name, "small/01.dat"}, "http://10.0.0.1/announce", "http://10.0.0.1/", to); err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.LoadFromFile(to)
	if err != nil {
		t.Fatal(err)
	}
	info, err := m.UnmarshalInfo()
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "tree" || info.TotalLength() != 3<<20+40 || info.NumPieces() != 4 || m.UrlList[0] != "http://10.0.0.1/" {
		t.Errorf("%q, %d bytes, %d pieces, %v", info.Name, info.TotalLength(), info.NumPieces(), m.UrlList)
	}
	last, err := os.ReadFile(filepath.Join(tree, "small", "01.dat"))
	if err != nil {
		t.Fatal(err)
	}
	if want := sha1.Sum(last); info.Piece(3).V1Hash().Unwrap() != want {
		t.Error("the last piece is not what the last file holds")
	}
}

// An attempt in which most hosts never finished must not look fast.
func TestUnfinishedAttemptCountsAsEndless(t *testing.T) {
	try := func(done int, last time.Duration) attempt {
		return attempt{Figures: room.Figures{Hosts: 8, Done: done, Bound: 10 * time.Second, Last: last, Mean: last, Bytes: 1}}
	}
	for want, all := range map[string][]attempt{
		" 1.200 ":            {try(8, 12*time.Second), try(1, time.Second), try(8, 11*time.Second)},
		" not done: 7 of 8 ": {try(8, 12*time.Second), try(1, time.Second), try(1, time.Second)},
	} {
		var b strings.Builder
		if err := (results{{8, "tool", all}}).table(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s%v", want, b.String(), err)
		}
	}
}
