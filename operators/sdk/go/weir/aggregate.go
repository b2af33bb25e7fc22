//go:build wasip1

package weir

import (
	"errors"
	"runtime"
	"unsafe"
)

// Folder is what an aggregate does with rows and states. Authors use package aggregate, which makes one of typed functions.
type Folder interface {
	// Accumulate takes rows from..to-1 of the batch into a state, nil for that of no rows, and appends the new one.
	Accumulate(state []byte, b *Batch, from, to int, out []byte) ([]byte, error)
	// Merge appends the state that two make together.
	Merge(state, other []byte, out []byte) ([]byte, error)
	// Finish is the value of a state: of the Go type of the declared column, or nil for null.
	Finish(state []byte) (any, error)
}

// ServeAggregate names the aggregate of this module. Authors call Serve of package aggregate, which has the exports.
func ServeAggregate(open func(p *Plan) (Folder, error)) {
	guest.open = func(p *Plan) (Process, error) {
		f, err := open(p)
		if err == nil && len(p.out) != 1 {
			err = errors.New("the aggregate must declare one column: its answer")
		}
		fold.folder = f
		return func(*Batch) error { return errors.New("it is an aggregate, and no operator of rows") }, err
	}
}

// fold is the one aggregate of this module, and the array of the states it made.
var fold struct {
	folder Folder

	bytes    []byte
	offsets  []int32
	array    arrowArray
	child    arrowArray
	children [1]uint32
	buffers  [3]uint32
	top      [1]uint32

	validity []byte // of answers
	values   []byte
}

// guarded makes a message of a panic: the host starts a new instance.
func guarded(result *uint32) {
	switch r := recover().(type) {
	case nil:
	case error:
		*result = fail("panic: " + r.Error())
	case string:
		*result = fail("panic: " + r)
	default:
		panic(r)
	}
}

// statesAt is the states of an array: nil where there is none yet.
func statesAt(array uint32) [][]byte {
	root := (*arrowArray)(at(array))
	child := (*arrowArray)(at(*(*uint32)(at(root.children))))
	n := int(root.length)
	ptrs := unsafe.Slice((*uint32)(at(child.buffers)), 3)
	offsets := unsafe.Slice((*int32)(at(ptrs[1])), n+1)
	out := make([][]byte, n)
	for i := range out {
		if ptrs[0] != 0 && *(*byte)(at(ptrs[0] + uint32(i>>3)))&(1<<(i&7)) == 0 {
			continue
		}
		out[i] = unsafe.Slice((*byte)(at(ptrs[2]+uint32(offsets[i]))), int(offsets[i+1]-offsets[i]))
	}
	return out
}

func beginStates() {
	fold.bytes, fold.offsets = fold.bytes[:0], append(fold.offsets[:0], 0)
}

// array is the address of an array of one column of n values.
func foldArray(n int, nulls bool, buffers ...uint32) uint32 {
	copy(fold.buffers[:], buffers)
	fold.child = arrowArray{length: int64(n), nBuffers: int64(len(buffers)), buffers: addr(fold.buffers[:])}
	if nulls {
		fold.child.nulls = -1
	}
	fold.children[0] = uint32(uintptr(unsafe.Pointer(&fold.child)))
	fold.array = arrowArray{length: int64(n), nBuffers: 1, nChildren: 1, buffers: addr(fold.top[:]), children: addr(fold.children[:])}
	return uint32(uintptr(unsafe.Pointer(&fold.array)))
}

func madeStates() uint32 {
	return foldArray(len(fold.offsets)-1, false, 0, addr(fold.offsets), addr(fold.bytes))
}

