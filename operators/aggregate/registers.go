package aggregate

import "encoding/binary"

// registers is how ClickHouse writes the ranks of a HyperLogLog sketch: the ranks in so many bits each, uint32 how many have each rank,
// uint16 how many have none.
type registers struct {
	n        int // of registers
	rankBits int
	maxRank  byte
}

// append writes the ranks.
func (l registers) append(dst, ranks []byte) []byte {
	var counts [256]uint32
	acc, have := uint64(0), 0
	for _, rank := range ranks {
		counts[rank]++
		acc |= uint64(rank) << have
		for have += l.rankBits; have >= 8; have -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	for _, n := range counts[:int(l.maxRank)+1] {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	return binary.LittleEndian.AppendUint16(dst, uint16(counts[0]))
}

// read reads what append writes.
func (l registers) read(r *reader) ([]byte, error) {
	packed := r.take(l.n * l.rankBits / 8)
	r.take(4*(int(l.maxRank)+1) + 2) // follows from the ranks
	if r.bad {
		return nil, errState
	}
	ranks := make([]byte, l.n)
	for i := range ranks {
		bit := i * l.rankBits
		word := uint16(packed[bit/8])
		if bit/8+1 < len(packed) {
			word |= uint16(packed[bit/8+1]) << 8
		}
		if ranks[i] = byte(word>>(bit%8)) & (1<<l.rankBits - 1); ranks[i] > l.maxRank {
			return nil, errState
		}
	}
	return ranks, nil
}
