package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What a machine may say of itself.
func FuzzSummary(f *testing.F) {
	line, _ := json.Marshal(Summarise("v1", true, []Package{{Name: "win11", State: Fetching, Done: 1, Total: 2}},
		[]Trouble{{What: "a", Error: "b"}}))
	f.Add(line)
	f.Add([]byte(`{"packages":[{"done":9,"total":-3,"name":"` + strings.Repeat("n", 4000) + `"}],"more_packages":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSummary(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := s.checked(); fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%+v, once more %+v", s, again)
		}
		for _, p := range s.Packages {
			if p.Done < 0 || p.Done > p.Total || len(p.Name) > 200 || p.Connections < 0 {
				t.Errorf("%+v", p)
			}
		}
		if len(s.Packages) > 32 || len(s.Errors) > 8 || s.More < 0 {
			t.Errorf("%+v", s)
		}
	})
}
