package wine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"handout/testlab/cli"
)

// replacements are made in Go's library, in files below GOROOT/src.
var replacements = []struct{ file, old, new string }{
	// Wine knows nothing of SIO_UDP_NETRESET, without which Go opens no UDP socket.
	{"net/fd_windows.go", "err = syscall.WSAIoctl(fd.pfd.Sysfd, windows.SIO_UDP_NETRESET,", "_ = syscall.WSAIoctl(fd.pfd.Sysfd, windows.SIO_UDP_NETRESET,"},
	// Nor of deleting with POSIX semantics, which Windows has had since 2016; Go has a way for file systems without.
	{"internal/syscall/windows/at_windows.go", "var TestDeleteatFallback bool", "var TestDeleteatFallback = true"},
}

// Environment is what go build and go test have to know to make programs for Wine, beside Overlay.
var Environment = []string{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"}

// Overlay writes the replaced files of Go's library to dir, and beside them what go build's -overlay wants to know of them, whose
// path it returns.
func Overlay(ctx context.Context, dir string) (string, error) {
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

// Build makes handout.exe in dir, which says that it has this version.
func Build(ctx context.Context, dir, version string) (cli.Program, error) {
	overlay, err := Overlay(ctx, dir)
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "handout.exe")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay="+overlay, "-ldflags=-s -w -X main.version="+version,
		"-o", exe, "handout/cmd/handout")
	cmd.Env = append(os.Environ(), Environment...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build handout for Wine: %w: %s", err, said)
	}
	return cli.Program(exe), nil
}

// Package makes the MSI of a version in dir, as make packages does, with a program that runs under Wine.
func Package(ctx context.Context, dir, version string) (msi string, err error) {
	overlay, err := Overlay(ctx, dir)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "handout/cmd/packages", "-o", dir, "-version", version, "msi")
	// Without a key to sign with: nobody here looks at signatures.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay, "CGO_ENABLED=0", "SIGN_KEY=", "SIGN_CERTS=")
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	cmd.Dir = string(bytes.TrimSpace(root))
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the MSI: %w: %s", err, said)
	}
	return filepath.Join(dir, "handout-"+version+"-x64.msi"), nil
}
