package scenario

import (
	"testing"

	"handout/testlab/room"
)

func TestLabOneMachine(t *testing.T) {
	s := open(t, 1)
	f := s.end(s.fetch(0))
	if f.Copies() > 1.02 {
		t.Errorf("alone, it read the origin %.3f times", f.Copies())
	}
}

func TestLabRoomOf8(t *testing.T) {
	s := open(t, 8)
	var all []*room.Fetch
	for i := range s.Lab.Hosts {
		all = append(all, s.fetch(i))
	}
	f := s.end(all...)
	if full && f.Copies() > 2 {
		t.Errorf("a room of 8 read the origin %.2f times", f.Copies())
	}
}

// Whoever comes late finds most of it in the room.
func TestLabLateJoiner(t *testing.T) {
	s := open(t, 4)
	all := []*room.Fetch{s.fetch(0), s.fetch(1), s.fetch(2)}
	s.until(all[0], 0.6)
	f := s.end(append(all, s.fetch(3))...)
	if late := s.share(f.OriginBytesBy[3]); full && late > 0.5 {
		t.Errorf("the late joiner took %.2f F from the origin", late)
	}
}

// A machine that loses power goes on where it was.
func TestLabKilledAndRestarted(t *testing.T) {
	s := open(t, 3)
	first := s.fetch(0)
	others := []*room.Fetch{s.fetch(1), s.fetch(2)}
	s.until(first, 0.5)
	first.Process.Kill()
	first.Process.Wait()
	had := first.Last().Done
	again := s.fetch(0)
	s.end(append(others, again)...)
	last := again.Last()
	// Up to a batch may be unrecorded, and what was under way is lost.
	if lost := had - last.Resumed; s.share(lost) > 0.1 {
		t.Errorf("of %.2f F that were there at the kill, the next run found %.2f F", s.share(had), s.share(last.Resumed))
	}
	if fetched := last.FromOrigin + last.FromPeers; s.share(fetched) > 0.65 {
		t.Errorf("half was there, yet it fetched %.2f F", s.share(fetched))
	}
}

// The server breaks down when one machine has all and the others have little.
func TestLabOriginDiesAfterOneCopy(t *testing.T) {
	s := open(t, 4)
	all := []*room.Fetch{s.fetch(0)}
	s.until(all[0], 0.7)
	for i := 1; i < 4; i++ {
		all = append(all, s.fetch(i))
	}
	if err := all[0].Published(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.Server.Process.Kill()
	for _, f := range all[1:] {
		if _, done := f.PublishedAt(); done {
			t.Errorf("%s was done before the origin died: nothing was tested", f.Host.Name)
		}
	}
	s.end(all...)
}
