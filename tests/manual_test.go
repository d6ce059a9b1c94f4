package tests

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ipcfs/fs/fusedev"
)

// The manual pages are compared with a mount and with what --help prints: what is there
// is documented, where a reader looks for it, and nothing else is.

// A manual is the source of a page.
type manual struct {
	sections map[string]*section // by their headings
	under    map[string][]string // the .SS of each .SH, in order
	examples []string            // lines between .EX and .EE; the others are empty
}

// A section is what follows a .SH or .SS up to the next one.
type section struct {
	entries []*entry
	text    string // without macros, tags included
}

// An entry is a .TP paragraph.
type entry struct {
	names   []string // what is in bold in its tag
	note    string   // what else is
	entries []*entry // those of the .RS within
	text    string
}

func readManual(t *testing.T, page string) *manual {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	p := &manual{sections: make(map[string]*section), under: make(map[string][]string)}
	var (
		heading string
		now     = new(section)
		levels  = []*[]*entry{&now.entries} // of .RS
		tag     bool
		example bool
	)
	begin := func(name string) {
		now = new(section)
		p.sections[name] = now
		levels = []*[]*entry{&now.entries}
	}
	for _, line := range strings.Split(string(source), "\n") {
		macro, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(macro, ".") {
			macro, rest = "", line
		}
		innermost := levels[len(levels)-1]
		shown := ""
		switch macro {
		case ".SH":
			heading = unroff(rest)
			begin(heading)
		case ".SS":
			name := unroff(rest)
			p.under[heading] = append(p.under[heading], name)
			begin(name)
		case ".TP":
			*innermost = append(*innermost, new(entry))
		case ".RS":
			levels = append(levels, &(*innermost)[len(*innermost)-1].entries)
		case ".RE":
			levels = levels[:len(levels)-1]
		case ".EX", ".EE":
			example = macro == ".EX"
		default:
			words := macroArguments(rest)
			if macro == "" {
				words = []string{rest}
			}
			if tag {
				(*innermost)[len(*innermost)-1].label(macro, words)
			}
			switch {
			case alternating.MatchString(macro):
				shown = unroff(strings.Join(words, ""))
			case macro == "", macro == ".B", macro == ".I":
				shown = unroff(strings.Join(words, " "))
			}
		}
		for _, level := range levels {
			if n := len(*level); n > 0 {
				(*level)[n-1].text += shown + "\n"
			}
		}
		now.text += shown + "\n"
		tag = macro == ".TP"
		if !example {
			shown = ""
		}
		p.examples = append(p.examples, shown)
	}
	return p
}

// label takes the line after .TP apart.
func (e *entry) label(macro string, words []string) {
	if !alternating.MatchString(macro) {
		e.names = []string{unroff(strings.Join(words, " "))}
		return
	}
	for i, w := range words {
		if macro[1+i%2] == 'B' {
			e.names = append(e.names, unroff(w))
		} else {
			e.note += unroff(w)
		}
	}
}

// alternating are the macros of which each argument has the other font, without blanks between.
var alternating = regexp.MustCompile(`^\.[BIR]{2}$`)

var macroArgument = regexp.MustCompile(`"[^"]*"|\S+`)

func macroArguments(s string) []string {
	words := macroArgument.FindAllString(s, -1)
	for i, w := range words {
		words[i] = strings.Trim(w, `"`)
	}
	return words
}

var fontChange = regexp.MustCompile(`\\f[BIRP]`)

// unroff is what the reader sees of a text.
func unroff(s string) string {
	return strings.NewReplacer(`\-`, `-`, `\e`, `\`, `\(dq`, `"`, `\(aq`, `'`, `\(ti`, `~`).Replace(fontChange.ReplaceAllString(s, ""))
}

// section is the one of that heading.
func (p *manual) section(t *testing.T, heading string) *section {
	t.Helper()
	s := p.sections[heading]
	if s == nil {
		t.Fatalf("the manual has no section %s", heading)
	}
	return s
}

func namesOf(entries []*entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.names...)
	}
	return names
}

