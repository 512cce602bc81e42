package wine

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"handout/testlab/lab"
)

//go:embed bcryptprimitives/processprng.c
var library []byte

// Disk is a Windows that was installed and runs nowhere: machines boot copies of it.
type Disk struct {
	prefix       string
	wine, server string // programs
}

// NewDisk installs one in dir, which takes some seconds and some 700 MB. The error says what this machine lacks for it.
func NewDisk(ctx context.Context, dir string) (*Disk, error) {
	wine, wineErr := find("wine64", "/usr/lib/wine/wine64")
	server, serverErr := find("wineserver", "/usr/lib/wine/wineserver")
	cc, ccErr := find("x86_64-w64-mingw32-gcc")
	if missing := errors.Join(wineErr, serverErr, ccErr); missing != nil {
		return nil, fmt.Errorf("needs Wine and MinGW: make test-windows as root installs them: %w", missing)
	}
	d := &Disk{prefix: filepath.Join(dir, "disk"), wine: wine, server: server}
	here := lab.Local()
	defer here.Close()
	w, err := d.start(ctx, here, d.prefix, "wineboot", "--init")
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "processprng.c")
	if err := os.WriteFile(source, library, 0o644); err != nil {
		return nil, err
	}
	dll := w.Path(`C:\windows\system32\bcryptprimitives.dll`)
	if said, err := exec.CommandContext(ctx, cc, "-shared", "-O1", "-o", dll, source, "-ladvapi32").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the library that Wine lacks: %w: %s", err, said)
	}
	return d, os.MkdirAll(filepath.Join(d.prefix, shares), 0o755)
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

// copyTo makes a prefix with what is on the disk. Wine's own programs and libraries are most of it and never written to: one
// copy does for all.
func (d *Disk) copyTo(prefix string) error {
	return filepath.WalkDir(d.prefix, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.prefix, path)
		if err != nil {
			return err
		}
		to := filepath.Join(prefix, rel)
		switch extension := strings.ToLower(filepath.Ext(path)); {
		case rel == socketNote:
			return nil
		case entry.IsDir():
			return os.MkdirAll(to, 0o755)
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		case extension == ".dll" || extension == ".exe":
			return os.Link(path, to)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	})
}
