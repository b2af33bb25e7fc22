package meter

// MaxDepth is how many calls may be open at once, whatever the stack: the interpreter ends at 2000, with those of the host
// and of functions that call no others, which are not counted.
const MaxDepth = 1900

const (
	// engineStack is what frames may take in the compiler's worst case; its own stack ends at 50 MB.
	engineStack = 40 << 20
	// worstCase is how many times its charge a frame may take in the worst case, which is far from the usual one.
	worstCase = 16
	// freeFrame is what a function that calls no others may take in the worst case without a charge.
	freeFrame = 64 << 10
	// slotSize is what the compiler takes for a value, where that is in the frame: it gives every value a slot of its own.
	slotSize = 16
)

// frame returns what a call of the scanned function takes of the stack, and whether it is charged.
func (w *rewriter) frame() (bytes int64, charged bool) {
	c := &w.code
	stack := int64(w.limits.Stack)
	worst := slotSize * (c.values + int64(c.local) + c.arguments)
	bytes = max((stack+MaxDepth-1)/MaxDepth, 64+8*int64(c.local), worst/min(engineStack/stack, worstCase))
	return bytes, c.calls || worst > freeFrame
}

// appendEnter appends s = stack - bytes; if s < 0 { stack = s; unreachable }.
func (w *rewriter) appendEnter(to []byte, bytes int64) []byte {
	to = appendIndex(to, opGlobalGet, w.stackGlobal())
	to = appendI64(to, bytes)
	to = append(to, opI64Sub)
	to = appendIndex(to, opLocalTee, w.code.local+1)
	to = append(to, opI64Const, 0, opI64LtS, opIf, 0x40)
	to = w.appendStack(to)
	return append(to, opUnreachable, opEnd)
}

// appendStack appends stack = s.
func (w *rewriter) appendStack(to []byte) []byte {
	to = appendIndex(to, opLocalGet, w.code.local+1)
	return appendIndex(to, opGlobalSet, w.stackGlobal())
}
