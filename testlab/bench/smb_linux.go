package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"handout/sources/smborigin"
	"handout/sources/sourcetest"
	"handout/testlab/cli"
	"handout/testlab/payload"
)

// gigabit is what a link of 1 Gbit/s carries, in bytes per second.
const gigabit = 125_000_000

// account is who reads where guests can't: one of Debian's own users.
var account = smborigin.Credentials{User: "games", Password: "bench"}

// smb: a share as the origin, beside smbclient at the same server.
func smb(ctx context.Context, b *bench) error {
	if !installed("smbclient") {
		return nil
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *share) error
	}{
		{"file", smbFile}, {"link", smbLink}, {"stopped", smbStopped}, {"tree", smbTree},
	} {
		dir, err := os.MkdirTemp(b.dir, part.name+"-")
		if err != nil {
			return err
		}
		err = part.run(ctx, &share{bench: b, dir: dir})
		if errors.Is(err, sourcetest.ErrNoSamba) {
			fmt.Printf("  left out: %v\n", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// share is what is served for one part of the row.
type share struct {
	*bench
	dir     string
	servers int
}

// serve starts a Samba that has root as its share pkg.
func (s *share) serve(root, global string) (*sourcetest.Samba, error) {
	s.servers++
	server := &sourcetest.Samba{
		Shares: map[string]string{"pkg": root},
		Dir:    filepath.Join(s.dir, fmt.Sprint("samba", s.servers)),
		Global: global,
		User:   account.User, Password: account.Password,
	}
	if err := os.Mkdir(server.Dir, 0o755); err != nil {
		return nil, err
	}
	return server, server.Start()
}

// credentials is a file for handout and smbclient alike.
func (s *share) credentials() (string, error) {
	path := filepath.Join(s.dir, "credentials")
	return path, os.WriteFile(path, []byte("username = "+account.User+"\npassword = "+account.Password+"\n"), 0o600)
}

// file is one of random bytes, readable to the account, in a folder of its own.
func (s *share) file(size int64) (string, error) {
	for _, d := range []string{filepath.Dir(s.bench.dir), s.bench.dir, s.dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			return "", err
		}
	}
	made := filepath.Join(s.dir, "made")
	path := filepath.Join(s.dir, "src", "one.bin")
	return path, errors.Join(payload.Write(made, 1, size), os.Mkdir(filepath.Dir(path), 0o755),
		os.Rename(filepath.Join(made, payload.Name), path), os.RemoveAll(made))
}

// handout fetches pkg, from the origin at url first.
func (s *share) handout(name string, pkg cli.Package, out, url string, check func(string) (string, error), flags ...string) contender {
	return contender{
		name: name,
		cmd: func(ctx context.Context, dir string) *exec.Cmd {
			return s.program.Fetch(ctx, pkg, filepath.Join(dir, out), append([]string{"--no-peers", "--origin", url}, flags...)...)
		},
		check: check,
	}
}

// smbclient runs one command in a new folder tree.
func (s *share) smbclient(name, address, command string, check func(string) (string, error), flags ...string) contender {
	host, port := hostPort(address)
	return contender{
		name: name,
		cmd: func(ctx context.Context, dir string) *exec.Cmd {
			into := filepath.Join(dir, "tree")
			os.Mkdir(into, 0o755) // where it can't be made, smbclient says so
			args := append([]string{"//" + host + "/pkg", "-p", port, "-s", "/dev/null", "-c", "lcd " + into + "; " + command}, flags...)
			return exec.CommandContext(ctx, "smbclient", args...)
		},
		check: check,
	}
}

// below is check for what lies in the folder tree of its result.
func below(check func(string) (string, error)) func(string) (string, error) {
	return func(out string) (string, error) { return check(filepath.Join(out, "tree")) }
}

// smbFile: figures 1 and 3, on loopback: plain and encrypted, beside smbclient, HTTP, and the library alone.
func smbFile(ctx context.Context, s *share) error {
	const size = 1 << 30
	file, err := s.file(size)
	if err != nil {
		return err
	}
	plain, err := s.serve(filepath.Dir(file), "")
	if err != nil {
		return err
	}
	defer plain.Stop()
	sealed, err := s.serve(filepath.Dir(file), "server smb encrypt = required")
	if err != nil {
		return err
	}
	defer sealed.Stop()
	web, err := s.bench.serve(ctx, filepath.Dir(file))
	if err != nil {
		return err
	}
	defer web.Process.Kill()
	pkg, err := s.program.Publish(ctx, s.dir, file, plain.URL("pkg/one.bin"))
	if err != nil {
		return err
	}
	secret, err := s.credentials()
	if err != nil {
		return err
	}
	check, inTree := sameFile(file), below(sameFile(file))
	found, err := s.medians(ctx, 5, size,
		s.handout("handout, smb", pkg, "one.bin", plain.URL("pkg/one.bin"), check),
		s.smbclient("smbclient", plain.Address, "get one.bin", inTree, "-N"),
		s.handout("handout, smb encrypted", pkg, "one.bin", sealed.URL("pkg/one.bin"), check, "--credentials", secret),
		s.smbclient("smbclient, encrypted", sealed.Address, "get one.bin", inTree, "-A", secret),
		s.handout("handout, http", pkg, "one.bin", web.URL("one.bin"), check))
	if err != nil {
		return err
	}
	http := found["handout, http"]
	for _, c := range []struct {
		name, contender string
		server          *sourcetest.Samba
	}{{"plain", "handout, smb", plain}, {"encrypted", "handout, smb encrypted", sealed}} {
		raw, err := s.rawRate(ctx, c.server.Address, "one.bin", size)
		if err != nil {
			return err
		}
		rate := found[c.contender].rate(size)
		fmt.Printf("  %s: go-smb2 alone, 4 sessions to memory, %.0f MB/s; handout %.2f of that, and %.2f of what it does over HTTP\n",
			c.name, raw/1e6, rate/raw, rate/http.rate(size))
	}
	fmt.Printf("  CPU above HTTP: %.2f s/GiB\n", (found["handout, smb"].cpu-http.cpu).Seconds()*(1<<30)/size)
	return nil
}

// smbLink: figure 1, over links of 1 Gbit/s with round trips of 2 and 10 ms.
func smbLink(ctx context.Context, s *share) error {
	const size = 1 << 30
	file, err := s.file(size)
	if err != nil {
		return err
	}
	server, err := s.serve(filepath.Dir(file), "")
	if err != nil {
		return err
	}
	defer server.Stop()
	pkg, err := s.program.Publish(ctx, s.dir, file, server.URL("pkg/one.bin"))
	if err != nil {
		return err
	}
	for _, roundTrip := range []time.Duration{2 * time.Millisecond, 10 * time.Millisecond} {
		way := &sourcetest.Delay{Server: server.Address, OneWay: roundTrip / 2, BytesPerSec: gigabit}
		if err := way.Start(); err != nil {
			return err
		}
		defer way.Close()
		bare, err := bareRate(roundTrip, size)
		if err != nil {
			return err
		}
		fmt.Printf("  1 Gbit/s, round trip %v (one plain TCP stream gets %.3f of it):\n", roundTrip, bare/gigabit)
		check := sameFile(file)
		found, err := s.medians(ctx, 3, size,
			s.handout("handout", pkg, "one.bin", "smb://"+way.Address+"/pkg/one.bin", check),
			s.smbclient("smbclient", way.Address, "get one.bin", below(check), "-N"))
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			fmt.Printf("  %s: %.3f of the link\n", name, found[name].rate(size)/gigabit)
		}
	}
	return nil
}

// bareRate is what one TCP stream without any protocol brings over such a link, in bytes per second.
func bareRate(roundTrip time.Duration, size int64) (float64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for buf := make([]byte, 1<<20); err == nil; {
			_, err = c.Write(buf)
		}
	}()
	way := &sourcetest.Delay{Server: l.Addr().String(), OneWay: roundTrip / 2, BytesPerSec: gigabit}
	if err := way.Start(); err != nil {
		return 0, err
	}
	defer way.Close()
	begun := time.Now()
	c, err := net.Dial("tcp", way.Address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_, err = io.CopyN(io.Discard, c, size)
	return float64(size) / time.Since(begun).Seconds(), err
}

// smbStopped: figure 5, the server stands still for 20 s in mid-fetch.
func smbStopped(ctx context.Context, s *share) error {
	const size, stop = 512 << 20, 20 * time.Second
	file, err := s.file(size)
	if err != nil {
		return err
	}
	server, err := s.serve(filepath.Dir(file), "")
	if err != nil {
		return err
	}
	defer server.Stop()
	way := &sourcetest.Delay{Server: server.Address, OneWay: time.Millisecond, BytesPerSec: gigabit}
	if err := way.Start(); err != nil {
		return err
	}
	defer way.Close()
	url := "smb://" + way.Address + "/pkg/one.bin"
	pkg, err := s.program.Publish(ctx, s.dir, file, url)
	if err != nil {
		return err
	}
	var walls []time.Duration
	for _, stopped := range []bool{false, true} {
		out, err := os.MkdirTemp(s.dir, "out-")
		if err != nil {
			return err
		}
		if stopped {
			time.AfterFunc(2*time.Second, func() { server.Signal(syscall.SIGSTOP) })
			time.AfterFunc(2*time.Second+stop, func() { server.Signal(syscall.SIGCONT) })
		}
		e, err := s.measure(s.program.Fetch(ctx, pkg, filepath.Join(out, "one.bin"), "--no-peers"), nil)
		if err != nil {
			return err
		}
		if _, err := sameFile(file)(out); err != nil {
			return err
		}
		walls = append(walls, e.wall)
	}
	fmt.Printf("  server stopped for %v in mid-fetch: %.1f s, without %.1f s: %.1f s later\n",
		stop, walls[1].Seconds(), walls[0].Seconds(), (walls[1] - walls[0]).Seconds())
	return nil
}

// smbTree: figure 2, the Go tree on loopback and a part of it over 2 ms.
func smbTree(ctx context.Context, s *share) error {
	source, size, err := goTree(ctx)
	if err != nil {
		return err
	}
	server, err := s.serve(filepath.Dir(source), "")
	if err != nil {
		return err
	}
	defer server.Stop()
	root := filepath.Base(source)
	pkg, err := s.publishGoTree(ctx, source, server.URL("pkg/"+root))
	if err != nil {
		return err
	}
	all := "; recurse; prompt; mget *"
	fmt.Println("  the Go tree on loopback:")
	found, err := s.medians(ctx, 3, size,
		s.handout("handout", pkg, "tree", server.URL("pkg/"+root), sameTree(source)),
		s.smbclient("smbclient", server.Address, "cd "+root+all, sameTree(source), "-N"))
	if err != nil {
		return err
	}
	printTimes(found)
	part := filepath.Join(source, "src", "net")
	if size, err = payload.Bytes(part); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "part")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if pkg, err = s.program.Publish(ctx, dir, part, server.URL("pkg/"+root+"/src/net"), "--allow-non-windows-names"); err != nil {
		return err
	}
	way := &sourcetest.Delay{Server: server.Address, OneWay: time.Millisecond}
	if err := way.Start(); err != nil {
		return err
	}
	defer way.Close()
	fmt.Println("  its folder src/net, round trip 2 ms:")
	found, err = s.medians(ctx, 3, size,
		s.handout("handout", pkg, "tree", "smb://"+way.Address+"/pkg/"+root+"/src/net", sameTree(part)),
		s.smbclient("smbclient", way.Address, "cd "+root+"/src/net"+all, sameTree(part), "-N"))
	if err == nil {
		printTimes(found)
	}
	return err
}

// printTimes says how much faster handout was.
func printTimes(found map[string]effort) {
	if client, ok := found["smbclient"]; ok {
		fmt.Printf("  handout is %.1f times as fast as smbclient\n", client.wall.Seconds()/found["handout"].wall.Seconds())
	}
}

// rawRate is what the library brings with as many sessions as handout opens, thrown away as it comes: the median of 3,
// in bytes per second.
func (s *share) rawRate(ctx context.Context, address, name string, size int64) (float64, error) {
	var rates []float64
	for range 3 {
		var g sync.WaitGroup
		errs := make([]error, 4)
		begun := time.Now()
		for i := range errs {
			g.Go(func() { errs[i] = readRaw(ctx, address, name, size/4*int64(i), size/4) })
		}
		g.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, err
		}
		rates = append(rates, float64(size)/time.Since(begun).Seconds())
	}
	return median(rates), nil
}
