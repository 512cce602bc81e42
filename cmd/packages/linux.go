package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed files/nfpm.yaml
var nfpmConfig string

// nfpmModules is a go.mod of its own for nfpm, which makes .deb and .rpm: it and all it needs are fixed by their sums.
const nfpmModules = "cmd/packages/nfpm.mod"

// linux makes packages of one kind, deb or rpm.
func (m *maker) linux(kind string) error {
	for _, arch := range []string{"amd64", "arm64"} {
		program, err := m.program("linux", arch)
		if err != nil {
			return err
		}
		config := filepath.Join(filepath.Dir(program), "nfpm.yaml")
		text := strings.NewReplacer("$(arch)", arch, "$(version)", m.version.pkg, "$(program)", program,
			"$(time)", m.epoch.Format(time.RFC3339)).Replace(nfpmConfig)
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			return err
		}
		to := filepath.Join(m.dir, fmt.Sprintf("handout-%s-%s.%s", m.version.pkg, arch, kind))
		cmd := m.command("go", "tool", "-modfile="+nfpmModules, "nfpm", "package", "--config", config, "--packager", kind, "--target", to)
		if out, err := cmd.Output(); err != nil {
			return fmt.Errorf("nfpm: %w: %s", err, out)
		}
		if err := os.Chtimes(to, m.epoch, m.epoch); err != nil {
			return err
		}
		fmt.Println(to)
	}
	return nil
}
