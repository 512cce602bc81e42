package lab

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// ErrNoFirewall is answered where this machine can't have one.
var ErrNoFirewall = errors.New("needs nftables: make deps")

// Firewall gives the machine what most have: nothing comes in that it did not ask for, unless a rule in the syntax of
// nftables lets it in, "tcp dport 22 accept" for example. What is not let in is dropped without a word.
func (m *Machine) Firewall(rules ...string) error {
	nft, err := exec.LookPath("nft")
	if err != nil {
		return ErrNoFirewall
	}
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader("table inet lab\ndelete table inet lab\ntable inet lab { chain in { type filter hook input priority 0; policy drop;\n" +
		"iif lo accept\nct state established,related accept\nip protocol icmp accept\n" + strings.Join(rules, "\n") + "\n}\n}\n")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if _, err := m.Run(cmd); err != nil {
		return fmt.Errorf("%s: raise a firewall: %w: %s", m.Name, err, said.String())
	}
	return nil
}

// NoFirewall takes it down.
func (m *Machine) NoFirewall() error {
	return m.command("nft", "delete", "table", "inet", "lab")
}
