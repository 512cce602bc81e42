package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// passwordVariable names the environment variable that gives the key's password to scripts.
const passwordVariable = "HANDOUT_KEY_PASSWORD"

// password is the key's password: from the environment, or asked for at the terminal without showing it.
func (a *app) password(ctx context.Context, prompt string) (string, error) {
	if p, ok := os.LookupEnv(passwordVariable); ok {
		return p, nil
	}
	if !term.IsTerminal(int(a.in.Fd())) {
		return "", usageError{advisedError{
			errors.New("the key needs a password and there is no terminal to ask at"),
			"Set " + passwordVariable + " to the password, or use a key without one (handout keygen --no-password).",
		}}
	}
	return readHidden(ctx, a.in, a.err, prompt)
}

// readHidden reads a line without echo. It returns when ctx ends although the read itself cannot be ended; the terminal
// is then as it was before.
func readHidden(ctx context.Context, in, out *os.File, prompt string) (string, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	fmt.Fprint(out, prompt)
	type answer struct {
		line []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- answer{line, err}
	}()
	select {
	case r := <-read:
		fmt.Fprintln(out)
		if r.err != nil {
			return "", fmt.Errorf("ask for a password: %w", r.err)
		}
		return string(r.line), nil
	case <-ctx.Done():
		term.Restore(fd, before)
		fmt.Fprintln(out)
		return "", context.Cause(ctx)
	}
}
