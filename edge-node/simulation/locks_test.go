//go:build synctests

package simulation

import (
	"reflect"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
)

// timely says that the locks of the Kafka client let virtual time pass: the client has such locks with this tag alone.
const timely = true

// shareLocks makes locks that all Kafka clients of the process share before there is a bubble: a client that has no consumer
// session uses one that stands for none, and its locks are channels, made at first use. One that was made in a bubble ends
// the process when a client of another takes it.
func shareLocks() {
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"none": {0: kgo.NewOffset()}}))
	if err != nil {
		panic(err)
	}
	cl.Close()
	none := reflect.ValueOf(cl).Elem().FieldByName("consumer").FieldByName("session").FieldByName("v").Elem()
	for i := range none.Elem().NumField() {
		field := none.Elem().Type().Field(i)
		if _, ok := reflect.PointerTo(field.Type).MethodByName("TryLock"); !ok {
			continue
		}
		lock := reflect.NewAt(field.Type, unsafe.Add(none.UnsafePointer(), field.Offset))
		lock.MethodByName("Lock").Call(nil)
		lock.MethodByName("Unlock").Call(nil)
	}
}
