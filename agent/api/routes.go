package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// routes are the paths, to the letter: nothing is cleaned or redirected.
func (d *Door) routes() http.Handler {
	paths := map[string]route{
		"/v1/status":   {get: func(w http.ResponseWriter, _ *http.Request) { answer(w, d.machine.Status()) }},
		"/v1/site":     {get: func(w http.ResponseWriter, r *http.Request) { answer(w, d.machine.Survey(r.Context())) }},
		"/metrics":     {get: d.scrapes()},
		"/v1/events":   {get: d.events},
		"/v1/pause":    {post: change(d, func(r PauseRequest) error { return d.machine.Pause(r.Package) })},
		"/v1/resume":   {post: change(d, func(r PauseRequest) error { return d.machine.Resume(r.Package) })},
		"/v1/limits":   {post: change(d, d.machine.Limit)},
		"/v1/priority": {post: change(d, func(r PriorityRequest) error { return d.machine.Prioritise(r.Package, r.Priority) })},

		"/v1/origin/test": {post: d.testOrigin},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, ok := paths[r.URL.Path]; ok {
			o.ServeHTTP(w, r)
			return
		}
		refuse(w, http.StatusNotFound, fmt.Sprintf("nothing is at %q", r.URL.Path))
	})
}

// change does what a T asks for.
func change[T any](d *Door, do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if v, ok := take[T](w, r); ok {
			d.done(w, do(v))
		}
	}
}

// done answers with the machine's status after a change, or with what kept it from being made.
func (d *Door) done(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		answer(w, d.machine.Status())
	case errors.Is(err, ErrNoPackage):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrInvalid):
		refuse(w, http.StatusUnprocessableEntity, err.Error())
	default:
		refuse(w, http.StatusInternalServerError, err.Error())
	}
}

// testTime is how long a test of an origin may take: longer than any of its parts.
const testTime = 2 * time.Minute

func (d *Door) testOrigin(w http.ResponseWriter, r *http.Request) {
	t, ok := take[OriginTest](w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTime)
	defer cancel()
	defer context.AfterFunc(d.leaving, cancel)()
	c := http.NewResponseController(w)
	if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Now().Add(testTime+answerTime))); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	switch found, err := d.machine.TestOrigin(ctx, t); {
	case errors.Is(err, ErrBadTest):
		refuse(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, ErrBusy):
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		answer(w, found)
	}
}

const (
	// stillThere is how often a stream without events shows that it lives.
	stillThere = 15 * time.Second
	eventTime  = 10 * time.Second
)

// events streams what happens from now on, or after the event that Last-Event-ID or ?after= names (the HTML standard,
// server-sent events).
func (d *Door) events(w http.ResponseWriter, r *http.Request) {
	after, resumes, err := position(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d clients listen to events already", maxStreams))
		return
	}
	if !resumes {
		all, _ := d.machine.Events(0)
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
	}
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil { // the request has been read; its deadline would end the stream
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	send := func(text string) bool {
		// A client that takes nothing for so long is cut off: each message has its own deadline, the stream has none.
		if c.SetWriteDeadline(time.Now().Add(eventTime)) != nil {
			return false
		}
		_, err := w.Write([]byte(text))
		return err == nil && c.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for ok := send(": handout\n\n"); ok; {
		list, more := d.machine.Events(after)
		for _, e := range list {
			if ok = ok && send(eventText(e)); ok {
				after = e.Seq
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-more:
		case <-time.After(stillThere):
			ok = send(":\n\n")
		case <-r.Context().Done():
			return
		case <-d.leaving.Done():
			return
		}
	}
}

func eventText(e Event) string {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // a plain struct of plain values
	}
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
}

// position is the event after which a stream goes on.
func position(r *http.Request) (after uint64, resumes bool, err error) {
	s := r.Header.Get("Last-Event-ID")
	if s == "" {
		s = r.URL.Query().Get("after")
	}
	if s == "" {
		return 0, false, nil
	}
	if after, err = strconv.ParseUint(s, 10, 64); err != nil {
		return 0, false, fmt.Errorf("%q is not the number of an event", s)
	}
	return after, true, nil
}
