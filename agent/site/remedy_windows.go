package site

import "fmt"

// Remedy is what an admin types to open this machine's doors, given the port for neighbours; it may be several commands.
func Remedy(peerPort int) string {
	return fmt.Sprintf("netsh advfirewall firewall add rule name=handout dir=in action=allow protocol=TCP localport=%d-%d"+
		" && netsh advfirewall firewall add rule name=handout-site dir=in action=allow protocol=UDP localport=%d",
		peerPort, peerPort+1, peerPort+1)
}
