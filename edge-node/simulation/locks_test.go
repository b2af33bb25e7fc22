//go:build synctests

package simulation

// timely says that the locks of the Kafka client let virtual time pass: the client has such locks with this tag alone.
const timely = true
