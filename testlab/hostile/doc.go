// Package hostile is a machine of the LAN that means ill: it goes to every door an agent has towards its neighbours and
// sends what is malformed, too large, replayed, slow, or simply too much. What comes of it is for the caller to see: the
// agent must stand, stay within its bounds, and serve the others.
//
// An attacker is a process of its own (Argument, Be), so that it can be put on a machine of a lab.
package hostile
