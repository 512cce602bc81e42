package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"handout/agent/atomicfile"
	"handout/agent/orders"
	"handout/manifest"
)

// listLife is how long a signed list of keys is good if nobody says otherwise.
const listLife = 365 * 24 * time.Hour

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Say by a signed list which keys publish and which push",
		Long: `A list of keys saves going to every machine when a key changes. The machines' config names one key, the root key
(push.root_key), which is kept offline; it signs the list of those that sign packages (role publish) and those that sign orders
(role push). A newer list takes the place of an older one; what a key has ordered that is no longer on it falls.`,
		Example: `  handout keygen -o root
  handout keys add lab.keys --role publish lab.pub
  handout keys add lab.keys --role push desk.pub --comment 'the desk in room 12'
  handout keys sign lab.keys --key root.key
  handout keys send lab.keys
  handout keys remove lab.keys desk.pub       # then sign and send again`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(a.keysAddCommand(), a.keysRemoveCommand(), a.keysSignCommand(), a.keysShowCommand(), a.keysSendCommand())
	return cmd
}

func (a *app) keysAddCommand() *cobra.Command {
	var role, comment string
	cmd := &cobra.Command{
		Use:   "add FILE PUB...",
		Short: "Put keys on a list, which is made if it isn't there",
		Args:  cobra.MinimumNArgs(2),
		RunE: a.verb(func(_ *cobra.Command, args []string) error {
			if !slices.Contains(orders.Roles, orders.Role(role)) {
				return usagef("--role %s: it is publish or push", printable(role))
			}
			l, err := readKeyList(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				now := time.Now()
				l, err = orders.KeyList{Serial: 1, Issued: now, Expires: now.Add(listLife)}, nil
			}
			if err != nil {
				return err
			}
			keys, err := publicKeys(args[1:])
			if err != nil {
				return err
			}
			for _, k := range keys {
				l.Keys = append(l.Keys, orders.ListedKey{Role: orders.Role(role), Key: k, Comment: comment})
			}
			return a.writeDraft(args[0], l)
		}),
	}
	cmd.Flags().StringVar(&role, "role", "", "what the keys may sign: `ROLE` publish (packages) or push (orders)")
	cmd.Flags().StringVar(&comment, "comment", "", "whose they are, as `TEXT` for people")
	cmd.MarkFlagRequired("role")
	return cmd
}

func (a *app) keysRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove FILE PUB|ID...",
		Short: "Take keys off a list",
		Args:  cobra.MinimumNArgs(2),
		RunE: a.verb(func(_ *cobra.Command, args []string) error {
			l, err := readKeyList(args[0])
			if err != nil {
				return err
			}
			for _, what := range args[1:] {
				is := func(k orders.ListedKey) bool { return strings.EqualFold(k.Key.ID(), what) }
				if keys, err := publicKeys([]string{what}); err == nil {
					is = func(k orders.ListedKey) bool { return k.Key.Equal(keys[0]) }
				}
				n := len(l.Keys)
				if l.Keys = slices.DeleteFunc(l.Keys, is); len(l.Keys) == n {
					return usagef("%s is not on the list: handout keys show %s", printable(what), args[0])
				}
			}
			return a.writeDraft(args[0], l)
		}),
	}
}

func (a *app) keysSignCommand() *cobra.Command {
	var keyFile, expires string
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a list with the root key, as a newer one than it was",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			l, err := readKeyList(args[0])
			if err != nil {
				return err
			}
			now := time.Now()
			l.Serial, l.Issued = max(l.Serial+1, serialAt(now)), now
			if l.Expires, err = lives(expires, listLife, now); err != nil {
				return err
			}
			key, err := a.privateKey(cmd, keyFile)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(l.Keys, func(k orders.ListedKey) bool { return k.Key.Equal(key.Public()) }) {
				return usagef("the root key stands on the list: it signs nothing else, so that it can stay offline")
			}
			text, err := l.Sign(key)
			if err != nil {
				return usageError{err}
			}
			if err := atomicfile.Write(args[0], text, 0o644); err != nil {
				return err
			}
			a.tellKeys(l, "signed by "+key.Public().ID())
			return nil
		}),
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "the root key's `FILE`")
	cmd.Flags().StringVar(&expires, "expires", "", "its keys sign nothing new after `WHEN`: 2027-01-31, or a duration such as 720h (default a year)")
	cmd.MarkFlagRequired("key")
	return cmd
}

