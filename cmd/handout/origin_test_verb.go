package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"handout/agent"
	"handout/manifest"
	"handout/sources"
	"handout/sources/origin"
	"handout/sources/smborigin"
)

// originTestFlags are what the flags of origin test say.
type originTestFlags struct {
	account  accountFlags
	manifest string
	seconds  time.Duration
	json     bool
}

func (a *app) originCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "origin",
		Short: "Look at an origin",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(a.originTestCommand())
	return cmd
}

func (a *app) originTestCommand() *cobra.Command {
	var f originTestFlags
	cmd := &cobra.Command{
		Use:   "test URL",
		Short: "Tell whether an origin can be read from here, how fast, and what to change",
		Long: `test reads from an origin as fetch would, and says in a few seconds what an admin needs to know: is it reachable, who are
we there, may we read, how fast with one, two and four connections. Of a share it also tells the dialect, and whether
the server signs and encrypts.

From a share it picks a large file by itself. Elsewhere files cannot be listed: URL names one file, or --package a
package that lies there.`,
		Example: `  handout origin test smb://files.example/images/win11 --credentials lab.cred
  handout origin test http://files.example/win11 --package win11.torrent`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error { return a.originTest(cmd.Context(), args[0], f) }),
	}
	f.account.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.manifest, "package", "", "read the largest file of the package whose manifest `PKG.torrent|URL` is")
	fs.DurationVar(&f.seconds, "seconds", time.Second, "read for so long with each number of connections")
	fs.BoolVar(&f.json, "json", false, "one JSON object on standard output")
	return cmd
}

// originFindings are what origin test found out.
type originFindings struct {
	Origin    string  `json:"origin"`
	Reachable bool    `json:"reachable"`
	ConnectMS float64 `json:"connect_ms,omitempty"`
	Dialect   string  `json:"dialect,omitempty"`
	As        string  `json:"as,omitempty"`
	Signed    *bool   `json:"signed,omitempty"`
	Encrypted *bool   `json:"encrypted,omitempty"`
	Readable  bool    `json:"readable"`
	File      string  `json:"file,omitempty"`
	FileBytes int64   `json:"file_bytes,omitempty"`
	Rates     []int64 `json:"bytes_per_sec,omitempty"` // with as many connections as streams says
	Error     string  `json:"error,omitempty"`
	Advice    string  `json:"advice,omitempty"`
}

// streams are the numbers of connections that the rate is taken with.
var streams = [...]int{1, 2, 4}

// rateWorth is how large a file must be for its rate to say anything, in bytes.
const rateWorth = 1 << 20

func (a *app) originTest(ctx context.Context, location string, f originTestFlags) error {
	if f.seconds <= 0 {
		return usagef("--seconds %v: some time is needed", f.seconds)
	}
	options, err := f.account.options(ctx, a, location)
	if err != nil {
		return err
	}
	o, err := origin.Open(location, options)
	if err != nil {
		return usageError{err}
	}
	defer o.Close()
	found := originFindings{Origin: o.String()}
	err = found.look(ctx, o, f.manifest, options)
	if err == nil && found.FileBytes >= rateWorth {
		open := func() (sources.Origin, error) { return origin.Open(location, options) }
		for _, n := range streams {
			var rate int64
			if rate, err = rateOf(ctx, open, found.File, found.FileBytes, n, f.seconds); err != nil {
				break
			}
			found.Rates = append(found.Rates, rate)
		}
	}
	found.judge(err)
	if f.json {
		if e := json.NewEncoder(a.out).Encode(found); e != nil {
			return e
		}
	} else {
		found.print(a.out)
	}
	switch {
	case ctx.Err() != nil:
		return ended(ctx, err)
	case err != nil:
		return advisedError{fmt.Errorf("%w: %w", agent.ErrNoSource, err), found.Advice}
	}
	return nil
}

