package manifest

// Signature is one signature found in a manifest.
type Signature struct {
	KeyID   string // 16 hex digits, as the minisign program prints it
	Trusted bool   // made by one of the keys Open was given, and right
}
