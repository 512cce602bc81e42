package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"handout/agent/orders"
	"handout/manifest"
)

// orderLife is how long an order is good if nobody says otherwise: a machine that was off for longer has missed it.
const orderLife = 30 * 24 * time.Hour

func (a *app) pushCommand() *cobra.Command {
	var d deskFlags
	var keyFile, root, path, expires string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "push PKG.torrent|URL",
		Short: "Have the machines of a site fetch a package, by a signed order",
		Long: `push signs the order to have this package, and hands it to one agent of the site. Agents pass it on among themselves; one
that is off learns it from the first neighbour it meets, as long as the order has not expired. They obey because of the key,
whoever brings the order: theirs must be named in their config (push.keys), or stand on the list of keys that they have
(handout keys). The package itself must be signed by a publisher they trust.

A later push of the same package takes the place of this one, and withdraw ends it. The package goes to the machines' cache, or,
with --root and --path, beneath a folder that their config allows under this name ([roots]).

Exit code 11: the agent refused the order, and said why.`,
		Example: `  handout push win11-24H2.torrent --key push.key
  handout push apps.torrent --key push.key --to depot.example --site lab --root apps --path tools`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(cmd *cobra.Command, args []string) error {
			account := accountFlags{}
			options, err := account.options(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			raw, err := awaitManifest(cmd.Context(), args[0], options, a.say())
			if err != nil {
				return ended(cmd.Context(), err)
			}
			o, err := pushOf(raw, root, path)
			if err != nil {
				return fmt.Errorf("%s: %w", manifest.Shown(args[0]), err)
			}
			return a.order(cmd, &d, keyFile, expires, asJSON, o, raw)
		}),
	}
	d.add(cmd)
	addOrderFlags(cmd, &keyFile, &expires, &asJSON)
	cmd.Flags().StringVar(&root, "root", "", "put it beneath the folder that the machines' config calls `NAME` (default: their cache)")
	cmd.Flags().StringVar(&path, "path", "", "where beneath --root: `PATH` of the package's folder itself (default: the name of its folder)")
	return cmd
}

func addOrderFlags(cmd *cobra.Command, keyFile, expires *string, asJSON *bool) {
	fs := cmd.Flags()
	fs.StringVar(keyFile, "key", "", "sign the order with the push key in `FILE`")
	fs.StringVar(expires, "expires", "", "nobody takes it later than `WHEN`: 2027-01-31, 2027-01-31T18:00:00Z or a duration such as 720h (default 30 days)")
	fs.BoolVar(asJSON, "json", false, "print one JSON object")
	cmd.MarkFlagRequired("key")
}

// pushOf is the order to have the package that raw describes.
func pushOf(raw []byte, root, path string) (o orders.Order, err error) {
	m, err := manifest.Open(raw, showing)
	if err != nil {
		return o, err
	}
	if len(m.Signatures) == 0 {
		return o, advisedError{fmt.Errorf("%w: it has no signature, and no agent takes a package without", manifest.ErrUntrusted),
			"Sign it when it is published: handout publish --key F.key."}
	}
	if root == "" && path != "" {
		return o, usagef("--path is beneath a root: name one with --root")
	}
	if root != "" && path == "" {
		path = m.Root
	}
	return orders.Order{
		Kind: orders.Push, Name: m.Name, Version: m.Version,
		Manifest: sha256.Sum256(raw), Size: int64(len(raw)), InfoHash: m.InfoHash, Root: root, Path: path,
	}, nil
}

// order signs o and hands it to an agent, with its manifest.
func (a *app) order(cmd *cobra.Command, d *deskFlags, keyFile, expires string, asJSON bool, o orders.Order, raw []byte) error {
	now := time.Now()
	o.Site, o.Serial, o.Issued = d.site, serialAt(now), now
	var err error
	if o.Expires, err = lives(expires, orderLife, now); err != nil {
		return err
	}
	key, err := a.privateKey(cmd, keyFile)
	if err != nil {
		return err
	}
	text, err := o.Sign(key)
	if err != nil {
		return usageError{err}
	}
	taker, _, err := d.hand(cmd.Context(), func(k *orders.Asker) error { return k.GiveOrder(text, raw) })
	if err != nil {
		return ended(cmd.Context(), orderAdvice(err))
	}
	if asJSON {
		return json.NewEncoder(a.out).Encode(struct {
			Event   string    `json:"event"`
			Agent   string    `json:"agent"`
			Name    string    `json:"name"`
			Version string    `json:"version,omitempty"`
			Site    string    `json:"site"`
			Serial  uint64    `json:"serial"`
			Key     string    `json:"key"`
			Expires time.Time `json:"expires"`
		}{string(o.Kind), taker, o.Name, o.Version, o.Site, o.Serial, key.Public().ID(), o.Expires.UTC().Truncate(time.Second)})
	}
	what := "has the order to fetch " + printable(strings.TrimSpace(o.Name+" "+o.Version))
	if o.Kind == orders.Withdraw {
		what = "has heard that " + printable(o.Name) + " is withdrawn"
	}
	fmt.Fprintf(a.out, "%s %s, and passes it on in the site %s\n  serial %d, by the key %s, good until %s\n", printable(taker), what,
		printable(o.Site), o.Serial, key.Public().ID(), o.Expires.Local().Format(time.DateTime))
	return nil
}

// orderAdvice says what to do about a refusal.
func orderAdvice(err error) error {
	r, ok := errors.AsType[*orders.Refusal](err)
	if !ok {
		return err
	}
	advice := map[orders.Reason]string{
		orders.Deaf:      "Trust the push key there: push.keys in the agent's config, or push.root_key and a list of keys (handout keys).",
		orders.Untrusted: "Sign with a push key that the agents trust (push.keys in their config, or on their list of keys).",
		orders.TooOld:    "A newer order stands. Is the clock of this machine behind?",
		orders.Future:    "Set the clock of this machine, or of that one.",
		orders.Floored:   "It is older than the day that agent's config begins with (push.floor). Is the clock of this machine behind?",
		orders.OtherSite: "An order is for one site: name it with --site.",
		orders.Unknown:   "No agent that was asked knows it. Is the name right? handout status on a machine that has it shows it. Another site: --site.",
		orders.Full:      "Withdrawn packages count too. Make room: stop the agents, remove their orders folder in state_dir, and push what is to stand.",
		orders.Failed:    "Look into the agent's log, and at its disk.",
		orders.NoRoot:    "Allow the folder in the agent's config ([roots]), or push to the cache: without --root.",
		orders.BadGoods:  "The publisher's key must be trusted there: trust in the agent's config, or on its list of keys.",
	}[r.Reason]
	if advice == "" {
		return err
	}
	return advisedError{err, advice}
}