// sameNames fails unless what is documented is what there is, in any order.
func sameNames(t *testing.T, what string, documented, there []string) {
	t.Helper()
	for _, name := range there {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: %s is not documented", what, name)
		}
	}
	for i, name := range documented {
		if !slices.Contains(there, name) {
			t.Errorf("%s: %s is documented and does not exist", what, name)
		}
		if slices.Contains(documented[:i], name) {
			t.Errorf("%s: %s is documented twice", what, name)
		}
	}
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	l, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range l {
		names = append(names, e.Name())
	}
	return names
}

// firstWords are those of the lines of a file.
func firstWords(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		words = append(words, strings.Fields(line)[0])
	}
	return words
}

// documentsFiles compares the entries with the files of dir, the notes of settings with
// their values in a new object, and the other notes with modes.
func documentsFiles(t *testing.T, dir string, entries []*entry, settings map[string]string) {
	t.Helper()
	sameNames(t, dir, namesOf(entries), listed(t, dir))
	for _, e := range entries {
		name := e.names[0]
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			continue // said already
		}
		value, setting := settings[name]
		want := fmt.Sprintf(" (%04o)", info.Mode().Perm())
		if setting {
			want = fmt.Sprintf(" (default: %s)", cmp.Or(value, "empty"))
		}
		if e.note != want {
			t.Errorf("%s: %s is documented with%q, want%q", dir, name, e.note, want)
		}
		switch {
		case name == "stat", name == "limits":
			sameNames(t, filepath.Join(dir, name), namesOf(e.entries), firstWords(t, filepath.Join(dir, name)))
		case setting:
			for _, value := range namesOf(e.entries) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0); err != nil {
					t.Errorf("the documented value %s: %v", value, err)
				}
			}
		}
	}
}

func TestManualDocumentsEveryFile(t *testing.T) {
	t.Parallel()
	page := readManual(t, "ipcfs.7")
	m := mount(t)
	for _, kind := range listed(t, m.dir) {
		if kind == ".ipcfs" {
			documentsFiles(t, m.path(kind), page.section(t, "THE MOUNT").entries, nil)
			continue
		}
		m.objectOf(t, kind, directory, kind)
		settings := m.listing(t, kind).Policies
		if len(settings) == 0 {
			t.Errorf("%s have no settings", kind)
		}
		documentsFiles(t, m.path(kind, kind), page.section(t, strings.ToUpper(kind)).entries, settings)
	}
}

