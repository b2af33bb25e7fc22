//go:build !wasip1

// Command filter-go is a guest: build.sh builds it for wasip1.
package main

func main() {}
