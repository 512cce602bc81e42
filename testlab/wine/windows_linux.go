package wine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"handout/testlab/lab"
)

// shares is where a prefix has what lies under \\handout.
var shares = filepath.Join("dosdevices", "unc", "handout", "share")

// Share is the UNC path of a folder that every Windows here may write to.
const Share = `\\handout\share`

// socketNote is where Debian's server notes the name of its folder; it is only for its own prefix.
const socketNote = "wineserver"

// Windows is a machine with Wine in the place of Windows. Close it, or the machine.
type Windows struct {
	*lab.Machine

	disk   *Disk
	prefix string
	server *lab.Process
}

// Boot boots a copy of the disk on a machine. What it writes goes to dir, which must exist and keep nothing else.
func (d *Disk) Boot(ctx context.Context, m *lab.Machine, dir string) (*Windows, error) {
	prefix := filepath.Join(dir, "prefix")
	if err := d.copyTo(prefix); err != nil {
		return nil, fmt.Errorf("copy the Windows folder for %s: %w", m.Name, err)
	}
	return d.start(ctx, m, prefix, "wineboot")
}

// start starts the server of a prefix, and then what else a Windows is made of.
func (d *Disk) start(ctx context.Context, m *lab.Machine, prefix string, boot ...string) (*Windows, error) {
	if err := os.MkdirAll(prefix, 0o755); err != nil {
		return nil, err
	}
	w := &Windows{Machine: m, disk: d, prefix: prefix}
	var err error
	// In the foreground it is ours to end; by itself it would go when its last program does.
	if w.server, err = m.Start(w.native(exec.Command(d.server, "--foreground", "--persistent"))); err != nil {
		return nil, err
	}
	if err := w.awaitServer(ctx); err != nil {
		return nil, err
	}
	// Before anything whose output somebody waits for the end of: the system's own programs inherit it and stay.
	if _, err := m.Run(w.Command(ctx, boot[0], boot[1:]...)); err != nil {
		return nil, errors.Join(fmt.Errorf("boot the Windows in %s: %w", prefix, err), w.Close())
	}
	return w, nil
}

// awaitServer waits until the server is there: the first program that finds none starts one of its own. It is not asked before: who
// asks makes the folder for its socket too.
func (w *Windows) awaitServer(ctx context.Context) error {
	for {
		if doors, _ := filepath.Glob(filepath.Join(w.serverDir(), "server-*", "socket")); len(doors) > 0 {
			return nil
		}
		select {
		case <-w.server.Done():
			return fmt.Errorf("the server of %s ended at once: %w", w.prefix, w.server.Wait())
		case <-ctx.Done():
			return fmt.Errorf("wait for the server of %s: %w", w.prefix, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// serverDir is where Debian's server has its socket, in a folder that it leaves behind; "": it has none yet.
func (w *Windows) serverDir() string {
	name, err := os.ReadFile(filepath.Join(w.prefix, socketNote))
	if err != nil || !filepath.IsLocal(string(name)) || !strings.HasPrefix(string(name), "wine-") {
		return ""
	}
	return filepath.Join(os.TempDir(), string(name))
}

// native is a command that is not for Windows, but about it.
func (w *Windows) native(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(lab.Neutral(os.Environ()), w.Variables()...)
	return cmd
}

// Variables are what Wine finds this Windows by.
func (w *Windows) Variables() []string {
	return []string{"WINEPREFIX=" + w.prefix, "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml="}
}

// Loader is the program that runs programs for Windows, given Variables.
func (w *Windows) Loader() string { return w.disk.wine }

// Command is a command to be started on this machine: a program for Windows, by its name or the path it has there or here.
func (w *Windows) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return w.native(exec.CommandContext(ctx, w.disk.wine, append([]string{program}, args...)...))
}

// Run runs one and returns what it said.
func (w *Windows) Run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := w.Command(ctx, program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	// What it starts and leaves running may keep our pipe open.
	cmd.WaitDelay = time.Second
	p, err := w.Start(cmd)
	if err != nil {
		return "", err
	}
	if err = p.Wait(); errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return strings.ReplaceAll(said.String(), "\r\n", "\n"), err
}

// Path is where a path of drive C: lies here, names being as they were written.
func (w *Windows) Path(path string) string {
	return filepath.Join(w.prefix, "drive_c", filepath.FromSlash(strings.ReplaceAll(strings.TrimPrefix(path, `C:\`), `\`, "/")))
}

// Close ends every program of this Windows at once, and then its server.
func (w *Windows) Close() (err error) {
	select {
	case <-w.server.Done():
	default:
		_, err = w.Machine.Run(w.native(exec.Command(w.disk.server, "--kill")))
		select {
		case <-w.server.Done():
		case <-time.After(10 * time.Second):
			w.server.Kill()
			<-w.server.Done()
			err = errors.Join(err, fmt.Errorf("the server of %s did not end by itself", w.prefix))
		}
	}
	if dir := w.serverDir(); dir != "" {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
