package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"handout/manifest"
)

func (a *app) keygenCommand() *cobra.Command {
	var name string
	var noPassword, site bool
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key pair, to sign packages, orders or lists of keys, or a site's key",
		Long: `keygen makes a key pair in the format of the minisign program.

NAME.key signs: keep it to yourself. NAME.pub goes to every machine. What the key may do there the machine's config says: trust
(whose packages are taken), [push] keys (whose orders are obeyed) or [push] root_key (whose list of keys counts). A key may
do one of these or several; with one key for each, a stolen one does less harm.

The password comes from the terminal or from ` + passwordVariable + `.`,
		Example: `  handout keygen -o lab
  handout keygen -o push
  handout keygen -o ci --no-password`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			if site {
				return a.siteKeygen(name)
			}
			return a.keygen(cmd, name, noPassword)
		}),
	}
	cmd.Flags().StringVarP(&name, "output", "o", "handout", "write `NAME`.key and NAME.pub")
	cmd.Flags().BoolVar(&noPassword, "no-password", false, "leave the key file without a password")
	cmd.Flags().BoolVar(&site, "site", false, "make a site's key instead: NAME.site, which makes a machine a member")
	return cmd
}

func (a *app) keygen(cmd *cobra.Command, name string, noPassword bool) error {
	keyFile, pubFile := name+".key", name+".pub"
	for _, f := range []string{keyFile, pubFile} {
		if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
			return keyExists(f)
		}
	}
	var password string
	if !noPassword {
		var err error
		if password, err = a.newPassword(cmd); err != nil {
			return err
		}
	}
	private, public, err := manifest.GenerateKey()
	if err != nil {
		return err
	}
	secret, err := private.Encode(password)
	if err != nil {
		return err
	}
	if err := writeNew(keyFile, secret, 0o600); err != nil {
		return err
	}
	if err := writeNew(pubFile, public.Encode(), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(a.out, `%[1]s  signs; keep it to yourself
%[2]s  goes to every machine; its one line is
    %[3]s
What the key may do is for each machine's agent.toml to say:
    trust = ["%[2]s"]             packages: handout publish TREE --origin URL --key %[1]s
    [push] keys = ["%[2]s"]       orders: handout push PKG.torrent --key %[1]s
    [push] root_key = "%[2]s"     lists of keys: handout keys sign LIST --key %[1]s
Without an agent: handout fetch PKG.torrent --trust %[2]s
`, keyFile, pubFile, public)
	return nil
}

// newPassword asks twice, so that a slip doesn't lock the key for ever.
func (a *app) newPassword(cmd *cobra.Command) (string, error) {
	first, err := a.password(cmd.Context(), "Password for the new key: ")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", usagef("the password is empty; --no-password makes a key without one")
	}
	again, err := a.password(cmd.Context(), "The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", usagef("the two passwords differ; nothing was written")
	}
	return first, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return keyExists(path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func keyExists(path string) error {
	return advisedError{fmt.Errorf("%s: %w", path, errExists),
		"A key is never overwritten: packages signed with it would have no key any more. Choose another name with -o."}
}
