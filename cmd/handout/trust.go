package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"handout/manifest"
)

// trustVariable names the environment variable that stands in for --trust; keys are separated by commas.
const trustVariable = "HANDOUT_TRUST"

// trustFlags say whose signature counts.
type trustFlags struct {
	keys          []string
	allowUnsigned bool
}

// add gives cmd --trust and --allow-unsigned.
func (f *trustFlags) add(cmd *cobra.Command) {
	f.addTrust(cmd)
	cmd.Flags().BoolVar(&f.allowUnsigned, "allow-unsigned", false, "take the package whoever made it: its signature is not checked")
}

func (f *trustFlags) addTrust(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "trust", nil,
		"a publisher's public key: `FILE` or the one line itself; repeatable (or $"+trustVariable+")")
}

// trust reads the keys: the flags', or else the environment's.
func (f *trustFlags) trust() (manifest.Trust, error) {
	given := f.keys
	if len(given) == 0 {
		given = listFrom(os.Getenv(trustVariable))
	}
	keys, err := publicKeys(given)
	return manifest.Trust{Keys: keys, AllowUnsigned: f.allowUnsigned}, err
}

// publicKeys reads each of given: a public key in its one line, or the file it is in. The error names all that are none.
func publicKeys(given []string) (keys []manifest.PublicKey, err error) {
	var wrong []error
	for _, s := range given {
		key, err := publicKey(s)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		keys = append(keys, key)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return keys, nil
}

func publicKey(given string) (manifest.PublicKey, error) {
	key, err := manifest.ParsePublicKey(given)
	if err == nil {
		return key, nil
	}
	text, readErr := os.ReadFile(given)
	if readErr != nil {
		return key, usagef("trust %q: neither a public key (%w) nor a file with one (%w)", given, err, readErr)
	}
	if key, err = manifest.ParsePublicKey(string(text)); err != nil {
		return key, usagef("trust %s: %w", given, err)
	}
	return key, nil
}

// listFrom splits a variable's value at commas.
func listFrom(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// openTrusted opens the manifest raw, which came from where, and says what to do if its signature doesn't count.
func openTrusted(raw []byte, where string, t manifest.Trust) (*manifest.Manifest, error) {
	m, err := manifest.Open(raw, t)
	if err == nil {
		return m, nil
	}
	err = fmt.Errorf("%s: %w", manifest.Shown(where), err)
	if !errors.Is(err, manifest.ErrUntrusted) {
		return nil, err
	}
	return nil, advisedError{err, trustAdvice(raw, len(t.Keys))}
}

// trustAdvice says who signed the manifest raw and what to add so that it is accepted.
func trustAdvice(raw []byte, keys int) string {
	var b strings.Builder
	m, err := manifest.Open(raw, manifest.Trust{AllowUnsigned: true})
	if err != nil || len(m.Signatures) == 0 {
		b.WriteString("It is not signed. Ask the publisher to sign it (handout publish --key F.key).\n")
	} else {
		for _, s := range m.Signatures {
			fmt.Fprintf(&b, "It says it is signed by the key %s.\n", s.KeyID)
		}
		if keys == 0 {
			b.WriteString("No key is trusted here yet. Get the publisher's public key in a way you trust, then add\n")
		} else {
			b.WriteString("That is none of the trusted keys. If it should be one, add\n")
		}
		b.WriteString("    --trust F.pub       or the key's one line, RW...; or set " + trustVariable + "\n")
	}
	b.WriteString("To go on without checking who made it: --allow-unsigned")
	return b.String()
}
