package words

import "sort"

// Frequency is a word and how often it was found.
type Frequency struct {
	Word  string
	Times int
}

// Frequent gives the most frequent words of a text, ties in alphabetical order.
func Frequent(text string, most int) []Frequency {
	times := map[string]int{}
	for _, word := range Split(text) {
		times[word]++
	}
	found := make([]Frequency, 0, len(times))
	for word, count := range times {
		found = append(found, Frequency{word, count})
	}
	sort.Slice(found, func(i, j int) bool {
		return found[i].Times > found[j].Times
	})
	if len(found) > most {
		found = found[:most]
	}
	return found
}
