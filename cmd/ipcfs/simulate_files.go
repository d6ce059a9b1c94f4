package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A drawing is what simulate writes into a file beside what it prints.
type drawing struct {
	flag, file string
	bytes.Buffer
}

// write writes the drawings that were made, each into its file. One for "-" goes to w.
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
