package fs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden reports whether r is not shown, or makes a terminal show what is around it other
// than it is: control characters, and what Unicode calls format characters and line and
// paragraph separators (Cf, Zl, Zp). Among them are the overrides, embeddings, isolates
// and marks of UAX #9, by which a name reads backwards, and invisible ones, by which two
// names look the same (UTS #39, UTR #36 "Unicode Security Considerations").
//
// The joiners U+200C and U+200D are part of words, in Persian say (UAX #31), and the
// prepended marks of Arabic are seen.
func hidden(r rune) bool {
	const nonJoiner, joiner = 0x200c, 0x200d
	switch {
	case r == nonJoiner, r == joiner, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// plain reports whether s is a name that shows what it is: UTF-8 without what is hidden.
func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, hidden) }

// Visible is s as it can be shown on a terminal: what is hidden or no UTF-8 as octal
// escapes of its bytes.
func Visible(s string) string { return escape(s, hidden) }

// escapeSpace is s as one field of a line: blanks, too, are octal escapes, as in
// /proc/mounts (proc_pid_mounts(5)).
func escapeSpace(s string) string {
	return escape(s, func(r rune) bool { return r == ' ' || r == '\\' || hidden(r) })
}

func escape(s string, bad func(rune) bool) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, bad) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || bad(r) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// commandName is the name that a process has given itself (PR_SET_NAME, prctl(2)), as
// one field: any bytes can be in it, or none.
func commandName(comm string) string {
	comm = strings.TrimSuffix(comm, "\n")
	if comm == "" {
		return "?"
	}
	return escapeSpace(strings.ReplaceAll(comm, " ", "_"))
}
