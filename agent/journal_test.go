package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"handout/agent/api"
)

func openJournal(t *testing.T, dir string) *Journal {
	t.Helper()
	j := OpenJournal(dir, nil)
	t.Cleanup(func() { j.Close() })
	return j
}

// TestJournalGoesOnAfterACrash: numbers continue, and a line that was cut off spoils no other.
func TestJournalGoesOnAfterACrash(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	j.Record(Event{Kind: Started})
	j.Record(Event{Kind: PackageFetched, Package: "win11", Bytes: 5})
	j.Close()
	f, err := os.OpenFile(AuditFile(dir), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"seq":3,"kind":"cut o`)
	f.Close()
	j = openJournal(t, dir)
	j.Record(Event{Kind: Stopped})
	var got []string
	if err := ReadAudit(dir, func(e api.Event) bool {
		got = append(got, fmt.Sprintf("%d %s", e.Seq, e.Kind))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want := "1 agent_started,2 package_fetched,3 agent_stopped"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

// TestAuditLogIsBounded: a disk must not fill, whatever happens.
func TestAuditLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	long := errors.New(strings.Repeat("long\x1b[2J\n", maxText)) // others' words
	for rounds := 0; rounds < 2; rounds++ {                      // until the oldest file has been replaced
		for first := oldest(dir); oldest(dir) == first; {
			j.Record(Event{Kind: NeighboursBanned, Err: long})
		}
	}
	j.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != auditFiles {
		t.Fatalf("files: %q, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > auditBytes {
			t.Errorf("%s: %d bytes, %v", f, info.Size(), err)
		}
		if b, err := os.ReadFile(f); err != nil || strings.ContainsAny(string(b), "\x1b") {
			t.Errorf("%s holds control characters: %v", f, err)
		}
	}
	var last uint64
	if err := ReadAudit(dir, func(e api.Event) bool {
		if last != 0 && e.Seq != last+1 {
			t.Fatalf("%d after %d", e.Seq, last)
		}
		last = e.Seq
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if again := openJournal(t, dir); again.seq != last {
		t.Errorf("opened again at %d, want %d", again.seq, last)
	}
	if all, _ := j.After(0); len(all) != remembered || all[len(all)-1].Seq != last {
		t.Errorf("%d events in memory", len(all))
	}
}

// oldest is the number of the first event in the oldest file there can be; 0: there is no such file.
func oldest(dir string) (seq uint64) {
	readLines(rotated(AuditFile(dir), auditFiles-1), func(e api.Event) bool {
		seq = e.Seq
		return false
	})
	return seq
}

// TestStrangersDoNotFloodTheJournal: a neighbour that sends rubbish must not push out what an operator looks for.
func TestStrangersDoNotFloodTheJournal(t *testing.T) {
	j := openJournal(t, "")
	j.Record(Event{Kind: PackageFetched, Package: "win11"})
	for range 10 * remembered {
		j.Record(Event{Kind: PieceRefused, Package: "win11"})
	}
	all, more := j.After(0)
	if len(all) != 1+crowdedPerMinute || all[0].Kind != string(PackageFetched) {
		t.Errorf("%d events, the first is %s", len(all), all[0].Kind)
	}
	select {
	case <-more:
		t.Error("an event is announced that has not happened")
	default:
	}
	j.Record(Event{Kind: Paused})
	<-more
}
