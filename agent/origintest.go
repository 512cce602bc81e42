package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"handout/agent/api"
	"handout/manifest"
	"handout/sources"
	"handout/sources/fileorigin"
	"handout/sources/origin"
	"handout/sources/smborigin"
)

// originStreams are the numbers of connections with which an origin's rate is taken.
var originStreams = [...]int{1, 2, 4}

const (
	// rateWorth is how large a file must be for its rate to say anything, in bytes.
	rateWorth = 1 << 20
	// longestTest bounds a test of one number of connections: leases are not renewed for ever.
	longestTest = 5 * time.Second
)

// TestOrigin implements api.Machine. The connections it opens are among those of the site, each by a lease. Beside what
// it found it returns what was wrong, which is in Findings.Error too.
func (a *Agent) TestOrigin(ctx context.Context, t api.OriginTest) (f api.OriginFindings, err error) {
	d := time.Duration(t.Milliseconds) * time.Millisecond
	if d <= 0 || d > longestTest || t.Bytes < 0 {
		return f, fmt.Errorf("%w: from a millisecond to %v for each number of connections", api.ErrBadTest, longestTest)
	}
	o, err := origin.Open(t.Origin, a.c.Origins)
	if err != nil {
		return f, fmt.Errorf("%w: %w", api.ErrBadTest, err)
	}
	defer o.Close()
	if !a.testing.TryLock() {
		return f, api.ErrBusy
	}
	defer a.testing.Unlock()
	f = api.OriginFindings{Origin: o.String(), File: t.File, Bytes: t.Bytes}
	err = a.testOrigin(ctx, o, t.Origin, d, &f)
	_, local := o.(*fileorigin.Origin)
	judgeOrigin(&f, err, origin.IsShare(t.Origin) && local)
	return f, err
}

func (a *Agent) testOrigin(ctx context.Context, o sources.Origin, location string, d time.Duration, f *api.OriginFindings) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := borrowed{agent: a, lost: cancel}
	defer b.giveBack()
	if b.upTo(ctx, 1) == 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errNoLease
	}
	err := lookAtOrigin(ctx, o, f)
	o.Close()
	if f.Unrated = f.Bytes < rateWorth; err != nil || f.Unrated {
		return err
	}
	open := func() (sources.Origin, error) { return origin.Open(location, a.c.Origins) }
	for _, n := range originStreams {
		if n > a.c.Connections {
			break
		}
		if b.upTo(ctx, n) < n {
			f.Left = true
			break
		}
		rate, err := rateOf(ctx, open, f.File, f.Bytes, n, d)
		if err != nil {
			return err
		}
		f.Connections, f.Rates = append(f.Connections, n), append(f.Rates, rate)
	}
	return nil
}

// lookAtOrigin connects and reads the beginning of a file.
func lookAtOrigin(ctx context.Context, o sources.Origin, f *api.OriginFindings) error {
	if s, ok := o.(*smborigin.Origin); ok {
		r, err := s.Inspect(ctx)
		f.Reachable, f.Dialect, f.As = r.Dialect != "", r.Dialect, r.As
		if r.Took > 0 {
			f.ConnectMS = float64(r.Took.Microseconds()) / 1000
		}
		if err != nil {
			return err
		}
		f.Mangled = r.Mangled
		f.Signed, f.Encrypted = &r.Signed, &r.Encrypted
		f.Readable, f.File, f.Bytes = true, r.File, r.Size
		return nil
	}
	begun := time.Now()
	err := o.ReadRange(ctx, f.File, 0, make([]byte, min(f.Bytes, 1)))
	if err == nil && f.Bytes == 0 && f.File == "" {
		err = o.ReadRange(ctx, "", 0, make([]byte, 1))
	}
	if err == nil && f.Bytes >= rateWorth {
		there, err := sources.Ranges(ctx, o, f.File)
		f.NoRanges = err == nil && !there
	}
	_, again := sources.Retryable(err)
	f.Reachable = err == nil || !again
	f.Readable = err == nil
	if err == nil {
		f.ConnectMS = float64(time.Since(begun).Microseconds()) / 1000
	}
	return err
}

