package clickhouse_test

import "testing"

func TestWriteAndRead(t *testing.T) {
	b := newBed(t)
	b.write(
		b.cut(source{partition: 0}, 10,
			row{1_700_000_000, "a", 3, f(6), 3, f(4)},
			row{1_700_000_000, "b", 1, nil, 0, nil},
		),
		b.cut(source{partition: 1}, 7,
			row{1_700_000_000, "a", 1, f(6), 1, f(6)},
			row{1_700_000_010, "a", 2, f(1), 1, f(1)},
		),
	)
	b.want(`
1700000000 a 4 3 6
1700000000 b 1 null null
1700000010 a 2 1 1`)
}
