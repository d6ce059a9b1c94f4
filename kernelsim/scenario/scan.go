package scenario

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A token is a word, a number or a sign of a line.
type token struct {
	kind   tokenKind
	text   string
	number int64
	column int
}

type tokenKind uint8

const (
	endOfLine tokenKind = iota
	word
	integer
	duration
	quoted
	sign
)

// advance turns to the next line that is not empty.
func (p *parser) advance() bool {
	for p.at++; p.at < len(p.lines); p.at++ {
		text := p.lines[p.at]
		trimmed := strings.TrimLeft(text, " \t")
		if trimmed == "" || trimmed[0] == '#' {
			if p.s.Title == "" && len(p.s.processes) == 0 && strings.HasPrefix(trimmed, "# ") {
				p.s.Title = strings.TrimSuffix(strings.TrimSpace(trimmed[2:]), ".")
			}
			continue
		}
		p.indent = 0
		for _, c := range text[:len(text)-len(trimmed)] {
			if p.indent++; c == '\t' {
				p.indent = (p.indent + 7) / 8 * 8
			}
		}
		p.tokens, p.next = nil, 0
		func() {
			defer func() { p.noted(recover()) }()
			p.scan()
		}()
		return true
	}
	return false
}

// maxLine is the most characters of a line. The parser and the interpreter recurse into
// expressions, and into blocks by their indentation: this bounds their stacks. Expressions
// that people write are shorter by far.
const maxLine = 64 << 10

// scan splits the current line into tokens.
func (p *parser) scan() {
	runes := []rune(p.lines[p.at])
	if len(runes) > maxLine {
		p.fail(maxLine+1, "the line is longer than %d characters", maxLine)
	}
	for i := 0; i < len(runes); {
		c, start := runes[i], i
		emit := func(kind tokenKind, text string) {
			p.tokens = append(p.tokens, token{kind: kind, text: text, column: start + 1})
		}
		switch {
		case c == ' ' || c == '\t':
			i++
		case c == '#':
			return
		case unicode.IsLetter(c) || c == '_':
			for i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]) || runes[i] == '_') {
				i++
			}
			emit(word, string(runes[start:i]))
		case unicode.IsDigit(c):
			for i < len(runes) && unicode.IsDigit(runes[i]) {
				i++
			}
			n, err := strconv.ParseInt(string(runes[start:i]), 10, 64)
			if err != nil {
				p.fail(start+1, "%s is too big a number", string(runes[start:i]))
			}
			unit := i
			for i < len(runes) && unicode.IsLetter(runes[i]) {
				i++
			}
			emit(integer, string(runes[start:i]))
			t := &p.tokens[len(p.tokens)-1]
			t.number = n
			if i > unit {
				t.kind = duration
				scale, ok := map[string]objects.Time{"ns": 1, "us": kernel.Microsecond, "µs": kernel.Microsecond, "ms": kernel.Millisecond, "s": kernel.Second}[string(runes[unit:i])]
				if !ok {
					p.fail(unit+1, "%q is no unit of time: want ns, us, ms or s", string(runes[unit:i]))
				}
				if n > math.MaxInt64/int64(scale) {
					p.fail(start+1, "%s is too long a time", t.text)
				}
				t.number *= int64(scale)
			}
		case c == '"':
			for i++; i < len(runes) && runes[i] != '"'; i++ {
				if runes[i] == '\\' {
					i++
				}
			}
			if i >= len(runes) {
				p.fail(start+1, "the text has no closing quote")
			}
			i++
			text, err := strconv.Unquote(string(runes[start:i]))
			if err != nil {
				p.fail(start+1, "the text has a wrong escape sequence")
			}
			emit(quoted, text)
		default:
			two := string(runes[i:min(i+2, len(runes))])
			if slices.Contains([]string{"->", "..", "==", "!=", "<=", ">="}, two) {
				i += 2
				emit(sign, two)
				break
			}
			if !strings.ContainsRune("=<>+-*/%():,[]", c) {
				p.fail(start+1, "unexpected %q", string(c))
			}
			i++
			emit(sign, string(c))
		}
	}
}

func (p *parser) peek() token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return token{column: len([]rune(strings.TrimRight(p.lines[p.at], " \t"))) + 1}
}

func (p *parser) take() token {
	t := p.peek()
	p.next++
	return t
}

func (t token) String() string {
	switch t.kind {
	case endOfLine:
		return "the end of the line"
	case quoted:
		return strconv.Quote(t.text)
	}
	return fmt.Sprintf("%q", t.text)
}

// accept takes the next token if it is text.
func (p *parser) accept(text string) bool {
	t := p.peek()
	if (t.kind == sign || t.kind == word) && t.text == text {
		p.next++
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if t := p.peek(); !p.accept(text) {
		p.fail(t.column, "expected %q, found %s", text, t)
	}
}

func (p *parser) name(what string) token {
	t := p.take()
	if t.kind != word {
		p.fail(t.column, "expected %s, found %s", what, t)
	}
	return t
}

func (p *parser) number(what string) int64 {
	t := p.take()
	if t.kind != integer {
		p.fail(t.column, "expected %s, found %s", what, t)
	}
	return t.number
}

func (p *parser) end() {
	if t := p.peek(); t.kind != endOfLine {
		p.fail(t.column, "expected the end of the line, found %s", t)
	}
}
