package main

import "testing"

// TestServiceSID: the one that every Windows shows for its own installer.
func TestServiceSID(t *testing.T) {
	const want = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
	if got := serviceSID("TrustedInstaller"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
