package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

func defaultConfigFile() string { return filepath.Join(programData(), "agent.toml") }
func defaultStateDir() string   { return filepath.Join(programData(), "state") }
func defaultCacheDir() string   { return filepath.Join(programData(), "cache") }

// programData is handout's folder for what belongs to the whole machine. The system is asked rather than the variable: a service
// need not have the one that its admins see (Wine's have another), nor has WinPE to set it.
func programData() string {
	base, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DONT_VERIFY)
	if err != nil || base == "" {
		base = os.Getenv("ProgramData")
	}
	if base == "" {
		base = `C:\ProgramData`
	}
	return filepath.Join(base, "handout")
}
