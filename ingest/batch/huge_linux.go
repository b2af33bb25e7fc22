package batch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of large pages on most machines: it only decides what is worth asking for.
const hugePage = 2 << 20

// Huge asks the system to back large memory that is used at random with large pages: otherwise most accesses wait for the
// address to be looked up before they wait for the memory. It returns its argument. Where the system does not, all works as well.
func Huge[T any](s []T) []T {
	var zero T
	size := cap(s) * int(unsafe.Sizeof(zero))
	if size < 2*hugePage {
		return s
	}
	mem := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size)
	from := -uintptr(unsafe.Pointer(unsafe.SliceData(mem))) % hugePage
	mem = mem[from : (uintptr(size)-from)/hugePage*hugePage+from]
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	return s
}
