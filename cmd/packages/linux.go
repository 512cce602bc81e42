package main

func (m *maker) linux(kind string) error { return nil }
