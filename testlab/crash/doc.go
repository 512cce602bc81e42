// Package crash puts handout on a disk that does what disks do to programs: it sees the machine die between any two
// operations, it is full, it fails, and after a power cut it has forgotten what nobody had flushed.
//
// Disk is a pass-through file system (FUSE, Linux). Every operation that changes something or makes a change last has a
// name and a number, and a hook that may kill the program just before or just after it, or let it fail. A recording of the
// operations can be played back to every state in which a power cut could leave a real disk: see Recording.
//
// FUSE tells its server of no syncfs(2), so here one sees the store flush file by file, as it does on such file systems;
// on others it is one call for the whole.
package crash
