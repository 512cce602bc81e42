package networks

import "strings"

// The types of interfaces that Windows gives numbers (RFC 2863's).
const (
	ifPPP           = 23
	ifLoopback      = 24
	ifPropVirtual   = 53
	ifTunnel        = 131
	hyperVAdapter   = "Hyper-V Virtual Ethernet Adapter"
	windowsLoopback = "Loopback"
)

// Words in the descriptions of adapters that programs make.
var (
	windowsInner  = []string{"VirtualBox Host-Only", "VMware Virtual Ethernet Adapter", windowsLoopback, "Npcap"}
	windowsTunnel = []string{"VPN", "TAP-", "Wintun", "WireGuard", "OpenVPN", "AnyConnect", "Cisco Secure Client", "PANGP", "GlobalProtect",
		"Fortinet", "Juniper", "Pulse Secure", "Check Point Virtual", "SonicWall", "Tailscale", "ZeroTier", "Hamachi"}
)

// windowsKind tells what a Windows adapter leads to. Hyper-V's adapter for this machine is the LAN's where its switch has the
// LAN's cable, and then has the gateway; else it leads to virtual machines.
func windowsKind(ifType uint32, description string, gateway bool) Kind {
	says := func(words []string) bool {
		for _, w := range words {
			if strings.Contains(description, w) {
				return true
			}
		}
		return false
	}
	switch {
	case ifType == ifLoopback:
		return Loop
	case says(windowsInner):
		return Inner
	case ifType == ifPPP, ifType == ifTunnel, ifType == ifPropVirtual, says(windowsTunnel):
		return Tunnel
	case strings.Contains(description, hyperVAdapter) && !gateway:
		return Blind
	default:
		return Wire
	}
}
