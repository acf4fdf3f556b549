// Package config reads files of lines.
package config

import (
	"errors"
	"os"
	"strings"
)

// ErrBinary is for files that are no text.
var ErrBinary = errors.New("binary file")

// Load gives the lines of a file.
func Load(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.New("cannot load")
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}
