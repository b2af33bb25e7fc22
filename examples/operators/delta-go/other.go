//go:build !wasip1

// The operator is for wasip1 alone; this is for tools that look into every folder.
package main

func main() {}