// look connects and reads the beginning of a file.
func (f *originFindings) look(ctx context.Context, o sources.Origin, pkg string, options origin.Options) error {
	if s, ok := o.(*smborigin.Origin); ok {
		r, err := s.Inspect(ctx)
		f.Reachable, f.Dialect, f.As = r.Dialect != "", r.Dialect, r.As
		if r.Took > 0 {
			f.ConnectMS = float64(r.Took.Microseconds()) / 1000
		}
		if err != nil {
			return err
		}
		f.Signed, f.Encrypted = &r.Signed, &r.Encrypted
		f.Readable, f.File, f.FileBytes = true, r.File, r.Size
		return nil
	}
	begun := time.Now()
	if pkg != "" {
		raw, err := readManifest(ctx, pkg, options)
		if err != nil {
			return err
		}
		m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true}) // what it says is only tried here
		if err != nil {
			return err
		}
		for _, file := range m.Files {
			if !m.Single && file.Length >= f.FileBytes {
				f.File, f.FileBytes = file.Path, file.Length
			} else if m.Single {
				f.FileBytes = file.Length
			}
		}
		begun = time.Now()
	}
	err := o.ReadRange(ctx, f.File, 0, make([]byte, min(f.FileBytes, 1)))
	if err == nil && pkg == "" {
		err = o.ReadRange(ctx, "", 0, make([]byte, 1))
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

// judge says what is wrong, or could be better, and what to do about it.
func (f *originFindings) judge(err error) {
	if err != nil {
		f.Error = err.Error()
	}
	unknown := f.As == "guest" || f.As == "nobody"
	switch {
	case smborigin.LogonFailed(err):
		f.Advice = "It is the account that is refused, whatever it might read: its name, password, keytab or ticket. The server's log says more."
	case errors.Is(err, sources.ErrDenied) && (f.As == "" || unknown):
		f.Advice = "Give an account that may read it: --credentials FILE, or [[account]] in the agent's config. Who the account is, the server's admin decides."
	case errors.Is(err, sources.ErrDenied):
		f.Advice = "Let this user read every file and folder of the package: on the share and on the files themselves."
	case errors.Is(err, sources.ErrMissing):
		f.Advice = "It is not there under this name: look for a mistake in the path."
	case err != nil && !f.Reachable:
		f.Advice = "Does the name belong to the right machine, is the server running, does a firewall let its port through?"
	case err != nil:
		f.Advice = "The server is there and does not do as it should: its own log says more."
	case unknown:
		f.Advice = "Everybody on the network can read this share. That is all right for what is public."
	case f.Signed != nil && *f.Signed:
		f.Advice = "Signing every answer costs much time; encryption, which makes signing needless, costs less where the server can do it (3.0 and up)."
	case len(f.Rates) == len(streams) && f.Rates[2] < f.Rates[0]+f.Rates[0]/10:
		f.Advice = "More connections bring nothing here: connections = 1 is enough, 2 to bridge pauses."
	}
}

func (f *originFindings) print(w io.Writer) {
	line := func(key, format string, args ...any) {
		fmt.Fprintf(w, "  %-13s %s\n", key, printable(fmt.Sprintf(format, args...)))
	}
	yes := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintln(w, printable(f.Origin))
	if f.ConnectMS > 0 {
		line("reachable", "yes, in %.1f ms", f.ConnectMS)
	} else {
		line("reachable", "%s", yes[f.Reachable])
	}
	if f.Dialect != "" {
		line("dialect", "SMB %s", f.Dialect)
	}
	if f.As != "" {
		line("we are", "%s", f.As)
	}
	if f.Signed != nil {
		line("signed", "%s", yes[*f.Signed])
		line("encrypted", "%s", yes[*f.Encrypted])
	}
	switch {
	case f.Readable && f.File != "":
		line("may read", "yes: %s, %s", f.File, sizeText(f.FileBytes))
	case f.Readable && f.FileBytes > 0:
		line("may read", "yes, %s", sizeText(f.FileBytes))
	default:
		line("may read", "%s", yes[f.Readable])
	}
	for i, rate := range f.Rates {
		line(countText(streams[i], "connection"), "%s", rateText(rate))
	}
	if f.Readable && len(f.Rates) == 0 && f.Error == "" {
		line("rate", "not taken: no file of %s or more is known (--package names one)", sizeText(rateWorth))
	}
	if f.Error == "" && f.Advice != "" {
		fmt.Fprintln(w, f.Advice)
	}
}
