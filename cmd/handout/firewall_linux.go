package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"handout/agent/atomicfile"
)

// The firewall is opened through the front end that is in force, by a profile that has a name: what is open, and for whom, can be
// read there, and closed. Packages bring the profiles; with another port, or a lone binary, they are written where an admin's are.
const (
	ufwProfileFile = "/etc/ufw/applications.d/handout"
	firewalldFile  = "/etc/firewalld/services/handout.xml"
)

// openFirewall opens this machine to neighbours, if it has one of the two and that is on. Without, the agent works but gives little,
// so that a failure is told and stops nothing.
func (in *installation) openFirewall() {
	switch {
	case ufwIsOn():
		in.tellFirewall(in.writeProfile(ufwProfileFile, ufwProfile))
		in.tellFirewall(command("ufw", "app", "update", "handout"))
		in.tellFirewall(command("ufw", "allow", "handout"))
	case firewalldIsOn():
		in.tellFirewall(in.writeProfile(firewalldFile, firewalldService))
		in.tellFirewall(command("firewall-cmd", "--reload")) // to know the profile
		in.tellFirewall(command("firewall-cmd", "--permanent", "--add-service=handout"))
		in.tellFirewall(command("firewall-cmd", "--reload"))
	}
}

func (in *installation) tellFirewall(err error) {
	if err != nil {
		in.say("the firewall is not opened: %v", err)
	}
}

func ufwIsOn() bool {
	out, err := exec.Command("ufw", "status").Output()
	return err == nil && strings.HasPrefix(string(out), "Status: active")
}

func firewalldIsOn() bool { return exec.Command("firewall-cmd", "--state").Run() == nil }

// writeProfile writes a profile with this machine's ports.
func (in *installation) writeProfile(file, text string) error {
	peer := int(in.c.PeerPort)
	text = strings.NewReplacer("4747", fmt.Sprint(peer), "4748", fmt.Sprint(peer+1)).Replace(text)
	if there, err := os.ReadFile(file); err == nil && string(there) == text {
		return nil
	}
	return atomicfile.Write(file, []byte(text), 0o644)
}

// closeFirewall takes back what openFirewall did.
func (in *installation) closeFirewall() {
	if ufwIsOn() {
		command("ufw", "delete", "allow", "handout") // an error: it is closed
	}
	if firewalldIsOn() && command("firewall-cmd", "--permanent", "--remove-service=handout") == nil {
		command("firewall-cmd", "--reload")
	}
	os.Remove(firewalldFile)
	if program, err := os.Executable(); err != nil || !packagedUnit(program) {
		os.Remove(ufwProfileFile) // a package takes its own with it
	}
}
