// Package words knows the words of texts.
package words

import (
	"strings"
	"unicode"
)

// Split gives the words of a text in lower case.
func Split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && r != '\''
	})
}
