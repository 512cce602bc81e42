package hostile

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"handout/testlab/cli"
	"handout/testlab/lab"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Argument {
		if err := Be(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	lab.Enter()
	os.Exit(m.Run())
}

// A machine goes to every door of an agent, with what is malformed, too large, replayed, slow, and too much. The agent
// stands, stays within its bounds, and gives a neighbour what it wants. How fast it does is what make bench-more prints.
func TestAgentUnderAttack(t *testing.T) {
	program, err := cli.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o, err := Besiege(t.Context(), program, t.TempDir(), 16<<20)
	if errors.Is(err, lab.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", o)
	if o.Restarted {
		t.Error("the engine crashed")
	}
	const (
		memory      = 400 << 20 // for a moment, over what it had
		kept        = 64 << 20  // when it is over
		descriptors = 1000      // some hundreds of one host at both TCP doors, and the ghosts it tells of are called
		left        = 20
	)
	if o.Peak.Bytes > o.Before.Bytes+memory || o.Peak.Descriptors > o.Before.Descriptors+descriptors {
		t.Errorf("it took %+v, %+v before", o.Peak, o.Before)
	}
	if o.After.Bytes > o.Before.Bytes+kept || o.After.Descriptors > o.Before.Descriptors+left {
		t.Errorf("it kept %+v, %+v before", o.After, o.Before)
	}
}
