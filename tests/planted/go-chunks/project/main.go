// Mailer sends a newsletter.
package main

import (
	"fmt"

	"example.org/mailer/batch"
)

func main() {
	fmt.Println("batches for 250 addresses:", batch.Count(250, 100))
}
