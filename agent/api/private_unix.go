//go:build !windows

package api

import (
	"fmt"
	"os"
)

const defaultAddress = "" // a socket

// makePrivate makes the folder if need be, and lets nobody in but its owner and root.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	return os.Chmod(dir, 0o700) // fails where it is another user's
}
