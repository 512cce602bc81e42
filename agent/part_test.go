package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"handout/agent/store"
)

// Two machines that want a part and one that wants the whole, with no origin but for the first: each gets exactly what it
// asked for, nobody waits for a piece on the border, and what the part cannot give is not had.
func TestPartAmongNeighbours(t *testing.T) {
	dir := tree(t)
	m := publish(t, dir)
	only, err := m.Select([]string{"big.bin", "small/3"}, []string{"**/f003"})
	if err != nil {
		t.Fatal(err)
	}
	seedOf := func(a *Agent) []string { return []string{fmt.Sprintf("127.0.0.1:%d", a.PeerPort())} }
	mustBePart := func(dest string) {
		t.Helper()
		if r, err := store.Check(t.Context(), m, only, dest, nil); err != nil || !r.Matches() {
			t.Errorf("%s: %+v, %v", dest, r, err)
		}
	}

	first := run(t, Config{})
	partDest := filepath.Join(t.TempDir(), "part")
	r, err := first.Fetch(fetchContext(t), m, partDest, FetchOptions{Only: only, Origins: []string{dir}})
	if err != nil || r.Files != only.Count || r.Bytes != only.Bytes {
		t.Fatalf("%+v, %v", r, err)
	}
	mustBePart(partDest)

	// The whole can't be had of a part: what lies in that wholly is.
	first.mu.Lock()
	given := first.held[0].tree.Have()
	first.mu.Unlock()
	var promised int64
	for i := range given.All {
		promised += m.PieceSize(i)
	}
	whole := run(t, Config{Seeds: seedOf(first)})
	wholeDest := filepath.Join(t.TempDir(), "whole")
	ctx, cancel := context.WithCancelCause(fetchContext(t))
	errEnough := errors.New("enough")
	_, err = whole.Fetch(ctx, m, wholeDest, FetchOptions{NoOrigin: true, Progress: func(p Progress) {
		if p.Done == promised {
			cancel(errEnough)
		}
	}})
	if !errors.Is(err, errEnough) {
		t.Fatalf("a machine that wants the whole, beside one with a part: %v", err)
	}
	// Of the origin it takes no more than the part could not give.
	r, err = whole.Fetch(fetchContext(t), m, wholeDest, FetchOptions{Origins: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	mustMatch(t, m, wholeDest)
	if r.Resumed != promised || r.FromOrigin != m.Length-promised {
		t.Errorf("the whole: %+v", r)
	}

	// Another part comes from a neighbour alone, border pieces too.
	second := run(t, Config{Seeds: seedOf(whole)})
	secondDest := filepath.Join(t.TempDir(), "second")
	r, err = second.Fetch(fetchContext(t), m, secondDest, FetchOptions{Only: only, NoOrigin: true})
	if err != nil {
		t.Fatal(err)
	}
	mustBePart(secondDest)
	if r.FromPeers < only.Bytes || r.FromPeers > m.Length {
		t.Errorf("the second part: %+v", r)
	}
	began := time.Now()
	second.Linger(fetchContext(t), 20*time.Second)
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("a part lingered %v beside a machine that has all", d)
	}

	// Asked for again the part is there, and it is not the whole.
	if r, err = second.Fetch(fetchContext(t), m, secondDest, FetchOptions{Only: only}); err != nil || !r.AlreadyThere {
		t.Errorf("the same part again: %+v, %v", r, err)
	}
	if _, err = second.Fetch(fetchContext(t), m, secondDest, FetchOptions{}); !errors.Is(err, store.ErrExists) {
		t.Errorf("a part passed for the whole: %v", err)
	}
	if r, err = second.Fetch(fetchContext(t), m, secondDest, FetchOptions{Replace: true, NoOrigin: true}); err != nil || r.Reused == 0 {
		t.Errorf("the whole after the part: %+v, %v", r, err)
	}
	mustMatch(t, m, secondDest)
}
