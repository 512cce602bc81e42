//go:build !linux

package main

import "log"

func main() { log.Fatal("figures: its labs are made of network namespaces, which only Linux has") }
