package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"handout/testlab/cli"
	"handout/testlab/nginx"
	"handout/testlab/payload"
)

// lone: what checking every byte costs against a tool that checks none, and against nothing but the check itself.
func lone(ctx context.Context, b *bench) error {
	file, size, err := b.randomFile(1 << 30)
	if err != nil {
		return err
	}
	server, err := b.serve(ctx, filepath.Dir(file))
	if err != nil {
		return err
	}
	defer server.Process.Kill()
	url := server.URL(filepath.Base(file))
	pkg, err := b.program.Publish(ctx, b.dir, file, url)
	if err != nil {
		return err
	}
	contenders := []contender{{
		name: "handout",
		cmd: func(ctx context.Context, out string) *exec.Cmd {
			return b.program.Fetch(ctx, pkg, filepath.Join(out, filepath.Base(file)), "--no-peers")
		},
		check: sameFile(file),
	}}
	floor := bare(url, size)
	floor.check = sameFile(file)
	contenders = append(contenders, floor)
	if installed("aria2c") {
		contenders = append(contenders, contender{
			name: "aria2c",
			cmd: func(ctx context.Context, out string) *exec.Cmd {
				return exec.CommandContext(ctx, "aria2c", "--no-conf", "-q", "-x16", "-s16", "--file-allocation=none", "-d", out, url)
			},
			check: sameFile(file),
		})
	}
	return b.contest(ctx, 5, size, contenders...)
}

// tree: many small files, where round trips and system calls decide.
func tree(ctx context.Context, b *bench) error {
	source, size, err := goTree(ctx)
	if err != nil {
		return err
	}
	server, err := b.serve(ctx, filepath.Dir(source))
	if err != nil {
		return err
	}
	defer server.Process.Kill()
	url := server.URL(filepath.Base(source))
	pkg, err := b.publishGoTree(ctx, source, url)
	if err != nil {
		return err
	}
	contenders := []contender{
		{
			name: "handout",
			cmd: func(ctx context.Context, out string) *exec.Cmd {
				return b.program.Fetch(ctx, pkg, filepath.Join(out, "tree"), "--no-peers")
			},
			check: sameTree(source),
		},
		{
			name: "cp -a",
			cmd: func(ctx context.Context, out string) *exec.Cmd {
				return exec.CommandContext(ctx, "cp", "-a", source, filepath.Join(out, "tree"))
			},
			check: sameTree(source),
		},
	}
	if installed("rclone") {
		contenders = append(contenders, contender{
			name: "rclone",
			cmd: func(ctx context.Context, out string) *exec.Cmd {
				return exec.CommandContext(ctx, "rclone", "copy", "--config", "/dev/null", "--retries", "1", "--transfers", "16",
					"--http-url", url+"/", ":http:", filepath.Join(out, "tree"))
			},
			fails: true, // names that nginx's list or rclone's reading of it garble
			check: sameTree(source),
		})
	}
	return b.contest(ctx, 5, size, contenders...)
}

// randomFile makes one in a folder of its own.
func (b *bench) randomFile(size int64) (path string, total int64, err error) {
	made := filepath.Join(b.dir, "made")
	if err := payload.Write(made, 1, size); err != nil {
		return "", 0, err
	}
	src := filepath.Join(b.dir, "src")
	path = filepath.Join(src, "one.bin")
	return path, size, errors.Join(os.Mkdir(src, 0o755), os.Rename(filepath.Join(made, payload.Name), path), os.RemoveAll(made))
}

// serve starts nginx on this machine.
func (b *bench) serve(ctx context.Context, root string) (*nginx.Server, error) {
	logs := filepath.Join(b.dir, "nginx")
	if err := os.Mkdir(logs, 0o755); err != nil {
		return nil, err
	}
	return nginx.Start(ctx, b.here, root, logs)
}

// goTree is a real tree that is on every machine that can run this.
func goTree(ctx context.Context) (path string, size int64, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", 0, fmt.Errorf("go env GOROOT: %w", err)
	}
	if path, err = filepath.EvalSymlinks(strings.TrimSpace(string(out))); err != nil {
		return "", 0, err
	}
	size, err = payload.Bytes(path)
	return path, size, err
}

// publishGoTree signs a manifest of the Go tree, whose test data has names that Windows could not hold.
func (b *bench) publishGoTree(ctx context.Context, source, origin string) (cli.Package, error) {
	return b.program.Publish(ctx, b.dir, source, origin, "--allow-non-windows-names")
}

// sameFile checks that out has a file of want's name and content.
func sameFile(want string) func(string) (string, error) {
	return func(out string) (string, error) {
		c, err := payload.Compare(want, filepath.Join(out, filepath.Base(want)))
		if err == nil && c.Content != c.Files {
			err = fmt.Errorf("not what was sent: %s", strings.Join(c.Differs, "; "))
		}
		return "", err
	}
}

// sameTree counts what is right below out/tree.
func sameTree(want string) func(string) (string, error) {
	return func(out string) (string, error) {
		c, err := payload.Compare(want, filepath.Join(out, "tree"))
		return fmt.Sprintf("of %d files %d with the right content, %d with mode and time too", c.Files, c.Content, c.Right), err
	}
}
