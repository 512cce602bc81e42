package room

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"handout/testlab/cli"
	"handout/testlab/lab"
	"handout/testlab/nginx"
	"handout/testlab/payload"
)

// Options say what a room is to be like.
type Options struct {
	Lab     lab.Options
	Program cli.Program
	Size    int64    // of the payload's big file, in bytes
	Dir     string   // scratch, the caller's to remove: has room for Size × (hosts + 1)
	Nginx   []string // directives for the origin's server, such as "max_ranges 0;"
	Keep    string   // folder for what each fetch says, if the caller wants to know why; "": nowhere
}

// Room is ready to fetch. Close it.
type Room struct {
	Lab     *lab.Lab
	Server  *nginx.Server
	Tree    string // what is handed out
	Bytes   int64  // F: its content
	Package cli.Package
	Goodput float64 // bytes per second that one plain HTTP download gets from the origin to a host, nobody else sending, for as long as it likes

	options Options
	began   time.Time
	before  []nginx.Request
	wire    lab.Counters // of the origin, at Begin
	most    func() int
	traffic func() []Traffic
}

// Open builds a room and measures its Goodput, which takes two seconds, and up to six where this machine is so busy that
// the link isn't filled. nginx must be installed.
func Open(ctx context.Context, o Options) (_ *Room, err error) {
	if o.Lab.Hosts < 1 {
		return nil, errors.New("a room without a host")
	}
	r := &Room{options: o, Tree: filepath.Join(o.Dir, "origin", "tree")}
	if err := os.Mkdir(filepath.Dir(r.Tree), 0o755); err != nil {
		return nil, err
	}
	if err := payload.Write(r.Tree, randomSeed, o.Size); err != nil {
		return nil, fmt.Errorf("write the payload: %w", err)
	}
	if r.Bytes, err = payload.Bytes(r.Tree); err != nil {
		return nil, err
	}
	if r.Lab, err = lab.New(o.Lab); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	logs := filepath.Join(o.Dir, "nginx")
	if err := os.Mkdir(logs, 0o755); err != nil {
		return nil, err
	}
	if r.Server, err = nginx.Start(ctx, r.Lab.Origin, filepath.Dir(r.Tree), logs, o.Nginx...); err != nil {
		return nil, err
	}
	if r.Package, err = o.Program.Publish(ctx, o.Dir, r.Tree, r.Server.URL("tree")); err != nil {
		return nil, err
	}
	link := min(o.Lab.Rate, o.Lab.OriginRate)
	enough := 0.93 * float64(link) / 8
	for range 3 {
		got, err := r.measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("measure the link: %w", err)
		}
		if r.Goodput = max(r.Goodput, got); r.Goodput >= enough {
			break
		}
	}
	if link > 0 {
		// In two seconds of a slow link what the shaper saved up is a tenth.
		r.Goodput = min(r.Goodput, link.Payload())
	}
	return r, nil
}

// Close ends every process and takes the lab down. Files stay.
func (r *Room) Close() {
	if r.most != nil {
		r.most()
		r.traffic()
		r.most = nil
	}
	r.Lab.Close()
}

// sample marks the measurement's requests in nginx's log.
const sample = "?sample"

// measure downloads from the origin to the first host for two seconds, or once if that is shorter.
func (r *Room) measure(ctx context.Context) (float64, error) {
	h := r.Lab.Hosts[0]
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return h.Dial(ctx, network, addr)
		},
	}
	req, err := http.NewRequestWithContext(ctx, "GET", r.Server.URL("tree/"+payload.Name+sample), nil)
	if err != nil {
		return 0, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", req.URL, resp.Status)
	}
	// The first bytes come from the shaper's full bucket, faster than the link.
	if _, err := io.CopyN(io.Discard, resp.Body, 256<<10); err != nil {
		return 0, err
	}
	start, got, buf := time.Now(), 0, make([]byte, 64<<10)
	for time.Since(start) < 2*time.Second {
		n, err := resp.Body.Read(buf)
		got += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(got) / time.Since(start).Seconds(), nil
}

// Begin starts the clock and the account of what the origin carries.
func (r *Room) Begin() error {
	var err error
	if r.before, err = r.Server.Requests(); err != nil {
		return err
	}
	if r.wire, err = r.Lab.Origin.Counters(); err != nil {
		return err
	}
	r.most = r.Lab.Origin.WatchConnections(r.Server.Addr.Port())
	r.began = time.Now()
	r.traffic = r.watchTraffic()
	return nil
}

// Began is when the clock was started.
func (r *Room) Began() time.Time { return r.began }

// Settle waits, for some seconds at most, until the origin has noticed that nobody reads from it any more: only then the
// requests of a killed process are in its log.
func (r *Room) Settle() {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if from, err := r.Lab.Origin.Remotes(r.Server.Addr.Port()); err != nil || len(from) == 0 {
			break
		}
	}
	time.Sleep(100 * time.Millisecond) // from the end of a connection to nginx's line about it
}

