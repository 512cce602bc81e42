package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"handout/agent/atomicfile"
	"handout/manifest"
)

// publication is what publish's flags say.
type publication struct {
	tree                 string
	output               string
	key                  string
	unsigned             bool
	origins              []string
	name, version        string
	serial               uint64
	expires              string
	pieceLength          byteSize
	interop              bool
	allowNonWindowsNames bool
	exclude              excludeFlags
	account              accountFlags
	noCheck              bool
}

func (a *app) publishCommand() *cobra.Command {
	var p publication
	cmd := &cobra.Command{
		Use:   "publish TREE",
		Short: "Describe and sign a folder, or one file, so that machines can fetch it",
		Long: `publish reads TREE and writes a manifest: one signed file that says what the package holds and where it lies.
It copies nothing. Put TREE itself where each --origin says, and hand the manifest to the machines.

An origin names the place of TREE: http://, https:// or file:// URLs, an absolute path every machine can read, or a share,
smb://[DOMAIN;][user@]server[:port]/share/path or \\server\share\path. Whose password that takes, each machine knows.

--exclude and --exclude-from leave something out. Globs are for paths from the top of TREE, as with handout fetch: lost+found is
the folder at the top, '**/Thumbs.db' a name anywhere, 'cache/*' all in a folder and not the folder. What is left out is not
even opened.

When all is written publish looks for some files of it at each origin, for 5 seconds at most, and says what is wrong there: missing, of
another size, not readable. It is no error: the tree may get there later. --no-check leaves that out.

A package carries files, folders, symlinks, times and permission bits. Owners, access control lists, extended attributes, file
capabilities and setuid, setgid and sticky bits are not carried, and hard links arrive as copies: publish counts what there is.`,
		Example: `  handout publish win11 --origin http://files.example/win11 --key lab.key --version 24H2`,
		Args:    cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			p.tree = args[0]
			return a.publish(cmd, p)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&p.origins, "origin", nil, "`URL` of where TREE lies, best first; repeatable")
	f.StringVar(&p.key, "key", "", "sign with the key in `FILE` (handout keygen makes one)")
	f.BoolVar(&p.unsigned, "unsigned", false, "don't sign: nobody can tell who made the package")
	f.StringVar(&p.name, "name", "", "the package's `NAME` (default: TREE's name)")
	f.StringVar(&p.version, "version", "", "the package's `VERSION`, free text")
	f.StringVarP(&p.output, "output", "o", "", "write the manifest to `FILE` (default NAME[-VERSION].torrent)")
	f.Var(&p.pieceLength, "piece-length", "bytes of one piece, a power of two, 64KiB to 16MiB (default: by the package's size)")
	f.BoolVar(&p.interop, "interop", false, "let stock BitTorrent clients take part at full speed (blocks of 16 KiB)")
	f.Uint64Var(&p.serial, "serial", 0, "`NUMBER` that grows with every publication (default: seconds since 1970, or one more than the last)")
	f.StringVar(&p.expires, "expires", "", "not to be used after `WHEN`: 2027-01-31, 2027-01-31T18:00:00Z or a duration such as 720h")
	p.exclude.add(cmd)
	p.account.add(cmd)
	f.BoolVar(&p.noCheck, "no-check", false, "don't look whether the package is at its origins")
	f.BoolVar(&p.allowNonWindowsNames, "allow-non-windows-names", false, "take names that cannot exist on Windows")
	return cmd
}

func (a *app) publish(cmd *cobra.Command, p publication) error {
	now := time.Now()
	o := manifest.BuildOptions{
		Name:                 p.name,
		Version:              p.version,
		Serial:               p.serial,
		Created:              now,
		PieceLength:          int64(p.pieceLength),
		Interop:              p.interop,
		AllowNonWindowsNames: p.allowNonWindowsNames,
	}
	var err error
	o.Survey = &manifest.Survey{}
	if o.Exclude, err = p.exclude.patterns(a); err != nil {
		return err
	}
	if o.Origins, err = originURLs(p.origins); err != nil {
		return err
	}
	if o.Expires, err = expiry(p.expires, now); err != nil {
		return err
	}
	output, err := manifestPath(p)
	if err != nil {
		return err
	}
	name := p.name
	if name == "" {
		if tree, err := realPath(p.tree); err == nil {
			name = filepath.Base(tree)
		}
	}
	last := uint64(0)
	if o.Serial, last = nextSerial(p.serial, uint64(now.Unix()), name, output, p.key); p.serial > 0 && o.Serial != p.serial {
		a.warn("%s has serial %d already: this one gets %d, and not %d, lest machines take it for the older", output, last, o.Serial, p.serial)
	}
	options, err := p.account.options(cmd.Context(), a, o.Origins...)
	if err != nil {
		return err
	}
	if p.key == "" && !p.unsigned {
		return usageError{advisedError{errors.New("no --key to sign the package with"),
			"Make a key with: handout keygen. A package that nobody can check needs --unsigned."}}
	}
	if p.key != "" && p.unsigned {
		return usagef("--key and --unsigned exclude each other")
	}
	var key manifest.PrivateKey
	if p.key != "" {
		// Before the long work, so that a wrong password is told at once.
		if key, err = a.privateKey(cmd, p.key); err != nil {
			return err
		}
	}

	raw, err := a.build(cmd, p.tree, o)
	if err != nil {
		return err
	}
	if p.key != "" {
		if raw, err = manifest.Sign(raw, key); err != nil {
			return err
		}
	}
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil {
		return fmt.Errorf("the manifest just made: %w", err)
	}
	if err := atomicfile.Write(output, raw, 0o644); err != nil {
		return err
	}
	if p.key != "" && p.serial == 0 {
		noteSerial(p.key, m.Serial)
	}
	a.tellPublication(m, o.Survey, output)
	if !p.noCheck {
		a.lookAtOrigins(cmd.Context(), m, options)
	}
	var public manifest.PublicKey
	if p.key != "" {
		public = key.Public()
	}
	a.tellNext(m, output, p.key, public)
	return nil
}

