//go:build !wasip1

// Go is the conformance guest in Go. It runs in the sandbox alone; this file lets tools look at the folder elsewhere.
package main

func main() {}
