package report

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// stack is a sample of a profile: the functions from the outermost to the innermost, and what was counted there.
type stack struct {
	functions []string
	value     int64
}

const (
	maxProfile = 256 << 20 // bytes, unpacked
	maxStack   = 2048      // functions in a stack
)

var errProfile = errors.New("not a profile of pprof")

// readProfile reads the last value of each sample of a profile, which is the time in one of the CPU. The format is that of
// github.com/google/pprof, proto/profile.proto: of it the samples, locations, functions and strings are read.
func readProfile(r io.Reader) ([]stack, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxProfile+1))
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	if len(data) > maxProfile {
		return nil, fmt.Errorf("read a profile: it has more than %d bytes", maxProfile)
	}
	var (
		texts     []string
		functions = map[uint64]uint64{}   // id to the name's place in texts
		locations = map[uint64][]uint64{} // id to functions, innermost first
		samples   [][2][]uint64           // locations and values
	)
	err = fields(data, func(number int, _ uint64, b []byte) error {
		switch number {
		case 2:
			var s [2][]uint64
			err := fields(b, func(number int, v uint64, b []byte) error {
				if number != 1 && number != 2 {
					return nil
				}
				if b == nil {
					s[number-1] = append(s[number-1], v)
					return nil
				}
				for len(b) > 0 {
					v, n := binary.Uvarint(b)
					if n <= 0 {
						return errProfile
					}
					s[number-1], b = append(s[number-1], v), b[n:]
				}
				return nil
			})
			samples = append(samples, s)
			return err
		case 4:
			var id uint64
			var in []uint64
			err := fields(b, func(number int, v uint64, b []byte) error {
				switch number {
				case 1:
					id = v
				case 4:
					return fields(b, func(number int, v uint64, _ []byte) error {
						if number == 1 {
							in = append(in, v)
						}
						return nil
					})
				}
				return nil
			})
			locations[id] = in
			return err
		case 5:
			var id, name uint64
			err := fields(b, func(number int, v uint64, _ []byte) error {
				switch number {
				case 1:
					id = v
				case 2:
					name = v
				}
				return nil
			})
			functions[id] = name
			return err
		case 6:
			texts = append(texts, string(b))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	out := make([]stack, 0, len(samples))
	for _, s := range samples {
		if len(s[1]) == 0 {
			continue
		}
		one := stack{value: int64(s[1][len(s[1])-1])}
		for _, l := range s[0] {
			for _, f := range locations[l] {
				name := "?"
				if i := functions[f]; i < uint64(len(texts)) {
					name = texts[i]
				}
				if len(one.functions) < maxStack {
					one.functions = append(one.functions, name)
				}
			}
		}
		slices.Reverse(one.functions)
		if one.value > 0 {
			out = append(out, one)
		}
	}
	return out, nil
}

// fields goes through a message of protocol buffers: each field has a number, and a value or bytes.
func fields(b []byte, each func(number int, value uint64, bytes []byte) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<20 {
			return errProfile
		}
		b = b[n:]
		var value uint64
		var text []byte
		switch key & 7 {
		case 0:
			if value, n = binary.Uvarint(b); n <= 0 {
				return errProfile
			}
		case 1:
			n = 8
		case 2:
			length, m := binary.Uvarint(b)
			if m <= 0 || length > uint64(len(b)-m) {
				return errProfile
			}
			n = m + int(length)
			text = b[m:n:n]
		case 5:
			n = 4
		default:
			return errProfile
		}
		if n > len(b) {
			return errProfile
		}
		b = b[n:]
		if err := each(int(key>>3), value, text); err != nil {
			return err
		}
	}
	return nil
}
