package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// What kinds of objects declare of themselves is what the manual and the completion of shells say.

// A declared policy is one as ipcfs policies --json has it.
type declared struct {
	Kind, Name, Default, Help string
	Values                    []string
}

func declaredPolicies(t *testing.T) (all []declared) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, ipcfsBin, "policies", "--json").output()), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// words are the values that stand for themselves.
func (d declared) words() (words []string) {
	for _, v := range d.Values {
		if !strings.ContainsFunc(v, unicode.IsUpper) {
			words = append(words, v)
		}
	}
	return words
}

// dirOf has the directories of the kinds. In capitals they are headings of the manual.
var dirOf = map[string]string{"mailbox": "mailboxes", "pipe": "pipes", "semaphore": "semaphores", "segment": "segments"}

// TestManualSaysWhatKindsDeclare compares the manual's entry of each policy with its row: it begins with the
// sentence that ipcfs policies prints, and has the words that can be written.
func TestManualSaysWhatKindsDeclare(t *testing.T) {
	t.Parallel()
	page := readManual(t, "ipcfs.7")
	all := declaredPolicies(t)
	if len(all) == 0 {
		t.Fatal("no policies are declared")
	}
	for _, d := range all {
		entries := page.section(t, strings.ToUpper(dirOf[d.Kind])).entries
		i := slices.IndexFunc(entries, func(e *entry) bool { return slices.Contains(e.names, d.Name) })
		if i < 0 {
			t.Errorf("%s: %s is not documented", d.Kind, d.Name)
			continue
		}
		e := entries[i]
		text := strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(e.text), d.Name+e.note)), " ")
		if want := strings.TrimSuffix(d.Help, "."); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the manual says of %s %.80q; want it to begin with %q", d.Kind, d.Name, text, want)
		}
		if len(e.entries) > 0 {
			sameNames(t, d.Kind+" "+d.Name, namesOf(e.entries), d.words())
		}
	}
}

// TestDeclaredValuesCanBeWritten writes each word that is declared, and a number and a span where those are.
func TestDeclaredValuesCanBeWritten(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, d := range declaredPolicies(t) {
		object := m.objectOf(t, dirOf[d.Kind], directory, d.Name)
		file := filepath.Join(object.control, d.Name)
		if got, err := os.ReadFile(file); err != nil || strings.TrimSuffix(string(got), "\n") != d.Default {
			t.Errorf("%s of a new %s is %q, %v; want %q", d.Name, d.Kind, got, err, d.Default)
		}
		examples := strings.NewReplacer("NAME", "other", "SPAN", "2s", "N", "1")
		for _, v := range d.Values {
			value := examples.Replace(v)
			if d.Kind == "segment" && (value == "max" || value == "unbounded" || strings.HasSuffix(value, "T")) || d.Name == "max" && value == "zero" ||
				d.Name == "max_deliveries" && value == "zero" || d.Name == "max_message" {
				continue // not of this one: see the manual
			}
			if err := os.WriteFile(file, []byte(value+"\n"), 0); err != nil {
				t.Errorf("%s of a %s: the declared value %s: %v", d.Name, d.Kind, value, err)
			}
		}
	}
}

func TestPoliciesOfOneKind(t *testing.T) {
	t.Parallel()
	out := run(t, ipcfsBin, "policies", "pipe").output()
	if !strings.Contains(out, "lifetime") || strings.Contains(out, "dead_letters") {
		t.Errorf("ipcfs policies pipe prints %q", out)
	}
	bad := run(t, ipcfsBin, "policies", "pipes")
	if status := bad.wait(); status != 2 || !strings.Contains(bad.stderr.String(), "one of mailbox pipe segment semaphore") {
		t.Errorf("ipcfs policies pipes: status %d, %q", status, bad.stderr.String())
	}
}

// TestBashCompletesCommandsFlagsAndKinds has bash itself load what ipcfs completion prints.
func TestBashCompletesCommandsFlagsAndKinds(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	for _, c := range []struct {
		words string
		want  []string
	}{
		{"ipcfs po", []string{"policies"}},
		{"ipcfs policies s", []string{"segment", "semaphore"}},
		{"ipcfs waiters --", []string{"--dot", "--json"}},
		{"ipcfs trace --op set-max", []string{"set-max", "set-max_deliveries", "set-max_message"}},
	} {
		// Without the package bash-completion, of which the script needs one function only where it is there.
		script := `source <("$1" completion bash); complete -p ipcfs >/dev/null || exit 9
			PATH=${1%/*}:$PATH; COMP_LINE=$2; COMP_POINT=${#2}; read -ra COMP_WORDS <<<"$2"
			[[ $2 == *' ' ]] && COMP_WORDS+=('')
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_TYPE=9; COMP_KEY=9
			__start_ipcfs; printf '%s\n' "${COMPREPLY[@]}"`
		out := run(t, "bash", "--norc", "-c", script, "bash", ipcfsBin, c.words).output()
		var got []string
		for line := range strings.Lines(out) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word != "" {
				got = append(got, word)
			}
		}
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("bash completes %q with %q; want %q among it", c.words, got, want)
			}
		}
	}
}

// TestShellsCanReadTheirCompletion has each shell that is there check what ipcfs prints for it.
func TestShellsCanReadTheirCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := run(t, ipcfsBin, "completion", shell).output()
		if !strings.Contains(script, "ipcfs") {
			t.Errorf("ipcfs completion %s prints %.80q", shell, script)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		name := filepath.Join(t.TempDir(), shell)
		if err := os.WriteFile(name, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(shell, "-n", name).CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
}
