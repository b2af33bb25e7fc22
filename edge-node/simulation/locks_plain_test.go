//go:build !synctests

package simulation

const timely = false

func shareLocks() {}
