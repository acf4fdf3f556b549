// Package clock has the questions about times that the shop asks.
package clock

import "time"

// StartOfDay is the first moment of t's day in loc.
func StartOfDay(t time.Time, loc *time.Location) time.Time {
	year, month, day := t.In(loc).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, loc)
}

// IsOpen tells whether the shop is open: from 9 to before 18, as the clock on the wall shows.
func IsOpen(wall time.Time) bool {
	return wall.Hour() >= 9 && wall.Hour() < 18
}
