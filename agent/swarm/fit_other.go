//go:build !linux

package swarm

import "syscall"

// canFit is false where nobody has measured what it does to a connection to size its buffer while it is open.
const canFit = false

func receiveBuffer(syscall.RawConn, int) {}

func canFreeBuffer(syscall.RawConn) bool { return false }

func freeBuffer(syscall.RawConn) {}

func backOff(syscall.RawConn) {}

func wayOf(syscall.RawConn) way { return way{} }
