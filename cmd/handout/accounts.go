package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"handout/sources/origin"
	"handout/sources/smborigin"
)

// Who this machine is on servers with shares: these variables say it for every server, the config for each.
const (
	smbUserVariable        = "HANDOUT_SMB_USER"
	smbPasswordVariable    = "HANDOUT_SMB_PASSWORD"
	smbCredentialsVariable = "HANDOUT_SMB_CREDENTIALS"
)

// accountConfig is who this machine is on a server with shares.
type accountConfig struct {
	Server      string `toml:"server"`      // as origins name it; empty: any
	User        string `toml:"user"`        // user or DOMAIN\user
	Password    string `toml:"password"`    //
	Credentials string `toml:"credentials"` // instead of both: a file as smbclient -A reads it
}

func (c accountConfig) account() (smborigin.Account, error) {
	a := smborigin.Account{Server: c.Server}
	switch {
	case c.Credentials != "" && (c.User != "" || c.Password != ""):
		return a, errors.New("credentials, or user and password: not both")
	case c.Credentials != "":
		var err error
		a.Credentials, err = credentialsFrom(c.Credentials)
		return a, err
	case c.User == "":
		return a, errors.New("neither user nor credentials")
	}
	a.Domain, a.User = smborigin.ParseUser(c.User)
	a.Password = c.Password
	return a, nil
}

// credentialsFrom reads a file with username, password and domain.
func credentialsFrom(file string) (smborigin.Credentials, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return smborigin.Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	c, err := smborigin.ParseCredentials(string(text))
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// accountsFrom reads the variables.
func accountsFrom(look func(string) string) (smborigin.Accounts, error) {
	c := accountConfig{User: look(smbUserVariable), Password: look(smbPasswordVariable), Credentials: look(smbCredentialsVariable)}
	if c == (accountConfig{}) {
		return nil, nil
	}
	a, err := c.account()
	if err != nil {
		return nil, usagef("%s, %s, %s: %w", smbUserVariable, smbPasswordVariable, smbCredentialsVariable, err)
	}
	return smborigin.Accounts{a}, nil
}

// accountFlags say who to be on servers with shares.
type accountFlags struct{ file string }

func (f *accountFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "credentials", "",
		"user, password and domain for shares: a `FILE` as smbclient -A reads it (or $"+smbCredentialsVariable+"; or $"+
			smbUserVariable+" and $"+smbPasswordVariable+")")
}

// options are those to open origins with: the flag's account, or else the environment's. At a terminal the password is
// asked for where one of the locations names a user and none is known.
func (f *accountFlags) options(ctx context.Context, a *app, locations ...string) (o origin.Options, err error) {
	if f.file != "" {
		c, err := credentialsFrom(f.file)
		if err != nil {
			return o, usageError{err}
		}
		o.Accounts = smborigin.Accounts{{Credentials: c}}
	} else if o.Accounts, err = accountsFrom(os.Getenv); err != nil {
		return o, err
	}
	for _, location := range locations {
		if !origin.IsShare(location) || !term.IsTerminal(int(a.in.Fd())) {
			continue
		}
		at, err := smborigin.Parse(location)
		if err != nil || at.User == "" || o.Accounts.For(at).User != "" {
			continue // what is wrong with it, who opens it says
		}
		c := smborigin.Credentials{Domain: at.Domain, User: at.User}
		if c.Password, err = readHidden(ctx, a.in, a.err, fmt.Sprintf("Password of %s on %s: ", printable(c.String()), printable(at.Host))); err != nil {
			return o, err
		}
		o.Accounts = append(o.Accounts, smborigin.Account{Server: at.Host, Credentials: c})
	}
	return o, nil
}
