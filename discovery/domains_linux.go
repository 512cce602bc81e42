package discovery

import (
	"bufio"
	"io"
	"os"
	"strings"
)

func systemDomains() ([]string, error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	domains, err := searchList(f)
	if host, e := os.Hostname(); len(domains) == 0 && e == nil { // resolv.conf(5): then it is the host's own
		if _, domain, ok := strings.Cut(host, "."); ok {
			domains = []string{domain}
		}
	}
	return domains, err
}

// searchList reads resolv.conf(5): the last of its lines "search" and "domain" counts.
func searchList(r io.Reader) (domains []string, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) > 1 && (f[0] == "search" || f[0] == "domain") {
			domains = f[1:]
		}
	}
	return domains, s.Err()
}
