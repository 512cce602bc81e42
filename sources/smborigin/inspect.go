package smborigin

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/cloudsoda/go-smb2"

	"handout/sources"
)

// Report is what an admin wants to know of a share.
type Report struct {
	Took      time.Duration // to connect, log on and find the share
	Dialect   string        // such as 3.1.1; "": the server did not say
	As        string        // who we are there: a user, guest or nobody
	Signed    bool          // the server signs what it sends
	Encrypted bool          // the server encrypts what it sends

	File string // the largest of the files that were looked at, by its path; "" for the one the origin is
	Size int64  // of that, in bytes

	Mangled string // a name as the server makes it up for one that Windows can't have; "": none was seen
}

const (
	// maxFolders bounds how many folders are looked into for a file worth reading.
	maxFolders = 50
	// probe is how many bytes are read to see whether we may, and how they come.
	probe = 4 << 10
)

// Inspect connects anew, looks around and reads the beginning of a file. After an error the report holds what was
// learnt until then.
func (o *Origin) Inspect(ctx context.Context) (r Report, err error) {
	o.Close()
	defer o.Close()
	seen := &observer{}
	quiet := o.o
	quiet.observe = seen
	begun := time.Now()
	l, err := connect(ctx, o.at, quiet)
	seen.tell(&r)
	if err != nil {
		return r, o.readError("", 0, err)
	}
	defer l.kill(sources.ErrClosed)
	r.Took = time.Since(begun)
	if r.As == "" {
		r.As = l.as.String()
		if l.as.Kerberos != nil {
			r.As += ", by Kerberos"
		}
	}
	if r.File, r.Size, err = o.largest(ctx, l, &r.Mangled); err != nil {
		return r, o.readError("", 0, err)
	}
	f, err := o.open(ctx, l, r.File, false)
	if err == nil {
		err = l.readAt(ctx, f, 0, make([]byte, min(r.Size, probe)))
	}
	seen.tell(&r)
	if err != nil {
		return r, o.readError(r.File, 0, err)
	}
	return r, nil
}

// largest looks for a large file: the origin itself, or one in its first folders. made is a mangled name on the way, if
// there is one.
func (o *Origin) largest(ctx context.Context, l *link, made *string) (path string, size int64, err error) {
	names, err := o.at.names("")
	if err != nil {
		return "", 0, err
	}
	root := names[0]
	var info fs.FileInfo
	if err = l.do(ctx, func() (err error) {
		info, err = l.share.Stat(root)
		return err
	}); err != nil || !info.IsDir() {
		if err == nil {
			size = info.Size()
		}
		return "", size, err
	}
	found := false
	folders := []string{""}
	for n := 0; n < len(folders) && n < maxFolders; n++ {
		name := root
		if folders[n] != "" {
			if names, err = o.at.names(folders[n]); err != nil {
				return "", 0, err
			}
			name = names[0]
		}
		var list []fs.FileInfo
		if err = l.do(ctx, func() (err error) {
			list, err = l.share.ReadDir(name)
			return err
		}); err != nil {
			return "", 0, err
		}
		for _, e := range list {
			p := strings.TrimPrefix(folders[n]+"/"+unmapName(e.Name()), "/")
			if mangled.MatchString(e.Name()) {
				*made = e.Name()
			}
			switch {
			case e.IsDir():
				folders = append(folders, p)
			case e.Mode().IsRegular() && (!found || e.Size() > size):
				found, path, size = true, p, e.Size()
			}
		}
	}
	if !found {
		return "", 0, fmt.Errorf("%w: there is no file below it", sources.ErrMissing)
	}
	return path, size, nil
}

// observer learns from the server's messages what go-smb2 keeps to itself (MS-SMB2 2.2.1, 2.2.4, 2.2.6, 2.2.41).
type observer struct {
	mu        sync.Mutex
	head      []byte // of the message that arrives: its length and as much as is looked at
	skip      int    // bytes of it still to come that are not
	dialect   uint16
	session   uint16 // flags
	status    uint32 // of the last answer to a logon
	signed    bool   // an answer with data was
	encrypted bool   // so was any
}

const (
	looked = 4 + 72 // bytes of a message that are looked at

	protocolPlain     = "\xfeSMB"
	protocolEncrypted = "\xfdSMB"

	commandNegotiate    = 0
	commandSessionSetup = 1
	commandRead         = 8

	flagSigned = 0x8

	sessionGuest = 0x1
	sessionNull  = 0x2
)

// arrived is given all that the server sends, as it comes.
func (o *observer) arrived(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(p) > 0 {
		if o.skip > 0 {
			n := min(o.skip, len(p))
			o.skip -= n
			p = p[n:]
			continue
		}
		want := 4
		if len(o.head) >= 4 {
			want = 4 + min(looked-4, o.length())
		}
		n := min(want-len(o.head), len(p))
		o.head = append(o.head, p[:n]...)
		p = p[n:]
		if len(o.head) >= 4 && len(o.head) == 4+min(looked-4, o.length()) {
			o.skip = o.length() - (len(o.head) - 4)
			o.message(o.head[4:])
			o.head = o.head[:0]
		}
	}
}

func (o *observer) length() int { return int(binary.BigEndian.Uint32(o.head)) }

func (o *observer) message(m []byte) {
	if len(m) < looked-4 {
		return
	}
	switch string(m[:4]) {
	case protocolEncrypted:
		o.encrypted = true
		return
	case protocolPlain:
	default:
		return
	}
	switch binary.LittleEndian.Uint16(m[12:]) {
	case commandNegotiate:
		o.dialect = binary.LittleEndian.Uint16(m[68:])
	case commandSessionSetup:
		o.session = binary.LittleEndian.Uint16(m[66:])
		o.status = binary.LittleEndian.Uint32(m[8:])
	case commandRead:
		o.signed = o.signed || binary.LittleEndian.Uint32(m[16:])&flagSigned != 0
	}
}

// refusal is what the server answered to the last logon; nil: it took it, or had more to ask.
func (o *observer) refusal() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status == 0 || o.status == statusMoreProcessing {
		return nil
	}
	return &smb2.ResponseError{Code: o.status}
}

// tell writes what was learnt into r.
func (o *observer) tell(r *Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.dialect; d != 0 {
		r.Dialect = fmt.Sprintf("%d.%d", d>>8, d>>4&0xf)
		if d&0xf != 0 {
			r.Dialect += fmt.Sprintf(".%d", d&0xf)
		}
	}
	switch {
	case o.session&sessionNull != 0:
		r.As = "nobody"
	case o.session&sessionGuest != 0:
		r.As = "guest"
	}
	r.Signed, r.Encrypted = o.signed, o.encrypted
}
