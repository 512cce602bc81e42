//go:build !windows

package main

func defaultConfigFile() string { return "/etc/handout/agent.toml" }
func defaultStateDir() string   { return "/var/lib/handout" }
func defaultCacheDir() string   { return "/var/cache/handout" }
