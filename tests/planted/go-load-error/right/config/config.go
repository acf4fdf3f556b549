// Package config reads files of lines.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrBinary is for files that are no text.
var ErrBinary = errors.New("binary file")

// Load gives the lines of a file.
func Load(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	if strings.ContainsRune(string(text), 0) {
		return nil, fmt.Errorf("load %s: %w", path, ErrBinary)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}
