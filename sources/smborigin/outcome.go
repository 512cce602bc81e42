package smborigin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cloudsoda/go-smb2"

	"handout/sources"
)

// NTSTATUS codes (MS-ERREF 2.3.1) whose meaning for a reader is known here.
const (
	statusInvalidHandle        = 0xC0000008
	statusInvalidDeviceRequest = 0xC0000010
	statusInvalidParameter     = 0xC000000D
	statusNoSuchFile           = 0xC000000F
	statusMoreProcessing       = 0xC0000016
	statusAccessDenied         = 0xC0000022
	statusNameInvalid          = 0xC0000033
	statusNameNotFound         = 0xC0000034
	statusPathNotFound         = 0xC000003A
	statusSharingViolation     = 0xC0000043
	statusLockConflict         = 0xC0000054
	statusDeletePending        = 0xC0000056
	statusNoLogonServers       = 0xC000005E
	statusNoSuchUser           = 0xC0000064
	statusWrongPassword        = 0xC000006A
	statusLogonFailure         = 0xC000006D
	statusAccountRestriction   = 0xC000006E
	statusInvalidLogonHours    = 0xC000006F
	statusInvalidWorkstation   = 0xC0000070
	statusPasswordExpired      = 0xC0000071
	statusAccountDisabled      = 0xC0000072
	statusResources            = 0xC000009A
	statusBadTokenType         = 0xC00000A8
	statusIOTimeout            = 0xC00000B5
	statusFileIsADirectory     = 0xC00000BA
	statusNotSupported         = 0xC00000BB
	statusNetworkNameDeleted   = 0xC00000C9
	statusBadNetworkName       = 0xC00000CC
	statusTooManySessions      = 0xC00000CE
	statusRequestNotAccepted   = 0xC00000D0
	statusNotADirectory        = 0xC0000103
	statusTooManyOpenedFiles   = 0xC000011F
	statusFileClosed           = 0xC0000128
	statusTimeDifference       = 0xC0000133
	statusLogonTypeNotGranted  = 0xC000015B
	statusAccountExpired       = 0xC0000193
	statusSessionDeleted       = 0xC0000203
	statusServerResources      = 0xC0000205
	statusPasswordMustChange   = 0xC0000224
	statusAccountLockedOut     = 0xC0000234
	statusPathNotCovered       = 0xC0000257
	statusSessionExpired       = 0xC000035C
	statusServerUnavailable    = 0xC0000466
)

// errLogon marks that the server does not let this user in, whatever is asked for.
var errLogon = errors.New("logon refused")

// LogonFailed reports whether err is about who we are on the server, and not about what we may read there.
func LogonFailed(err error) bool { return errors.Is(err, errLogon) || errors.Is(err, errNoTicket) }

// broken marks the failure of a connection that had worked: asking again at once is likely to help.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

func isBroken(err error) bool {
	_, ok := errors.AsType[broken](err)
	return ok
}

// status is the NTSTATUS in err; 0: none.
func status(err error) uint32 {
	if e, ok := errors.AsType[*smb2.ResponseError](err); ok {
		return e.Code
	}
	return 0
}

// outcome is what an error about one file means. over says that the connection is of no use any more.
func outcome(err error) (meaning error, over bool) {
	switch code := status(err); code {
	case statusNoSuchFile, statusNameInvalid, statusNameNotFound, statusPathNotFound, statusNotADirectory:
		return fmt.Errorf("%w: %w", sources.ErrMissing, err), false
	case statusSharingViolation, statusLockConflict, statusDeletePending, statusResources, statusIOTimeout,
		statusRequestNotAccepted, statusTooManyOpenedFiles, statusServerResources, statusServerUnavailable:
		return &sources.NotNow{Err: err}, false
	case statusFileIsADirectory, statusInvalidDeviceRequest:
		return errNotRegular, false
	case statusPathNotCovered:
		return errDFS, false
	case statusNetworkNameDeleted, statusSessionDeleted, statusSessionExpired, statusFileClosed, statusInvalidHandle, statusBadNetworkName:
		return err, true
	case 0:
	default:
		return err, false
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %w", sources.ErrMissing, err), false
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: the server does not let this user read the file", sources.ErrDenied), false
	case errors.Is(err, smb2.ErrRequestNotAccepted):
		return &sources.NotNow{Err: err}, false
	case err == io.EOF:
		return fmt.Errorf("%w: it is shorter than asked", sources.ErrChanged), false
	}
	return err, true // not a word of the server's: the connection itself
}

var (
	errNotRegular = errors.New("not a regular file")
	errDFS        = errors.New("the path is part of a DFS name space, which is followed on Windows only: name the server behind it")
)

// connectOutcome is what an error of logging on or of finding the share means.
func connectOutcome(err error, at Location, c Credentials) error {
	if LogonFailed(err) {
		return err
	}
	code := status(err)
	if c.Kerberos != nil {
		switch code {
		case statusTimeDifference:
			return fmt.Errorf("%w: %w: the clock of this machine (%s) and that of the server differ by minutes: set it right",
				sources.ErrDenied, errLogon, time.Now().Format(time.DateTime))
		case statusLogonFailure, statusNoSuchUser, statusAccessDenied, statusBadTokenType, statusInvalidParameter, statusNotSupported:
			return fmt.Errorf("%w: %w: the server does not take the Kerberos ticket of %s: it has no such user, no key for cifs/%s or an old one, or a wrong clock",
				sources.ErrDenied, errLogon, c, at.Host)
		}
	}
	switch code {
	case statusLogonFailure, statusWrongPassword, statusNoSuchUser:
		return fmt.Errorf("%w: %w: the server does not know %s with this password", sources.ErrDenied, errLogon, c)
	case statusAccountRestriction, statusInvalidLogonHours, statusInvalidWorkstation, statusLogonTypeNotGranted:
		return fmt.Errorf("%w: %w: %s may not log on to the server from here, or not now", sources.ErrDenied, errLogon, c)
	case statusPasswordExpired, statusPasswordMustChange, statusAccountExpired:
		return fmt.Errorf("%w: %w: the account or password of %s has expired", sources.ErrDenied, errLogon, c)
	case statusAccountDisabled, statusAccountLockedOut:
		return fmt.Errorf("%w: %w: the account %s is disabled or locked out", sources.ErrDenied, errLogon, c)
	case statusBadNetworkName:
		return notNow("the server has no share %s, or has closed it", at.Share)
	case statusPathNotCovered:
		return errDFS
	case statusNoLogonServers:
		return notNow("the server finds no domain controller to check the password with")
	case statusRequestNotAccepted, statusTooManySessions, statusResources, statusServerResources, statusServerUnavailable:
		return notNow("the server takes no further connection: %w", err)
	}
	if errors.Is(err, smb2.ErrRequestNotAccepted) {
		return notNow("the server takes no further connection")
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: %s may not use the share %s", sources.ErrDenied, c, at.Share)
	}
	return notNow("log on: %w", err)
}
