// Figures plays every scenario that a site is judged by, with real handout processes in network namespaces, and prints
// what came out beside what is wanted. Trees are compared; whether a figure is good enough is for the reader to say, who
// knows how busy the machine was.
//
//	go run ./testlab/figures [-runs N] [-size MIB] [row ...]
//
// T* is the time in which no scheme could be faster, taken from what one plain download gets over the same link; where a
// row says so, the time is held against F/u instead, which is what a lone machine needs. It needs nginx (make deps).
package main
