// Package clock has the questions about times that the shop asks.
package clock

import "time"

// IsOpen tells whether the shop is open: from 9 to before 18, as the clock on the wall shows.
func IsOpen(wall time.Time) bool {
	return wall.Hour() >= 9 && wall.Hour() < 18
}
