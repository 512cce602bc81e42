package discovery

import (
	"slices"
	"strings"
	"testing"
)

func TestDefaultRoutes(t *testing.T) {
	const v4 = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
*	00000000	00000000	0200	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
tun0	00000000	00000000	0001	0	0	0	00000080	0	0	0
short
`
	got, err := defaultRoutes4(strings.NewReader(v4))
	if want := []string{"eth0", "wlan0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("IPv4: got %q, %v, want %q", got, err, want)
	}
	const v6 = `fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`
	got, err = defaultRoutes6(strings.NewReader(v6))
	if want := []string{"eth0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("IPv6: got %q, %v, want %q", got, err, want)
	}
}
