// Wine runs tests for Windows on a machine that has none, as far as Wine goes (files, locks, sparse files, UNC paths, TCP,
// UDP; no Unix sockets, no symlinks that are followed).
//
//	go run ./testlab/wine [flags and packages of go test]
//
// Each run has a prefix of its own, which is gone afterwards: no Windows of the user's is touched. Wine 8 starts programs
// of this Go only with a system library that it lacks (bcryptprimitives), and two calls of Go's own library are made to do
// without what it can't. Tests find the UNC path of a folder that they may write to in $HANDOUT_UNC.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wine:", err)
		os.Exit(1)
	}
}

//go:embed bcryptprimitives/processprng.c
var library []byte

// replacements are made in Go's library, in files below GOROOT/src.
var replacements = []struct{ file, old, new string }{
	// Wine knows nothing of SIO_UDP_NETRESET, without which Go opens no UDP socket.
	{"net/fd_windows.go", "err = syscall.WSAIoctl(fd.pfd.Sysfd, windows.SIO_UDP_NETRESET,", "_ = syscall.WSAIoctl(fd.pfd.Sysfd, windows.SIO_UDP_NETRESET,"},
	// Nor of deleting with POSIX semantics, which Windows has had since 2016; Go has a way for file systems without.
	{"internal/syscall/windows/at_windows.go", "var TestDeleteatFallback bool", "var TestDeleteatFallback = true"},
}

// share is where the prefix has what lies under \\handout\share.
var share = filepath.Join("dosdevices", "unc", "handout", "share")

func run(ctx context.Context, args []string) (err error) {
	wine, wineErr := find("wine64", "/usr/lib/wine/wine64")
	server, serverErr := find("wineserver", "/usr/lib/wine/wineserver")
	cc, ccErr := find("x86_64-w64-mingw32-gcc")
	if missing := errors.Join(wineErr, serverErr, ccErr); missing != nil {
		return fmt.Errorf("needs Wine and MinGW: make test-windows as root installs them: %w", missing)
	}
	dir, err := os.MkdirTemp("", "handout-wine-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	prefix := filepath.Join(dir, "prefix")
	env := append(os.Environ(), "WINEPREFIX="+prefix, "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	command := func(program string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
		// The last chance to end in an orderly way; go test passes it on.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		return cmd
	}
	// The verdict runs here, what it runs is for Windows.
	verdict := filepath.Join(dir, "verdict")
	if err := command("go", "build", "-o", verdict, "./testlab/verdict").Run(); err != nil {
		return fmt.Errorf("build the verdict: %w", err)
	}
	defer func() {
		kill := exec.Command(server, "-k")
		kill.Env = env
		kill.Run() // whatever of this prefix still runs
	}()
	if err := command(wine, "wineboot", "-i").Run(); err != nil {
		return fmt.Errorf("make a Windows folder for Wine: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(prefix, share), 0o755); err != nil {
		return err
	}
	source := filepath.Join(dir, "processprng.c")
	if err := os.WriteFile(source, library, 0o644); err != nil {
		return err
	}
	dll := filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if err := command(cc, "-shared", "-O1", "-o", dll, source, "-ladvapi32").Run(); err != nil {
		return fmt.Errorf("build the library that Wine lacks: %w", err)
	}
	overlay, err := overlay(ctx, dir)
	if err != nil {
		return err
	}
	test := command(verdict, append([]string{"-count=1", "-overlay=" + overlay, "-exec=" + wine}, args...)...)
	test.Env = append(env, "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0", `HANDOUT_UNC=\\handout\share`)
	return test.Run()
}

// find is the path of a program, which may lie where Debian hides it.
func find(program string, hidden ...string) (string, error) {
	path, err := exec.LookPath(program)
	for _, h := range hidden {
		if err != nil {
			path, err = exec.LookPath(h)
		}
	}
	return path, err
}

// overlay writes the replaced files of Go's library and what go build's -overlay wants to know of them.
func overlay(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	replaced := map[string]string{}
	for i, r := range replacements {
		file := filepath.Join(string(bytes.TrimSpace(root)), "src", filepath.FromSlash(r.file))
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if bytes.Count(text, []byte(r.old)) != 1 {
			return "", fmt.Errorf("%s has no %q: this version of Go needs another replacement", file, r.old)
		}
		replaced[file] = filepath.Join(dir, fmt.Sprintf("replaced%d.go", i))
		if err := os.WriteFile(replaced[file], bytes.Replace(text, []byte(r.old), []byte(r.new), 1), 0o644); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}