// build hashes the tree and shows how far it is.
func (a *app) build(cmd *cobra.Command, tree string, o manifest.BuildOptions) ([]byte, error) {
	meter := newMeter(a.err)
	began := time.Now()
	o.Progress = func(done, total int64) {
		rate := float64(done) / max(time.Since(began).Seconds(), 0.001)
		meter.show(done, total, fmt.Sprintf("hashed %s, %s", shareText(done, total), rateText(int64(rate))))
	}
	raw, err := manifest.Build(cmd.Context(), tree, o)
	meter.close()
	if faults, ok := errors.AsType[*manifest.Faults](err); ok {
		a.tellLeftovers(o.Survey, "is in the tree", "are in the tree")
		return nil, faultsError(tree, faults)
	}
	if errors.Is(err, manifest.ErrPattern) || errors.Is(err, manifest.ErrNothingThere) {
		return nil, usagef("--exclude: %w", err)
	}
	return raw, ended(cmd.Context(), err)
}

// privateKey reads the key to sign with and asks for its password where it has one.
func (a *app) privateKey(cmd *cobra.Command, file string) (manifest.PrivateKey, error) {
	text, err := readNamed("key", file)
	if err != nil {
		return manifest.PrivateKey{}, err
	}
	var password string
	if manifest.KeyNeedsPassword(text) {
		if password, err = a.password(cmd.Context(), "Password for "+file+": "); err != nil {
			return manifest.PrivateKey{}, err
		}
	}
	key, err := manifest.ParsePrivateKey(text, password)
	if err != nil {
		return manifest.PrivateKey{}, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func (a *app) tellPublication(m *manifest.Manifest, survey *manifest.Survey, output string) {
	fmt.Fprintf(a.out, "%s\n", output)
	fmt.Fprintf(a.out, "  %s, %s, %s of %s\n", countText(len(m.Files), "file"), sizeText(m.Length),
		countText(m.NumPieces(), "piece"), sizeText(m.PieceLength))
	fmt.Fprintf(a.out, "  info-hash %s, serial %d\n", m.InfoHash, m.Serial)
	for _, s := range m.Signatures {
		fmt.Fprintf(a.out, "  signed by %s\n", s.KeyID)
	}
	for _, o := range m.Origins {
		fmt.Fprintf(a.out, "  origin %s\n", printable(o))
	}
	if len(m.Origins) == 0 {
		fmt.Fprintln(a.out, "  no origin: only neighbours that hold it can give it (or fetch --origin)")
	}
	a.tellSurvey(m, survey)
}

// manifestPath is where the manifest goes: never into the tree it describes, which it would change.
func manifestPath(p publication) (string, error) {
	tree, err := realPath(p.tree)
	if err != nil {
		return "", err
	}
	output := p.output
	if output == "" {
		output = p.name
		if output == "" {
			output = filepath.Base(tree)
		}
		if p.version != "" {
			output += "-" + p.version
		}
		output = fileName(output) + ".torrent"
	}
	dir, err := realPath(filepath.Dir(output))
	if err != nil {
		return "", fmt.Errorf("write %s: %w", output, err)
	}
	if within(tree, filepath.Join(dir, filepath.Base(output))) {
		return "", usagef("%s would lie inside %s, which it describes; choose another place with -o", output, p.tree)
	}
	return output, nil
}

func realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// within reports whether path is dir or lies below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// fileName makes a file's name out of a package's name and version, which are free text.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if hidden(r) || strings.ContainsRune(`/\:*?"<>| `, r) {
			return '_'
		}
		return r
	}, s)
}

// expiry reads --expires.
func expiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	when, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if when, err = time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
			when = when.AddDate(0, 0, 1) // the day itself still counts
		}
	}
	if err != nil {
		d, err := time.ParseDuration(s)
		if err != nil {
			return time.Time{}, usagef("--expires %q is neither a date (2027-01-31), a time (2027-01-31T18:00:00Z) nor a duration (720h)", s)
		}
		when = now.Add(d)
	}
	if !when.After(now) {
		return time.Time{}, usagef("--expires %s is over already", s)
	}
	return when, nil
}
