// Package store keeps reports.
package store

import (
	"bufio"
	"io"
)

// Save writes lines to what open gives, and closes it.
func Save(open func() (io.WriteCloser, error), lines []string) error {
	w, err := open()
	if err != nil {
		return err
	}
	defer w.Close()
	for _, line := range lines {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Lines reads lines without their ends.
func Lines(r io.Reader) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines, scanner.Err()
}
