package smborigin

import (
	"context"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"

	"handout/sources"
)

// kerberosLogon is one logon by a ticket (RFC 4121, MS-SMB2 3.2.4.2.3), of which the server must prove in its answer that
// it can read it. go-smb2 has one too, which waits for the KDC whatever the context says, and panics where a server
// leaves out its key.
type kerberosLogon struct {
	ctx     context.Context
	k       *Kerberos
	service string

	ticket ticket
	asked  types.Authenticator
	key    types.EncryptionKey // of the session
	err    error               // why it failed; go-smb2 hands on no more than the text
}

// OID implements smb2.Initiator.
func (l *kerberosLogon) OID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier(gssapi.OIDKRB5.OID())
}

// InitSecContext implements smb2.Initiator.
func (l *kerberosLogon) InitSecContext() ([]byte, error) {
	if l.ticket, l.err = l.k.ticket(l.ctx, l.service); l.err != nil {
		return nil, l.err
	}
	request, err := spnego.NewKRB5TokenAPREQ(&client.Client{Credentials: l.ticket.client}, l.ticket.Ticket, l.ticket.key,
		[]int{gssapi.ContextFlagMutual, gssapi.ContextFlagInteg}, []int{flags.APOptionMutualRequired})
	if err != nil {
		return nil, err
	}
	if err := request.APReq.DecryptAuthenticator(l.ticket.key); err != nil {
		return nil, err
	}
	l.asked = request.APReq.Authenticator
	return request.Marshal()
}

// AcceptSecContext implements smb2.Initiator.
func (l *kerberosLogon) AcceptSecContext(answer []byte) ([]byte, error) {
	if err := l.proven(answer); err != nil {
		l.err = fmt.Errorf("%w: %w: the server does not prove that it is %s: %w", sources.ErrDenied, errLogon, l.service, err)
		return nil, l.err
	}
	return nil, nil
}

// proven checks that the server could read the ticket, and takes the session's key from its answer.
func (l *kerberosLogon) proven(answer []byte) (err error) {
	defer func() {
		if r := recover(); r != nil { // the parser's, at something hostile
			err = fmt.Errorf("its answer is no token: %v", r)
		}
	}()
	var token spnego.KRB5Token
	if err := token.Unmarshal(answer); err != nil {
		return err
	}
	if token.IsKRBError() {
		return token.KRBError
	}
	if !token.IsAPRep() {
		return errors.New("its answer is another question")
	}
	plain, err := crypto.DecryptEncPart(token.APRep.EncPart, l.ticket.key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return err
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return err
	}
	if !part.CTime.Equal(l.asked.CTime) || part.Cusec != l.asked.Cusec {
		return errors.New("its answer is to somebody else's question")
	}
	if l.key = part.Subkey; len(l.key.KeyValue) == 0 {
		l.key = l.ticket.key
	}
	return nil
}

// Sum implements smb2.Initiator: a checksum of the mechanisms that were offered, which no server asks for where it took
// the first.
func (l *kerberosLogon) Sum(p []byte) []byte {
	token, err := gssapi.NewInitiatorMICToken(p, l.key)
	if err != nil {
		return nil
	}
	sum, err := token.Marshal()
	if err != nil {
		return nil
	}
	return sum
}

// SessionKey implements smb2.Initiator: 16 bytes (MS-SMB2 3.2.5.3).
func (l *kerberosLogon) SessionKey() []byte {
	key := make([]byte, 16)
	copy(key, l.key.KeyValue)
	return key
}
