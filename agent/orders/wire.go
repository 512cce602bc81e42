package orders

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"handout/manifest"
)

// Greeting begins an exchange about orders at a member's port (site.Dialect).
const Greeting = "handout: orders 1"

// An exchange is a row of questions, each a line of JSON, and answers, each a line too. Texts and manifests follow their
// line as so many bytes. Who asks has the lead; who answers never asks.
type (
	question struct {
		Ask  string `json:"ask"`
		ID   string `json:"id,omitempty"`   // of a text or manifest that is wanted
		Size int64  `json:"size,omitempty"` // of the text or manifest that follows
	}
	reply struct {
		Keys    string   `json:"keys,omitempty"`
		Orders  []string `json:"orders,omitempty"`
		Size    int64    `json:"size,omitempty"` // of what follows; 0: it is not here
		Wants   bool     `json:"wants,omitempty"`
		Known   bool     `json:"known,omitempty"`
		Refused Reason   `json:"refused,omitempty"`
		Why     string   `json:"why,omitempty"` // for people
	}
)

// What can be asked.
const (
	askIndex    = "index"    // what the other hands on
	askText     = "text"     // an order, or the list of keys
	askManifest = "manifest" // what a push orders
	giveOrder   = "order"    // take this order; wants: its manifest first
	giveKeys    = "keys"     // take this list of keys
	bring       = "bring"    // the manifest of the order before
)

const (
	maxQuestion = 512
	maxReply    = 80 * (MaxOrders + 8)
	maxWhy      = 400
	// maxQuestions is more than a newcomer asks that lacks all.
	maxQuestions = 2*MaxOrders + 16
	// idleTime is what a question, an answer or a stretch of a manifest may take.
	idleTime = 10 * time.Second
	stretch  = 64 << 10
)

// ExchangeTime is how long a whole exchange may take: time for the largest manifest over 10 Mbit/s.
const ExchangeTime = time.Minute + manifest.MaxSize*8/10_000_000*time.Second

// Callers at once, and of one host: a roomful asks within a second, and each is done in milliseconds.
const (
	MaxCallers          = 64
	MaxCallersOfOneHost = 8
)

var errUnasked = errors.New("an answer that was not asked for")

// line is one side of an exchange.
type line struct {
	c   net.Conn
	r   *bufio.Reader
	end time.Time // zero: the context's alone
}

// wait gives the other side the time for one step.
func (l *line) wait() {
	by := time.Now().Add(idleTime)
	if !l.end.IsZero() && l.end.Before(by) {
		by = l.end
	}
	l.c.SetDeadline(by)
}

func (l *line) say(v any) error {
	l.wait()
	b, err := json.Marshal(v)
	if err == nil {
		_, err = l.c.Write(append(b, '\n'))
	}
	return err
}

// hear reads one line of JSON. What follows it stays unread.
func (l *line) hear(v any) error {
	l.wait()
	b, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return errors.New("a line that is too long")
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// bytes reads so many; the caller has bounded n.
func (l *line) bytes(n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(paced{l}, b)
	return b, err
}

// paced reads and writes in stretches that have their own time each.
type paced struct{ l *line }

func (p paced) Read(b []byte) (int, error) {
	p.l.wait()
	return p.l.r.Read(b[:min(len(b), stretch)])
}

func (p paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var m int
		p.l.wait()
		m, err = p.l.c.Write(b[:min(len(b), stretch)])
		b, n = b[m:], n+m
	}
	return n, err
}

// Asker asks one neighbour. It is used by one goroutine.
type Asker struct{ l line }

// NewAsker asks over c, which speaks Greeting already and stays the caller's.
func NewAsker(c net.Conn) *Asker {
	return &Asker{line{c: c, r: bufio.NewReaderSize(c, maxReply)}}
}

func (a *Asker) ask(q question, text []byte) (r reply, err error) {
	if err := a.l.say(q); err != nil {
		return r, err
	}
	if len(text) > 0 {
		if _, err := (paced{&a.l}).Write(text); err != nil {
			return r, err
		}
	}
	return r, a.l.hear(&r)
}

// Index asks what the neighbour hands on.
func (a *Asker) Index() (x Index, err error) {
	r, err := a.ask(question{Ask: askIndex}, nil)
	if err != nil {
		return x, err
	}
	if r.Keys != "" {
		if x.Keys, err = ParseID(r.Keys); err != nil {
			return x, err
		}
	}
	if len(r.Orders) > MaxOrders {
		return x, fmt.Errorf("%d orders, over the limit of %d", len(r.Orders), MaxOrders)
	}
	for _, s := range r.Orders {
		id, err := ParseID(s)
		if err != nil {
			return x, err
		}
		x.Orders = append(x.Orders, id)
	}
	return x, nil
}

// Text asks for an order or a list of keys; nil: the neighbour has it no more.
func (a *Asker) Text(id ID) ([]byte, error) {
	r, err := a.ask(question{Ask: askText, ID: id.String()}, nil)
	if err != nil || r.Size == 0 {
		return nil, err
	}
	if r.Size < 0 || r.Size > max(MaxOrderSize, MaxKeysSize) {
		return nil, fmt.Errorf("a text of %d bytes", r.Size)
	}
	return a.l.bytes(r.Size)
}

