package store

import "time"

func setTestLinkTime(string, time.Time) error { return nil }