// HostAccumulate is what weir_accumulate does.
func HostAccumulate(rows, states uint32) (result uint32) {
	defer guarded(&result)
	runtime.Gosched()
	b := &guest.batch
	b.in = (*arrowArray)(at(rows))
	for i := range b.cols {
		b.cols[i] = (*arrowArray)(at(*(*uint32)(at(b.in.children + uint32(4*i)))))
	}
	b.rows = int(b.in.length)
	groups := Values[int32](b, len(b.cols)-1)
	beginStates()
	from := 0
	for g, state := range statesAt(states) {
		to := from
		for to < len(groups) && int(groups[to]) == g {
			to++
		}
		var err error
		if fold.bytes, err = fold.folder.Accumulate(state, b, from, to, fold.bytes); err != nil {
			return fail(err.Error())
		}
		fold.offsets = append(fold.offsets, int32(len(fold.bytes)))
		from = to
	}
	return madeStates()
}

// HostMerge is what weir_merge does.
func HostMerge(states, others uint32) (result uint32) {
	defer guarded(&result)
	runtime.Gosched()
	b := statesAt(others)
	beginStates()
	for i, state := range statesAt(states) {
		var err error
		if fold.bytes, err = fold.folder.Merge(state, b[i], fold.bytes); err != nil {
			return fail(err.Error())
		}
		fold.offsets = append(fold.offsets, int32(len(fold.bytes)))
	}
	return madeStates()
}

// HostFinish is what weir_finish does.
func HostFinish(states uint32) (result uint32) {
	defer guarded(&result)
	runtime.Gosched()
	list, t := statesAt(states), guest.batch.out[0].typ
	n, width := len(list), typeTable[guest.batch.out[0].typ].width
	beginStates()
	fold.validity = append(fold.validity[:0], make([]byte, (n+7)/8)...)
	fold.values = append(fold.values[:0], make([]byte, n*width+(n+7)/8)...)
	nulls := false
	for i, state := range list {
		v, err := fold.folder.Finish(state)
		if err != nil {
			return fail(err.Error())
		}
		if v != nil {
			fold.validity[i>>3] |= 1 << (i & 7)
		}
		nulls = nulls || v == nil
		var to unsafe.Pointer
		if width > 0 {
			to = unsafe.Pointer(&fold.values[i*width])
		}
		if !put(v, t, to, i) {
			return fail("the answer is not of the type " + t.String() + " that was declared")
		}
		fold.offsets = append(fold.offsets, int32(len(fold.bytes)))
	}
	validity := uint32(0)
	if nulls {
		validity = addr(fold.validity)
	}
	if t.text() {
		return foldArray(n, nulls, validity, addr(fold.offsets), addr(fold.bytes))
	}
	return foldArray(n, nulls, validity, addr(fold.values))
}

// put writes an answer, and tells whether it is of the type.
func put(v any, t Type, to unsafe.Pointer, row int) bool {
	fixed := func(width int, types ...Type) bool {
		for _, o := range types {
			if o == t {
				return typeTable[t].width == width
			}
		}
		return false
	}
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		if v && t == Bool {
			fold.values[row>>3] |= 1 << (row & 7)
		}
		return t == Bool
	case string:
		fold.bytes = append(fold.bytes, v...)
		return t == String
	case []byte:
		fold.bytes = append(fold.bytes, v...)
		return t == Binary
	case int8:
		if fixed(1, Int8) {
			*(*int8)(to) = v
			return true
		}
	case int16:
		if fixed(2, Int16) {
			*(*int16)(to) = v
			return true
		}
	case int32:
		if fixed(4, Int32, Date32) {
			*(*int32)(to) = v
			return true
		}
	case int64:
		if fixed(8, Int64, TimestampS, TimestampMs, TimestampUs, TimestampNs) {
			*(*int64)(to) = v
			return true
		}
	case uint8:
		if fixed(1, Uint8) {
			*(*uint8)(to) = v
			return true
		}
	case uint16:
		if fixed(2, Uint16) {
			*(*uint16)(to) = v
			return true
		}
	case uint32:
		if fixed(4, Uint32) {
			*(*uint32)(to) = v
			return true
		}
	case uint64:
		if fixed(8, Uint64) {
			*(*uint64)(to) = v
			return true
		}
	case float32:
		if fixed(4, Float32) {
			*(*float32)(to) = v
			return true
		}
	case float64:
		if fixed(8, Float64) {
			*(*float64)(to) = v
			return true
		}
	}
	return false
}
