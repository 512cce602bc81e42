package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

// serviceAccount is a virtual account: it has no password, exists as long as the service, and is the computer on the network.
const serviceAccount = `NT SERVICE\` + serviceName

// stopTime is what a service may take to stop: its child flushes what it has verified.
const stopTime = childTime + 15*time.Second

func mayInstall() error {
	if windows.GetCurrentProcessToken().IsElevated() {
		return nil
	}
	return advisedError{errors.New("this needs an administrator"), "Start the command prompt with \"Run as administrator\"."}
}

func programPlace() string {
	return filepath.Join(programFiles(), "handout", "handout.exe")
}

func programFiles() string {
	if dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramFiles, 0); err == nil {
		return dir
	}
	return `C:\Program Files`
}

func isProgramPlace(program string) bool {
	rel, err := filepath.Rel(programFiles(), program)
	return err == nil && filepath.IsLocal(rel)
}

// install is idempotent: what is there already is set as it should be.
func (in *installation) install() error {
	program, err := in.place()
	if err != nil {
		return err
	}
	if err := eventlog.InstallAsEventCreate(serviceName, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil && !strings.Contains(err.Error(), "exists") {
		return fmt.Errorf("make the event source: %w", err)
	}
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer m.Disconnect()
	s, err := in.service(m, program)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, dir := range in.own() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		access := privateAccess
		if dir == in.c.CacheDir || dir == in.c.StageDir {
			access = cacheAccess
		}
		if err := setAccess(dir, access); err != nil {
			return err
		}
	}
	for _, dir := range in.shared() {
		if _, err := os.Stat(dir); err == nil {
			in.say("the service must be able to write in %s: icacls \"%s\" /grant \"%s:(OI)(CI)M\"", dir, dir, serviceAccount)
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		if err := setAccess(dir, cacheAccess); err != nil {
			return err
		}
	}
	if in.prepare {
		return nil
	}
	in.openFirewall(program)
	if err := stopService(s); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return advisedError{fmt.Errorf("start the service: %w", err), "Why is in the event log, under Application, source handout."}
	}
	in.say("the service %s runs, as %s", serviceName, serviceAccount)
	return nil
}

// service makes the service, or sets one that is there as it should be.
func (in *installation) service(m *mgr.Mgr, program string) (*mgr.Service, error) {
	start := mgr.StartAutomatic
	if in.prepare {
		start = mgr.StartManual
	}
	c := mgr.Config{
		ServiceType:      windows.SERVICE_WIN32_OWN_PROCESS,
		StartType:        uint32(start),
		ErrorControl:     mgr.ErrorNormal,
		DisplayName:      "handout",
		Description:      "Fetches packages and gives them to neighbours.",
		ServiceStartName: serviceAccount,
		SidType:          windows.SERVICE_SID_TYPE_UNRESTRICTED,
	}
	args := []string{"agent", "run", "--service", "--config", in.config}
	s, err := m.OpenService(serviceName)
	if err != nil {
		// What Wine knows nothing of is set afterwards, one by one.
		first := c
		first.Description, first.SidType = "", windows.SERVICE_SID_TYPE_NONE
		if s, err = m.CreateService(serviceName, program, first, args...); err != nil {
			return nil, fmt.Errorf("make the service: %w", err)
		}
	} else {
		c.BinaryPathName = windows.ComposeCommandLine(append([]string{program}, args...))
		if err := in.optional("the service's account and description", s.UpdateConfig(c)); err != nil {
			s.Close()
			return nil, fmt.Errorf("set the service: %w", err)
		}
	}
	// A machine that starts has other things to do first.
	delayed := windows.SERVICE_DELAYED_AUTO_START_INFO{}
	if !in.prepare {
		delayed.IsDelayedAutoStartUp = 1
	}
	sid := uint32(windows.SERVICE_SID_TYPE_UNRESTRICTED)
	// Passing through folders is all that is needed: whatever else the account may do the service gives away.
	privileges, err := windows.UTF16FromString("SeChangeNotifyPrivilege")
	if err != nil {
		return nil, err
	}
	required := struct{ list *uint16 }{&append(privileges, 0)[0]}
	text, err := windows.UTF16PtrFromString(c.Description)
	if err != nil {
		return nil, err
	}
	description := windows.SERVICE_DESCRIPTION{Description: text}
	const requiredPrivileges = 6 // SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO
	for _, o := range []struct {
		what  string
		level uint32
		info  unsafe.Pointer
	}{
		{"description", windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&description)},
		{"delayed start", windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&delayed)},
		{"SID", windows.SERVICE_CONFIG_SERVICE_SID_INFO, unsafe.Pointer(&sid)},
		{"required privileges", requiredPrivileges, unsafe.Pointer(&required)},
	} {
		err := windows.ChangeServiceConfig2(s.Handle, o.level, (*byte)(o.info))
		if err := in.optional("the service's "+o.what, err); err != nil {
			s.Close()
			return nil, fmt.Errorf("set the service's %s: %w", o.what, err)
		}
	}
	restart := func(after time.Duration) mgr.RecoveryAction {
		return mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: after}
	}
	err = s.SetRecoveryActions([]mgr.RecoveryAction{restart(5 * time.Second), restart(30 * time.Second), restart(time.Minute)}, 24*60*60)
	if err := in.optional("the service's recovery actions", err); err != nil {
		s.Close()
		return nil, err
	}
	if err := in.optional("the service's recovery after errors", s.SetRecoveryActionsOnNonCrashFailures(true)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// optional says what this system lacks, and passes on every other error.
func (in *installation) optional(what string, err error) error {
	for _, lacks := range []error{windows.ERROR_INVALID_LEVEL, windows.ERROR_CALL_NOT_IMPLEMENTED, windows.ERROR_NOT_SUPPORTED, errors.ErrUnsupported} {
		if errors.Is(err, lacks) {
			in.say("left out, as this Windows has no such thing: %s", what)
			return nil
		}
	}
	return err
}

// stopService returns when the service doesn't run.
func stopService(s *mgr.Service) error {
	status, err := s.Query()
	if err != nil {
		return fmt.Errorf("ask for the service: %w", err)
	}
	if status.State == svc.Stopped {
		return nil
	}
	if _, err := s.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) &&
		!errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) {
		return fmt.Errorf("stop the service: %w", err)
	}
	for end := time.Now().Add(stopTime); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if status, err = s.Query(); err != nil || status.State == svc.Stopped {
			return err
		}
	}
	return fmt.Errorf("the service does not stop: it is in state %d", status.State)
}

// remove leaves nothing in the system but files.
func (in *installation) remove() error {
	m, err := mgr.Connect()
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer m.Disconnect()
	if s, err := m.OpenService(serviceName); err == nil {
		defer s.Close()
		if err := stopService(s); err != nil {
			return err
		}
		if err := s.Delete(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
			return fmt.Errorf("remove the service: %w", err)
		}
	} else if !errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return fmt.Errorf("open the service: %w", err)
	}
	in.closeFirewall()
	if err := eventlog.Remove(serviceName); err != nil && !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return fmt.Errorf("remove the event source: %w", err)
	}
	in.say("the service %s is removed", serviceName)
	return nil
}

// openFirewall lets neighbours in, to this program and on its ports only. Without the rules the agent works, but gives little,
// so that a firewall nobody can set stops nothing.
func (in *installation) openFirewall(program string) {
	in.closeFirewall()
	peer := int(in.c.PeerPort)
	for _, r := range [][3]string{
		{"handout", "TCP", fmt.Sprintf("%d-%d", peer, peer+1)},
		{"handout-site", "UDP", fmt.Sprint(peer + 1)},
		{"handout-mdns", "UDP", "5353"},
	} {
		out, err := netsh("advfirewall", "firewall", "add", "rule", "name="+r[0], "dir=in", "action=allow",
			"protocol="+r[1], "localport="+r[2], "program="+program)
		if err != nil {
			in.say("the firewall is not opened for %s %s: %v %s", r[1], r[2], err, printable(out))
		}
	}
}

func (in *installation) closeFirewall() {
	for _, name := range []string{"handout", "handout-site", "handout-mdns"} {
		netsh("advfirewall", "firewall", "delete", "rule", "name="+name) // an error: there is none
	}
}

// netsh runs the system's own, whatever the path says.
func netsh(args ...string) (string, error) {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(filepath.Join(dir, "netsh.exe"), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
