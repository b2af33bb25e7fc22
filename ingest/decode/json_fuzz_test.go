package decode

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// fuzzColumns has every type, nesting, columns that share a path, and one that may not be null.
var fuzzColumns = schema.Columns{
	value("i", "int64"), value("a", "int8?"), value("b", "int16?"), value("c", "int32?"), value("u", "uint64?"),
	value("v", "uint8?"), value("f", "float64?"), value("g", "float32?"), value("s", "string?"), value("s2", "string?", "s"),
	value("t", "timestamp[ms]?"), epoch(batch.Second, value("n", "timestamp[ns]?")), epoch(batch.Nanosecond, value("m", "timestamp[s]?")),
	epoch(batch.Microsecond, value("t2", "timestamp[us]?", "t")),
	value("d", "date32?", "p", "d"), value("x", "binary?", "p", "q", "x"), value("y", "bool?", "p", "q", "y"), value("z", "uint16?", "p", "z"),
	value("w", "uint32?"),
	value("l", "list<float64>?"), value("l2", "list<float32>?", "l"), value("ls", "list<string>?"), value("lx", "list<binary>?", "p", "lx"),
	value("lb", "list<bool>?"), value("lt", "list<timestamp[us]>?"), value("li", "list<int16>?"), value("ls2", "list<string>?", "ls"),
}

// FuzzJSON compares the decoder with an oracle made of encoding/json, math/big and time. Two records are decoded in
// turns, so that what the decoder remembers of one meets the other.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s), []byte(`{"i":1}`))
		f.Add([]byte(s), []byte(strings.ReplaceAll(s, `:`, ` : `)))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a)+len(b) > 1<<16 {
			return
		}
		want := [2]verdict{oracle(fuzzColumns, a), oracle(fuzzColumns, b)}
		var records []batch.Record
		for i := range 6 {
			records = append(records, batch.Record{Value: [][]byte{a, b}[i&1]})
		}
		for _, arena := range []int{0, 2048, 8 << 10} {
			rows, rejects, _ := decodeAll(t, fuzzColumns, Options{}, arena, records, batch.Partition{})
			for i := range records {
				checkVerdict(t, records[i].Value, want[i&1], rows[i], rejects[i])
			}
		}
	})
}

func checkVerdict(t testing.TB, data []byte, want verdict, row []any, reject *batch.Reject) {
	t.Helper()
	switch {
	case want.unsure:
	case want.row == nil && row != nil:
		t.Fatalf("%q\ngot %v\nwant it rejected: %s", data, row, want.reason)
	case want.row == nil && want.reason == batch.ReasonEmpty && reject.Reason != batch.ReasonEmpty:
		t.Fatalf("%q\nrejected %s: %s\nwant %s", data, reject.Reason, reject.Detail, want.reason)
	case want.row == nil && !want.duplicates && want.reason != batch.ReasonMalformed && reject.Reason == batch.ReasonMalformed:
		t.Fatalf("%q\nrejected %s: %s\nwant %s", data, reject.Reason, reject.Detail, want.reason)
	case want.row != nil && row == nil && !want.duplicates:
		t.Fatalf("%q\nrejected %s: %s\nwant %v", data, reject.Reason, reject.Detail, want.row)
	case want.row != nil && row != nil && !sameRow(row, want.row):
		t.Fatalf("%q\ngot  %v\nwant %v", data, row, want.row)
	}
}

