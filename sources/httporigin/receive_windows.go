package httporigin

import "syscall"

// receiveBuffer sets SO_RCVBUF before the connection is made, since the window scale is settled in the handshake.
func receiveBuffer(bytes int) func(network, address string, c syscall.RawConn) error {
	if bytes <= 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
		}); e != nil {
			return e
		}
		return err
	}
}
