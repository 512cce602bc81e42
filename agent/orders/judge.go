package orders

import (
	"errors"
	"time"

	"handout/manifest"
)

// Rules are what a machine's own config says.
type Rules struct {
	Site    string               // the machine's
	Push    []manifest.PublicKey // who may sign orders, whatever the list says
	Publish []manifest.PublicKey // who may sign packages, likewise
	Root    []manifest.PublicKey // who signs the list of keys: one, or none
	Floor   uint64               // no order with a smaller serial is taken: what a fresh machine knows of the past
}

const (
	// skew is how far two right clocks are apart at most.
	skew = 24 * time.Hour
	// MaxOrders is how many packages a book holds, withdrawn ones included.
	MaxOrders = 1024
)

// born is before any order: a clock that stands earlier is wrong (an empty battery says 1980), and nothing is judged by it.
var born = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

func plausible(now time.Time) bool { return now.After(born) }

// expired reports whether something is over, as far as now can tell.
func expired(expires, now time.Time) bool { return plausible(now) && !now.Before(expires) }

// checkClock says why something that was signed with these times is not taken now.
func checkClock(issued, expires, now time.Time) *Refusal {
	switch {
	case !plausible(now):
		return nil
	case issued.After(now.Add(skew)):
		return refuse(Future, "it was issued at %s, which is still to come here: one of the clocks is wrong", issued.Format(time.DateTime))
	case expired(expires, now):
		return refuse(Expired, "it expired at %s", expires.Format(time.DateTime))
	}
	return nil
}

// pushers are those who may sign orders now.
func (r Rules) pushers(list *taken[KeyList], now time.Time) []manifest.PublicKey {
	keys := r.Push
	if list != nil && !expired(list.what.Expires, now) {
		keys = append(keys[:len(keys):len(keys)], list.what.with(PushRole)...)
	}
	return keys
}

// publishers are those who may sign packages now.
func (r Rules) publishers(list *taken[KeyList], now time.Time) []manifest.PublicKey {
	keys := r.Publish
	if list != nil && !expired(list.what.Expires, now) {
		keys = append(keys[:len(keys):len(keys)], list.what.with(PublishRole)...)
	}
	return keys
}

// stands reports whether what a key signed once still counts. A list that is over revokes nothing, a new one does.
func (r Rules) stands(key manifest.PublicKey, list *taken[KeyList]) bool {
	all := r.Push
	if list != nil {
		all = append(all[:len(all):len(all)], list.what.with(PushRole)...)
	}
	for _, k := range all {
		if k.Equal(key) {
			return true
		}
	}
	return false
}

// taken is what a book holds, with the text it came in.
type taken[T any] struct {
	what   T
	id     ID
	text   []byte
	signer manifest.PublicKey
}

// entry is what a book knows of one package.
type entry struct {
	newest taken[Order]
	floors map[string]uint64 // the highest serial that each key has signed: what a key said counts no more when it is revoked
}

// floor is the serial that an order must be above.
func (e *entry) floor() (n uint64) {
	for _, s := range e.floors {
		n = max(n, s)
	}
	return n
}

// judgeOrder reads an order and decides whether it is taken. books are what stands, by package.
func (r Rules) judgeOrder(text []byte, list *taken[KeyList], books map[string]*entry, now time.Time) (taken[Order], error) {
	var t taken[Order]
	s, err := split(text, orderTag, MaxOrderSize)
	if err != nil {
		return t, &Refusal{Reason: Malformed, Err: err}
	}
	keys := r.pushers(list, now)
	if len(keys) == 0 {
		return t, refuse(Deaf, "this machine trusts no push key")
	}
	if t.signer, err = manifest.VerifyMessage(s.message, s.minisig, keys); err != nil {
		return t, &Refusal{Reason: Untrusted, Err: err}
	}
	t.id, t.text = s.id(), text
	if t.what, err = readOrder(s.body); err != nil {
		return t, &Refusal{Reason: Malformed, Err: err}
	}
	refusal := r.judge(t, books, now)
	switch {
	case refusal == nil:
		return t, nil
	case errors.Is(refusal, ErrKnown):
		return t, ErrKnown
	}
	refusal.Name = t.what.Name
	return t, refusal
}

// judge decides on an order that a trusted key has signed.
func (r Rules) judge(t taken[Order], books map[string]*entry, now time.Time) *Refusal {
	o := t.what
	have := books[o.Name]
	switch {
	case o.Site != r.Site:
		return refuse(OtherSite, "it is for the site %q, and this machine is of %q", o.Site, r.Site)
	case have != nil && have.newest.id == t.id:
		return &Refusal{Err: ErrKnown}
	case o.Serial < r.Floor:
		return refuse(Floored, "its serial %d is below %d, where this machine begins", o.Serial, r.Floor)
	case have != nil && o.Serial <= have.floor():
		return refuse(TooOld, "its serial %d is not above %d, which was taken for %q", o.Serial, have.floor(), o.Name)
	}
	if late := checkClock(o.Issued, o.Expires, now); late != nil {
		return late
	}
	if have == nil && len(books) >= MaxOrders {
		return refuse(Full, "the book holds %d packages, which is all it may", MaxOrders)
	}
	return nil
}

// judgeKeys reads a list of keys and decides whether it takes the place of the one that is had; nil: there is none.
func (r Rules) judgeKeys(text []byte, have *taken[KeyList], now time.Time) (taken[KeyList], error) {
	var t taken[KeyList]
	s, err := split(text, keysTag, MaxKeysSize)
	if err != nil {
		return t, &Refusal{Reason: Malformed, Err: err}
	}
	if len(r.Root) == 0 {
		return t, refuse(Deaf, "this machine trusts no root key")
	}
	if t.signer, err = manifest.VerifyMessage(s.message, s.minisig, r.Root); err != nil {
		return t, &Refusal{Reason: Untrusted, Err: err}
	}
	t.id, t.text = s.id(), text
	if t.what, err = readKeys(s.body); err != nil {
		return t, &Refusal{Reason: Malformed, Err: err}
	}
	if have != nil && have.id == t.id {
		return t, ErrKnown
	}
	if have != nil && t.what.Serial <= have.what.Serial {
		return t, refuse(TooOld, "the list's serial %d is not above %d, which was taken", t.what.Serial, have.what.Serial)
	}
	if late := checkClock(t.what.Issued, t.what.Expires, now); late != nil {
		return t, late
	}
	return t, nil
}
