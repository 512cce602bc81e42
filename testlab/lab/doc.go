// Package lab makes small closed networks on one Linux machine, for tests and figures with real programs.
//
// A Lab is one origin, some hosts and a switch that is also their router. Each is a network namespace of its own with its
// own host name; each access link is a veth pair shaped by a token bucket at both ends. A namespace here has no name in
// the file system: it is held by one thread of this process (see Machine), so nothing can be left behind. When this
// process ends, however it ends, the thread is gone, the kernel kills what was started from it (PR_SET_PDEATHSIG), and
// with the last process the namespace and its interfaces go too.
//
// Namespaces need root, or a kernel that lets users have user namespaces: call Enter first thing in main or TestMain.
//
// The package knows nothing of handout. Addresses: origin 10.78.0.1, hosts 10.78.1.1 and on, router 10.78.255.254; no
// route leads out.
package lab
