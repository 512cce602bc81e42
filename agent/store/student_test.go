package store

import (
	"math/rand/v2"
	"os"
	"path/filepath"
)

// studentVariable makes this test binary a student: it names the folder to do it in.
const studentVariable = "HANDOUT_STORE_TEST_STUDENT"

// misbehave plants links in a folder where a tree is to be published, until it is killed. Whatever a student may not do
// fails, and the next thing is tried.
func misbehave(shared string) {
	targets := []string{"../outside", "victim", filepath.Join(filepath.Dir(shared), "outside"), ".victim.handout"}
	for {
		target := targets[rand.IntN(len(targets))]
		spot := filepath.Join(shared, []string{stagingName("dest"), "dest"}[rand.IntN(2)])
		switch rand.IntN(3) {
		case 0:
			os.Symlink(target, spot)
		case 1: // a folder becomes a link, for a moment
			if os.Rename(spot, spot+".away") == nil {
				os.Symlink(target, spot)
				os.Remove(spot)
				os.Rename(spot+".away", spot)
			}
		case 2:
			os.Remove(spot)
		}
	}
}
