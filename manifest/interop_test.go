package manifest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	library "aead.dev/minisign"
	"github.com/anacrolix/torrent/metainfo"
)

// program returns the path of a program that make deps installs, or skips the test.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: make deps", pkg)
	}
	return path
}

func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// published returns a signed package with everything in it that a stock client might stumble over, in a file.
func published(t *testing.T) (m *Manifest, file string) {
	t.Helper()
	tree := writeTree(t, "pkg", map[string]string{
		"a-b":            strings.Repeat("a-b ", 20_000),
		"a/b":            "sorted after a-b",
		"bin/run*":       "#!/bin/sh\n",
		"empty":          "",
		"link>":          "bin/run",
		"up/down/link>":  "../../bin/run",
		"übergröße.txt":  "NFC",
		"u\u0308ber.txt": "NFD",
		"with space.txt": "s",
		"emptyfolder/":   "",
		"日本語/ファイル.txt":   "j",
	})
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	raw := build(t, tree, BuildOptions{Origins: []string{"https://origin.example/here/pkg"}, PieceLength: MinPieceLength})
	if raw, err = Sign(raw, private); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(raw, Trust{Keys: []PublicKey{public}}); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "pkg.torrent")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return m, file
}

// regular lists the files that are not symlinks as stock clients name them, below the root.
func regular(m *Manifest) []string {
	var list []string
	for _, f := range m.Files {
		if f.Target == "" {
			list = append(list, m.Root+"/"+f.Path)
		}
	}
	return list
}

func TestAria2ReadsOurs(t *testing.T) {
	aria2 := program(t, "aria2c", "aria2")
	m, file := published(t)
	out := run(t, "", aria2, "--show-files", file)
	if !strings.Contains(out, "Info Hash: "+m.InfoHash.String()) {
		t.Errorf("another info-hash than %s:\n%s", m.InfoHash, out)
	}
	if !strings.Contains(out, "https://origin.example/here/\n") {
		t.Errorf("no web seed:\n%s", out)
	}
	var got []string
	for line := range strings.Lines(out) {
		if _, path, ok := strings.Cut(line, "|./"); ok {
			got = append(got, strings.TrimSpace(path))
		}
	}
	for _, f := range regular(m) {
		if !slices.Contains(got, f) {
			t.Errorf("aria2 doesn't list %q but %q", f, got)
		}
	}
	if len(got) != len(m.Files) {
		t.Errorf("aria2 lists %d files of %d", len(got), len(m.Files))
	}
}

func TestTransmissionReadsOurs(t *testing.T) {
	show := program(t, "transmission-show", "transmission-cli")
	m, file := published(t)
	out := run(t, "", show, file)
	if !strings.Contains(out, "Hash: "+m.InfoHash.String()) {
		t.Errorf("another info-hash than %s:\n%s", m.InfoHash, out)
	}
	for _, f := range regular(m) {
		if !strings.Contains(out, "\n  "+f+" (") {
			t.Errorf("transmission doesn't list %q:\n%s", f, out)
		}
	}
}

