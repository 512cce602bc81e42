package sourcetest_test

import (
	"testing"

	"handout/sources"
	"handout/sources/sourcetest"
)

func TestFake(t *testing.T) {
	sourcetest.Run(t, func(_ *testing.T, files map[string][]byte) sources.Origin {
		return &sourcetest.Origin{Files: files}
	})
}
