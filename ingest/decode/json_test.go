package decode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// TestJSONValues has one column "v" per case: what it becomes, or why the record is rejected.
func TestJSONValues(t *testing.T) {
	sec, ms, us, ns := batch.Second, batch.Millisecond, batch.Microsecond, batch.Nanosecond
	cases := []struct {
		typ    string
		epoch  batch.Unit
		json   string // the value of "v"
		want   any
		reason batch.Reason
		detail string // part of the reject's text
	}{
		{"bool", 0, `true`, true, "", ""},
		{"bool", 0, `false`, false, "", ""},
		{"bool", 0, `1`, nil, batch.ReasonWrongType, `column v (bool): needs true or false, not a number: 1 at byte 5`},
		{"bool", 0, `"true"`, nil, batch.ReasonWrongType, "a string"},
		{"bool", 0, `True`, nil, batch.ReasonMalformed, "not JSON at byte 5: found True}"},
		{"bool", 0, `truly`, nil, batch.ReasonMalformed, "byte 5"},

		{"int8", 0, `-128`, int64(-128), "", ""},
		{"int8", 0, `128`, nil, batch.ReasonOutOfRange, "column v (int8): out of range: 128 at byte 5"},
		{"int16", 0, `32768`, nil, batch.ReasonOutOfRange, ""},
		{"int32", 0, `-2147483649`, nil, batch.ReasonOutOfRange, ""},
		{"int64", 0, `9223372036854775807`, int64(9223372036854775807), "", ""},
		{"int64", 0, `9223372036854775808`, nil, batch.ReasonOutOfRange, ""},
		{"int64", 0, `-9223372036854775808`, int64(-9223372036854775808), "", ""},
		{"int64", 0, `-9223372036854775809`, nil, batch.ReasonOutOfRange, ""},
		{"int64", 0, `99999999999999999999999`, nil, batch.ReasonOutOfRange, ""},
		{"int64", 0, `1e3`, int64(1000), "", ""},
		{"int64", 0, `1.0`, int64(1), "", ""},
		{"int64", 0, `1200e-2`, int64(12), "", ""},
		{"int64", 0, `0e99999999999`, int64(0), "", ""},
		{"int64", 0, `1.00000000000000000000000000000`, int64(1), "", ""},
		{"int64", 0, `1.00000000000000000000000000001`, nil, batch.ReasonWrongType, "not a whole number"},
		{"int64", 0, `1e99999999999`, nil, batch.ReasonOutOfRange, ""},
		{"int64", 0, `1e-99999999999`, nil, batch.ReasonWrongType, "not a whole number"},
		{"int64", 0, `1.5`, nil, batch.ReasonWrongType, "not a whole number: 1.5 at byte 5"},
		{"int64", 0, `"5"`, nil, batch.ReasonWrongType, `needs a number, not a string: "5" at byte 5`},
		{"int64", 0, `true`, nil, batch.ReasonWrongType, "a boolean"},
		{"int64", 0, `[1]`, nil, batch.ReasonWrongType, "an array: [1]"},
		{"int64", 0, `{"a":1}`, nil, batch.ReasonWrongType, "an object"},
		{"int64", 0, `01`, nil, batch.ReasonMalformed, "byte 6"},
		{"int64", 0, `-`, nil, batch.ReasonMalformed, "byte 6"},
		{"int64", 0, `+1`, nil, batch.ReasonMalformed, "byte 5"},
		{"int64", 0, `1.`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `.5`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `1e`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `1e+`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `0x10`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `1_000`, nil, batch.ReasonMalformed, ""},
		{"int64", 0, `123abc`, nil, batch.ReasonMalformed, "byte 8"},
		{"int64", 0, `123456789012345678901234567890e-5`, nil, batch.ReasonWrongType, "not a whole number"},
		{"int64", 0, `1234567890123456789012.5e1`, nil, batch.ReasonOutOfRange, ""},
		{"decimal(10, 2)", 0, `0.1`, "0.10", "", ""},
		{"decimal(10, 2)", 0, `-12345678.9`, "-12345678.90", "", ""},
		{"decimal(10, 2)", 0, `"0.1"`, "0.10", "", ""},
		{"decimal(10, 2)", 0, `"+1.5e1"`, "15.00", "", ""},
		{"decimal(10, 2)", 0, `1e7`, "10000000.00", "", ""},
		{"decimal(10, 2)", 0, `1.500000000000000000000000000000000000000000`, "1.50", "", ""},
		{"decimal(10, 2)", 0, `-0`, "0.00", "", ""},
		{"decimal(3, 3)", 0, `0.999`, "0.999", "", ""},
		{"decimal(38, 0)", 0, `99999999999999999999999999999999999999`, "99999999999999999999999999999999999999", "", ""},
		{"decimal(38, 18)", 0, `12345678901234567890.123456789012345678`, "12345678901234567890.123456789012345678", "", ""},
		{"decimal(38, 38)", 0, `-0.00000000000000000000000000000000000001`, "-0.00000000000000000000000000000000000001", "", ""},
		{"decimal(10, 2)", 0, `0.105`, nil, batch.ReasonOutOfRange, "column v (decimal(10, 2)): more than 2 digits behind the point: 0.105 at byte 5"},
		{"decimal(10, 2)", 0, `"0.105"`, nil, batch.ReasonOutOfRange, `more than 2 digits behind the point: "0.105" at byte 5`},
		{"decimal(10, 2)", 0, `100000000`, nil, batch.ReasonOutOfRange, "more than 8 digits before the point: 100000000 at byte 5"},
		{"decimal(10, 2)", 0, `1e400`, nil, batch.ReasonOutOfRange, "more than 8 digits before the point"},
		{"decimal(10, 2)", 0, `1e-400`, nil, batch.ReasonOutOfRange, "more than 2 digits behind the point"},
		{"decimal(10, 2)", 0, `"1 "`, nil, batch.ReasonWrongType, `not a number: "1 " at byte 5`},
		{"decimal(10, 2)", 0, `"NaN"`, nil, batch.ReasonWrongType, "not a number"},
		{"decimal(10, 2)", 0, `""`, nil, batch.ReasonWrongType, "not a number"},
		{"decimal(10, 2)", 0, `true`, nil, batch.ReasonWrongType, "needs a number, or a string that is one, not a boolean"},
		{"decimal(10, 2)", 0, `1.`, nil, batch.ReasonMalformed, ""},
		{"decimal(10, 2)", 0, `+1`, nil, batch.ReasonMalformed, ""},

		{"uint8", 0, `255`, uint64(255), "", ""},
		{"uint8", 0, `256`, nil, batch.ReasonOutOfRange, ""},
		{"uint16", 0, `65536`, nil, batch.ReasonOutOfRange, ""},
		{"uint32", 0, `4294967296`, nil, batch.ReasonOutOfRange, ""},
		{"uint64", 0, `18446744073709551615`, uint64(18446744073709551615), "", ""},
		{"uint64", 0, `18446744073709551616`, nil, batch.ReasonOutOfRange, ""},
		{"uint64", 0, `-1`, nil, batch.ReasonOutOfRange, ""},
		{"uint64", 0, `-0`, uint64(0), "", ""},

		{"float64", 0, `21.5`, 21.5, "", ""},
		{"float64", 0, `7`, 7.0, "", ""},
		{"float64", 0, `-0.0`, negZero, "", ""},
		{"float64", 0, `13.600000000000001`, 13.600000000000001, "", ""},
		{"float64", 0, `01.5`, nil, batch.ReasonMalformed, "byte 6"},
		{"float64", 0, `-01`, nil, batch.ReasonMalformed, "byte 7"},
		{"float64", 0, `0.5`, 0.5, "", ""},
		{"float64", 0, `1.`, nil, batch.ReasonMalformed, "byte 7"},
		{"float64", 0, `1.e5`, nil, batch.ReasonMalformed, "byte 7"},
		{"float64", 0, `1.2.3`, nil, batch.ReasonMalformed, "byte 8"},
		{"float64", 0, `12E-1`, 1.2, "", ""},
		{"float64", 0, `1.25e2`, 125.0, "", ""},
		{"float64", 0, `1234567`, 1234567.0, "", ""},
		{"float64", 0, `12345678`, 12345678.0, "", ""},
		{"float64", 0, `1234.567`, 1234.567, "", ""},
		{"float64", 0, `1e-400`, 0.0, "", ""},
		{"float64", 0, `1e400`, nil, batch.ReasonOutOfRange, ""},
		{"float64", 0, `9007199254740993`, 9007199254740992.0, "", ""},
		{"float64", 0, `NaN`, nil, batch.ReasonMalformed, "byte 5"},
		{"float64", 0, `Infinity`, nil, batch.ReasonMalformed, ""},
		{"float64", 0, `-Infinity`, nil, batch.ReasonMalformed, ""},
		{"float64", 0, `"1.5"`, nil, batch.ReasonWrongType, ""},
		{"float32", 0, `16777217.000000001`, float32(16777218), "", ""},
		{"float32", 0, `3.5e38`, nil, batch.ReasonOutOfRange, ""},

		{"string", 0, `""`, "", "", ""},
		{"string", 0, `"a\"\\\/\b\f\n\r\t"`, "a\"\\/\b\f\n\r\t", "", ""},
		{"string", 0, `"\u00e9\u20ac\ud83d\ude00"`, "é€😀", "", ""},
		{"string", 0, `"\ud83d"`, "\ufffd", "", ""},
		{"string", 0, `"\ude00\ud83d"`, "\ufffd\ufffd", "", ""},
		{"string", 0, `"\ud83d\ud83d\ude00"`, "\ufffd😀", "", ""},
		{"string", 0, `"\ud83dx"`, "\ufffdx", "", ""},
		{"string", 0, `"\u0000"`, "\x00", "", ""},
		{"string", 0, `"Grüße, 世界"`, "Grüße, 世界", "", ""},
		{"string", 0, "\"a\xffb\"", nil, batch.ReasonMalformed, `not UTF-8 at byte 7: found \xff`},
		{"string", 0, "\"\xc3\\u00a9\"", nil, batch.ReasonMalformed, "byte 6"},
		{"string", 0, "\"\xed\xa0\x80\"", nil, batch.ReasonMalformed, "not UTF-8"},
		{"string", 0, "\"a\nb\"", nil, batch.ReasonMalformed, `byte 7: found \x0a`},
		{"string", 0, `"\x"`, nil, batch.ReasonMalformed, "escape"},
		{"string", 0, `"\u12"`, nil, batch.ReasonMalformed, "escape"},
		{"string", 0, `'a'`, nil, batch.ReasonMalformed, ""},
		{"string", 0, `5`, nil, batch.ReasonWrongType, "needs a string, not a number"},
		{"binary", 0, `"aGVsbG8="`, "hello", "", ""},
		{"binary", 0, `"\u0061GVsbG8="`, "hello", "", ""},
		{"binary", 0, `""`, "", "", ""},
		{"binary", 0, `"aGVsbG8"`, nil, batch.ReasonWrongType, "base64"},
		{"binary", 0, `"aGVs\nbG8="`, nil, batch.ReasonWrongType, "base64"},

		{"date32", 0, `"1970-01-02"`, int64(1), "", ""},
		{"date32", 0, `"1969-12-31"`, int64(-1), "", ""},
		{"date32", 0, `19782`, int64(19782), "", ""},
		{"date32", 0, `3e9`, nil, batch.ReasonOutOfRange, ""},
		{"date32", 0, `1.5`, nil, batch.ReasonWrongType, "whole"},
		{"date32", 0, `"2023-02-29"`, nil, batch.ReasonWrongType, "there is no such day"},
		{"date32", 0, `"2023-2-9"`, nil, batch.ReasonWrongType, "YYYY-MM-DD"},

		{"timestamp[ms]", ms, `"1970-01-01T00:00:01.5Z"`, int64(1500), "", ""},
		{"timestamp[ms]", ms, `"1969-12-31T23:59:59.9999Z"`, int64(-1), "", ""},
		{"timestamp[s]", ms, `"1969-12-31T23:59:59.9999Z"`, int64(-1), "", ""},
		{"timestamp[us]", ms, `"1970-01-01t00:00:00.000001999z"`, int64(1), "", ""},
		{"timestamp[s]", ms, `"1970-01-01 01:00:00+01:00"`, int64(0), "", ""},
		{"timestamp[s]", ms, `"1970-01-01T00:00:00-00:00"`, int64(0), "", ""},
		{"timestamp[s]", ms, `"1970\u002d01-01T00:00:07Z"`, int64(7), "", ""},
		{"timestamp[s]", ms, `"2016-12-31T23:59:60Z"`, int64(1483228800), "", ""},
		{"timestamp[s]", ms, `"2017-01-01T00:59:60+01:00"`, int64(1483228800), "", ""},
		{"timestamp[s]", ms, `"2016-12-30T23:59:60Z"`, nil, batch.ReasonWrongType, "leap second"},
		{"timestamp[s]", ms, `"2016-12-31T22:59:60Z"`, nil, batch.ReasonWrongType, "leap second"},
		{"timestamp[s]", ms, `"2016-12-31T23:59:61Z"`, nil, batch.ReasonWrongType, "seconds"},
		{"timestamp[s]", ms, `"2016-12-31T24:00:00Z"`, nil, batch.ReasonWrongType, "00:00 to 23:59"},
		{"timestamp[s]", ms, `"2016-13-31T23:00:00Z"`, nil, batch.ReasonWrongType, "no such day"},
		{"timestamp[s]", ms, `"2016-12-31T23:00:00"`, nil, batch.ReasonWrongType, "no zone: end it with Z"},
		{"timestamp[s]", ms, `"2016-12-31T23:00:00.5"`, nil, batch.ReasonWrongType, "no zone"},
		{"timestamp[s]", ms, `"2016-12-31T23:00:00.Z"`, nil, batch.ReasonWrongType, "digit after the point"},
		{"timestamp[s]", ms, `"2016-12-31T23:00:00+1:00"`, nil, batch.ReasonWrongType, "zone"},
		{"timestamp[s]", ms, `"2016-12-31T23:00:00+24:00"`, nil, batch.ReasonWrongType, "offset"},
		{"timestamp[s]", ms, `"yesterday, or the day before"`, nil, batch.ReasonWrongType, `YYYY-MM-DD): "yesterday, or the day before" at byte 5`},
		{"timestamp[s]", ms, `"` + strings.Repeat(`\u0000`, 16) + `:05Z"`, nil, batch.ReasonWrongType, "YYYY-MM-DD"},
		{"timestamp[s]", ms, `"` + strings.Repeat("\x00", 16) + `:05Z"`, nil, batch.ReasonMalformed, "byte 6"},
		{"timestamp[s]", ms, `""`, nil, batch.ReasonWrongType, "too short"},
		{"timestamp[ns]", ms, `"2262-04-11T23:47:16.854775807Z"`, int64(9223372036854775807), "", ""},
		{"timestamp[ns]", ms, `"2262-04-11T23:47:16.854775808Z"`, nil, batch.ReasonOutOfRange, ""},
		{"timestamp[ns]", ms, `"1677-09-21T00:12:43.145224192Z"`, int64(-9223372036854775808), "", ""},
		{"timestamp[ns]", ms, `"1677-09-21T00:12:43.145224191Z"`, nil, batch.ReasonOutOfRange, ""},
		{"timestamp[ms]", ms, `1700000000123`, int64(1700000000123), "", ""},
		{"timestamp[s]", ms, `1700000000999`, int64(1700000000), "", ""},
		{"timestamp[s]", ms, `-1`, int64(-1), "", ""},
		{"timestamp[s]", ms, `-1000`, int64(-1), "", ""},
		{"timestamp[ms]", sec, `1700000000.123`, int64(1700000000123), "", ""},
		{"timestamp[ns]", sec, `1700000000.123456789`, int64(1700000000123456789), "", ""},
		{"timestamp[ns]", sec, `1700000000.1234567899999999999999`, int64(1700000000123456789), "", ""},
		{"timestamp[ms]", sec, `-0.0001`, int64(-1), "", ""},
		{"timestamp[ns]", sec, `-9223372036.854775808`, int64(-9223372036854775808), "", ""},
		{"timestamp[ns]", sec, `-9223372036.85477580800001`, nil, batch.ReasonOutOfRange, ""},
		{"timestamp[ns]", sec, `9223372037`, nil, batch.ReasonOutOfRange, ""},
		{"timestamp[ms]", us, `1.7e15`, int64(1700000000000), "", ""},
		{"timestamp[us]", ns, `1700000000123456789`, int64(1700000000123456), "", ""},
		{"timestamp[ms]", sec, `1e99`, nil, batch.ReasonOutOfRange, ""},
		{"timestamp[ms]", sec, `true`, nil, batch.ReasonWrongType, "RFC 3339"},
		{"timestamp[ms]", ms, `"1700000000123"`, nil, batch.ReasonWrongType, ""},

		{"float64", 0, `null`, nil, batch.ReasonMissing, "null at byte 5; declare it as float64?"},
		{"float64?", 0, `null`, nil, "", ""},
		{"string?", 0, `null`, nil, "", ""},
		{"bool?", 0, `null`, nil, "", ""},
		{"string?", 0, `nul`, nil, batch.ReasonMalformed, "byte 5"},
		{"float64?", 0, `"x"`, nil, batch.ReasonWrongType, ""},
	}
	for _, c := range cases {
		cols := schema.Columns{epoch(c.epoch, value("v", c.typ))}
		// The value alone, with room behind it so that eight bytes can be read at once, and behind another record.
		for _, form := range []string{`{"v":%s}`, `{"v":%s,"room":"                "}`, "{ \"v\" :\n%s }"} {
			data := fmt.Sprintf(form, c.json)
			records := []batch.Record{{Value: []byte(data)}, {Value: []byte(data)}}
			rows, rejects, _ := decodeAll(t, cols, Options{}, 8<<10, records, batch.Partition{})
			for i := range records {
				name := fmt.Sprintf("%s %s", c.typ, data)
				if c.reason != "" {
					if rejects[i] == nil {
						t.Errorf("%s: got %v, want it rejected", name, rows[i])
					} else if rejects[i].Reason != c.reason || strings.HasPrefix(form, `{"v":%s}`) && !strings.Contains(rejects[i].Detail, c.detail) {
						t.Errorf("%s: rejected %s: %s\nwant %s: %s", name, rejects[i].Reason, rejects[i].Detail, c.reason, c.detail)
					}
					continue
				}
				if rejects[i] != nil {
					t.Errorf("%s: rejected %s: %s\nwant %v", name, rejects[i].Reason, rejects[i].Detail, c.want)
				} else if !sameRow(rows[i], []any{c.want}) {
					t.Errorf("%s: got %v, want %v", name, rows[i], c.want)
				}
			}
		}
	}
}