func TestLibtorrentReadsOurs(t *testing.T) {
	python := program(t, "/usr/bin/python3", "python3-libtorrent")
	if exec.Command(python, "-c", "import libtorrent").Run() != nil {
		t.Skip("needs python3-libtorrent: make deps")
	}
	m, file := published(t)
	const script = `
import json, sys, libtorrent as lt
i = lt.torrent_info(sys.argv[1])
f = i.files()
print(json.dumps({
    "hash": str(i.info_hash()), "name": i.name(), "size": i.total_size(), "piece": i.piece_length(), "private": i.priv(),
    "paths": [f.file_path(n) for n in range(f.num_files())],
    "sizes": [f.file_size(n) for n in range(f.num_files())],
    "links": [f.symlink(n) if f.file_flags(n) & lt.file_flags_t.flag_symlink else "" for n in range(f.num_files())],
    "executable": [bool(f.file_flags(n) & lt.file_flags_t.flag_executable) for n in range(f.num_files())],
}))`
	var got struct {
		Hash, Name  string
		Size, Piece int64
		Private     bool
		Paths       []string
		Sizes       []int64
		Links       []string
		Executable  []bool
	}
	if err := json.Unmarshal([]byte(run(t, "", python, "-c", script, file)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Hash != m.InfoHash.String() || got.Name != m.Root || got.Size != m.Length || got.Piece != m.PieceLength || got.Private {
		t.Errorf("libtorrent reads %+v, not %s %s %d", got, m.InfoHash, m.Root, m.Length)
	}
	if len(got.Paths) != len(m.Files) {
		t.Fatalf("libtorrent lists %q", got.Paths)
	}
	for i, f := range m.Files {
		link, _ := lexicalTarget(f.Path, f.Target)
		if f.Target != "" {
			link = m.Root + "/" + link
		} else {
			link = ""
		}
		if got.Paths[i] != m.Root+"/"+f.Path || got.Sizes[i] != f.Length || got.Executable[i] != (attrOf(&f) == "x") {
			t.Errorf("libtorrent reads %q %d %t for %+v", got.Paths[i], got.Sizes[i], got.Executable[i], f)
		}
		if got.Links[i] != link && m.Root+"/"+got.Links[i] != link {
			t.Errorf("libtorrent reads a symlink to %q for %+v", got.Links[i], f)
		}
	}
}

// TestEngineReadsOurs: the engine must see the very files that Open has checked.
func TestEngineReadsOurs(t *testing.T) {
	m, _ := published(t)
	mi, err := metainfo.Load(bytes.NewReader(m.Raw()))
	if err != nil {
		t.Fatal(err)
	}
	if mi.HashInfoBytes() != metainfo.Hash(m.InfoHash) || !bytes.Equal(mi.InfoBytes, m.InfoBytes()) {
		t.Errorf("the engine's info-hash is %v, ours %v", mi.HashInfoBytes(), m.InfoHash)
	}
	info, err := mi.UnmarshalInfo()
	if err != nil {
		t.Fatal(err)
	}
	files := info.UpvertedFiles()
	if len(files) != len(m.Files) || info.NumPieces() != m.NumPieces() || info.HasV2() {
		t.Fatalf("the engine reads %d files, %d pieces", len(files), info.NumPieces())
	}
	for i, f := range m.Files {
		if files[i].DisplayPath(&info) != f.Path || files[i].Length != f.Length || files[i].TorrentOffset != f.Offset {
			t.Errorf("the engine reads %+v for %+v", files[i], f)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMinisignVerifiesOurs(t *testing.T) {
	minisign := program(t, "minisign", "minisign")
	m, _ := published(t)
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Sign(m.Raw(), private)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readFrame(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.signatures) != 2 {
		t.Fatalf("%d signatures after two keys signed", len(f.signatures))
	}
	message, err := SignedBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "signed", message)
	sig := write(t, "signed.minisig", f.signatures[1].text)
	run(t, "", minisign, "-V", "-m", file, "-x", sig, "-P", public.String())
	run(t, "", minisign, "-V", "-m", file, "-x", sig, "-p", write(t, "k.pub", public.Encode()))

	message[0] ^= 1
	file = write(t, "other", message)
	if err := exec.Command(minisign, "-V", "-m", file, "-x", sig, "-P", public.String()).Run(); err == nil {
		t.Error("minisign takes our signature for any message: the test proves nothing")
	}
}

func TestWeVerifyMinisigns(t *testing.T) {
	minisign := program(t, "minisign", "minisign")
	m, _ := published(t)
	dir := t.TempDir()
	key, pub := filepath.Join(dir, "k.key"), filepath.Join(dir, "k.pub")
	run(t, "", minisign, "-G", "-W", "-s", key, "-p", pub)
	public, err := ParsePublicKey(string(read(t, pub)))
	if err != nil {
		t.Fatal(err)
	}
	message, err := SignedBytes(m.Raw())
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "signed", message)
	for name, args := range map[string][]string{
		"prehashed": {"-S"},
		"legacy":    {"-S", "-l"},
		"comments":  {"-S", "-t", "third of May", "-c", "nobody vouches for this"},
	} {
		t.Run(name, func(t *testing.T) {
			sig := filepath.Join(t.TempDir(), "sig")
			run(t, "", minisign, append(args, "-s", key, "-m", file, "-x", sig)...)
			raw, err := AttachSignature(m.Raw(), read(t, sig))
			if err != nil {
				t.Fatal(err)
			}
			signed, err := Open(raw, Trust{Keys: []PublicKey{public}})
			if err != nil {
				t.Fatal(err)
			}
			last := signed.Signatures[len(signed.Signatures)-1]
			if !last.Trusted || last.KeyID != public.ID() || name == "comments" && last.Comment != "third of May" {
				t.Errorf("%+v", last)
			}
			if bytes.Contains(raw, []byte("nobody vouches")) {
				t.Error("the untrusted comment got into the manifest")
			}
		})
	}
	if !strings.Contains(string(read(t, pub)), strings.TrimLeft(public.ID(), "0")) {
		t.Errorf("minisign's key file names another id than %s:\n%s", public.ID(), read(t, pub))
	}
}

func TestMinisignUsesOurKeys(t *testing.T) {
	minisign := program(t, "minisign", "minisign")
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	passwords := []string{"", "correct horse"}
	if testing.Short() {
		passwords = passwords[:1] // each use of the other takes a second and 1 GiB, by design
	}
	for _, password := range passwords {
		text, err := private.Encode(password)
		if err != nil {
			t.Fatal(err)
		}
		if KeyNeedsPassword(text) != (password != "") {
			t.Errorf("KeyNeedsPassword is wrong with password %q", password)
		}
		key := write(t, "our.key", text)
		file := write(t, "message", []byte("anything"))
		run(t, password+"\n", minisign, "-S", "-s", key, "-m", file)
		run(t, "", minisign, "-V", "-m", file, "-P", public.String())
	}
}

func TestWeUseMinisignsKeys(t *testing.T) {
	minisign := program(t, "minisign", "minisign")
	for _, password := range []string{"", "correct horse"} {
		dir := t.TempDir()
		key, pub := filepath.Join(dir, "k.key"), filepath.Join(dir, "k.pub")
		if password == "" {
			run(t, "", minisign, "-G", "-W", "-s", key, "-p", pub)
		} else {
			// With little memory the program makes a key that takes little to open, too.
			const script = `ulimit -v 100000; exec "$0" -G -s "$1" -p "$2"`
			run(t, password+"\n"+password+"\n", "sh", "-c", script, minisign, key, pub)
		}
		text := read(t, key)
		if KeyNeedsPassword(text) != (password != "") {
			t.Errorf("KeyNeedsPassword is wrong with password %q", password)
		}
		private, err := ParsePrivateKey(text, password)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePrivateKey(text, "wrong"); password != "" && err == nil {
			t.Error("any password opens the key")
		}
		message := []byte("anything")
		file := write(t, "message", message)
		sig := write(t, "message.minisig", library.Sign(private.key, message))
		run(t, "", minisign, "-V", "-m", file, "-x", sig, "-p", pub)
	}
}
