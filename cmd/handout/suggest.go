package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// unknownWord finds the word in what cobra says of a verb that is not there; the rest of its text, with line breaks and tabs,
// is made for a terminal of its own.
var unknownWord = regexp.MustCompile(`^unknown command "(.*)" for "([^"]*)"`)

// misspelt turns cobra's error about an unknown verb into one sentence with the verbs it may have meant. Other errors stay.
func misspelt(cmd *cobra.Command, err error) error {
	found := unknownWord.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	text := fmt.Sprintf("%s has no verb %q", found[2], found[1])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2 // cobra's own, which it sets only for the root
	}
	if like := cmd.SuggestionsFor(found[1]); len(like) > 0 {
		text += ": perhaps " + strings.Join(like, " or ")
	}
	return errors.New(text)
}
