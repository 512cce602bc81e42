// Package scenario holds the stories of a room as tests: real handout processes, a real nginx, links of a real speed.
//
// In its short form (go test) every link is fast and the payload small, to see in seconds that the stories still end
// well. With HANDOUT_LAB=1 (make lab) links are 25 Mbit/s and the payload 64 MiB, and the figures printed mean something.
package scenario
