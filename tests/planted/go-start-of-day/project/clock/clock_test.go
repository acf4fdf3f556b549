package clock

import (
	"testing"
	"time"
)

func TestIsOpen(t *testing.T) {
	if !IsOpen(time.Date(2024, 1, 2, 9, 0, 0, 0, time.UTC)) || IsOpen(time.Date(2024, 1, 2, 18, 0, 0, 0, time.UTC)) {
		t.Fail()
	}
}
