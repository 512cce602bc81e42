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

// accountConfig is who this machine is on a server with shares: by user and password, by credentials, or by Kerberos.
type accountConfig struct {
	Server      string `toml:"server" about:"as origins name it; empty: any"`
	User        string `toml:"user" about:"user or DOMAIN\\user"`
	Password    string `toml:"password" about:"of user, in the clear: let nobody else read the file"`
	Credentials string `toml:"credentials" about:"a file as smbclient -A reads it"`
	Keytab      string `toml:"keytab" about:"a file"`
	CCache      string `toml:"ccache" about:"a file too"`
	Principal   string `toml:"principal" about:"user or user@REALM; empty: whose the files are"`
	Krb5Conf    string `toml:"krb5_conf" about:"empty: $KRB5_CONFIG, or the system's"`
}

func (c accountConfig) account() (a smborigin.Account, err error) {
	a.Server = c.Server
	byPassword, byKerberos := c.User != "" || c.Password != "", c.Keytab != "" || c.CCache != ""
	switch {
	case byPassword && c.Credentials != "" || byKerberos && (byPassword || c.Credentials != ""):
		return a, errors.New("one of these: user and password, credentials, or keytab and ccache")
	case (c.Principal != "" || c.Krb5Conf != "") && !byKerberos:
		return a, errors.New("principal and krb5_conf need a keytab or a ccache")
	case byKerberos:
		f := smborigin.KerberosFiles{Keytab: c.Keytab, Cache: c.CCache, Config: c.Krb5Conf, Principal: c.Principal}
		a.Credentials, err = f.Credentials()
		return a, err
	case c.Credentials != "":
		a.Credentials, err = credentialsFrom(c.Credentials)
		return a, err
	case c.User == "":
		return a, errors.New("neither user, credentials, keytab nor ccache")
	}
	a.Domain, a.User = smborigin.ParseUser(c.User)
	a.Password = c.Password
	return a, nil
}

// credentialsFrom reads a file with username, password and domain.
func credentialsFrom(file string) (smborigin.Credentials, error) {
	text, err := readNamed("credentials", file)
	if err != nil {
		return smborigin.Credentials{}, err
	}
	c, err := smborigin.ParseCredentials(string(text))
	if err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// accountsFrom reads the variables that are for handout alone.
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

// lastAccounts are who this machine is where nothing else says it: by the variables that all Kerberos programs obey.
func lastAccounts(look func(string) string) smborigin.Accounts {
	if c, ok := smborigin.KerberosFromEnvironment(look); ok {
		return smborigin.Accounts{{Credentials: c}}
	}
	return nil
}

// accountFlags say who to be on servers with shares.
type accountFlags struct{ file, keytab string }

func (f *accountFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "credentials", "",
		"user, password and domain for shares: a `FILE` as smbclient -A reads it (or $"+smbCredentialsVariable+"; or $"+
			smbUserVariable+" and $"+smbPasswordVariable+")")
	cmd.Flags().StringVar(&f.keytab, "keytab", "",
		"log on to shares by Kerberos, as who the keytab `FILE` is for (or $KRB5_CLIENT_KTNAME; or kinit and $KRB5CCNAME)")
}

// options are those to open origins with: the flag's account, or else the environment's. At a terminal the password is
// asked for where one of the locations names a user and none is known.
func (f *accountFlags) options(ctx context.Context, a *app, locations ...string) (o origin.Options, err error) {
	var last smborigin.Accounts
	if f.file != "" || f.keytab != "" {
		account, err := accountConfig{Credentials: f.file, Keytab: f.keytab}.account()
		if err != nil {
			return o, usageError{err}
		}
		o.Accounts = smborigin.Accounts{account}
	} else if o.Accounts, err = accountsFrom(os.Getenv); err != nil {
		return o, err
	} else {
		last = lastAccounts(os.Getenv)
	}
	for _, location := range locations {
		if !origin.IsShare(location) || !term.IsTerminal(int(a.in.Fd())) {
			continue
		}
		at, err := smborigin.Parse(location)
		if err != nil || at.User == "" || append(o.Accounts, last...).For(at).User != "" {
			continue // what is wrong with it, who opens it says
		}
		c := smborigin.Credentials{Domain: at.Domain, User: at.User}
		if c.Password, err = readHidden(ctx, a.in, a.err, fmt.Sprintf("Password of %s on %s: ", printable(c.String()), printable(at.Host))); err != nil {
			return o, err
		}
		o.Accounts = append(o.Accounts, smborigin.Account{Server: at.Host, Credentials: c})
	}
	o.Accounts = append(o.Accounts, last...)
	o.Remember()
	return o, nil
}
