package main

import (
	"errors"
	"io/fs"
	"os"
)

// readNamed reads a file that the call names. One that cannot be read is a mistake in the call; what says what the file is for.
func readNamed(what, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, namedError(what, path, err)
	}
	return text, nil
}

// namedError is why a file that the call names cannot be read.
func namedError(what, path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{absentError{what, path}}
	}
	return usagef("read the %s %s: %w", what, path, err)
}

// absentError is that a file that the call names is not there.
type absentError struct{ what, path string }

func (e absentError) Error() string { return "read the " + e.what + ": there is no file " + e.path }

// Is reports that it is fs.ErrNotExist.
func (e absentError) Is(target error) bool { return target == fs.ErrNotExist }
