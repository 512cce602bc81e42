package nginx

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Request is one line of the log. nginx writes it when the request has ended; what was under way when nginx was
// killed is in no log.
type Request struct {
	Client     netip.Addr
	Conn       uint64 // nginx's number of the connection; no two connections share one
	Start, End time.Time
	Status     int
	BodyBytes  int64 // payload handed to the socket, headers not counted; so also what a client that hung up never read
	URI        string
	Range      string // as the client asked for it; "-": the whole
}

// Requests reads the log from the start.
func (s *Server) Requests() ([]Request, error) {
	data, err := os.ReadFile(s.log)
	if err != nil {
		return nil, fmt.Errorf("read nginx's log: %w", err)
	}
	return parse(data)
}

func parse(data []byte) (all []Request, err error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Request
		var client string
		var end, took float64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %f %f %d %d %s %s", &client, &r.Conn, &end, &took, &r.Status, &r.BodyBytes, &r.URI, &r.Range); err != nil {
			return nil, fmt.Errorf("nginx's log says %q: %w", lines.Text(), err)
		}
		if r.Client, err = netip.ParseAddr(client); err != nil {
			return nil, fmt.Errorf("nginx's log says %q: %w", lines.Text(), err)
		}
		r.End = time.UnixMilli(int64(end * 1000))
		r.Start = r.End.Add(-time.Duration(took * float64(time.Second)))
		all = append(all, r)
	}
	return all, lines.Err()
}

// Carried is the payload of all requests, in bytes.
func Carried(requests []Request) (total int64) {
	for _, r := range requests {
		total += r.BodyBytes
	}
	return total
}

// MostConnections is the highest number of connections that were in use at the same time, each from the start of its
// first request to the end of its last (and a millisecond). It misses idle ones, which only a look at the sockets shows.
func MostConnections(requests []Request) int {
	type stretch struct{ from, to time.Time }
	use := map[uint64]stretch{}
	for _, r := range requests {
		s, known := use[r.Conn]
		if !known || r.Start.Before(s.from) {
			s.from = r.Start
		}
		// The log counts in milliseconds: what took none would not be seen.
		if end := r.End.Add(time.Millisecond); end.After(s.to) {
			s.to = end
		}
		use[r.Conn] = s
	}
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, s := range use {
		changes = append(changes, change{s.from, +1}, change{s.to, -1})
	}
	// One that ends when another begins is not at the same time: ends first.
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.by, b.by)) })
	now, most := 0, 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return most
}
