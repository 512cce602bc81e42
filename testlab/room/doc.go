// Package room is a lab with a job in it: a published tree, nginx as its origin, and hosts on which real handout processes
// fetch. It knows how long the job must take at least, and what was carried from where, taken from the server's side and
// from the outside of the processes, not from what they say of themselves.
package room
