package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"handout/testlab/cli"
	"handout/testlab/payload"
)

// soak is the long form.
var soak = os.Getenv("HANDOUT_SOAK") != ""

const insideVariable = "HANDOUT_CRASH_INSIDE"

var (
	scratch string
	program = sync.OnceValues(func() (cli.Program, error) { return cli.Build(context.Background(), scratch) })
)

// TestMain runs everything in a mount and a network namespace of its own: whatever becomes of the tests, no mount is left,
// and no packet leaves.
func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		fill(child)
	}
	if os.Getenv(insideVariable) == "" && os.Geteuid() == 0 {
		if status, ok := enter(); ok {
			os.Exit(status)
		}
	}
	os.Exit(func() int {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		var err error
		if scratch, err = os.MkdirTemp(payload.Scratch(2<<30), "handout-crash-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// enter runs this program again inside; false: that can't be had here.
func enter() (status int, ok bool) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose death the signal is tied to
	if cmd.Start() != nil {
		return 0, false
	}
	err := cmd.Wait()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return max(1, exit.ExitCode()), true
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// settle makes the namespaces fit to live in.
func settle() error {
	if os.Getenv(insideVariable) == "" {
		return nil
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil { // members of a site call themselves by an address of a LAN
		addr, _ := netlink.ParseAddr("10.77.0.1/24")
		err = netlink.AddrAdd(lo, addr)
	}
	return err
}

// folder is a new folder for a test.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "test")
	must(t, err)
	return dir
}

// newDisk is a disk with all that belongs to it in dir.
func newDisk(dir string) (*Disk, error) { return newDiskOf(Mount, dir) }

func newDiskOf(mount func(backing, path string) (*Disk, error), dir string) (*Disk, error) {
	if os.Getenv(insideVariable) == "" {
		return nil, ErrUnavailable
	}
	backing, path := filepath.Join(dir, "disk"), filepath.Join(dir, "mount")
	if err := errors.Join(os.Mkdir(backing, 0o755), os.Mkdir(path, 0o755)); err != nil {
		return nil, err
	}
	return mount(backing, path)
}

// mount is a new disk, gone with the test.
func mount(t testing.TB) *Disk {
	t.Helper()
	d, err := newDisk(folder(t))
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// bin is the program under test.
func bin(t testing.TB) cli.Program {
	t.Helper()
	p, err := program()
	must(t, err)
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same fails unless got is the tree want, with all that is said of its files.
func same(t testing.TB, want, got string) bool {
	t.Helper()
	c, err := payload.Compare(want, got)
	must(t, err)
	for _, d := range c.Differs {
		t.Errorf("%s: %s", got, d)
	}
	return len(c.Differs) == 0
}

// isTree reports whether got is exactly want.
func isTree(t testing.TB, want, got string) bool {
	t.Helper()
	c, err := payload.Compare(want, got)
	must(t, err)
	return len(c.Differs) == 0
}

func TestDiskIsADisk(t *testing.T) {
	d := mount(t)
	tree := filepath.Join(folder(t), "tree")
	must(t, payload.Write(tree, 1, 1<<20))
	if out, err := exec.Command("cp", "-a", tree, filepath.Join(d.Path, "copy")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	same(t, tree, filepath.Join(d.Path, "copy"))
	same(t, tree, filepath.Join(d.Backing, "copy"))
	must(t, os.RemoveAll(filepath.Join(d.Path, "copy")))
	if d.Ops() < 100 {
		t.Errorf("%d operations were seen", d.Ops())
	}

	for _, c := range []struct {
		fault Fault
		want  error
	}{{Fault{Errno: syscall.ENOSPC}, syscall.ENOSPC}, {Fault{Errno: syscall.EROFS}, syscall.EROFS}, {Fault{Short: 10}, nil}} {
		d.Hook(func(op Op) Fault {
			if op.Kind == "write" {
				return c.fault
			}
			return Fault{}
		})
		if err := os.WriteFile(filepath.Join(d.Path, "file"), make([]byte, 25), 0o600); !errors.Is(err, c.want) {
			t.Errorf("%v: the writer was told %v", c.fault.Errno, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(d.Path, "file")); len(data) != 25 || err != nil {
		t.Errorf("short writes made a file of %d bytes, %v", len(data), err)
	}
}
