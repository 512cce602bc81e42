package main

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/spf13/cobra"

	"handout/agent"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the agent's config, or print every setting there is",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(cmd *cobra.Command, _ []string) error { return cmd.Help() }),
	}
	cmd.AddCommand(a.configCheckCommand(), a.configReferenceCommand())
	return cmd
}

func (a *app) configCheckCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether an agent would start with this config",
		Long: `check reads the config as "agent run" does, with the variables of the environment and the keys and accounts it names, and
starts nothing. Every mistake is named with its line.`,
		Example: `  handout config check --config agent.toml`,
		Args:    cobra.NoArgs,
		RunE: a.verb(func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(file, cmd.Flags())
			if err := errors.Join(err, c.usable()); err != nil {
				return usageError{err}
			}
			fmt.Fprintf(a.out, "right: %s, %s\n", countText(len(c.Packages), "package"), countText(len(c.Trust), "trusted key"))
			return nil
		}),
	}
	cmd.Flags().StringVar(&file, "config", "", "the config `FILE` (or $HANDOUT_CONFIG; default "+defaultConfigFile()+", if it is there)")
	return cmd
}

// usable says all that would keep an agent from starting, beyond what reading the config has found.
func (c *agentConfig) usable() error {
	_, pushes := c.pushes()
	_, trust := c.trusted()
	var config agent.Config
	site := c.siteFlags()
	return errors.Join(uniqueErrors(pushes, trust, site.apply(&config))...)
}

// uniqueErrors leaves out an error that says what one before it says: a key that can't be read is in the way of several things.
func uniqueErrors(all ...error) (some []error) {
	for _, err := range all {
		several := []error{err}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			several = joined.Unwrap()
		}
		for _, err := range several {
			if err != nil && !slices.ContainsFunc(some, func(e error) bool { return e.Error() == err.Error() }) {
				some = append(some, err)
			}
		}
	}
	return some
}

func (a *app) configReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print every setting, its default and what it means, as a config file",
		Example: `  handout config reference > agent.toml`,
		Args:    cobra.NoArgs,
		RunE: a.verb(func(*cobra.Command, []string) error {
			writeReference(a.out, defaultConfig())
			return nil
		}),
	}
}

// writeReference prints a config with what its tags say about each key, everything commented out.
func writeReference(w io.Writer, c agentConfig) {
	fmt.Fprintln(w, "# Every setting of the agent and its default. Variables (HANDOUT_PEER_PORT) and flags count more than this file.")
	v := reflect.ValueOf(c)
	var tables []int // a table ends the keys before it, so tables come last
	for i := range v.NumField() {
		switch f := v.Type().Field(i); {
		case !f.IsExported():
		case isTable(f.Type):
			tables = append(tables, i)
		default:
			writeSetting(w, f, v.Field(i))
		}
	}
	for _, i := range tables {
		f, table := v.Type().Field(i), v.Field(i)
		heading := "[" + f.Tag.Get("toml") + "]"
		if f.Type.Kind() == reflect.Slice {
			heading, table = "["+heading+"]", reflect.Zero(f.Type.Elem())
		}
		fmt.Fprintln(w)
		if about := f.Tag.Get("about"); about != "" {
			fmt.Fprintf(w, "# %s\n", about)
		}
		fmt.Fprintf(w, "# %s\n", heading)
		if f.Type.Kind() == reflect.Map { // its keys are the reader's to choose
			continue
		}
		for k := range table.NumField() {
			if f := table.Type().Field(k); f.IsExported() {
				writeSetting(w, f, table.Field(k))
			}
		}
	}
}

var asText = reflect.TypeFor[encoding.TextUnmarshaler]()

// isTable reports whether a setting is a [table], or [[tables]].
func isTable(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Map || t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(asText)
}

func writeSetting(w io.Writer, f reflect.StructField, v reflect.Value) {
	about := f.Tag.Get("about")
	if about != "" {
		about = "  # " + about
	}
	fmt.Fprintf(w, "# %s = %s%s\n", f.Tag.Get("toml"), settingText(v), about)
}

// settingText is a value as TOML.
func settingText(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return fmt.Sprintf("%q", text)
		}
	}
	switch v.Kind() {
	case reflect.Slice:
		return "[]"
	case reflect.String:
		return "'" + v.String() + "'" // as it is: paths of Windows have backslashes
	default:
		return fmt.Sprint(v.Interface())
	}
}
