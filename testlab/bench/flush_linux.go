package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A disk on which a flush takes its time is modelled by the kernel's own means: a seccomp filter holds every fsync(2),
// fdatasync(2) and syncfs(2) of a program until this process lets it go on. All else runs as fast as ever, which a file
// system of our own between would not let it.

// slowDisk delays flushes, one after the other as a disk does them.
type slowDisk struct {
	flush   time.Duration
	flushes atomic.Int64 // so far
	turn    sync.Mutex
}

// heldArgument makes this program the one that puts the filter on itself and becomes the program named after it.
const heldArgument = "flushes-are-held"

// on makes cmd, not started yet, run on the slow disk. The caller must call done once cmd was started or given up.
func (d *slowDisk) on(cmd *exec.Cmd) (done func(), err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "filter"), os.NewFile(uintptr(pair[1]), "filter")
	cmd.Args = append([]string{"bench", heldArgument, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	cmd.ExtraFiles = []*os.File{theirs}
	go func() {
		defer ours.Close()
		if listener, err := receive(ours); err == nil {
			d.serve(listener)
		}
	}()
	return func() { theirs.Close() }, nil
}

// receive is the file descriptor sent over a socket.
func receive(from *os.File) (int, error) {
	conn, err := net.FileConn(from)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	space := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), space)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) == 0 {
		return -1, errors.Join(err, errors.New("no descriptor came"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// The structures of seccomp_unotify(2) and their ioctls.
type (
	notification struct {
		id         uint64
		pid, flags uint32
		data       [64]byte
	}
	response struct {
		id    uint64
		value int64
		error int32
		flags uint32
	}
)

const (
	ioctlReceive = 0xc0502100
	ioctlSend    = 0xc0182101
	goOn         = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// serve lets the calls go on when their time has come, until the program is gone.
func (d *slowDisk) serve(listener int) {
	defer unix.Close(listener)
	for {
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlReceive, uintptr(unsafe.Pointer(&n))); errno == unix.EINTR {
			continue
		} else if errno != 0 {
			return
		}
		go func() {
			d.turn.Lock()
			time.Sleep(d.flush)
			d.turn.Unlock()
			d.flushes.Add(1)
			r := response{id: n.id, flags: goOn}
			unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlSend, uintptr(unsafe.Pointer(&r)))
		}()
	}
}

// beHeld puts the filter on, hands its other end over and becomes the program args name. It returns only an error.
func beHeld(args []string) error {
	runtime.LockOSThread() // the filter is this thread's, and goes with the program that takes its place
	held := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNCFS}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for i, nr := range held {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(held) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("hold flushes: %w", errno)
	}
	const socket = 3
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	unix.Close(int(listener))
	unix.CloseOnExec(socket)
	return fmt.Errorf("run %s: %w", strings.Join(args, " "), syscall.Exec(args[0], args, os.Environ()))
}
