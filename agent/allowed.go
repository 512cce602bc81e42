package agent

import (
	"net/url"
	"path"
	"strings"

	"handout/manifest"
)

// allowed are the origins of a manifest that this machine may read. Whoever signs packages says where they come from, and
// could have every machine of a site read what it can reach, as whom it is there: the config can fence that.
func (a *Agent) allowed(m *manifest.Manifest) (all []string) {
	for _, o := range m.Origins {
		if len(a.c.AllowOrigins) == 0 || allows(a.c.AllowOrigins, o) {
			all = append(all, o)
			continue
		}
		a.log.Warn("origin is left out: it does not lie in what the config allows (origins.allow)", "package", m.Name)
	}
	return all
}

// allows reports whether an origin is one of a list, or lies beneath one of it.
func allows(list []string, origin string) bool {
	o, ok := originPlace(origin)
	for _, s := range list {
		above, known := originPlace(s)
		if ok && known && (o == above || strings.HasPrefix(o, strings.TrimSuffix(above, "/")+"/")) {
			return true
		}
	}
	return false
}

// originPlace is where an origin lies, in one spelling: scheme, server and path. false: it can't be compared safely.
func originPlace(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, `\\`); ok {
		s = "smb://" + strings.ReplaceAll(rest, `\`, "/")
	}
	if !strings.Contains(s, "://") {
		clean := path.Clean(strings.ReplaceAll(s, `\`, "/"))
		return clean, !strings.Contains("/"+clean+"/", "/../")
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return "", false
	}
	for element := range strings.SplitSeq(u.Path, "/") {
		if element == ".." || element == "." || strings.Contains(element, `\`) {
			return "", false
		}
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443", "smb": "445"}[scheme] {
		host += ":" + port
	}
	if strings.Contains(host, "/") {
		return "", false
	}
	p := u.Path // as it is decoded: %2e and . are one
	if scheme == "smb" {
		p = strings.ToLower(p) // as the server would compare it
	}
	return scheme + "://" + host + path.Clean("/"+p), true
}