// The README's table of errors is the short form of that of the page.
func TestManualDocumentsEveryError(t *testing.T) {
	t.Parallel()
	documented := namesOf(readManual(t, "ipcfs.7").section(t, "ERRORS").entries)
	if !slices.IsSorted(documented) {
		t.Errorf("the errors are not sorted: %v", documented)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (E[A-Z, ]+) \|`).FindAllStringSubmatch(string(readme), -1)
	if len(rows) == 0 {
		t.Fatal("no table of errors in the README")
	}
	for _, row := range rows {
		for _, errno := range strings.Split(row[1], ", ") {
			if !slices.Contains(documented, errno) {
				t.Errorf("%s is not documented", errno)
			}
		}
	}
}

// A command's help is what it prints for --help.
type helpText struct {
	usage    string
	aliases  []string
	commands []string
	flags    []string
	defaults map[string]string // by flag
}

var (
	helpCommand = regexp.MustCompile(`^  (\w+) +\S`)
	helpFlag    = regexp.MustCompile(`^ +(?:(-\w), )?(--[\w-]+)(?: \S+)?   +.*?(?:\(default (\S+)\))?$`)
)

func helpOf(t *testing.T, words ...string) *helpText {
	t.Helper()
	h := &helpText{defaults: make(map[string]string)}
	part := ""
	for line := range strings.Lines(run(t, slices.Concat([]string{ipcfsBin}, words, []string{"--help"})...).output()) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && line[0] != ' ' {
			part = line
			continue
		}
		switch part {
		case "Usage:":
			if h.usage == "" {
				h.usage = strings.TrimSpace(line)
			}
		case "Aliases:":
			h.aliases = append(h.aliases, strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' })...)
		case "Available Commands:":
			if f := helpCommand.FindStringSubmatch(line); f != nil {
				h.commands = append(h.commands, f[1])
			}
		case "Flags:":
			if f := helpFlag.FindStringSubmatch(line); f != nil {
				for _, name := range f[1:3] {
					if name != "" && name != "-h" && name != "--help" {
						h.flags = append(h.flags, name)
						h.defaults[name] = f[3]
					}
				}
			}
		}
	}
	return h
}

func TestManualDocumentsEveryCommand(t *testing.T) {
	t.Parallel()
	page := readManual(t, "ipcfs.1")
	root := helpOf(t)
	sameNames(t, "ipcfs", page.under["COMMANDS"], root.commands)
	sameNames(t, "ipcfs", namesOf(page.section(t, "OPTIONS").entries), append(root.flags, "-h", "--help"))
	synopsis := strings.Split(page.section(t, "SYNOPSIS").text, "\n")
	for _, name := range root.commands {
		s := page.sections[name]
		if s == nil {
			continue // said already
		}
		h := helpOf(t, name)
		for _, sub := range h.commands {
			// What they have in common is documented once.
			for _, flag := range helpOf(t, name, sub).flags {
				if !slices.Contains(h.flags, flag) {
					h.flags = append(h.flags, flag)
				}
			}
		}
		sameNames(t, name, namesOf(s.entries), h.flags)
		for _, word := range append(h.aliases, h.commands...) {
			if word != name && !regexp.MustCompile(`\b`+word+`\b`).MatchString(s.text) {
				t.Errorf("%s: %s is not documented", name, word)
			}
		}
		for _, e := range s.entries {
			for _, flag := range e.names {
				if value := h.defaults[flag]; value != "" && !strings.Contains(e.text, "by default\n"+value) {
					t.Errorf("%s: %s is documented without its default %s", name, flag, value)
				}
			}
		}
		if name == "help" || name == "completion" {
			continue // for whoever asks for help, and once
		}
		usage := strings.NewReplacer("[flags]", "[option ...]", "…", " ...").Replace(strings.TrimSuffix(h.usage, " [flags]"))
		if !slices.Contains(synopsis, usage) {
			t.Errorf("%s: the synopsis does not have the line %q", name, usage)
		}
	}
	options := page.section(t, "mount").entries[0]
	sameNames(t, "mount -o", namesOf(options.entries), fusedev.OptionWords())
}

// Commands that need more than the mount, or that go on for ever, have the prompt #.
func TestManualExamplesPrintWhatTheySay(t *testing.T) {
	for _, page := range []string{"ipcfs.1", "ipcfs.7"} {
		t.Run(page, func(t *testing.T) {
			var steps []step
			root := false
			for i, line := range readManual(t, page).examples {
				switch {
				case line == "":
				case strings.HasPrefix(line, "# "):
					root = true
				case strings.HasPrefix(line, "$ "):
					root = false
					steps = append(steps, step{line: i + 1, command: line[2:]})
				case !root:
					steps[len(steps)-1].output += line + "\n"
				}
			}
			if len(steps) == 0 {
				t.Fatal("no examples found")
			}
			typeSessions(t, page, "PATH=$PWD/bin:$PATH", steps) // who reads a manual has installed it
		})
	}
}

func TestManualIsWellFormed(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.[1-8]")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no manual pages: %v", err)
	}
	for _, page := range pages {
		var complaints bytes.Buffer
		var lint *exec.Cmd
		if _, err := exec.LookPath("mandoc"); err == nil {
			lint = exec.Command("mandoc", "-T", "lint", "-W", "warning", page)
			lint.Stdout = &complaints
		} else if _, err := exec.LookPath("man"); err == nil {
			lint = exec.Command("man", "--warnings", "-l", page)
			lint.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80")
		} else {
			t.Skip("neither mandoc nor man is there: NOBODY HAS CHECKED THE MARKUP of the manual pages")
		}
		lint.Stderr = &complaints
		if err := lint.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("%v: %v\n%s", lint, err, complaints.String())
		}
	}
}
