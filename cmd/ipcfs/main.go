// Command ipcfs mounts inter-process communication as files.
//
// A failure is one line on standard error and exit status 1; a mistake on the
// command line is exit status 2, a search that has found nothing and was not whole is 3.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ipcfs/kernelsim/scenario"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments; it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(asMountHelper(root, args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return 0
	}
	// errors.Join speaks in lines.
	fmt.Fprintf(stderr, "ipcfs: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Try '%s --help'.\n", usage.command)
		return 2
	}
	if errors.Is(err, scenario.ErrPartial) {
		return 3
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipcfs",
		Short: "Inter-process communication as files",
		Long: `ipcfs mounts inter-process communication as files: mailboxes, pipes,
semaphores and shared memory that any program uses by open, read, write and
poll, from any language.`,
		Version:       describeVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{cmd.CommandPath(), badValue(err)}
	})
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(
		mountCommand(),
		umountCommand(),
		lsCommand(),
		rmCommand(),
		waitersCommand(),
		traceCommand(),
		topCommand(),
		policiesCommand(),
		simulateCommand(),
		simulatedProcessCommand(),
		versionCommand(),
	)
	for _, cmd := range root.Commands() {
		check := cmd.Args
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("%s: %s exclude each other", cmd.Name(), givenFlags(cmd))}
			}
			return check(cmd, args)
		}
	}
	addCompletionCommand(root)
	return root
}

// helpCommand is "ipcfs help COMMAND".
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Print the help of a command",
		ValidArgsFunction: completeCommands,
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, rest, err := root.Find(args)
			if err != nil || asked == root && len(rest) > 0 {
				return usageError{root.CommandPath(), fmt.Errorf("help: unknown command %q", args[0])}
			}
			return asked.Help()
		},
	}
}

func completeCommands(cmd *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		for _, c := range cmd.Root().Commands() {
			if c.IsAvailableCommand() {
				words = append(words, c.Name()+"\t"+c.Short)
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// badValue says of a flag's bad value what was expected, in words of the command line's.
func badValue(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	expected, ok := map[string]string{"duration": "no duration, as 500ms or 2s", "bool": "neither true nor false"}[bad.GetFlag().Value.Type()]
	if !ok {
		expected = "no number"
	}
	return fmt.Errorf("--%s: %q is %s", bad.GetFlag().Name, bad.GetValue(), expected)
}

// givenFlags lists the flags on the command line of cmd.
func givenFlags(cmd *cobra.Command) string {
	var given []string
	cmd.Flags().Visit(func(f *pflag.Flag) { given = append(given, "--"+f.Name) })
	return strings.Join(given, " and ")
}

// A usageError is a mistake on the command line of command.
type usageError struct {
	command string
	err     error
}

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	words := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		words += ", did you mean " + strings.Join(s, " or ") + "?"
	}
	return usageError{cmd.CommandPath(), errors.New(words)}
}

// oneDirectory wants exactly the argument DIR.
func oneDirectory(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usageError{cmd.CommandPath(), fmt.Errorf("%s: which directory?", cmd.Name())}
	case len(args) > 1:
		return usageError{cmd.CommandPath(), fmt.Errorf("%s: one directory, not %d: %s", cmd.Name(), len(args), strings.Join(args, " "))}
	}
	return nil
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{cmd.CommandPath(), fmt.Errorf("%s: unexpected argument %q", cmd.Name(), args[0])}
	}
	return nil
}
