package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ipcfs/objects"
)

func policiesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "policies [--json] [KIND]",
		Short: "List what can be set of objects",
		Long: `policies lists the policies of the objects of a KIND, or of all kinds: the value of a
new object, the values that can be written, and what they mean. N stands for a number,
SPAN for a span of time as 500ms or 2h. Each policy is a file of the object.`,
		Example: "  ipcfs policies mailbox",
		Args: func(cmd *cobra.Command, args []string) error {
			switch known := kindNames(); {
			case len(args) > 1:
				return usageError{cmd.CommandPath(), fmt.Errorf("policies: one kind, not %d: %s", len(args), strings.Join(args, " "))}
			case len(args) == 1 && len(kindsNamed(args[0])) == 0:
				return usageError{cmd.CommandPath(), fmt.Errorf("policies: no kind is called %q: one of %s", args[0], strings.Join(known, " "))}
			}
			return nil
		},

		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return kindNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := listPolicies(cmd, strings.Join(args, ""), asJSON); err != nil {
				return fmt.Errorf("policies: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func kindNames() []string {
	var names []string
	for _, k := range objects.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// kindsNamed are the kinds of that name, all for "".
func kindsNamed(name string) (kinds []objects.Kind) {
	for _, k := range objects.Kinds() {
		if name == "" || k.Name == name {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func listPolicies(cmd *cobra.Command, kind string, asJSON bool) error {
	type policy struct {
		Kind    string   `json:"kind"`
		Name    string   `json:"name"`
		Default string   `json:"default"`
		Values  []string `json:"values"`
		Help    string   `json:"help"`
	}
	all := []policy{}
	rows := [][]string{{"KIND", "POLICY", "DEFAULT", "VALUES", "MEANING"}}
	for _, k := range kindsNamed(kind) {
		fresh := k.New(objects.Unlimited)
		for _, p := range k.Policies {
			value := fresh.Policy(p.Name)
			all = append(all, policy{k.Name, p.Name, value, p.Forms, p.Help})
			rows = append(rows, []string{k.Name, p.Name, cmp.Or(value, "-"), strings.Join(p.Forms, "|"), p.Help})
		}
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), all)
	}
	return writeTable(cmd.OutOrStdout(), rows)
}
