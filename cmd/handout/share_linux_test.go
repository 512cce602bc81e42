package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"handout/sources/sourcetest"
)

const shareUser, sharePassword = "games", "hunter2 = secret"

// share serves dir as the share pkg of a real Samba: to guests, and to shareUser.
func share(t *testing.T, dir, lines string) *sourcetest.Samba {
	t.Helper()
	s := &sourcetest.Samba{Shares: map[string]string{"pkg": dir}, Dir: t.TempDir(), User: shareUser, Password: sharePassword, Share: lines}
	if err := s.Start(); errors.Is(err, sourcetest.ErrNoSamba) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// runHere runs handout in this process and returns its exit code and all it said.
func runHere(t *testing.T, args ...string) (int, string) {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	code := (&app{in: null, out: said, err: said}).run(t.Context(), args)
	text, err := os.ReadFile(said.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text)
}

// A package whose tree and whose manifest lie on a share, to which only who has an account gets in. What an account's
// password is, nothing that handout writes tells.
func TestPackageOnAShare(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("content "), 100_000)
	if err := errors.Join(os.WriteFile(filepath.Join(tree, "sub", "a"), content, 0o644), os.WriteFile(filepath.Join(tree, "empty"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	s := share(t, dir, "guest ok = no")
	pkg := filepath.Join(dir, "pkg.torrent")
	if code, said := runHere(t, "publish", tree, "--unsigned", "--origin", s.URL("pkg/tree"), "-o", pkg); code != exitDone {
		t.Fatalf("publish: %d, %s", code, said)
	}
	work := t.TempDir()
	log := filepath.Join(work, "log")
	fetch := func(name string, more ...string) (int, string) {
		args := append([]string{"fetch", s.URL("pkg/pkg.torrent"), "--allow-unsigned", "--no-peers", "--log", log, "--dest", filepath.Join(work, name)}, more...)
		return runHere(t, args...)
	}
	check := func(name string, code int, said string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(work, name, "sub", "a"))
		if code != exitDone || err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: exit %d, %v, right bytes: %v; %s", name, code, err, bytes.Equal(got, content), said)
		}
	}

	if code, said := fetch("guest"); code != exitNoSource || !strings.Contains(said, "access denied") {
		t.Errorf("without an account: exit %d, %s", code, said)
	}
	file := filepath.Join(work, "credentials")
	if err := os.WriteFile(file, []byte("# lab\nusername = "+shareUser+"\npassword = "+sharePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, said := fetch("file", "--credentials", file)
	check("file", code, said)

	t.Setenv("HANDOUT_SMB_USER", `LAB\`+shareUser)
	t.Setenv("HANDOUT_SMB_PASSWORD", sharePassword)
	code, said = fetch("environment")
	check("environment", code, said)

	t.Setenv("HANDOUT_SMB_PASSWORD", "hunter2 wrong")
	code, said = fetch("wrong")
	if code != exitNoSource || !strings.Contains(said, `does not know LAB\games with this password`) {
		t.Errorf("with a wrong password: exit %d, %s", code, said)
	}
	if _, said := fetch("wrong too", "--origin", "smb://"+shareUser+":hunter2@"+s.Address+"/pkg/tree"); strings.Contains(said, "hunter2") {
		t.Errorf("a password in a URL is shown: %s", said)
	}
	for _, f := range []string{log, pkg} {
		text, err := os.ReadFile(f)
		if err != nil || bytes.Contains(text, []byte("hunter2")) {
			t.Errorf("%s: %v, or a password in it", f, err)
		}
	}
}

// The password of a user that a URL names is asked for at a terminal, and not shown there.
func TestPasswordIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	tree := filepath.Join(dir, "tree")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "a"), []byte("content"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s := share(t, dir, "guest ok = no")
	pkg, dest := filepath.Join(dir, "pkg.torrent"), filepath.Join(t.TempDir(), "dest")
	if code, said := runHere(t, "publish", tree, "--unsigned", "--origin", s.URL("pkg/tree"), "-o", pkg); code != exitDone {
		t.Fatalf("publish: %d, %s", code, said)
	}
	keyboard, terminal := pseudoterminal(t)
	var screen bytes.Buffer
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		for buf := make([]byte, 1000); ; {
			n, err := keyboard.Read(buf)
			if screen.Write(buf[:n]); err != nil {
				return // the terminal is closed
			}
			if n > 0 && bytes.HasSuffix(screen.Bytes(), []byte(": ")) {
				for k := 0; echoes(keyboard) && k < 500; k++ { // nobody types as soon as the question is there
					time.Sleep(10 * time.Millisecond)
				}
				keyboard.Write([]byte(sharePassword + "\n"))
			}
		}
	}()
	code := (&app{in: terminal, out: terminal, err: terminal}).run(t.Context(), []string{
		"fetch", "smb://" + shareUser + "@" + s.Address + "/pkg/pkg.torrent", "--allow-unsigned", "--no-peers", "--dest", dest})
	terminal.Close()
	<-seen
	said := screen.String()
	if got, err := os.ReadFile(filepath.Join(dest, "a")); code != exitDone || err != nil || string(got) != "content" {
		t.Errorf("exit %d, %q, %v; %s", code, got, err, said)
	}
	if !strings.Contains(said, "Password of games on 127.0.0.1: ") || strings.Contains(said, sharePassword) {
		t.Errorf("the terminal shows %s", said)
	}
}

func echoes(terminal *os.File) bool {
	t, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	return err == nil && t.Lflag&unix.ECHO != 0
}

// pseudoterminal is a terminal, and what is in place of a person before it.
func pseudoterminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

// A share's Windows name does everywhere, for a tree and for a manifest; it has no room for another port than SMB's own.
func TestPackageByItsWindowsName(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	tree := filepath.Join(dir, "tree")
	if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "a"), []byte("content"), 0o644)); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.45.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250))
	way := &sourcetest.Delay{Server: share(t, dir, "").Address, Listen: address + ":445"}
	if err := way.Start(); err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	pkg, dest := filepath.Join(dir, "pkg.torrent"), filepath.Join(t.TempDir(), "dest")
	if code, said := runHere(t, "publish", tree, "--unsigned", "--origin", `\\`+address+`\pkg\tree`, "-o", pkg); code != exitDone {
		t.Fatalf("publish: %d, %s", code, said)
	}
	code, said := runHere(t, "fetch", `\\`+address+`\pkg\pkg.torrent`, "--allow-unsigned", "--no-peers", "--dest", dest)
	if got, err := os.ReadFile(filepath.Join(dest, "a")); code != exitDone || err != nil || string(got) != "content" {
		t.Errorf("exit %d, %q, %v; %s", code, got, err, said)
	}
}

func TestOriginsOnSharesInManifests(t *testing.T) {
	for _, c := range []struct{ origin, refused string }{
		{"smb://fs/pkg/win11", ""},
		{`\\fs\pkg\win11`, ""},
		{"smb://fs:4455/pkg", ""},
		{"smb://lab;imaging@fs/pkg", ""},
		{"http://imaging@fs/pkg", "everybody can read it"},
		{"smb://imaging:hunter2@fs/pkg", "password"},
		{"smb://fs", "no share"},
		{`\\fs`, "no share"},
		{"smb://fs/pkg?x", "%3F"},
	} {
		urls, err := originURLs([]string{c.origin})
		if c.refused == "" {
			if err != nil || len(urls) != 1 || urls[0] != c.origin {
				t.Errorf("%s: %v, %v", c.origin, urls, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", c.origin, err, c.refused)
		}
	}
}

func TestAccountsOfTheConfig(t *testing.T) {
	dir := t.TempDir()
	credentials := filepath.Join(dir, "cred")
	if err := os.WriteFile(credentials, []byte("username=LAB/x\nusername=other\ndomain=D\npassword= p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, refused string }{
		{fmt.Sprintf("[[account]]\nserver = \"fs1\"\nuser = 'LAB\\imaging'\npassword = \"hunter2\"\n[[account]]\ncredentials = %q", credentials), ""},
		{"[[account]]\nserver = \"fs1\"", "neither user"},
		{fmt.Sprintf("[[account]]\nuser = \"u\"\ncredentials = %q", credentials), "one of these"},
		{"[[account]]\ncredentials = \"/absent\"", "number 1: read the credentials"},
		{"[[account]]\nkeytab = \"/absent\"", "number 1: read the keytab /absent"},
		{"[[account]]\nccache = \"KEYRING:x\"", "number 1: the credential cache KEYRING:x is no file"},
		{"[[account]]\nkeytab = \"k\"\npassword = \"hunter2\"", "one of these"},
		{"[[account]]\nuser = \"u\"\nprincipal = \"u@R\"", "need a keytab"},
		{"[[account]]\nusr = \"u\"", "usr"},
	} {
		file := filepath.Join(dir, "agent.toml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		config := defaultConfig()
		err := config.readFile(file)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", c.text, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := config.readVariables(func(string) string { return "" }); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(config.origins().Accounts); config.accounts[0].Server != "fs1" || got != `[LAB\imaging D\other]` {
			t.Errorf("accounts: %s", got)
		}
	}
}

// What happens to a server in mid-fetch costs a pause and a line in the log, not the fetch. With HANDOUT_SOAK set the pauses
// are as long as a server takes to start: longer than an answer is waited for.
func TestFetchOutlivesTheServersTroubles(t *testing.T) {
	short := os.Getenv("HANDOUT_SOAK") == ""
	pause := func(d time.Duration) {
		if short {
			d = time.Second
		}
		time.Sleep(d)
	}
	for _, c := range []struct {
		name  string
		quiet bool // nobody has to be told
		occur func(*sourcetest.Samba, *sourcetest.Delay) error
	}{
		{"it is restarted", false, func(s *sourcetest.Samba, _ *sourcetest.Delay) error {
			s.Stop()
			pause(time.Minute)
			return s.Start()
		}},
		{"it stands still", short, func(s *sourcetest.Samba, _ *sourcetest.Delay) error {
			err := s.Signal(syscall.SIGSTOP)
			pause(20 * time.Second)
			return errors.Join(err, s.Signal(syscall.SIGCONT))
		}},
		{"its connections are reset", false, func(_ *sourcetest.Samba, way *sourcetest.Delay) error {
			way.Reset()
			return nil
		}},
		{"the share is closed", false, func(s *sourcetest.Samba, _ *sourcetest.Delay) error {
			shares := s.Shares
			s.Shares = map[string]string{"other": s.Dir}
			err := errors.Join(s.Reload(), s.CloseShare("pkg"))
			pause(time.Minute)
			s.Shares = shares
			return errors.Join(err, s.Reload())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
				os.Chmod(d, 0o755)
			}
			content := make([]byte, 32<<20)
			rand.NewChaCha8([32]byte{}).Read(content)
			if err := os.WriteFile(filepath.Join(dir, "image.wim"), content, 0o644); err != nil {
				t.Fatal(err)
			}
			s := share(t, dir, "")
			way := &sourcetest.Delay{Server: s.Address, BytesPerSec: 16 << 20}
			if err := way.Start(); err != nil {
				t.Fatal(err)
			}
			defer way.Close()
			work := t.TempDir()
			pkg, log, dest := filepath.Join(work, "pkg.torrent"), filepath.Join(work, "log"), filepath.Join(work, "image.wim")
			if code, said := runHere(t, "publish", filepath.Join(dir, "image.wim"), "--unsigned", "--origin", "smb://"+way.Address+"/pkg/image.wim", "-o", pkg); code != exitDone {
				t.Fatal(said)
			}
			occurred := make(chan error, 1)
			time.AfterFunc(time.Second, func() { occurred <- c.occur(s, way) })
			code, said := runHere(t, "fetch", pkg, "--allow-unsigned", "--no-peers", "--dest", dest, "--log", log)
			if err := <-occurred; err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(dest)
			if code != exitDone || err != nil || !bytes.Equal(got, content) {
				t.Errorf("exit %d, %v, right bytes: %v; %s", code, err, bytes.Equal(got, content), said)
			}
			if text, err := os.ReadFile(log); err != nil || !c.quiet && !bytes.Contains(text, []byte("asked once more")) {
				t.Errorf("%v, the log says nothing of it: %s", err, text)
			}
		})
	}
}