// Manifest asks for the manifest that an order of this size names, and gives it to keep. false: the neighbour has it not.
func (a *Asker) Manifest(id ID, size int64, keep func(ID, int64, io.Reader) error) (bool, error) {
	r, err := a.ask(question{Ask: askManifest, ID: id.String()}, nil)
	if err != nil || r.Size == 0 {
		return false, err
	}
	if r.Size != size {
		return false, fmt.Errorf("a manifest of %d bytes where the order says %d", r.Size, size)
	}
	return true, keep(id, size, paced{&a.l})
}

// GiveOrder hands an order over, with the manifest if the neighbour lacks it. The outcomes are those of Book.Take.
func (a *Asker) GiveOrder(text, manifest []byte) error {
	r, err := a.ask(question{Ask: giveOrder, Size: int64(len(text))}, text)
	if err == nil && r.Wants {
		r, err = a.ask(question{Ask: bring, Size: int64(len(manifest))}, manifest)
	}
	return outcome(r, err)
}

// GiveKeys hands a list of keys over, with the outcomes of Book.TakeKeys.
func (a *Asker) GiveKeys(text []byte) error {
	return outcome(a.ask(question{Ask: giveKeys, Size: int64(len(text))}, text))
}

func outcome(r reply, err error) error {
	switch {
	case err != nil:
		return err
	case r.Refused != "":
		return refuse(Reason(clip(string(r.Refused), 40)), "%s", clip(r.Why, maxWhy))
	case r.Known:
		return ErrKnown
	case r.Wants || r.Size != 0:
		return errUnasked
	}
	return nil
}

func clip(s string, most int) string { return s[:min(len(s), most)] }

// Desk takes what somebody gives: an admin at a desk, or whoever kept a text that an admin has signed.
type Desk interface {
	// Judge says whether an order would be taken, and whether its manifest is wanted first.
	Judge(text []byte) (o Order, wants bool, err error)
	// Take takes an order whose manifest is here.
	Take(text []byte) error
	TakeKeys(text []byte) error
}

// Serve answers a neighbour until it hangs up or end comes.
func (b *Book) Serve(c net.Conn, end time.Time, desk Desk) error {
	l := &line{c: c, r: bufio.NewReaderSize(c, maxQuestion), end: end}
	s := &server{l: l, b: b, desk: desk}
	for range maxQuestions {
		var q question
		if err := l.hear(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.answer(q); err != nil {
			return err
		}
	}
	return errors.New("too many questions")
}

// server is one exchange, from the side that answers.
type server struct {
	l    *line
	b    *Book
	desk Desk

	text  []byte // of the order whose manifest is wanted
	order Order
}

func (s *server) answer(q question) error {
	switch q.Ask {
	case askIndex:
		x := s.b.Index()
		var r reply
		if x.Keys != (ID{}) {
			r.Keys = x.Keys.String()
		}
		for _, id := range x.Orders {
			r.Orders = append(r.Orders, id.String())
		}
		return s.l.say(r)
	case askText, askManifest:
		id, err := ParseID(q.ID)
		if err != nil {
			return err
		}
		if q.Ask == askText {
			return s.send(s.b.Text(id))
		}
		return s.sendManifest(id)
	case giveOrder, giveKeys:
		if q.Size < 1 || q.Size > max(MaxOrderSize, MaxKeysSize) {
			return fmt.Errorf("a text of %d bytes", q.Size)
		}
		text, err := s.l.bytes(q.Size)
		if err != nil {
			return err
		}
		if q.Ask == giveKeys {
			return s.result(s.desk.TakeKeys(text))
		}
		return s.takeOrder(text)
	case bring:
		return s.takeManifest(q.Size)
	}
	return fmt.Errorf("a question that is not known: %.40q", q.Ask)
}

func (s *server) send(b []byte) error {
	if err := s.l.say(reply{Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := paced{s.l}.Write(b)
	return err
}

// sendManifest never has the whole of it in memory. Whether it is still what it was, the other side looks.
func (s *server) sendManifest(id ID) error {
	f, size, err := s.b.openManifest(id)
	if errors.Is(err, fs.ErrNotExist) {
		return s.send(nil)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.l.say(reply{Size: size}); err != nil {
		return err
	}
	_, err = io.CopyBuffer(paced{s.l}, struct{ io.Reader }{io.LimitReader(f, size)}, make([]byte, stretch))
	return err
}

func (s *server) takeOrder(text []byte) error {
	s.text = nil
	o, wants, err := s.desk.Judge(text)
	switch {
	case err != nil:
		return s.result(err)
	case !wants:
		return s.result(s.desk.Take(text))
	}
	s.text, s.order = text, o
	return s.l.say(reply{Wants: true})
}

// takeManifest reads the manifest of an order that a trusted key has signed: nobody else fills the disk.
func (s *server) takeManifest(size int64) error {
	if s.text == nil || size != s.order.Size {
		return fmt.Errorf("a manifest of %d bytes that was not asked for", size)
	}
	text := s.text
	s.text = nil
	if err := s.b.KeepManifest(s.order.Manifest, size, paced{s.l}); err != nil {
		s.result(&Refusal{Reason: BadGoods, Err: err})
		return err // where the line stands now is not known
	}
	return s.result(s.desk.Take(text))
}

func (s *server) result(err error) error {
	var r reply
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case errors.Is(err, ErrKnown):
		r.Known = true
	case refused:
		r.Refused, r.Why = refusal.Reason, clip(refusal.Err.Error(), maxWhy)
	case err != nil:
		r.Refused, r.Why = Failed, clip(err.Error(), maxWhy)
	}
	return s.l.say(r)
}
