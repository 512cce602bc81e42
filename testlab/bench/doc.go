// Bench prints the figures that handout is to be judged by, each beside what today's tools do in the same minute on the
// same machine, with the commands that were run. It passes no verdict: how fast a machine is today is no matter for a test.
//
//	go run ./testlab/bench [-runs N] [-own] [-size MIB] [-hosts LIST] [-picture FILE] [row ...]
//
// Without rows it runs all. It needs nginx, and the tools it compares with (make bench installs them where it may); what is
// missing is said and left out. Data lies on /dev/shm where that has room, so that disks don't decide, else in the
// temporary folder.
package main
