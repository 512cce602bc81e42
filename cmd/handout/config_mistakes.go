package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// mistake is what is wrong in a line of a config, from 1 on; 0: in none of its own.
type mistake struct {
	line int
	what string
}

func (m mistake) String() string {
	if m.line == 0 {
		return m.what
	}
	return fmt.Sprintf("line %d: %s", m.line, m.what)
}

// mistakesText is all of them in one line, in the order of the file.
func mistakesText(all []mistake) string {
	slices.SortStableFunc(all, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	texts := make([]string, len(all))
	for i, m := range all {
		texts[i] = m.String()
	}
	return strings.Join(texts, "; ")
}

// maxMistakes bounds what is said about a file that is no config at all.
const maxMistakes = 20

// decodeConfig lays the text over c and returns all that is wrong with it. What is wrong is left out, and the rest counts. A
// decoder stops at the first value it can't use, so the expression around it is blanked and the text is decoded again.
func decodeConfig(text []byte, c *agentConfig) (wrong []mistake) {
	text = bytes.Clone(text)
	for {
		got := *c
		err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&got)
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			m := decodeMistake(e)
			// An unclosed bracket or quote makes nonsense of the lines after it.
			nonsense := len(wrong) > 0 && m.line <= wrong[len(wrong)-1].line+1 && len(e.Key()) == 0
			if !nonsense {
				wrong = append(wrong, m)
			}
			if !nonsense && len(wrong) < maxMistakes && blank(text, m.line) {
				continue
			}
			return wrong
		}
		*c = got
		switch missing, ok := errors.AsType[*toml.StrictMissingError](err); {
		case ok:
			for _, e := range missing.Errors {
				wrong = append(wrong, decodeMistake(&e))
			}
		case err != nil:
			wrong = append(wrong, mistake{0, err.Error()})
		}
		return wrong
	}
}

func decodeMistake(e *toml.DecodeError) mistake {
	line, _ := e.Position()
	what := strings.TrimPrefix(e.Error(), "toml: ")
	if key := strings.Join(e.Key(), "."); key != "" {
		what = key + ": " + what
	}
	return mistake{line, what}
}

// blank overwrites the expression that line is in with spaces, lines kept; false: there is none.
func blank(text []byte, line int) bool {
	from, to := line, line
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		keys := p.Expression().Key()
		if !keys.Next() {
			continue
		}
		if at := p.Shape(keys.Node().Raw).Start.Line; at <= line {
			from = at
		} else {
			to = at - 1
			break
		}
	}
	if p.Error() != nil {
		from, to = line, line // no expression: the line is what can't be read
	}
	changed, n := false, 1
	for i, b := range text {
		if n >= from && n <= to && b != '\n' && b != '\r' && b != ' ' {
			text[i], changed = ' ', true
		}
		if b == '\n' {
			n++
		}
	}
	return changed
}
