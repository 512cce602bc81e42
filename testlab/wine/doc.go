// Package wine puts Wine in the place of Windows on the machines of a lab, and makes programs for it.
//
// It stands for Windows as far as Wine goes: files, locks, sparse files, UNC paths, TCP, UDP, multicast, services,
// installing and removing an MSI. Not for Unix sockets, symlinks that are followed, folders of a package that are held open,
// the event log, the firewall, who may open which file.
//
// Each Windows is a folder of its own (a WINEPREFIX), which is the caller's to remove: none of the user's is touched. Its
// server, which holds its sockets and without which none of its programs lives, is a process of the lab, so that it ends
// with the lab. Wine 8 starts programs of this Go only with a system library that it lacks (bcryptprimitives), and two calls
// of Go's own library are made to do without what it can't: what runs here is handout but for these, and is not for anything
// else than a test.
package wine
