package store

import (
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	got, err := Lines(strings.NewReader("a\nb"))
	if err != nil || strings.Join(got, ",") != "a,b" {
		t.Errorf("got %q, %v", got, err)
	}
}
