// Package store keeps reports.
package store

import (
	"bufio"
	"io"
)

// Lines reads lines without their ends.
func Lines(r io.Reader) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return lines, scanner.Err()
}
