// Package batch cuts work into pieces.
package batch

// Chunks cuts items into consecutive chunks of at most size. Appending to a chunk copies it.
func Chunks(items []int, size int) [][]int {
	if size < 1 {
		panic("batch: size below 1")
	}
	var chunks [][]int
	for len(items) > 0 {
		end := size
		if end > len(items) {
			end = len(items)
		}
		chunks = append(chunks, items[:end:end])
		items = items[end:]
	}
	return chunks
}

// Count is how many pieces of at most size there are.
func Count(items, size int) int {
	return (items + size - 1) / size
}
