// A statically linked Go program: its runtime starts threads, sets up signals and reads the auxv.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("Hello from Go,", len(os.Args)-1, "arguments")
	for i, arg := range os.Args[1:] {
		fmt.Println(i, arg)
	}
	if len(os.Args) > 2 {
		os.Exit(3)
	}
}
