package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"handout/agent/api"
	"handout/agent/atomicfile"
)

const (
	// remembered is how many events are kept in memory: what status and a stream that comes back can ask for.
	remembered = 512
	// auditBytes is how large a file of the audit log grows, and auditFiles how many there are, the newest included.
	auditBytes = 4 << 20
	auditFiles = 4
)

// Journal keeps events: the newest in memory, all in the audit log, JSON lines in files that are bounded by rotation.
// Numbers go on where the last run of the agent ended, so that whoever follows sees that nothing is missing. Its methods
// are safe for concurrent use.
type Journal struct {
	log  *slog.Logger
	path string // of the newest file; "": in memory only

	mu     sync.Mutex
	events []api.Event // the newest, oldest first
	seq    uint64
	more   *pulse
	crowds map[Kind]*crowd
	file   *os.File // nil: closed, or it could not be written
	size   int64
}

// crowd counts the events of a kind within a minute.
type crowd struct {
	since         time.Time
	recorded, out int
}

// AuditFile is the newest file of the audit log in the folder dir.
func AuditFile(dir string) string { return filepath.Join(dir, "audit.jsonl") }

// OpenJournal opens the audit log in the folder dir, which must be there; "": nothing outlives the process. The caller
// closes it. A file that can't be read is set aside, and one that can't be written is logged: neither keeps a machine from its
// work.
func OpenJournal(dir string, log *slog.Logger) *Journal {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{log: log, more: newPulse(), crowds: map[Kind]*crowd{}}
	if dir == "" {
		return j
	}
	j.path = AuditFile(dir)
	for n := 0; n < auditFiles && j.seq == 0; n++ {
		last, err := lastSeq(rotated(j.path, n))
		if err != nil {
			aside, err2 := atomicfile.SetAside(rotated(j.path, n))
			log.Error("a file of the audit log can't be read: it is set aside", "aside", aside, "error", errors.Join(err, err2))
		}
		j.seq = last
	}
	if err := j.open(); err != nil {
		log.Error("the audit log cannot be written: events are kept in memory only until the next start", "error", err)
	}
	return j
}

// rotated is the nth file back from the newest.
func rotated(path string, n int) string {
	if n == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, n)
}

func (j *Journal) open() error {
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	j.file, j.size = f, info.Size()
	if j.size > 0 { // a line that a crash cut off must not spoil the next
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, j.size-1); err == nil && last[0] != '\n' {
			n, _ := f.WriteString("\n")
			j.size += int64(n)
		}
	}
	return nil
}

// Record takes an event. What cannot be written to the audit log is kept in memory all the same, and logged.
func (j *Journal) Record(e Event) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if crowded[e.Kind] {
		c := j.crowds[e.Kind]
		if c == nil {
			c = &crowd{since: now}
			j.crowds[e.Kind] = c
		}
		if now.Sub(c.since) > time.Minute {
			c.since, c.recorded = now, 0
		}
		if c.recorded >= crowdedPerMinute {
			c.out++
			return
		}
		c.recorded++
		e.Left, c.out = c.out, 0
	}
	j.seq++
	w := e.wire(j.seq, now)
	if len(j.events) >= remembered {
		j.events = append(j.events[:0], j.events[1:]...)
	}
	j.events = append(j.events, w)
	j.write(w)
	j.more.send()
}

// write adds a line to the audit log.
func (j *Journal) write(e api.Event) {
	if j.file == nil {
		return
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // a plain struct of plain values
	}
	line = append(line, '\n')
	if j.size+int64(len(line)) > auditBytes {
		err = j.rotate()
	}
	if err == nil {
		var n int
		n, err = j.file.Write(line)
		j.size += int64(n)
	}
	if err != nil {
		j.log.Error("the audit log cannot be written: events are kept in memory only until the next start", "error", err)
		j.closeFile()
	}
}

func (j *Journal) rotate() error {
	if err := j.closeFile(); err != nil {
		return err
	}
	for n := auditFiles - 2; n >= 0; n-- {
		if err := os.Rename(rotated(j.path, n), rotated(j.path, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return j.open()
}

func (j *Journal) closeFile() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// After returns the events after the one numbered seq that are still in memory, oldest first, and a channel that the
// next event closes.
func (j *Journal) After(seq uint64) ([]api.Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := len(j.events)
	for first > 0 && j.events[first-1].Seq > seq {
		first--
	}
	return append([]api.Event(nil), j.events[first:]...), j.more.wait()
}

// Close closes the audit log. Events after that are kept in memory only.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closeFile()
}

// ReadAudit calls each with every event of the audit log in the folder dir, oldest first, until it returns false. Lines
// that a crash cut off are passed over. An agent may be writing meanwhile.
func ReadAudit(dir string, each func(api.Event) bool) error {
	for n := auditFiles - 1; n >= 0; n-- {
		goesOn := true
		err := readLines(rotated(AuditFile(dir), n), func(e api.Event) bool {
			goesOn = each(e)
			return goesOn
		})
		if err != nil || !goesOn {
			return err
		}
	}
	return nil
}

func lastSeq(path string) (last uint64, err error) {
	err = readLines(path, func(e api.Event) bool {
		last = max(last, e.Seq)
		return true
	})
	return last, err
}

// maxAuditLine is more than any event takes.
const maxAuditLine = 1 << 20

func readLines(path string, each func(api.Event) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 2*auditBytes))
	lines.Buffer(nil, maxAuditLine)
	for lines.Scan() {
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Seq > 0 && !each(e) {
			return nil
		}
	}
	return lines.Err()
}
