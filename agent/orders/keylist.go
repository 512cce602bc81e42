package orders

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"handout/manifest"
)

// Role is what a key may do.
type Role string

// The roles. A key has one: who steals the key that signs packages can't push any.
const (
	PublishRole Role = "publish" // sign packages
	PushRole    Role = "push"    // sign orders
)

// Roles are all.
var Roles = []Role{PublishRole, PushRole}

// KeyList says which keys have which role, beside those that a machine's config names. The root key signs it.
type KeyList struct {
	Serial  uint64
	Issued  time.Time
	Expires time.Time // its keys sign nothing new later
	Keys    []ListedKey
}

// ListedKey is a key on a list.
type ListedKey struct {
	Role    Role
	Key     manifest.PublicKey
	Comment string // for people
}

const (
	keysTag = "handout keys 1\n"

	// MaxKeysSize is what the text of a list may take, in bytes.
	MaxKeysSize = 64 << 10
	// MaxListLife is for how long a list may be good.
	MaxListLife = 3 * MaxLife

	maxKeys    = 128
	maxComment = 100
)

type (
	wireKeys struct {
		Serial  uint64    `json:"serial"`
		Issued  time.Time `json:"issued"`
		Expires time.Time `json:"expires"`
		Keys    []wireKey `json:"keys"`
	}
	wireKey struct {
		Role    Role   `json:"role"`
		Key     string `json:"key"`
		Comment string `json:"comment,omitempty"`
	}
)

// Sign makes the text of a list. It signs nothing that would be refused.
func (l KeyList) Sign(k manifest.PrivateKey) ([]byte, error) {
	body, err := l.body()
	if err != nil {
		return nil, fmt.Errorf("sign the list of keys: %w", err)
	}
	return sign(keysTag, body, k)
}

// Draft is the text of a list that nobody has signed: no machine takes it.
func (l KeyList) Draft() ([]byte, error) {
	body, err := l.body()
	if err != nil {
		return nil, fmt.Errorf("write the list of keys: %w", err)
	}
	return fmt.Appendf(nil, "%s%s\n", keysTag, body), nil
}

func (l KeyList) body() ([]byte, error) {
	w := wireKeys{Serial: l.Serial, Issued: plainTime(l.Issued), Expires: plainTime(l.Expires), Keys: []wireKey{}}
	for _, k := range l.Keys {
		w.Keys = append(w.Keys, wireKey{k.Role, k.Key.String(), k.Comment})
	}
	body, err := encode(w)
	if err == nil {
		_, err = readKeys(body)
	}
	return body, err
}

// ReadKeys reads the text of a list, for people: whose signature it carries is not looked at, and ok says whether it carries
// one by one of roots.
func ReadKeys(text []byte, roots []manifest.PublicKey) (l KeyList, signer manifest.PublicKey, ok bool, err error) {
	s, err := split(text, keysTag, MaxKeysSize)
	if err == nil {
		l, err = readKeys(s.body)
	}
	if err != nil {
		return l, signer, false, fmt.Errorf("list of keys: %w", err)
	}
	signer, err = manifest.VerifyMessage(s.message, s.minisig, roots)
	return l, signer, err == nil, nil
}

// IsSigned reports whether the text of a list carries a signature, by whomever.
func IsSigned(text []byte) bool {
	s, err := split(text, keysTag, MaxKeysSize)
	return err == nil && len(s.minisig) > 0
}

func readKeys(body []byte) (KeyList, error) {
	w, err := decode[wireKeys](body)
	if err != nil {
		return KeyList{}, err
	}
	l := KeyList{Serial: w.Serial, Issued: w.Issued, Expires: w.Expires}
	if err := checkTimes(w.Issued, w.Expires, MaxListLife); err != nil {
		return l, err
	}
	if len(w.Keys) > maxKeys {
		return l, fmt.Errorf("it has %d keys, over the limit of %d", len(w.Keys), maxKeys)
	}
	for _, k := range w.Keys {
		key, err := manifest.ParsePublicKey(k.Key)
		switch {
		case err != nil:
			return l, err
		case key.String() != k.Key:
			return l, errShape
		case !slices.Contains(Roles, k.Role):
			return l, fmt.Errorf("key %s: the role %.40q is none of %v", key.ID(), string(k.Role), Roles)
		case slices.ContainsFunc(l.Keys, func(o ListedKey) bool { return o.Key.Equal(key) }):
			return l, fmt.Errorf("key %s comes twice: a key has one role", key.ID())
		}
		if err := badText("comment", k.Comment, maxComment); err != nil {
			return l, err
		}
		l.Keys = append(l.Keys, ListedKey{k.Role, key, k.Comment})
	}
	if l.Serial == 0 {
		return l, errors.New("its serial is 0")
	}
	return l, nil
}

// with are the keys of a role.
func (l KeyList) with(role Role) (keys []manifest.PublicKey) {
	for _, k := range l.Keys {
		if k.Role == role {
			keys = append(keys, k.Key)
		}
	}
	return keys
}
