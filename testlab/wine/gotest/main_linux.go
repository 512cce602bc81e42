// Gotest runs tests for Windows on a machine that has none, as far as Wine goes.
//
//	go run ./testlab/wine/gotest [flags and packages of go test]
//
// Tests find the UNC path of a folder that they may write to in $HANDOUT_UNC.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"handout/testlab/lab"
	"handout/testlab/wine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	dir, err := os.MkdirTemp("", "handout-wine-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The verdict runs here, what it runs is for Windows.
	verdict := filepath.Join(dir, "verdict")
	if said, err := exec.CommandContext(ctx, "go", "build", "-o", verdict, "./testlab/verdict").CombinedOutput(); err != nil {
		return fmt.Errorf("build the verdict: %w: %s", err, said)
	}
	overlay, err := wine.Overlay(ctx, dir)
	if err != nil {
		return err
	}
	disk, err := wine.NewDisk(ctx, dir)
	if err != nil {
		return err
	}
	here := lab.Local()
	defer here.Close()
	windows, err := disk.Boot(ctx, here, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, windows.Close()) }()
	test := exec.CommandContext(ctx, verdict, append([]string{"-count=1", "-overlay=" + overlay, "-exec=" + windows.Loader()}, args...)...)
	test.Env = slices.Concat(os.Environ(), windows.Variables(), wine.Environment, []string{"HANDOUT_UNC=" + wine.Share})
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	// The last chance to end in an orderly way; go test passes it on.
	test.Cancel = func() error { return test.Process.Signal(os.Interrupt) }
	return test.Run()
}
