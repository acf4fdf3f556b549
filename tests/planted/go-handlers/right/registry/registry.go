// Package registry knows who is greeted, and how.
package registry

import "fmt"

// Registry has a function for every name. Functions are made once and called often.
type Registry struct {
	greeters map[string]func() string
}

// New makes a registry of these names.
func New(names []string) *Registry {
	r := &Registry{greeters: map[string]func() string{}}
	for _, name := range names {
		name := name
		r.greeters[name] = func() string { return "hello, " + name }
	}
	return r
}

// Greet greets by name.
func (r *Registry) Greet(name string) (string, error) {
	greeter, ok := r.greeters[name]
	if !ok {
		return "", ErrUnknown(name)
	}
	return greeter(), nil
}

// ErrUnknown tells that nobody has that name.
type ErrUnknown string

func (e ErrUnknown) Error() string {
	return fmt.Sprintf("nobody is called %q", string(e))
}
