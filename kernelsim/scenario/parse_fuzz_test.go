package scenario_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
)

// No text makes the parser panic, and whatever is wrong is said with a place that is in the text.
func FuzzParse(f *testing.F) {
	random := rand.New(rand.NewSource(1))
	words := strings.Fields(`( ) - = == -> .. : , " # * / % 9223372036854775807 0 5ms process mailbox pipe semaphore segment shared always finally
		expect faults if else while repeat forever choose send receive try open kill set topic priority urgent within nonblock not and or errno me`)
	for _, s := range scenarios.All() {
		f.Add(s.Source)
		lines := bytes.SplitAfter(s.Source, []byte("\n"))
		for range 8 {
			b := bytes.Clone(s.Source)
			switch at := random.Intn(len(b)); random.Intn(5) {
			case 0:
				b = b[:at]
			case 1:
				b[at] = byte(random.Intn(256))
			case 2:
				b = append(b[:at], append([]byte(" "+words[random.Intn(len(words))]+" "), s.Source[at:]...)...)
			case 3:
				b = append(b[:at], s.Source[min(len(b), at+random.Intn(20)):]...)
			default:
				random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
				b = bytes.Join(lines, nil)
			}
			f.Add(b)
		}
	}
	for _, text := range []string{
		"", "\r", "\x00", "\ufeffprocess p:\n\tyield", "process p:\n\tyield\n\t\tyield", "process p:\n\tsleep 9223372036854775807s",
		"process :", "process p:", "process p*101:\n yield", "mailbox a capacity=\"", "mailbox a capacity=", "always", "shared a = -",
		"process p:\n if 1:\n  yield\n else:", "process p:\n a = a", "process p:\n repeat i in 1..", "process é:\n\té = é + $",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		_, err := scenario.Parse("x", source)
		if err == nil {
			return
		}
		errs := []error{err}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			errs = joined.Unwrap()
		}
		lines := strings.Split(strings.ReplaceAll(string(source), "\r\n", "\n"), "\n")
		for _, err := range errs {
			e, ok := err.(*scenario.SyntaxError)
			if !ok || e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 || e.Text == "" {
				t.Errorf("%q: the error %v has no place in the text", source, err)
			}
		}
	})
}

// What is nested without end is refused: the stack of the parser, and of what runs the scenario, is not.
func TestNoLineIsTooLongForTheStack(t *testing.T) {
	for _, part := range []string{"(", "-", "not ", "1 + ", "1 == ("} {
		_, err := scenario.Parse("x", []byte("process p:\n  print "+strings.Repeat(part, 4<<20/len(part))+"1\n"))
		if want := fmt.Sprintf("x:2:%d: ", 64<<10+1); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q again and again: %.100v, want %s", part, err, want)
		}
		// The longest there may be ends in an error or in none, but it ends.
		_, _ = scenario.Parse("x", []byte("process p:\n  print "+strings.Repeat(part, (64<<10-20)/len(part))+"1\n"))
	}
}
