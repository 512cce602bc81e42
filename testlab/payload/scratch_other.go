//go:build !linux

package payload

import "os"

// Scratch is where to put so many bytes for a while.
func Scratch(int64) string { return os.TempDir() }
