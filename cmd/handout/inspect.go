package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"handout/agent/atomicfile"
	"handout/manifest"
)

func (a *app) inspectCommand() *cobra.Command {
	var trust trustFlags
	var account accountFlags
	var asJSON, files bool
	var signedBytes string
	cmd := &cobra.Command{
		Use:   "inspect PKG.torrent|URL",
		Short: "Show what a package holds, who signed it and where it comes from",
		Long: `inspect shows a manifest. It trusts nobody by itself: with --trust it says whether one of those keys signed it, and
fails if none did.

--signed-bytes writes what the signatures are over: what the minisign program would sign and verify.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			o, err := account.options(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			raw, err := awaitManifest(cmd.Context(), args[0], o, a.say())
			if err != nil {
				return ended(cmd.Context(), err)
			}
			t, err := trust.trust()
			if err != nil {
				return err
			}
			asked := len(t.Keys) > 0
			t.AllowUnsigned = true
			m, err := manifest.Open(raw, t)
			if err != nil {
				return fmt.Errorf("%s: %w", manifest.Shown(args[0]), err)
			}
			if signedBytes != "" {
				if err := writeSigned(signedBytes, raw); err != nil {
					return err
				}
			}
			if asJSON {
				err = writeJSON(a.out, inspection(m))
			} else {
				err = writeInspection(a.out, m, files, asked)
			}
			if err == nil && asked {
				_, err = openTrusted(raw, args[0], manifest.Trust{Keys: t.Keys})
			}
			return err
		}),
	}
	trust.addTrust(cmd)
	account.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "one JSON object, files included")
	f.BoolVar(&files, "files", false, "list every file")
	f.StringVar(&signedBytes, "signed-bytes", "", "write the bytes the signatures are over to `FILE`")
	return cmd
}

// writeSigned writes what is signed.
func writeSigned(path string, raw []byte) error {
	signed, err := manifest.SignedBytes(raw)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, signed, 0o644)
}

func writeInspection(w io.Writer, m *manifest.Manifest, files, asked bool) error {
	p := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", label, printable(fmt.Sprintf(format, args...)))
	}
	p("package", "%s", title(m))
	p("root", "%s", m.Root)
	p("serial", "%d", m.Serial)
	p("created", "%s", m.Created.Format(time.RFC3339))
	if !m.Expires.IsZero() {
		p("expires", "%s", m.Expires.Format(time.RFC3339))
	}
	p("info-hash", "%s", m.InfoHash)
	p("holds", "%s, %s", countText(len(m.Files), "file"), sizeText(m.Length))
	p("pieces", "%d of %s, blocks of %s", m.NumPieces(), sizeText(m.PieceLength), sizeText(m.BlockSize))
	for _, d := range m.Dropped {
		p("without", "%s", droppedText(d))
	}
	for _, o := range m.Origins {
		p("origin", "%s", o)
	}
	if len(m.Origins) == 0 {
		p("origin", "none")
	}
	for _, s := range m.Signatures {
		p("signed by", "%s%s", s.KeyID, trustedText(s.Trusted, asked))
	}
	if len(m.Signatures) == 0 {
		p("signed by", "nobody")
	}
	if files {
		if m.Top != nil {
			fmt.Fprintf(w, "%s  %12s  .\n", m.Top.Mode|fs.ModeDir, "")
		}
		for _, f := range m.Files {
			if f.Target != "" {
				fmt.Fprintf(w, "%s  %12s  %s -> %s\n", f.Mode, "", printable(f.Path), printable(f.Target))
			} else {
				fmt.Fprintf(w, "%s  %12d  %s\n", f.Mode, f.Length, printable(f.Path))
			}
		}
	}
	return nil
}

// title is the package's name and, where it has one, its version.
func title(m *manifest.Manifest) string {
	if m.Version == "" {
		return m.Name
	}
	return m.Name + " " + m.Version
}

func trustedText(trusted, asked bool) string {
	switch {
	case trusted:
		return " (trusted, and right)"
	case asked:
		return " (not a trusted key)"
	default:
		return " (not checked: no --trust given)"
	}
}

type inspectedFile struct {
	Path     string    `json:"path"`
	Bytes    int64     `json:"bytes"`
	Mode     string    `json:"mode"`
	Modified time.Time `json:"modified"`
	Target   string    `json:"target,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
}

type inspectedSignature struct {
	KeyID   string `json:"key_id"`
	Trusted bool   `json:"trusted"`
}

// inspection is the manifest as inspect --json shows it.
func inspection(m *manifest.Manifest) any {
	files := make([]inspectedFile, len(m.Files))
	for i, f := range m.Files {
		files[i] = inspectedFile{Path: f.Path, Bytes: f.Length, Mode: fmt.Sprintf("%04o", f.Mode), Modified: f.ModTime, Target: f.Target}
		if f.Target == "" {
			files[i].SHA256 = fmt.Sprintf("%x", f.SHA256)
		}
	}
	signatures := make([]inspectedSignature, len(m.Signatures))
	for i, s := range m.Signatures {
		signatures[i] = inspectedSignature{s.KeyID, s.Trusted}
	}
	topMode, dropped := "", map[string]int{}
	if m.Top != nil {
		topMode = fmt.Sprintf("%04o", m.Top.Mode)
	}
	for _, d := range m.Dropped {
		dropped[string(d.Trait)] = d.Count
	}
	var expires *time.Time
	if !m.Expires.IsZero() {
		expires = &m.Expires
	}
	return struct {
		Name        string               `json:"name"`
		Version     string               `json:"version"`
		Serial      uint64               `json:"serial"`
		Root        string               `json:"root"`
		SingleFile  bool                 `json:"single_file"`
		InfoHash    string               `json:"info_hash"`
		Created     time.Time            `json:"created"`
		Expires     *time.Time           `json:"expires"`
		Bytes       int64                `json:"bytes"`
		PieceLength int64                `json:"piece_length"`
		Pieces      int                  `json:"pieces"`
		BlockSize   int64                `json:"block_size"`
		Origins     []string             `json:"origins"`
		Signatures  []inspectedSignature `json:"signatures"`
		RootMode    string               `json:"root_mode,omitempty"`
		Dropped     map[string]int       `json:"dropped"`
		Files       []inspectedFile      `json:"files"`
	}{m.Name, m.Version, m.Serial, m.Root, m.Single, m.InfoHash.String(), m.Created, expires, m.Length, m.PieceLength,
		m.NumPieces(), m.BlockSize, append([]string{}, m.Origins...), signatures, topMode, dropped, files}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