var jsonSeeds = []string{
	`{"i":1,"l":[1.5, -0.0 ,2e300],"ls":["a","","\u00e9"]}`, `{"i":1,"l":[],"lb":[true,false , true],"li":[1,-32768]}`, `{"i":1,"l":[1,null]}`,
	`{"i":1,"l":[1,],"ls":[[]]}`, `{"i":1,"ls":["a" "b"]}`, `{"i":1,"ls":["a"`, `{"i":1,"lt":["2024-02-29T12:34:56Z",1700000000123]}`, `{"i":1,"p":{"lx":["aGVsbG8=",""]}}`,
	`{"i":1,"l":[1,"x"],"l":[2]}`, `{"i":1,"l":7}`, `{"i":1,"ls":[ ],"ls":null}`, `{"i":1,"ls":["a","b","c","d","e","f","g"],"l":[1,2,3,4,5,6,7,8,9,10,11,12]}`,
	`{}`, `{"i":1}`, ` { "i" : -1 , "a" : 127 } `, `{"i":9223372036854775807,"u":18446744073709551615}`,
	`{"i":1e3,"a":1.0,"b":-32768,"c":2147483648,"v":256,"w":4294967295}`, `{"i":1.5}`, `{"i":-0,"u":-0,"f":-0.0}`,
	`{"i":1,"f":0.1,"g":0.1}`, `{"i":1,"f":1.7976931348623157e308}`, `{"i":1,"f":1e400}`, `{"i":1,"g":3.5e38}`, `{"i":1,"f":5e-324,"g":1e-45}`,
	`{"i":1,"f":13.600000000000001,"g":16777217.000000001}`, `{"i":1,"f":123456789012345678901234567890.5e-10}`,
	`{"i":1,"s":"plain"}`, `{"i":1,"s":"é\n\u00e9\ud83d\ude00\ud83d x \ude00"}`, `{"i":1,"s":"` + strings.Repeat("long ", 40) + `"}`,
	"{\"i\":1,\"s\":\"\xff\"}", "{\"i\":1,\"s\":\"a\tb\"}", `{"i":1,"s":"\x"}`, `{"i":1,"s":"\u12g4"}`, `{"i":1,"s":null}`,
	`{"i":1,"t":"2024-02-29T12:34:56.789Z","n":1700000000.123456789,"m":-1}`, `{"i":1,"t":"2024-02-29t12:34:56z"}`,
	`{"i":1,"t":"2024-02-29 12:34:56.1234567890123+05:30"}`, `{"i":1,"n":"1677-09-21T00:12:43.145224192Z"}`, `{"i":1,"n":"2262-04-11T23:47:16.854775808Z"}`,
	`{"i":1,"n":9223372036.854775807}`, `{"i":1,"n":-9223372036.854775808}`, `{"i":1,"n":-9223372036.8547758081}`, `{"i":1,"t":1700000000123.999}`,
	`{"i":1,"t":"0000-01-01T00:00:00Z"}`, `{"i":1,"t":"9999-12-31T23:59:59-23:59"}`, `{"i":1,"t":"2023-02-29T00:00:00Z"}`, `{"i":1,"t":"2024-01-01T00:00:00"}`,
	`{"i":1,"p":{"d":"1970-01-02","q":{"x":"aGVsbG8=","y":true},"z":7},"o":{"p":[1,{"a":[]}]}}`, `{"i":1,"p":null}`, `{"i":1,"p":{"q":null,"d":-1}}`,
	`{"i":1,"p":5}`, `{"i":1,"p":{"q":[]}}`, `{"i":1,"p":{"z":1,"d":3},"p":{"d":4}}`, `{"i":1,"i":2}`, `{"i":1,"i":null}`, `{"i":"x","i":1}`,
	`{"i":1,"p":{"q":{"x":"a","y":1}}}`, `{"i":1,"p":{"q":{"x":"aGVs\u0062G8="}}}`, `{"\u0069":1}`,
	`[1,2]`, `null`, `"i"`, `5`, `{"i":1}x`, `{"i":1},`, `{"i":1`, `{"i":`, `{"i"`, `{"i":1,}`, `{,}`, `{"i":01}`, `{"i":+1}`, `{"i":.5}`, `{"i":1.}`, `{"i":1e}`,
	`{"i":NaN}`, `{"i":Infinity}`, `{"i":1,"k":tru}`, `{"i":1,"k":[1,2,{"a":"b","c":[null,true,false]}],"s":"after"}`, `{"i":1,"k":[1,]}`, `{"i":1,"k":{"a":1,}}`,
	`{"i":1,"k":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, `{"i":1,"k":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
	"\xef\xbb\xbf{\"i\":1}", " \n", `{"i":1,"":2,"a":3,"unknown_key_that_is_rather_long_for_a_key":"x"}`,
}