func (a *app) keysShowCommand() *cobra.Command {
	var root []string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a list, and whether the root key has signed it",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(_ *cobra.Command, args []string) error {
			text, err := readNamed("list of keys", args[0])
			if err != nil {
				return err
			}
			roots, err := publicKeys(root)
			if err != nil {
				return err
			}
			l, signer, ok, err := orders.ReadKeys(text, roots)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", args[0], err)
			case ok:
				a.tellKeys(l, "signed by "+signer.ID())
			case len(roots) > 0:
				a.tellKeys(l, "not signed by that key")
				return fmt.Errorf("%s: %w", args[0], errUnsignedKeys)
			case orders.IsSigned(text):
				a.tellKeys(l, "signed; --root says whether by the right key")
			default:
				a.tellKeys(l, "not signed yet: handout keys sign")
			}
			return nil
		}),
	}
	cmd.Flags().StringArrayVar(&root, "root", nil, "the root key it should be signed by: `FILE` or the one line itself")
	return cmd
}

// errUnsignedKeys: a list of keys that no machine would take.
var errUnsignedKeys = fmt.Errorf("the list of keys is not signed by the root key: %w", manifest.ErrUntrusted)

func (a *app) keysSendCommand() *cobra.Command {
	var d deskFlags
	cmd := &cobra.Command{
		Use:   "send FILE",
		Short: "Hand a signed list to one agent, which passes it on",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			text, err := readNamed("list of keys", args[0])
			if err != nil {
				return err
			}
			if _, _, _, err := orders.ReadKeys(text, nil); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if !orders.IsSigned(text) {
				return advisedError{fmt.Errorf("%s: %w", args[0], errUnsignedKeys), "Sign it: handout keys sign " + printable(args[0]) + " --key root.key."}
			}
			taker, known, err := d.hand(cmd.Context(), func(k *orders.Asker) error { return k.GiveKeys(text) })
			if err != nil {
				return ended(cmd.Context(), keysAdvice(err))
			}
			what := "has the list, and passes it on"
			if known {
				what = "has had the list before"
			}
			fmt.Fprintf(a.out, "%s %s\n", printable(taker), what)
			return nil
		}),
	}
	d.add(cmd)
	return cmd
}

// keysAdvice says what to do about a refusal.
func keysAdvice(err error) error {
	r, ok := errors.AsType[*orders.Refusal](err)
	switch {
	case ok && r.Reason == orders.Deaf:
		return advisedError{err, "Name the root key in the agent's config: push.root_key."}
	case ok && r.Reason == orders.TooOld:
		return advisedError{err, "A newer list counts. Sign this one again, if it is meant to: handout keys sign."}
	}
	return err
}

func readKeyList(file string) (orders.KeyList, error) {
	text, err := readNamed("list of keys", file)
	if err != nil {
		return orders.KeyList{}, err
	}
	l, _, _, err := orders.ReadKeys(text, nil)
	if err != nil {
		return l, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

func (a *app) writeDraft(file string, l orders.KeyList) error {
	text, err := l.Draft()
	if err != nil {
		return usageError{err}
	}
	if err := atomicfile.Write(file, text, 0o644); err != nil {
		return err
	}
	a.tellKeys(l, "not signed yet: handout keys sign")
	return nil
}

func (a *app) tellKeys(l orders.KeyList, signed string) {
	fmt.Fprintf(a.out, "serial %d, until %s, %s\n", l.Serial, l.Expires.Local().Format(time.DateTime), signed)
	for _, k := range l.Keys {
		fmt.Fprintf(a.out, "  %-7s  %s  %s  %s\n", k.Role, k.Key.ID(), k.Key, printable(k.Comment))
	}
}
