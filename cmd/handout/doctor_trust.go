package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"handout/agent"
	"handout/agent/atomicfile"
	"handout/manifest"
	"handout/sources/origin"
)

const (
	checkTrust = "trust"
	checkPush  = "push"
	checkState = "state"
)

// keyFindings says which keys of the config can't be read, and takes these out of c: doctor looks at all else all the same.
func keyFindings(c *agentConfig) (found []agent.Finding) {
	readable := func(setting string, keys []string) (good []string) {
		for _, k := range keys {
			if _, err := publicKeys([]string{k}); err != nil {
				found = append(found, agent.Finding{Check: checkTrust, State: agent.Trouble, What: fmt.Sprintf("%s: %s", setting, errorText(err)),
					Remedy: "The agent does not start with it. Name a file with a public key (F.pub), which this user may read, or its one line, RW..."})
				continue
			}
			good = append(good, k)
		}
		return good
	}
	c.Trust = readable("trust", c.Trust)
	c.Push.Keys = readable("push.keys", c.Push.Keys)
	if c.Push.RootKey != "" && readable("push.root_key", []string{c.Push.RootKey}) == nil {
		c.Push.RootKey = ""
	}
	if len(c.Push.Keys) > 0 && len(c.Trust) == 0 && c.Push.RootKey == "" {
		found = append(found, agent.Finding{Check: checkPush, State: agent.Trouble, What: "the config says who may push, and no publisher's key is left: no pushed package could be taken",
			Remedy: `Put the publisher's public key into the config: trust = ["F.pub"]`})
		c.Push.Keys = nil
	}
	return found
}

// trustFindings looks whether the keys that this machine trusts fit the packages that it is to have. c has keys that can be
// read only.
func trustFindings(ctx context.Context, c agentConfig, packages []string, o origin.Options) (found []agent.Finding) {
	find := func(check string, s agent.State, remedy, format string, args ...any) {
		found = append(found, agent.Finding{Check: check, State: s, What: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	p, err := c.pushes()
	if err != nil {
		find(checkPush, agent.Trouble, "", "%s", errorText(err))
		return found
	}
	book, err := agent.OpenBook(c.StateDir, p.Rules)
	switch {
	case errors.Is(err, fs.ErrPermission):
		find(checkState, agent.Note, "Look again as the agent's user, or as an admin.", "what the agent was told can't be read by this user: %s", errorText(err))
	case err != nil:
		find(checkState, agent.Trouble, "The agent sets it aside at its next start, and learns what stands from its neighbours.", "%s", errorText(err))
	}
	keys := book.Publishers()
	switch {
	case len(keys) > 0:
	case len(c.Packages) > 0 || c.takesPushes():
		find(checkTrust, agent.Trouble, `Put the publisher's public key into the config: trust = ["F.pub"] (handout keygen made it)`,
			"no publisher's key is trusted: the agent takes no package")
	default:
		find(checkTrust, agent.Note, "", "no publisher's key is trusted: none is in the agent's config")
	}
	if len(keys) > 0 {
		found = append(found, signerFindings(ctx, keys, packages, o)...)
	}
	if !c.takesPushes() {
		find(checkPush, agent.Note, "", "nobody may push to this machine: its config names no push.keys and no push.root_key")
		return found
	}
	for _, k := range p.Rules.Push {
		if slices.ContainsFunc(p.Rules.Publish, k.Equal) {
			find(checkPush, agent.Note, "Make one of its own for orders: handout keygen -o push.",
				"the key %s both signs packages and pushes them: whoever steals it can have machines run anything", k.ID())
		}
	}
	list, has := book.Keys()
	switch {
	case len(p.Rules.Push) > 0:
		find(checkPush, agent.Fine, "", "orders of %s are obeyed", keyNames(p.Rules.Push))
	case !has:
		find(checkPush, agent.Note, "Hand it over: handout keys send FILE.", "no list of keys has come yet: until then nobody may push")
	default:
		find(checkPush, agent.Fine, "", "orders by the list of keys, serial %d, are obeyed", list.Serial)
	}
	return found
}

// signerFindings looks who signed the packages. One that can't be read is told of among the origins.
func signerFindings(ctx context.Context, keys []manifest.PublicKey, packages []string, o origin.Options) (found []agent.Finding) {
	signed, read := map[string]int{}, 0
	for _, where := range packages {
		raw, err := readManifest(ctx, where, o)
		if err != nil {
			continue
		}
		m, err := manifest.Open(raw, showing)
		if err != nil {
			continue
		}
		read++
		good := 0
		for _, k := range keys {
			if _, err := manifest.Open(raw, manifest.Trust{Keys: []manifest.PublicKey{k}}); err == nil {
				signed[k.String()]++
				good++
			}
		}
		if good > 0 {
			found = append(found, agent.Finding{Check: checkTrust, State: agent.Fine, What: manifest.Shown(where) + " is signed by a trusted key"})
			continue
		}
		by := "it is not signed"
		var ids []string
		for _, s := range m.Signatures {
			ids = append(ids, s.KeyID)
		}
		if len(ids) > 0 {
			by = "it says it is signed by the key " + strings.Join(ids, ", ")
		}
		found = append(found, agent.Finding{Check: checkTrust, State: agent.Trouble,
			What:   fmt.Sprintf("%s: no trusted key has signed it (%s); trusted: %s", manifest.Shown(where), by, keyNames(keys)),
			Remedy: "Get the publisher's public key in a way you trust and add it to trust in the config, or have the package signed (handout publish --key F.key)."})
	}
	for _, k := range keys {
		if read > 0 && signed[k.String()] == 0 {
			found = append(found, agent.Finding{Check: checkTrust, State: agent.Note,
				What: fmt.Sprintf("the trusted key %s has signed none of the %s that were looked at", k.ID(), countText(read, "package"))})
		}
	}
	return found
}

func keyNames(keys []manifest.PublicKey) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID())
	}
	return strings.Join(ids, ", ")
}

// asideFindings names what an agent found damaged in its state folder.
func asideFindings(stateDir string) (found []agent.Finding) {
	for _, dir := range []string{stateDir, filepath.Join(stateDir, "orders"), doorDir(stateDir)} {
		for _, path := range atomicfile.Aside(dir) {
			found = append(found, agent.Finding{Check: checkState, State: agent.Note, What: path + " was damaged, and set aside at a start of the agent",
				Remedy: "A power cut or a full disk does that, and a disk that fails. Remove it when nobody needs it any more."})
		}
	}
	return found
}
