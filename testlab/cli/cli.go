// Package cli drives the handout program from outside, as a script would: by its documented verbs, its exit codes and
// what --json prints. It builds command lines and reads answers; where the commands run is the caller's affair.
package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Program is the path of a handout executable.
type Program string

// Build compiles the program from this module into dir. HANDOUT_BIN, if set, names one that is ready and is taken instead.
func Build(ctx context.Context, dir string) (Program, error) {
	if ready := os.Getenv("HANDOUT_BIN"); ready != "" {
		return Program(ready), nil
	}
	path := filepath.Join(dir, "handout")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	// Who owns the checkout need not be who builds: git's opinion on that is not asked.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "handout/cmd/handout")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(cmd); err != nil {
		return "", err
	}
	return Program(path), nil
}

// Package is a published tree.
type Package struct {
	Manifest string // the .torrent file
	Trust    string // the public key file
}

// Publish makes a key without a password and signs a manifest of tree with it, both in dir. More flags of publish may be
// added.
func (p Program) Publish(ctx context.Context, dir, tree, origin string, flags ...string) (Package, error) {
	key := filepath.Join(dir, "lab")
	if _, err := output(exec.CommandContext(ctx, string(p), "keygen", "--no-password", "-o", key)); err != nil {
		return Package{}, err
	}
	pkg := Package{Manifest: filepath.Join(dir, "package.torrent"), Trust: key + ".pub"}
	args := append([]string{"publish", tree, "--origin", origin, "--key", key + ".key", "-o", pkg.Manifest}, flags...)
	_, err := output(exec.CommandContext(ctx, string(p), args...))
	return pkg, err
}

// Fetch is the command that fetches pkg to dest and prints Events. More flags of fetch may be added.
func (p Program) Fetch(ctx context.Context, pkg Package, dest string, flags ...string) *exec.Cmd {
	args := append([]string{"fetch", pkg.Manifest, "--trust", pkg.Trust, "--dest", dest, "--json"}, flags...)
	return exec.CommandContext(ctx, string(p), args...)
}

// output runs cmd; the error has what it said.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), nil
}

// Event is a line of fetch --json; which fields are set depends on Kind.
type Event struct {
	Kind string `json:"event"` // "progress", "published" (the tree stands), then "done" or "failed", which is the last

	// of progress
	Phase             string `json:"phase"`
	Done              int64  `json:"done"`  // bytes
	Total             int64  `json:"total"` // bytes
	OriginBytesPerSec int64  `json:"origin_bytes_per_sec"`
	PeerBytesPerSec   int64  `json:"peer_bytes_per_sec"`
	Neighbours        int    `json:"neighbours"`

	Members     int      `json:"site_members"`
	Steward     string   `json:"steward"`
	Blocked     string   `json:"inbound_blocked"`
	Unreachable []string `json:"site_unreachable"`

	// of progress and done: payload bytes so far
	FromOrigin int64 `json:"from_origin"`
	FromPeers  int64 `json:"from_peers"`
	ToPeers    int64 `json:"to_peers"`

	// of published and done
	Seconds      float64 `json:"seconds"` // from the start until the tree stood; lingering does not count
	Files        int     `json:"files"`
	Bytes        int64   `json:"bytes"`
	Resumed      int64   `json:"resumed"` // bytes that were here from an earlier run
	AlreadyThere bool    `json:"already_there"`

	Error string `json:"error"` // of failed
	Exit  int    `json:"exit"`  // of done and failed
}

// Last reports whether no event follows this one.
func (e Event) Last() bool { return e.Kind == "done" || e.Kind == "failed" }

// ReadEvents hands each line of r to each until r ends. A line that is no event is an error; the rest is read all the
// same, so that the program is not stopped by a full pipe.
func ReadEvents(r io.Reader, each func(Event)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var bad error
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err == nil && e.Kind != "" {
			each(e)
		} else if bad == nil {
			bad = fmt.Errorf("--json printed %q, which is no event", lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return bad
}
