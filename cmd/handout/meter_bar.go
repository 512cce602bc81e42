package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barMeter draws a bar that redraws itself in place.
type barMeter struct {
	out    *os.File
	box    *mpb.Progress
	bar    *mpb.Bar
	status atomic.Pointer[[]string] // the line's and those beneath
}

func newBarMeter(out *os.File) *barMeter {
	m := &barMeter{out: out, box: mpb.New(mpb.WithOutput(out))}
	m.status.Store(&[]string{""})
	m.bar = m.box.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(s decor.Statistics) string { return percentText(s.Current, max(s.Total, 1)) }, decor.WCSyncWidth)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + (*m.status.Load())[0] })),
		mpb.BarExtender(mpb.BarFillerFunc(m.beneath), false),
	)
	return m
}

func (m *barMeter) beneath(w io.Writer, _ decor.Statistics) error {
	for _, line := range (*m.status.Load())[1:] {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (m *barMeter) show(done, total int64, status string, more ...string) {
	lines := append([]string{status}, more...)
	m.status.Store(&lines)
	m.bar.SetTotal(total, false)
	m.bar.SetCurrent(done)
}

func (m *barMeter) close() {
	m.bar.Abort(false) // also when all is done: a bar that is full would otherwise vanish on an empty package
	m.box.Wait()
}

// Write prints above the bar, and plainly once the bar is closed.
func (m *barMeter) Write(p []byte) (int, error) {
	n, err := m.box.Write(p)
	if errors.Is(err, mpb.ErrDone) {
		return m.out.Write(p)
	}
	return n, err
}
