package networks

import (
	"slices"
	"strings"
)

// Names that programs give to what they make. The system tells the kind of most of these too; of the modules of VirtualBox and
// VMware it doesn't, and a bridge tells nothing of who made it.
var (
	innerNames  = []string{"docker", "virbr", "vboxnet", "vmnet", "lxcbr", "lxdbr", "incusbr", "podman", "cni", "cbr", "mpqemubr", "flannel", "kube-", "waydroid"}
	tunnelNames = []string{"tun", "tap", "wg", "ppp", "vpn", "ipsec", "zt", "tailscale", "nordlynx", "ham", "cscotun", "gpd", "utun"}
)

// kindByName is what a card's name tells of it; Wire: nothing.
func kindByName(name string) Kind {
	begins := func(with string) bool { return strings.HasPrefix(name, with) }
	switch {
	case slices.ContainsFunc(innerNames, begins), isDockerBridge(name):
		return Inner
	case slices.ContainsFunc(tunnelNames, begins):
		return Tunnel
	default:
		return Wire
	}
}

// isDockerBridge reports whether a bridge has the name that Docker gives to those of networks that users make.
func isDockerBridge(name string) bool {
	id, ok := strings.CutPrefix(name, "br-")
	return ok && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
}