var negZero = func() float64 { z := 0.0; return -z }()

// TestJSONRecords has whole records for columns a (nullable), p.b, p.q.c (nullable), p.q.d (nullable).
func TestJSONRecords(t *testing.T) {
	cols := schema.Columns{
		value("a", "int64?"), value("b", "int64", "p", "b"), value("c", "string?", "p", "q", "c"), value("d", "int64?", "p", "q", "d"),
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	cases := []struct {
		name, json string
		want       []any
		reason     batch.Reason
		detail     string
	}{
		{"all", `{"a":1,"p":{"b":2,"q":{"c":"x","d":3}}}`, []any{int64(1), int64(2), "x", int64(3)}, "", ""},
		{"other order", `{"p":{"q":{"d":3,"c":"x"},"b":2},"a":1}`, []any{int64(1), int64(2), "x", int64(3)}, "", ""},
		{"white space", " {\t\"a\" : 1 ,\r\n\"p\": { \"b\":2 , \"q\" :{ } } } \n", []any{int64(1), int64(2), nil, nil}, "", ""},
		{"missing object", `{"p":{"b":2}}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"null object", `{"p":{"b":2,"q":null},"a":null}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"no required", `{"p":{}}`, nil, batch.ReasonMissing, "column b (int64): the record has no p.b"},
		{"null above required", `{"p":null}`, nil, batch.ReasonMissing, "column b (int64): null at byte 5"},
		{"empty object", `{}`, nil, batch.ReasonMissing, "the record has no p.b"},
		{"scalar for object", `{"a":1,"p":7}`, nil, batch.ReasonWrongType, "column b (int64): p is a number, not an object: 7 at byte 11"},
		{"array for object", `{"p":{"b":1,"q":[{"c":"x"}]}}`, nil, batch.ReasonWrongType, "column c (string): p.q is an array, not an object"},
		{"unknown keys", `{"x":{"p":{"b":9},"a":[1,"}",{}]},"p":{"a":5,"b":2},"y":"\"","z":-1.5e+3}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"key of a prefix", `{"aa":1,"":2,"p":{"b":2,"bb":3}}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"escaped keys", `{"\u0061":1,"\u0070":{"b":2}}`, []any{int64(1), int64(2), nil, nil}, "", ""},
		{"case matters", `{"A":1,"p":{"b":2}}`, []any{nil, int64(2), nil, nil}, "", ""},

		{"last duplicate wins", `{"a":1,"p":{"b":1,"b":2},"a":3}`, []any{int64(3), int64(2), nil, nil}, "", ""},
		{"last duplicate null", `{"a":1,"a":null,"p":{"b":2}}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"last duplicate string", `{"p":{"b":2,"q":{"c":"longer than the next","c":"x","d":1}}}`, []any{nil, int64(2), "x", int64(1)}, "", ""},
		{"last duplicate object", `{"p":{"b":1,"q":{"c":"x"}},"p":{"b":2}}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"last duplicate null object", `{"p":{"b":1,"q":{"c":"x"},"q":null}}`, []any{nil, int64(1), nil, nil}, "", ""},
		{"last duplicate object without required", `{"p":{"b":1},"p":{}}`, nil, batch.ReasonMissing, "no p.b"},
		{"every duplicate must fit", `{"a":"x","a":1,"p":{"b":2}}`, nil, batch.ReasonWrongType, "column a"},

		{"text after", `{"p":{"b":2}} x`, nil, batch.ReasonMalformed, "byte 14: found x where the end of the record"},
		{"two objects", `{"p":{"b":2}}{}`, nil, batch.ReasonMalformed, "byte 13"},
		{"byte order mark", "\xef\xbb\xbf{}", nil, batch.ReasonMalformed, "byte order mark"},
		{"UTF-16", "{\x00}\x00", nil, batch.ReasonMalformed, `byte 1: found \x00}\x00`},
		{"array", `[1,2]`, nil, batch.ReasonWrongType, "the record is an array, not an object: [1,2] at byte 0"},
		{"string", ` "x"`, nil, batch.ReasonWrongType, "a string"},
		{"null", `null`, nil, batch.ReasonWrongType, "the record is null, not an object"},
		{"broken array", `[1,2`, nil, batch.ReasonMalformed, "truncated: the record ends at byte 4"},
		{"no JSON", `hello`, nil, batch.ReasonMalformed, "byte 0"},
		{"white space only", " \n\t", nil, batch.ReasonEmpty, "3 bytes of white space"},
		{"nothing", ``, nil, batch.ReasonEmpty, "no bytes"},
		{"trailing comma", `{"p":{"b":2},}`, nil, batch.ReasonMalformed, "byte 13: found } where a key in quotes"},
		{"no comma", `{"a":1"p":{"b":2}}`, nil, batch.ReasonMalformed, `byte 6: found "p"`},
		{"no colon", `{"a" 1}`, nil, batch.ReasonMalformed, "byte 5: found 1} where a colon"},
		{"no value", `{"a":}`, nil, batch.ReasonMalformed, "byte 5"},
		{"no quotes", `{a:1}`, nil, batch.ReasonMalformed, "a key in quotes"},
		{"comment", `{/**/"a":1}`, nil, batch.ReasonMalformed, "byte 1"},
		{"wrong bracket", `{"p":{"b":2]}`, nil, batch.ReasonMalformed, "byte 11"},
		{"skipped: bad escape", `{"x":"\q","p":{"b":2}}`, nil, batch.ReasonMalformed, "byte 6"},
		{"skipped: not UTF-8", "{\"x\":\"\xc0\x80\",\"p\":{\"b\":2}}", nil, batch.ReasonMalformed, "byte 6"},
		{"skipped: key not UTF-8", "{\"\xff\":1,\"p\":{\"b\":2}}", nil, batch.ReasonMalformed, "byte 2"},
		{"skipped: bad number", `{"x":[1,-],"p":{"b":2}}`, nil, batch.ReasonMalformed, "byte 9"},
		{"skipped: mixed brackets", `{"x":[{]},"p":{"b":2}}`, nil, batch.ReasonMalformed, "byte 7"},
		{"skipped: colon in array", `{"x":["a":1],"p":{"b":2}}`, nil, batch.ReasonMalformed, "byte 9"},
		{"skipped: no colon", `{"x":{"a"},"p":{"b":2}}`, nil, batch.ReasonMalformed, "byte 9"},
		{"64 deep", `{"x":` + deep(63) + `,"p":{"b":2}}`, []any{nil, int64(2), nil, nil}, "", ""},
		{"65 deep", `{"x":` + deep(64) + `,"p":{"b":2}}`, nil, batch.ReasonMalformed, "nested more than 64 deep at byte 68"},
		{"very deep", `{"x":` + strings.Repeat(`[`, 100_000), nil, batch.ReasonMalformed, "nested more than 64 deep"},
		{"long snippet", `{"a":"` + strings.Repeat("世", 200) + `"}`, nil, batch.ReasonWrongType, `世... at byte 5`},
		{"control characters", "{\"a\":\"\\u0000\x7f\",\"p\":{}}", nil, batch.ReasonWrongType, `"\u0000\x7f" at byte 5`},
	}
	var together []batch.Record
	for _, c := range cases {
		together = append(together, batch.Record{Value: []byte(c.json)})
	}
	check := func(t *testing.T, i int, row []any, reject *batch.Reject) {
		t.Helper()
		switch c := cases[i]; {
		case c.want != nil && (reject != nil || !sameRow(row, c.want)):
			t.Errorf("%s: got %v, %+v, want %v", c.name, row, reject, c.want)
		case c.want == nil && (reject == nil || reject.Reason != c.reason || !strings.Contains(reject.Detail, c.detail)):
			t.Errorf("%s: got %v, %+v\nwant %s: %s", c.name, row, reject, c.reason, c.detail)
		}
	}
	t.Run("one batch", func(t *testing.T) {
		rows, rejects, batches := decodeAll(t, cols, Options{}, 1<<20, together, batch.Partition{})
		if batches != 1 {
			t.Errorf("%d batches", batches)
		}
		for i := range cases {
			check(t, i, rows[i], rejects[i])
		}
	})
	t.Run("one record per batch", func(t *testing.T) {
		rows, rejects, batches := decodeAll(t, cols, Options{MaxRows: 1}, 16<<10, together, batch.Partition{})
		if batches != len(cases) {
			t.Errorf("%d batches", batches)
		}
		for i := range cases {
			check(t, i, rows[i], rejects[i])
		}
	})
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) {
			// Three times, so that what was learned of the record meets it again.
			same := []batch.Record{together[i], together[i], together[i]}
			rows, rejects, _ := decodeAll(t, cols, Options{}, 16<<10, same, batch.Partition{})
			for k := range same {
				check(t, i, rows[k], rejects[k])
			}
		})
	}
}

