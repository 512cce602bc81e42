// Package orders is who may tell a machine what to have, and what was told: signed orders, the list of keys, and the book in
// which a machine keeps those that stand.
//
// An order is a text of three parts: a line that names its kind and version, one line of JSON, and a minisign signature
// over both lines. So the minisign program makes and verifies it, one order has one text, and a signature for one kind of
// thing never fits another. A list of keys is the same under another first line.
//
// Authority is a key and never a connection: whoever hands an order on adds nothing and takes nothing away. The rules of
// what is taken are pure (judge.go). What was taken is on the disk before anybody hears of it, so that a machine that
// crashes can't be told an older order afterwards. For each package the newest order stands, withdrawals included: they
// are what keeps an older push from coming back.
//
// How machines tell each other what they have is in wire.go: one asks, the other answers from its book. What differs is
// noticed by a digest of the book, which whoever uses this package passes around.
//
// What an order says of this machine alone (is its root allowed here, is the package's own signature good) is not decided
// here: such an order stands and is handed on, as it may be right elsewhere.
package orders

import (
	"errors"
	"fmt"
)

// Reason says why something was refused. The names go over the wire and into logs, and never change their meaning.
type Reason string

// The reasons.
const (
	Malformed Reason = "malformed" // no order, or one that contradicts itself
	Deaf      Reason = "no_key"    // this machine trusts no key that could sign it
	Untrusted Reason = "untrusted" // signed by another key, or by none
	OtherSite Reason = "other_site"
	TooOld    Reason = "old"     // a newer one was taken, also if that has been withdrawn since: a replay
	Floored   Reason = "floor"   // its serial is below what this machine's config begins with
	Expired   Reason = "expired" //
	Future    Reason = "future"  // issued later than it is now
	Full      Reason = "full"    // the book holds as many packages as it may
	NoRoot    Reason = "no_root" // its root is none of this machine's
	Taken     Reason = "taken"   // where it should go is another package's, or this one is the config's at another place
	Unknown   Reason = "unknown" // it withdraws what nobody has pushed, as far as this machine knows
	BadGoods  Reason = "package" // the manifest it orders is not what it says, or not signed by a trusted publisher
	Failed    Reason = "failed"  // it can't be kept: the disk
)

// Refusal is an order, or a list of keys, that was not taken.
type Refusal struct {
	Reason Reason
	Name   string // of the package, if it could be read and was signed by a trusted key
	Err    error
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused (%s): %v", r.Reason, r.Err) }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(why Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: why, Err: fmt.Errorf(format, args...)}
}

// ErrKnown: it was taken before and still stands. Nothing is to be done.
var ErrKnown = errors.New("it is known already")
