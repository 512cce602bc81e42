package lab

import (
	"fmt"
	"os/exec"
	"strings"
)

// KeepMulticastFrom has the switch hold multicast back from these hosts, as one does that waits for a querier which isn't
// there. Broadcasts pass.
func (l *Lab) KeepMulticastFrom(hosts ...*Machine) error {
	for _, h := range hosts {
		if err := l.router.command("bridge", "link", "set", "dev", "to-"+h.Name, "mcast_flood", "off"); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program on the machine; an error has what it said.
func (m *Machine) command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if _, err := m.Run(cmd); err != nil {
		return fmt.Errorf("%s: %s: %w: %s", m.Name, strings.Join(cmd.Args, " "), err, said.String())
	}
	return nil
}