// TestJSONTruncated cuts a record at every byte: each must be malformed, and say that it ends there.
func TestJSONTruncated(t *testing.T) {
	cols := schema.Columns{value("a", "string"), value("b", "float64", "p", "b"), value("t", "timestamp[ms]?"), value("x", "binary?")}
	full := `{"a":"h\u00e9llo w\u00f6rld", "p":{"b":-12.5e+1,"u":[true,{"k":null}]}, "t":"2024-01-02T03:04:05Z","x":"aGVsbG8="}`
	var records []batch.Record
	for i := 1; i <= len(full); i++ {
		records = append(records, batch.Record{Value: []byte(full[:i])}, batch.Record{Value: []byte(full)})
	}
	rows, rejects, _ := decodeAll(t, cols, Options{}, 1<<20, records, batch.Partition{})
	for i := range records {
		n := len(records[i].Value)
		if n == len(full) {
			if rejects[i] != nil || rows[i][0] != "héllo wörld" || rows[i][1] != -125.0 {
				t.Errorf("record %d: %v %+v", i, rows[i], rejects[i])
			}
			continue
		}
		if r := rejects[i]; r == nil || r.Reason != batch.ReasonMalformed {
			t.Errorf("%s: %v %+v", records[i].Value, rows[i], r)
		} else if !strings.Contains(r.Detail, fmt.Sprintf("truncated: the record ends at byte %d ", n)) {
			t.Errorf("%s: %s", records[i].Value, r.Detail)
		}
	}
}
