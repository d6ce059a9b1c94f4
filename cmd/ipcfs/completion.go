package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// withoutPackage stands behind cobra's script for bash, which calls two functions of the package
// bash-completion without looking whether they are there: many machines do not have it.
const withoutPackage = `
__ipcfs_init_completion()
{
    COMPREPLY=()
    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    words=("${COMP_WORDS[@]}")
    cword=$COMP_CWORD
    cur=${words[cword]}
    prev=${words[cword-1]}
}

declare -F __ltrim_colon_completions >/dev/null 2>&1 || __ltrim_colon_completions() { :; }
`

// addCompletionCommand adds "ipcfs completion SHELL" to root: cobra's, but for bash.
func addCompletionCommand(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		panic(err) // cobra has just made it
	}
	plain := bash.Flags().Lookup("no-descriptions")
	bash.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := root.GenBashCompletionV2(cmd.OutOrStdout(), plain.Value.String() != "true"); err != nil {
			return fmt.Errorf("completion: %w", err)
		}
		_, err := fmt.Fprint(cmd.OutOrStdout(), withoutPackage)
		return err
	}
}
