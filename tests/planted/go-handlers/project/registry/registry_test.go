package registry

import "testing"

func TestErrUnknown(t *testing.T) {
	if got := ErrUnknown("x").Error(); got != `nobody is called "x"` {
		t.Error(got)
	}
}
