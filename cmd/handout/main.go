// Command handout publishes packages, fetches them from an origin and the neighbours at once, and keeps them for
// others.
//
// The command wires and decides nothing: a verb turns its flags into a call of manifest, store or agent and shows what
// comes back. There is one file per verb. Three things are decided here once for all verbs: which error ends with which
// exit code (exit.go), how a signal ends a run (signals.go) and that no text of a stranger reaches a terminal as it
// is (text.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := untilSignalled(context.Background(), os.Stderr)
	code := (&app{in: os.Stdin, out: os.Stdout, err: os.Stderr}).run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// app is what every verb needs of the world.
type app struct {
	in, out, err *os.File

	started bool // a verb runs: an error before that is about how it was called
}

// run does what args ask for and returns the exit code. An error is told on app.err.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[endedError](err); ok {
		return e.code
	}
	if !a.started {
		err = usageError{misspelt(cmd, err)}
	}
	fmt.Fprintf(a.err, "handout: %s\n", errorText(err))
	if adv, ok := errors.AsType[advisedError](err); ok {
		fmt.Fprintln(a.err, adv.advice)
	}
	code := exitCode(err)
	if code == exitUsage {
		fmt.Fprintf(a.err, "%s --help tells how it is used.\n", cmd.CommandPath())
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "handout",
		Short: "Hand out folders to many machines, from an origin and the neighbours at once",
		Long: `handout hands out folders to many machines.

A publisher describes and signs a folder (publish). A machine fetches it from the origin, where the folder lies, and
from the neighbours that already have parts of it, at the same time (fetch). Nothing has to be installed for that.`,
		Version:           versionText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		a.keygenCommand(),
		a.publishCommand(),
		a.inspectCommand(),
		a.fetchCommand(),
		a.verifyCommand(),
		a.repairCommand(),
		a.listCommand(),
		a.pinCommand(),
		a.gcCommand(),
		a.originCommand(),
		a.doctorCommand(),
		a.agentCommand(),
		a.pushCommand(),
		a.withdrawCommand(),
		a.keysCommand(),
		a.statusCommand(),
		a.configCommand(),
		a.pauseCommand(),
		a.resumeCommand(),
		a.limitCommand(),
		a.logCommand(),
		a.versionCommand(),
		exitCodesTopic(),
	)
	return root
}

// verb is what a command's RunE is made of: it notes that the way the command was called is right so far.
func (a *app) verb(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return do(cmd, args)
	}
}
