package fs

import "testing"

func TestWhatIsHiddenIsEscapedAndTheRestIsNot(t *testing.T) {
	for s, want := range map[string]string{
		"plain name":    `plain\040name`,
		`back\slash`:    `back\134slash`,
		"a\nb\x1b[2J":   `a\012b\033[2J`,
		"\xff\xfe":      `\377\376`,
		"\ufffd":        "\ufffd",
		"exe\u202etxt":  `exe\342\200\256txt`,
		"\u2066x\u2069": `\342\201\246x\342\201\251`,
		"a\u2028b":      `a\342\200\250b`,
		"\ufeffx":       `\357\273\277x`,
		"\u0085":        `\302\205`,
		"שלום":          "שלום",
		"می\u200cخواهم": "می\u200cخواهم",
		"👩\u200d💻":      "👩\u200d💻",
		"\u0600\u0661":  "\u0600\u0661",
		"":              "",
	} {
		if got := escapeSpace(s); got != want {
			t.Errorf("escapeSpace(%q) = %q, want %q", s, got, want)
		}
	}
	if got := Visible("a b\\c\u202e"); got != `a b\c\342\200\256` {
		t.Errorf("Visible escapes to %q, want blanks and backslashes left", got)
	}
	for comm, want := range map[string]string{"\n": "?", " \n": "_", "Web Content\n": "Web_Content", "a\nb\n": `a\012b`} {
		if got := commandName(comm); got != want {
			t.Errorf("commandName(%q) = %q, want %q", comm, got, want)
		}
	}
}

func TestNamesThatDeceiveAreNone(t *testing.T) {
	for _, c := range []struct{ first, last rune }{
		{0x202a, 0x202e}, {0x2066, 0x2069}, {0x200e, 0x200f}, {0x061c, 0x061c}, // UAX #9: Bidi_Control
		{0x2028, 0x2029},                                                       // line and paragraph separator
		{0xfeff, 0xfeff}, {0x200b, 0x200b}, {0x2060, 0x2064}, {0x00ad, 0x00ad}, // invisible
		{0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xfff9, 0xfffb},
		{0, 0x1f}, {0x7f, 0x9f},
	} {
		for r := c.first; r <= c.last; r++ {
			if plain("a" + string(r) + "b") {
				t.Errorf("a name may contain %U", r)
			}
		}
	}
}
