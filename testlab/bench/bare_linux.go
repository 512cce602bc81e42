package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// bareArgument makes this program a contender: it reads a file over several connections, hashes every byte and writes it,
// and knows nothing of manifests, plans or stores. Nothing that checks what it fetches can cost less processor time.
const bareArgument = "-bare"

const (
	bareConnections = 4
	// bareChunk is small enough to stay in a core's cache between the three things that are done with it.
	bareChunk = 256 << 10
)

// bare is the contender that fetches url, of size bytes, to a file below out.
func bare(url string, size int64) contender {
	return contender{
		name: "read, hash, write",
		cmd: func(ctx context.Context, out string) *exec.Cmd {
			program, err := os.Executable()
			if err != nil {
				program = os.Args[0]
			}
			return exec.CommandContext(ctx, program, bareArgument, url, strconv.FormatInt(size, 10), filepath.Join(out, filepath.Base(url)))
		},
	}
}

// beBare does what bareArgument is for. The arguments are the URL, the size and the file to write.
func beBare(args []string) error {
	if len(args) != 3 {
		return errors.New("wants a URL, a size and a file")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	file, err := os.Create(args[2])
	if err != nil {
		return err
	}
	var g errgroup.Group
	part := (size + bareConnections - 1) / bareConnections
	for off := int64(0); off < size; off += part {
		g.Go(func() error { return barePart(file, args[0], off, min(part, size-off)) })
	}
	return errors.Join(g.Wait(), file.Close())
}

// barePart fetches n bytes from off on, over a connection of its own.
func barePart(file *os.File, url string, off, n int64) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	resp, err := own.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	buf := make([]byte, bareChunk)
	for end := off + n; off < end; {
		b := buf[:min(bareChunk, end-off)]
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			return err
		}
		sha256.Sum256(b)
		if _, err := file.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}
