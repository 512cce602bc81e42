package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

//go:embed files/handout.wxs
var wxs []byte

// windows makes the MSI.
func (m *maker) windows() error {
	program, err := m.program("windows", "amd64")
	if err != nil {
		return err
	}
	if err := m.sign(program); err != nil {
		return err
	}
	to, err := m.msi(program)
	if err != nil {
		return err
	}
	if err := m.sign(to); err != nil {
		return err
	}
	fmt.Println(to)
	return nil
}

// msi packs a program, in whose folder it works. There is a product code for each version, a package code for each content.
func (m *maker) msi(program string) (to string, err error) {
	if err := needs("wixl", "wixl"); err != nil {
		return "", err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	source := filepath.Join(filepath.Dir(program), "handout.wxs")
	if err := os.WriteFile(source, wxs, 0o644); err != nil {
		return "", err
	}
	to = filepath.Join(m.dir, "handout-"+m.version.pkg+"-x64.msi")
	cmd := m.command("wixl", "-a", "x64", "-o", to, "-D", "Version="+m.version.msi, "-D", "ProductCode="+guid("product", []byte(m.version.msi)), source)
	cmd.Stdout = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("wixl: %w", err)
	}
	if err := m.settle(to, guid("package", content, wxs, []byte(m.version.msi))); err != nil {
		return "", fmt.Errorf("settle %s: %w", to, err)
	}
	return to, os.Chtimes(to, m.epoch, m.epoch)
}

// settle puts what does not change into an MSI in the place of what wixl makes up and reads from the clock: the package code, a GUID
// in braces, and after it in the summary the two times of type VT_FILETIME (MS-OLEPS 2.15), of creation and of the last change.
func (m *maker) settle(file, code string) error {
	msi, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	summary := bytes.Index(msi, summaryFormat)
	if summary < 0 || bytes.Count(msi, summaryFormat) != 1 {
		return errors.New("it has no summary, or several")
	}
	part := msi[summary:min(summary+maxSummary, len(msi))]
	codes := guidText.FindAllIndex(part, -1)
	if len(codes) != 1 {
		return fmt.Errorf("its summary has %d package codes", len(codes))
	}
	copy(part[codes[0][0]:], "{"+strings.ToUpper(code)+"}")
	times := 0
	for at := codes[0][1]; ; times++ {
		next := bytes.Index(part[at:], fileTime)
		if next < 0 {
			break
		}
		at += next + len(fileTime)
		if at+8 > len(part) {
			return errors.New("its summary is cut off")
		}
		binary.LittleEndian.PutUint64(part[at:], fileTimeOf(m.epoch))
	}
	if times != 2 {
		return fmt.Errorf("its summary has %d times", times)
	}
	return os.WriteFile(file, msi, 0o644)
}

const maxSummary = 2 << 10

var (
	// summaryFormat is FMTID_SummaryInformation (MS-OLEPS 3.1).
	summaryFormat = []byte{0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3, 0xd9}
	fileTime      = []byte{0x40, 0, 0, 0}
	guidText      = regexp.MustCompile(`\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}`)
)

// fileTimeOf is a time as Windows counts it, in 100 ns since 1601.
func fileTimeOf(t time.Time) uint64 {
	const from1601to1970 = 11_644_473_600
	return uint64(t.Unix()+from1601to1970) * 10_000_000
}

// guid is one that depends on nothing but what it is for (RFC 9562, version 8).
func guid(what string, of ...[]byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "handout %s\n", what)
	for _, b := range of {
		h.Write(b)
	}
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
