// Package registry knows who is greeted, and how.
package registry

import "fmt"

// Registry has a function for every name. Functions are made once and called often.
type Registry struct {
	greeters map[string]func() string
}

// ErrUnknown tells that nobody has that name.
type ErrUnknown string

func (e ErrUnknown) Error() string {
	return fmt.Sprintf("nobody is called %q", string(e))
}