// rateOf reads a file over n connections for some time, each from a place of its own, and returns bytes per second.
func rateOf(ctx context.Context, open func() (sources.Origin, error), path string, size int64, n int, d time.Duration) (int64, error) {
	var read atomic.Int64
	var g sync.WaitGroup
	errs := make([]error, n)
	begun := time.Now()
	for i := range n {
		o, err := open()
		if err != nil {
			return 0, err
		}
		defer o.Close()
		g.Go(func() {
			buf := make([]byte, 1<<20)
			for at := size / int64(n) * int64(i); errs[i] == nil && time.Since(begun) < d; at = 0 {
				var s io.ReadCloser
				if s, errs[i] = sources.Stream(ctx, o, path, at, size-at); errs[i] != nil {
					if at > 0 && errors.Is(errs[i], sources.ErrNoRanges) {
						errs[i] = nil
						continue
					}
					return
				}
				for errs[i] == nil && time.Since(begun) < d {
					var k int
					k, errs[i] = s.Read(buf)
					read.Add(int64(k))
				}
				s.Close()
				if errs[i] == io.EOF {
					errs[i] = nil
				}
			}
		})
	}
	g.Wait()
	return int64(float64(read.Load()) / time.Since(begun).Seconds()), errors.Join(errs...)
}

// judgeOrigin says what is wrong, or could be better, and what to do about it. bySystem: Windows itself reads the share.
func judgeOrigin(f *api.OriginFindings, err error, bySystem bool) {
	if err != nil {
		f.Error = manifest.ShownIn(err.Error())
	}
	unknown := f.As == "guest" || f.As == "nobody"
	denied := errors.Is(err, sources.ErrDenied)
	switch {
	case errors.Is(err, errNoLease), errors.Is(err, errLeaseLost):
		f.Advice = "Try again when they are done, or without asking them: handout origin test --no-peers."
	case smborigin.LogonFailed(err):
		f.Advice = "It is the account that is refused, whatever it might read: its name, password, keytab or ticket. The server's log says more."
	case denied && bySystem:
		f.Advice = `Windows reads the share as who handout runs as; a service is the computer there. Let DOMAIN\Domain Computers read the share and its files.`
	case denied && (f.As == "" || unknown):
		f.Advice = "Give an account that may read it: --credentials FILE, --keytab FILE, or [[account]] in the agent's config. Who the account is, the server's admin decides."
	case denied:
		f.Advice = "Let this user read every file and folder of the package: on the share and on the files themselves."
	case errors.Is(err, sources.ErrMissing):
		f.Advice = "It is not there under this name: look for a mistake in the path."
	case err != nil && !f.Reachable:
		f.Advice = "Does the name belong to the right machine, is the server running, does a firewall let its port through?"
	case err != nil:
		f.Advice = "The server is there and does not do as it should: its own log says more."
	case f.Mangled != "":
		f.Advice = "There are names that Windows can't have: the server shows one as " + f.Mangled + ". To read them: " + smborigin.OddNames + "."
	case unknown:
		f.Advice = "Everybody on the network can read this share. That is all right for what is public."
	case f.Signed != nil && *f.Signed:
		f.Advice = "Signing every answer costs much time; encryption, which makes signing needless, costs less where the server can do it (3.0 and up)."
	case f.NoRanges:
		f.Advice = "The server does not serve ranges, or does not say so: a large file is read from its front over one connection, by one machine of the site, and again from there if that breaks off. nginx, Apache and IIS serve ranges of files unless they are told not to (max_ranges 0)."
	case len(f.Rates) == len(originStreams) && f.Rates[2] < f.Rates[0]+f.Rates[0]/10:
		f.Advice = "More connections bring nothing here: connections = 1 is enough, 2 to bridge pauses."
	}
}
