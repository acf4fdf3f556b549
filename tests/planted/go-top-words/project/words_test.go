package words_test

import (
	"reflect"
	"testing"

	"example.org/words"
)

func TestSplit(t *testing.T) {
	got := words.Split("It's a test -- a TEST.")
	if want := []string{"it's", "a", "test", "a", "test"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
