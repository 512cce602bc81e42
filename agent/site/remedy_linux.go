package site

import (
	"fmt"
	"os/exec"
)

// Remedy is what an admin types to open this machine's doors, given the port for neighbours; it may be several commands.
// It names the firewall's front end that is installed here.
func Remedy(peerPort int) string {
	peer, member := peerPort, peerPort+1
	has := func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	}
	switch {
	case has("firewall-cmd"):
		return fmt.Sprintf("firewall-cmd --permanent --add-port=%d-%d/tcp --add-port=%d/udp && firewall-cmd --reload", peer, member, member)
	case has("ufw"):
		return fmt.Sprintf("ufw allow %d:%d/tcp && ufw allow %d/udp", peer, member, member)
	default:
		return fmt.Sprintf("nft insert rule inet filter input tcp dport %d-%d accept && nft insert rule inet filter input udp dport %d accept",
			peer, member, member)
	}
}
