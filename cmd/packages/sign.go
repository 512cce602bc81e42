package main

import (
	"fmt"
	"os"
	"strconv"
)

// signing is with what programs for Windows are signed (Authenticode); no key: they are not.
type signing struct {
	key, certs   string // files: PEM
	passwordFile string
	timestamps   string // a server's URL; without, what is signed stops being valid with the certificate
}

func signingFrom(look func(string) string) signing {
	return signing{look("SIGN_KEY"), look("SIGN_CERTS"), look("SIGN_PASSWORD_FILE"), look("SIGN_TIMESTAMPS")}
}

// sign signs a program or an MSI in its place.
func (m *maker) sign(file string) error {
	s := m.signing
	if s.key == "" {
		return nil
	}
	if err := needs("osslsigncode", "osslsigncode"); err != nil {
		return err
	}
	args := []string{"sign", "-h", "sha256", "-n", "handout", "-certs", s.certs, "-key", s.key,
		"-time", strconv.FormatInt(m.epoch.Unix(), 10), "-in", file, "-out", file + ".signed"}
	if s.passwordFile != "" {
		args = append(args, "-readpass", s.passwordFile)
	}
	if s.timestamps != "" {
		args = append(args, "-ts", s.timestamps)
	}
	if out, err := m.command("osslsigncode", args...).Output(); err != nil {
		return fmt.Errorf("sign %s: %w: %s", file, err, out)
	}
	if err := os.Rename(file+".signed", file); err != nil {
		return err
	}
	return os.Chtimes(file, m.epoch, m.epoch)
}
