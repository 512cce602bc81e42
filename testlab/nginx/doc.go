// Package nginx runs a real nginx as the origin of a lab and reads from its log what it carried. It writes only into
// the folder it is given.
package nginx
