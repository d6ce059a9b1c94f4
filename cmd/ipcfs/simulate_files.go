package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/graph"
)

// A drawing is what simulate writes into a file beside what it prints.
type drawing struct {
	flag, file string
	bytes.Buffer
}

// drawGraph draws the states of the scenario in text into d.
func drawGraph(stderr io.Writer, d *drawing, file string, text []byte, o kernelsim.SimulateOptions) error {
	g, err := kernelsim.Graph(file, text, o)
	if err != nil {
		return err
	}
	svg := strings.HasSuffix(d.file, ".svg")
	if svg && len(g.States) > graph.Drawn {
		return fmt.Errorf("simulate: --graph %s: there are %d states, and no more than %d are drawn: a file for dot(1) holds more, or --states bounds them", d.file, len(g.States), graph.Drawn)
	}
	if g.Cut {
		fmt.Fprintf(stderr, "ipcfs: simulate: --graph %s: NOT ALL: there are more states than the %d in it; --states N sets the bound\n", d.file, len(g.States))
	}
	if svg {
		d.Write(g.SVG())
	} else {
		d.Write(g.Dot())
	}
	return nil
}

// writeDrawings writes the drawings that were made, each into its file. One for "-" goes to w.
func writeDrawings(w io.Writer, all ...*drawing) (err error) {
	for _, d := range all {
		switch {
		case d.Len() == 0: // there was nothing to draw: the error says why
		case d.file == "-":
			_, failed := d.WriteTo(w)
			err = errors.Join(err, failed)
		default:
			// The error names the file.
			if failed := os.WriteFile(d.file, d.Bytes(), 0o666); failed != nil {
				err = errors.Join(err, fmt.Errorf("simulate: --%s: %w", d.flag, failed))
			}
		}
	}
	return err
}
