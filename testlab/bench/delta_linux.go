package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"handout/manifest"
	"handout/testlab/cli"
	"handout/testlab/nginx"
)

// pairs are trees of which two versions that follow each other can be had where everybody can get them.
var pairs = []struct {
	name string
	get  func(ctx context.Context, dir string) (before, after string, err error) // folders below dir
}{
	{"npm: typescript 5.9.2 and 5.9.3", func(ctx context.Context, dir string) (string, string, error) {
		before, err := npmPackage(ctx, dir, "typescript@5.9.2")
		if err != nil {
			return "", "", err
		}
		after, err := npmPackage(ctx, dir, "typescript@5.9.3")
		return before, after, err
	}},
	{"Debian: kernel headers for all flavours", kernelHeaders},
}

// delta: what a new version costs where the one before stands.
func delta(ctx context.Context, b *bench) error {
	for i, p := range pairs {
		dir := filepath.Join(b.dir, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		before, after, err := p.get(ctx, dir)
		if err != nil {
			fmt.Printf("  %s: left out: %v\n", p.name, err)
			continue
		}
		fmt.Printf("  %s: %s to %s\n", p.name, filepath.Base(before), filepath.Base(after))
		if err := b.deltaOf(ctx, dir, before, after); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) deltaOf(ctx context.Context, dir, before, after string) error {
	logs := filepath.Join(dir, "nginx")
	if err := os.Mkdir(logs, 0o755); err != nil {
		return err
	}
	server, err := nginx.Start(ctx, b.here, filepath.Dir(after), logs)
	if err != nil {
		return err
	}
	defer server.Process.Kill()
	pkg, err := b.program.Publish(ctx, dir, after, server.URL(filepath.Base(after)), "--allow-non-windows-names")
	if err != nil {
		return err
	}
	dest := filepath.Join(dir, "dest")
	if err := copyTree(ctx, before, dest); err != nil {
		return err
	}
	done, err := lastEvent(b.program.Fetch(ctx, pkg, dest, "--no-peers", "--replace"))
	if err != nil {
		return err
	}
	if same, err := exec.CommandContext(ctx, "diff", "-r", "--no-dereference", after, dest).CombinedOutput(); err != nil {
		return fmt.Errorf("not what was published: %w: %s", err, same)
	}
	changed, borders, err := changes(pkg, before)
	if err != nil {
		return err
	}
	fmt.Printf("    new version %s; files that changed %s, in pieces' borders up to %s more\n", mib(done.Bytes), mib(changed), mib(borders))
	fmt.Printf("    handout fetched %s in %.2f s: %.2f of the changed files, %.2f of them with their borders\n",
		mib(done.FromOrigin), done.Seconds, ratio(done.FromOrigin, changed), ratio(done.FromOrigin, changed+borders))
	if err := rsyncDelta(ctx, dir, before, after, changed); err != nil {
		fmt.Printf("    rsync: left out: %v\n", err)
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }

func ratio(n, of int64) float64 { return float64(n) / float64(max(of, 1)) }

// changes are the bytes of a package's files whose content is nowhere in the tree before, and of two pieces for each
// stretch of such files.
func changes(pkg cli.Package, before string) (changed, borders int64, err error) {
	raw, err := os.ReadFile(pkg.Manifest)
	if err != nil {
		return 0, 0, err
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return 0, 0, err
	}
	here := map[[32]byte]bool{}
	err = filepath.WalkDir(before, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		here[sha256.Sum256(data)] = true
		return err
	})
	stretch := false
	for _, f := range m.Files {
		if f.Length == 0 {
			continue
		}
		if here[f.SHA256] {
			stretch = false
			continue
		}
		changed += f.Length
		if !stretch {
			borders += 2 * m.PieceLength
		}
		stretch = true
	}
	return changed, borders, err
}

// rsyncDelta brings a copy of the old tree up to date, comparing files as it does over a network.
func rsyncDelta(ctx context.Context, dir, before, after string, changed int64) error {
	if !installed("rsync") {
		return errors.New("not installed: make deps")
	}
	dest := filepath.Join(dir, "rsync")
	if err := copyTree(ctx, before, dest); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "rsync", "-a", "--delete", "--no-whole-file", "--stats", after+"/", dest)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var moved int64
	for _, what := range []string{"Total bytes sent", "Total bytes received"} {
		n, err := number(out, what+`: ([\d,]+)`)
		if err != nil {
			return err
		}
		moved += n
	}
	literal, err := number(out, `Literal data: ([\d,]+)`)
	if err != nil {
		return err
	}
	fmt.Printf("    rsync --stats: %s both ways, %s of it file data: %.2f of the changed files\n", mib(moved), mib(literal), ratio(moved, changed))
	return nil
}

func number(text []byte, pattern string) (int64, error) {
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("nothing matches %s in %q", pattern, text)
	}
	return strconv.ParseInt(strings.ReplaceAll(string(found[1]), ",", ""), 10, 64)
}

// npmPackage unpacks a package of the npm registry.
func npmPackage(ctx context.Context, dir, name string) (string, error) {
	to := filepath.Join(dir, strings.Replace(name, "@", "-", 1))
	if err := os.Mkdir(to, 0o755); err != nil {
		return "", err
	}
	if err := quietly(ctx, dir, "npm", "pack", "--silent", name); err != nil {
		return "", err
	}
	archive := to + ".tgz"
	return to, quietly(ctx, dir, "tar", "--strip-components=1", "--no-same-owner", "-C", to, "-xzf", archive)
}

// kernelHeaders unpacks the newest two packages of kernel headers for all flavours that follow each other and differ.
func kernelHeaders(ctx context.Context, dir string) (before, after string, err error) {
	out, err := exec.CommandContext(ctx, "sh", "-c",
		"apt-cache search --names-only '^linux-headers-[0-9.]+-[0-9]+-common$' | cut -d' ' -f1 | sort -V | tail -4").Output()
	if err != nil {
		return "", "", err
	}
	for _, name := range slices.Backward(strings.Fields(string(out))) {
		if before, err = debianHeaders(ctx, dir, name); err != nil {
			return "", "", err
		}
		if after != "" && quietly(ctx, dir, "diff", "-rq", before, after) != nil {
			return before, after, nil
		}
		after = before
	}
	return "", "", errors.New("apt knows no two that differ: apt-get update")
}

func debianHeaders(ctx context.Context, dir, name string) (string, error) {
	if err := quietly(ctx, dir, "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name); err != nil {
		return "", err
	}
	archive, _ := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if len(archive) != 1 {
		return "", fmt.Errorf("apt-get download %s brought %v", name, archive)
	}
	to := filepath.Join(dir, name+".deb")
	if err := quietly(ctx, dir, "dpkg-deb", "-x", archive[0], to); err != nil {
		return "", err
	}
	folder := filepath.Join(to, "usr", "src", name)
	// Links into other packages lead out of the tree.
	return folder, quietly(ctx, dir, "find", folder, "-maxdepth", "1", "-type", "l", "-delete")
}

func quietly(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func copyTree(ctx context.Context, from, to string) error {
	return quietly(ctx, "/", "cp", "-a", from, to)
}

// lastEvent runs a fetch and returns what it said last.
func lastEvent(cmd *exec.Cmd) (last cli.Event, err error) {
	out, err := cmd.Output()
	readErr := cli.ReadEvents(bytes.NewReader(out), func(e cli.Event) { last = e })
	return last, errors.Join(err, readErr)
}
