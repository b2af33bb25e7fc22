//go:build !wasip1

// Elsewhere than in the sandbox this program does nothing: it is there so that the package is one for every system.
package main

func main() {}
