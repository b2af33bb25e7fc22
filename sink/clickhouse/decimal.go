package clickhouse

import (
	"fmt"
	"math/big"

	"github.com/shopspring/decimal"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// inDecimal is a value as the client takes it.
func inDecimal(v batch.Int128, scale int) decimal.Decimal {
	if whole, ok := v.Int64(); ok {
		return decimal.New(whole, -int32(scale))
	}
	n := new(big.Int).Lsh(big.NewInt(v.Hi), 64)
	return decimal.NewFromBigInt(n.Add(n, new(big.Int).SetUint64(v.Lo)), -int32(scale))
}

// outDecimal is a value that the client gave, in units of its last digit.
func outDecimal(d decimal.Decimal, scale int) batch.Int128 {
	n := d.Shift(int32(scale)).BigInt()
	low := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0)))
	return batch.Int128{Lo: low.Uint64(), Hi: n.Rsh(n, 64).Int64()}
}

// sumDecimals adds totals up, which are Decimal(38, S). ClickHouse's sum would wrap around where there are more digits, without a word;
// here it is null then. So it is where one of the totals overflowed on a node, which is as large as no decimal is: the sums are made in 256
// bits, of the totals in units of their last digit.
func sumDecimals(s sink.State) string {
	column := ident(s.Name)
	units, none := fmt.Sprintf("toInt256(reinterpret(%s, 'Int128'))", column), ""
	if s.Nullable {
		units = fmt.Sprintf("if(isNull(%[1]s), NULL, toInt256(reinterpret(assumeNotNull(%[1]s), 'Int128')))", column)
		none = fmt.Sprintf("count(%s) = 0 OR ", column)
	}
	const limit = "toInt256('100000000000000000000000000000000000000')" // 10^38
	return fmt.Sprintf("if(%[4]smax(abs(%[1]s)) >= %[2]s OR abs(sum(%[1]s)) >= %[2]s, NULL, reinterpret(toInt128(assumeNotNull(sum(%[1]s))), %[3]s))",
		units, limit, quote(baseType(s.Type)), none)
}
