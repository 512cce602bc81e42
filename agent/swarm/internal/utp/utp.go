// Package utp answers for the engine's uTP dependency. Handout speaks TCP on a LAN and builds without cgo, so
// every attempt to open a uTP socket (BEP 29) is refused; the types are there for the engine to compile against.
package utp

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Default names the implementation the engine prints in its status page.
const Default = "none"

var errNotBuiltIn = errors.New("uTP is not built in")

// Option is accepted and ignored.
type Option func()

// WithLogger is accepted and ignored.
func WithLogger(*slog.Logger) Option { return nil }

// FirewallCallback decides whether a stranger's packet is dropped; it is never called here.
type FirewallCallback func(net.Addr) bool

// Socket is what the engine would use had one been opened.
type Socket interface {
	net.PacketConn
	Accept() (net.Conn, error)
	Addr() net.Addr
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	SetFirewallCallback(func(net.Addr) bool)
}

// NewSocket always fails.
func NewSocket(network, addr string, opts ...Option) (Socket, error) { return nil, errNotBuiltIn }

// NewSocketFromPacketConn always fails.
func NewSocketFromPacketConn(pc net.PacketConn, opts ...Option) (Socket, error) {
	return nil, errNotBuiltIn
}
