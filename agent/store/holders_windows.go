package store

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Who has a file open the Restart Manager tells (rstrtmgr.dll), which is there to tell it to installers.
var (
	restartManager      = windows.NewLazySystemDLL("rstrtmgr.dll")
	rmStartSession      = restartManager.NewProc("RmStartSession")
	rmRegisterResources = restartManager.NewProc("RmRegisterResources")
	rmGetList           = restartManager.NewProc("RmGetList")
	rmEndSession        = restartManager.NewProc("RmEndSession")
)

// rmProcessInfo is RM_PROCESS_INFO.
type rmProcessInfo struct {
	process uint32
	_       [2]uint32 // when it started
	appName [256]uint16
	_       [64]uint16 // its service's name
	_       [4]uint32  // what kind of program, in which state and session, and whether it can be restarted
}

// mostHolders is how many programs are named.
const mostHolders = 4

// holders names the programs that have a file open; none if that can't be told.
func holders(path string) (names []string) {
	for _, proc := range []*windows.LazyProc{rmStartSession, rmRegisterResources, rmGetList, rmEndSession} {
		if proc.Find() != nil {
			return nil
		}
	}
	wide, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil
	}
	var session uint32
	var key [33]uint16
	if failed, _, _ := rmStartSession.Call(uintptr(unsafe.Pointer(&session)), 0, uintptr(unsafe.Pointer(&key))); failed != 0 {
		return nil
	}
	defer rmEndSession.Call(uintptr(session))
	if failed, _, _ := rmRegisterResources.Call(uintptr(session), 1, uintptr(unsafe.Pointer(&wide)), 0, 0, 0, 0); failed != 0 {
		return nil
	}
	var list [64]rmProcessInfo // where more have it open none is told
	var needed, reasons uint32
	n := uint32(len(list))
	failed, _, _ := rmGetList.Call(uintptr(session), uintptr(unsafe.Pointer(&needed)), uintptr(unsafe.Pointer(&n)),
		uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&reasons)))
	if failed != 0 {
		return nil
	}
	for _, p := range list[:min(n, mostHolders)] {
		names = append(names, fmt.Sprintf("%s (process %d)", windows.UTF16ToString(p.appName[:]), p.process))
	}
	return names
}
