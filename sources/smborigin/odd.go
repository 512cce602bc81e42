package smborigin

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"handout/sources"
)

// OddNames is what helps against names that Windows can't have: what Samba needs to let a client ask for them. It was
// tried with Samba 4.17: catia alone maps nothing, and fruit:encoding nothing without catia.
const OddNames = `a Samba share needs "vfs objects = catia fruit streams_xattr" and "fruit:encoding = native"; or rename them, and publish again`

// explainMissing says of a file that is missing under a name that Windows can't have why that may be so.
func (l Location) explainMissing(path string, err error) error {
	if !errors.Is(err, sources.ErrMissing) {
		return err
	}
	for element := range strings.SplitSeq(strings.Trim(l.Path+"/"+path, "/"), "/") {
		if mapName(element, true) != element {
			return fmt.Errorf("%w: Windows can't have the name %q, and the server does not translate it: %s", sources.ErrMissing, element, OddNames)
		}
	}
	return err
}

// mangled matches what Samba makes of a name that Windows can't have, and does not translate.
var mangled = regexp.MustCompile(`^[A-Z0-9_]{6}~[A-Z0-9](\.[A-Z0-9_]{1,3})?$`)
