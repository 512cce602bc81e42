package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnavailable is what New answers where the kernel lets us make no namespaces, links or shapers.
var ErrUnavailable = errors.New("needs network namespaces: run as root (sudo make lab), or let users have user namespaces " +
	"(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)")

const inside = "HANDOUT_LAB_USERNS"

// Enter makes sure, as far as it can be, that this process may make network namespaces. It returns at once where that is
// so (root), and where it can't be had; then New says ErrUnavailable. Otherwise it runs this program again, same
// arguments, as root of a new user namespace, and never returns: it exits with that run's status.
//
// Only the user namespace is new; files and the machine's own network are as before.
func Enter() {
	if os.Getenv(inside) != "" || allowed() {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The death signal is tied to the thread that started the child, so this thread must stay.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return
	}
	// A terminal sends its interrupt to both of us; the child decides what it means.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				cmd.Process.Signal(s)
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintf(os.Stderr, "%s in a user namespace: %v\n", self, err)
	os.Exit(1)
}

// allowed tries on a thread that ends with the attempt.
func allowed() bool {
	ok := make(chan bool)
	onOwnThread(func() { ok <- unix.Unshare(unix.CLONE_NEWNET|unix.CLONE_NEWUTS) == nil })
	return <-ok
}