// Dest is where host i (from 0) puts its tree.
func (r *Room) Dest(i int) string { return filepath.Join(r.options.Dir, r.Lab.Hosts[i].Name, "tree") }

// randomSeed makes the payload the same in every room.
const randomSeed = 1

// Place puts the tree where host i would, as if it had fetched it earlier.
func (r *Room) Place(i int) error {
	if err := os.MkdirAll(filepath.Dir(r.Dest(i)), 0o755); err != nil {
		return err
	}
	return payload.Write(r.Dest(i), randomSeed, r.options.Size)
}

// Verify compares what stands on host i with the source.
func (r *Room) Verify(i int) error {
	c, err := payload.Compare(r.Tree, r.Dest(i))
	if err == nil && len(c.Differs) > 0 {
		err = fmt.Errorf("%d of %d files are right: %s", c.Right, c.Files, strings.Join(c.Differs[:min(10, len(c.Differs))], "; "))
	}
	if err != nil {
		return fmt.Errorf("tree of %s: %w", r.Lab.Hosts[i].Name, err)
	}
	return nil
}

// Figures are what a run came to.
type Figures struct {
	Bound           time.Duration // T* of so many hosts, had they started together
	Hosts, Done     int           // how many were to be done, how many were
	Last, Mean      time.Duration // from Begin until they were done; of those that were
	OriginBytes     int64         // payload that left the origin; by the log, so without what a killed nginx had under way
	OriginBytesBy   []int64       // of these, what went to each host
	OriginWire      int64         // bytes that left by the origin's link since Begin, all headers and whatever else included
	MostConnections int           // to the origin at the same time
	Bytes           int64         // F
	Traffic         []Traffic     // in order of time
}

// Figures ends the account of a job that was done at the given times, one for each host, zero for one that was not done;
// one Begin, one Figures.
func (r *Room) Figures(done ...time.Time) (Figures, error) {
	f := Figures{Bytes: r.Bytes, Hosts: len(done), Bound: r.Bound(len(done)), MostConnections: r.most(), Traffic: r.traffic()}
	r.most = nil
	for _, at := range done {
		if at.IsZero() {
			continue
		}
		took := at.Sub(r.began)
		f.Done++
		f.Last = max(f.Last, took)
		f.Mean += took
	}
	f.Mean /= time.Duration(max(1, f.Done))
	all, err := r.Server.Requests()
	if err != nil {
		return f, err
	}
	var ours []nginx.Request
	for _, req := range all[len(r.before):] {
		if !strings.HasSuffix(req.URI, sample) { // an aborted one may be logged late
			ours = append(ours, req)
		}
	}
	if err := r.keepRequests(ours); err != nil {
		return f, err
	}
	f.OriginBytes = nginx.Carried(ours)
	for _, h := range r.Lab.Hosts {
		f.OriginBytesBy = append(f.OriginBytesBy, nginx.Carried(slices.DeleteFunc(slices.Clone(ours), func(req nginx.Request) bool {
			return req.Client != h.Addr
		})))
	}
	f.MostConnections = max(f.MostConnections, nginx.MostConnections(ours))
	c, err := r.Lab.Origin.Counters()
	f.OriginWire = c.SentBytes - r.wire.SentBytes
	return f, err
}

// Bound is T* of n hosts that start together, all links being as the room's options say of all.
func (r *Room) Bound(n int) time.Duration {
	origin, host := r.Goodput, r.Goodput
	if slow := min(r.options.Lab.OriginRate, r.options.Lab.Rate); slow > 0 {
		origin *= float64(r.options.Lab.OriginRate) / float64(slow)
		host *= float64(r.options.Lab.Rate) / float64(slow)
	}
	return Bound(n, r.Bytes, origin, host)
}

// OfBound is a time as a multiple of T*.
func (f Figures) OfBound(d time.Duration) float64 { return d.Seconds() / f.Bound.Seconds() }

// Copies is the origin's payload as a multiple of F.
func (f Figures) Copies() float64 { return float64(f.OriginBytes) / float64(f.Bytes) }

// CopiesOnWire is what left the origin's link as a multiple of F.
func (f Figures) CopiesOnWire() float64 { return float64(f.OriginWire) / float64(f.Bytes) }

func (f Figures) String() string {
	if f.Done < f.Hosts {
		return fmt.Sprintf("not done: %d of %d (T* %.2f s), origin %.3f F (%.3f F on the wire), %d origin connections at most",
			f.Hosts-f.Done, f.Hosts, f.Bound.Seconds(), f.Copies(), f.CopiesOnWire(), f.MostConnections)
	}
	return fmt.Sprintf("T_last %.2f s = %.3f T*, T_mean %.3f T* (T* %.2f s), origin %.3f F (%.3f F on the wire), %d origin connections at most",
		f.Last.Seconds(), f.OfBound(f.Last), f.OfBound(f.Mean), f.Bound.Seconds(), f.Copies(), f.CopiesOnWire(), f.MostConnections)
}
