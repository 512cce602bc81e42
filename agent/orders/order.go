package orders

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"handout/manifest"
)

// Kind is what an order asks for.
type Kind string

// The kinds.
const (
	Push     Kind = "push"     // have this package
	Withdraw Kind = "withdraw" // no longer keep up what was pushed under this name
)

// Order is what an admin has signed. An order takes the place of every earlier one for the same Name.
type Order struct {
	Kind    Kind
	Name    string // of the package, as its manifest says
	Site    string // whose machines it is for
	Serial  uint64 // grows from order to order
	Issued  time.Time
	Expires time.Time // nobody takes it later; who has taken it goes on obeying

	// Of a push only.
	Version  string // for people
	Manifest ID     // the SHA-256 of the manifest file
	Size     int64  // of that file, in bytes
	InfoHash manifest.InfoHash
	Root     string // the folder, by the name the machine's config gives it; "": the cache
	Path     string // beneath Root, slash-separated; "" with no Root
}

const (
	orderTag = "handout order 1\n"

	// MaxOrderSize is what the text of an order may take, in bytes.
	MaxOrderSize = 16 << 10
	// MaxLife is for how long an order may be good, so that none that was forgotten comes back after years.
	MaxLife = 400 * 24 * time.Hour

	maxSite = 64
	maxRoot = 64
)

// wireOrder is an order as it is signed.
type wireOrder struct {
	Kind     Kind      `json:"kind"`
	Name     string    `json:"name"`
	Site     string    `json:"site"`
	Serial   uint64    `json:"serial"`
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
	Version  string    `json:"version,omitempty"`
	Manifest string    `json:"manifest,omitempty"`
	Size     int64     `json:"size,omitempty"`
	InfoHash string    `json:"info_hash,omitempty"`
	Root     string    `json:"root,omitempty"`
	Path     string    `json:"path,omitempty"`
}

// Sign makes the text of an order: what goes from machine to machine. It signs nothing that Read would refuse.
func (o Order) Sign(k manifest.PrivateKey) ([]byte, error) {
	w := wireOrder{
		Kind: o.Kind, Name: o.Name, Site: o.Site, Serial: o.Serial, Issued: plainTime(o.Issued), Expires: plainTime(o.Expires),
	}
	if o.Kind == Push {
		w.Version, w.Manifest, w.Size, w.InfoHash = o.Version, o.Manifest.String(), o.Size, o.InfoHash.String()
		w.Root, w.Path = o.Root, o.Path
	}
	body, err := encode(w)
	if err == nil {
		_, err = readOrder(body)
	}
	if err != nil {
		return nil, fmt.Errorf("sign order: %w", err)
	}
	return sign(orderTag, body, k)
}

// plainTime is t as it can be written in one way.
func plainTime(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// readOrder reads a body and checks that it makes sense, whoever signed it.
func readOrder(body []byte) (Order, error) {
	w, err := decode[wireOrder](body)
	if err != nil {
		return Order{}, err
	}
	o := Order{
		Kind: w.Kind, Name: w.Name, Site: w.Site, Serial: w.Serial, Issued: w.Issued, Expires: w.Expires,
		Version: w.Version, Size: w.Size, Root: w.Root, Path: w.Path,
	}
	switch o.Kind {
	case Push:
		if o.Manifest, err = ParseID(w.Manifest); err != nil {
			return o, fmt.Errorf("its manifest: %w", err)
		}
		if !readHex(o.InfoHash[:], w.InfoHash) {
			return o, errors.New("its info-hash is none")
		}
	case Withdraw:
		if w.Version != "" || w.Manifest != "" || w.Size != 0 || w.InfoHash != "" || w.Root != "" || w.Path != "" {
			return o, errors.New("it withdraws and pushes at once")
		}
	default:
		return o, fmt.Errorf("it asks for %.40q, which is nothing this version knows", string(o.Kind))
	}
	return o, o.check()
}

func (o Order) check() error {
	for _, err := range []error{
		badText("name", o.Name, manifest.MaxText), badText("version", o.Version, manifest.MaxText), badText("site", o.Site, maxSite),
		checkTimes(o.Issued, o.Expires, MaxLife),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case o.Name == "":
		return errors.New("it names no package")
	case o.Site == "":
		return errors.New("it names no site")
	case o.Serial == 0:
		return errors.New("its serial is 0")
	case o.Kind == Push && (o.Size < 1 || o.Size > manifest.MaxSize):
		return fmt.Errorf("its manifest has %d bytes, where 1 to %d are possible", o.Size, manifest.MaxSize)
	case o.Root == "" && o.Path != "":
		return errors.New("it has a path and no root")
	case o.Root != "" && !IsRootName(o.Root):
		return fmt.Errorf("its root %.80q is no name: letters, digits, - and _", o.Root)
	}
	if o.Root == "" {
		return nil
	}
	// A path must mean the same on every machine of a site, Windows or not.
	if err := manifest.CheckPath(o.Path); err != nil {
		return err
	}
	return manifest.CheckWindows(o.Path)
}

// IsRootName reports whether s can name a root: letters, digits, - and _.
func IsRootName(s string) bool {
	const may = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return s != "" && len(s) <= maxRoot && strings.Trim(s, may) == ""
}

func checkTimes(issued, expires time.Time, most time.Duration) error {
	switch {
	case issued.Year() < 1970 || issued.Year() > 9999 || expires.Year() > 9999:
		return errors.New("its times are not between the years 1970 and 9999")
	case !expires.After(issued):
		return errors.New("it expires before it is issued")
	case expires.Sub(issued) > most:
		return fmt.Errorf("it is good for more than %d days", most/(24*time.Hour))
	}
	return nil
}

// overlaps reports whether the places of two orders are one, or one lies in the other. On Windows two names that differ
// only in case are one.
func overlaps(a, b Order) bool {
	if a.Root == "" || !strings.EqualFold(a.Root, b.Root) {
		return false
	}
	x, y := strings.ToLower(a.Path)+"/", strings.ToLower(b.Path)+"/"
	return strings.HasPrefix(x, y) || strings.HasPrefix(y, x)
}
