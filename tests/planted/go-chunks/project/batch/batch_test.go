package batch

import "testing"

func TestCount(t *testing.T) {
	for _, c := range []struct{ items, size, want int }{{0, 10, 0}, {10, 10, 1}, {11, 10, 2}} {
		if got := Count(c.items, c.size); got != c.want {
			t.Errorf("Count(%d, %d) = %d, want %d", c.items, c.size, got, c.want)
		}
	}
}
