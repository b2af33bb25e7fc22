package wasm

import (
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// Errors of WASI preview 1.
// Source: https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno.
const (
	wasiOK            = 0
	wasiBadFD         = 8
	wasiFault         = 21
	wasiInvalid       = 28
	wasiNotCapable    = 76
	wasiEventSize     = 32
	wasiSubscription  = 48
	wasiMaxPoll       = 64
	wasiMaxIOVectors  = 64
	wasiMaxRandom     = 1 << 20
	wasiSubscribeTime = 0 // the tag of a clock subscription
)

// wasiFuncs are the stubs that let the runtimes of languages start: no arguments, no environment, no files, no network. The
// wall clock stands at 1970; the monotonic one moves a millisecond per reading, so that loops that wait come to an end.
// Random numbers are the same in every instance. So an operator depends on its input and its configuration alone.
func wasiFuncs() []hostFunc {
	funcs := []hostFunc{
		{"args_get", "ii", "i", nothing},
		{"args_sizes_get", "ii", "i", noneOf},
		{"environ_get", "ii", "i", nothing},
		{"environ_sizes_get", "ii", "i", noneOf},
		{"clock_res_get", "ii", "i", clockResolution},
		{"clock_time_get", "iIi", "i", clockTime},
		{"fd_write", "iiii", "i", fdWrite},
		{"poll_oneoff", "iiii", "i", pollOneoff},
		{"proc_exit", "i", "", func(_ *guest, _ api.Memory, stack []uint64) { panic(sys.NewExitError(uint32(stack[0]))) }},
		{"random_get", "ii", "i", randomGet},
		{"sched_yield", "", "i", nothing},
	}
	for _, f := range [][2]string{
		{"fd_advise", "iIIi"},
		{"fd_allocate", "iII"},
		{"fd_close", "i"},
		{"fd_datasync", "i"},
		{"fd_fdstat_get", "ii"},
		{"fd_fdstat_set_flags", "ii"},
		{"fd_fdstat_set_rights", "iII"},
		{"fd_filestat_get", "ii"},
		{"fd_filestat_set_size", "iI"},
		{"fd_filestat_set_times", "iIIi"},
		{"fd_pread", "iiiIi"},
		{"fd_prestat_get", "ii"},
		{"fd_prestat_dir_name", "iii"},
		{"fd_pwrite", "iiiIi"},
		{"fd_read", "iiii"},
		{"fd_readdir", "iiiIi"},
		{"fd_renumber", "ii"},
		{"fd_seek", "iIii"},
		{"fd_sync", "i"},
		{"fd_tell", "ii"},
	} {
		funcs = append(funcs, hostFunc{f[0], f[1], "i", errno(wasiBadFD)})
	}
	for _, f := range [][2]string{
		{"path_create_directory", "iii"},
		{"path_filestat_get", "iiiii"},
		{"path_filestat_set_times", "iiiiIIi"},
		{"path_link", "iiiiiii"},
		{"path_open", "iiiiiIIii"},
		{"path_readlink", "iiiiii"},
		{"path_remove_directory", "iii"},
		{"path_rename", "iiiiii"},
		{"path_symlink", "iiiii"},
		{"path_unlink_file", "iii"},
		{"sock_accept", "iii"},
		{"sock_recv", "iiiiii"},
		{"sock_send", "iiiii"},
		{"sock_shutdown", "ii"},
	} {
		funcs = append(funcs, hostFunc{f[0], f[1], "i", errno(wasiNotCapable)})
	}
	return funcs
}

func nothing(_ *guest, _ api.Memory, stack []uint64) {
	if len(stack) > 0 {
		stack[0] = wasiOK
	}
}

func errno(code uint64) func(*guest, api.Memory, []uint64) {
	return func(_ *guest, _ api.Memory, stack []uint64) { stack[0] = code }
}

// outcome is the errno of something that only fails when a pointer is wrong.
func outcome(ok bool) uint64 {
	if ok {
		return wasiOK
	}
	return wasiFault
}

func noneOf(_ *guest, mem api.Memory, stack []uint64) {
	stack[0] = outcome(mem.WriteUint32Le(uint32(stack[0]), 0) && mem.WriteUint32Le(uint32(stack[1]), 0))
}

func clockResolution(_ *guest, mem api.Memory, stack []uint64) {
	stack[0] = outcome(mem.WriteUint64Le(uint32(stack[1]), 1_000_000))
}

func clockTime(g *guest, mem api.Memory, stack []uint64) {
	now := uint64(0)
	if uint32(stack[0]) != 0 { // not the wall clock
		g.clock += 1_000_000
		now = g.clock
	}
	stack[0] = outcome(mem.WriteUint64Le(uint32(stack[2]), now))
}

// fdWrite takes what a language's runtime says on standard output and error, above all its last words before it traps.
func fdWrite(g *guest, mem api.Memory, stack []uint64) {
	fd, iov, n := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	if fd != 1 && fd != 2 {
		stack[0] = wasiBadFD
		return
	}
	if n > wasiMaxIOVectors {
		stack[0] = wasiInvalid
		return
	}
	total := uint32(0)
	for i := range n {
		addr, ok1 := mem.ReadUint32Le(iov + 8*i)
		size, ok2 := mem.ReadUint32Le(iov + 8*i + 4)
		b, ok3 := mem.Read(addr, size)
		if !ok1 || !ok2 || !ok3 {
			stack[0] = wasiFault
			return
		}
		g.lastWords = append(g.lastWords, b[:min(len(b), maxLastWords-len(g.lastWords))]...)
		total += size
	}
	stack[0] = outcome(mem.WriteUint32Le(uint32(stack[3]), total))
}

// pollOneoff answers that every awaited time has come, and no file is ready.
func pollOneoff(g *guest, mem api.Memory, stack []uint64) {
	in, out, n := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	if n == 0 || n > wasiMaxPoll {
		stack[0] = wasiInvalid
		return
	}
	for i := range n {
		sub, ok1 := mem.Read(in+i*wasiSubscription, wasiSubscription)
		event, ok2 := mem.Read(out+i*wasiEventSize, wasiEventSize)
		if !ok1 || !ok2 {
			stack[0] = wasiFault
			return
		}
		kind := sub[8]
		clear(event[8:])
		copy(event, sub[:8]) // userdata
		event[10] = kind
		if kind != wasiSubscribeTime {
			event[8] = wasiBadFD
		}
	}
	g.clock += 1_000_000
	stack[0] = outcome(mem.WriteUint32Le(uint32(stack[3]), n))
}

// randomGet gives the same numbers to every instance (splitmix64 from a fixed seed).
func randomGet(g *guest, mem api.Memory, stack []uint64) {
	n := uint32(stack[1])
	b, ok := mem.Read(uint32(stack[0]), n)
	if !ok || n > wasiMaxRandom {
		stack[0] = wasiFault
		return
	}
	g.tank.pay(fuelPerHostByte * int64(n))
	for i := range b {
		if i%8 == 0 {
			g.random += 0x9e3779b97f4a7c15
		}
		z := g.random
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		b[i] = byte(z >> (8 * (i % 8)))
	}
	stack[0] = wasiOK
}
