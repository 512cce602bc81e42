package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// meter shows how far a long job is. Its methods are safe for concurrent use. Write prints whole lines of others
// (warnings) without disturbing the picture. After close nothing more is shown.
type meter interface {
	io.Writer
	// show says that done of total bytes are ready and how it goes, in a few words, and in more lines beneath.
	show(done, total int64, status string, more ...string)
	// close takes the picture down; the last state stays readable.
	close()
}

// newMeter returns a bar where out is a terminal and plain lines otherwise.
func newMeter(out *os.File) meter {
	if term.IsTerminal(int(out.Fd())) {
		return newBarMeter(out)
	}
	return &lineMeter{out: out, every: 5 * time.Second}
}

// lineMeter prints a line at the start, at the end, and now and then between.
type lineMeter struct {
	out   io.Writer
	every time.Duration

	mu      sync.Mutex
	closed  bool
	line    string // the newest, with those beneath
	printed string
	at      time.Time // when printed was
}

func (m *lineMeter) show(done, total int64, status string, more ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.line = fmt.Sprintf("%5s  %s", percentText(done, total), strings.Join(append([]string{status}, more...), "\n"))
	if m.printed == "" || time.Since(m.at) >= m.every {
		m.print()
	}
}

func (m *lineMeter) print() {
	if m.line != m.printed {
		fmt.Fprintln(m.out, m.line)
		m.printed, m.at = m.line, time.Now()
	}
}

func (m *lineMeter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.print()
	m.closed = true
}

func (m *lineMeter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(p)
}

// jsonMeter prints an object now and then, for the verbs that have no reporter.
type jsonMeter struct {
	out   io.Writer
	every time.Duration

	mu     sync.Mutex
	closed bool
	at     time.Time // of the newest
}

func (m *jsonMeter) show(done, total int64, _ string, _ ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.at.IsZero() && time.Since(m.at) < m.every {
		return
	}
	m.at = time.Now()
	json.NewEncoder(m.out).Encode(struct {
		Event string `json:"event"`
		Phase string `json:"phase"`
		Done  int64  `json:"done"`
		Total int64  `json:"total"`
	}{"progress", "checking", done, total})
}

func (m *jsonMeter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

func (m *jsonMeter) Write(p []byte) (int, error) { return len(p), nil }
