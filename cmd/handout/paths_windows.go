package main

import (
	"os"
	"path/filepath"
)

func defaultConfigFile() string { return filepath.Join(programData(), "agent.toml") }
func defaultStateDir() string   { return filepath.Join(programData(), "state") }
func defaultCacheDir() string   { return filepath.Join(programData(), "cache") }

// programData is handout's folder under %ProgramData%, which WinPE may not set.
func programData() string {
	base := os.Getenv("ProgramData")
	if base == "" {
		base = `C:\ProgramData`
	}
	return filepath.Join(base, "handout")
}
