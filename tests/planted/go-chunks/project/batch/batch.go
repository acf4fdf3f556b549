// Package batch cuts work into pieces.
package batch

// Count is how many pieces of at most size there are.
func Count(items, size int) int {
	return (items + size - 1) / size
}
