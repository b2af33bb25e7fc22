package decode

import "github.com/weir-stream/weir/ingest/batch"

// decimalValue reads a number, or a string that is one, into a decimal column, digit by digit: no float is made on the way.
func (j *jsonFormat) decimalValue(l *leaf, data []byte, p int) int {
	c, t := l.col, l.col.Type
	if data[p] == '"' {
		text, next := j.quoted(data, p)
		if next < 0 {
			return next
		}
		v, problem := batch.ParseDecimal(text, t)
		if problem == batch.DecimalNone {
			return j.wrongText(l, data, p, next, "not a number")
		}
		return j.putDecimal(l, data, p, next, v, problem)
	}
	d, end := j.decimal(l, data, p)
	if end < 0 {
		return end
	}
	if v, ok := d.scaled(t); ok {
		c.v128[j.w.row] = v
		return end
	}
	v, _, problem := batch.ScanDecimal(data[p:end], t)
	return j.putDecimal(l, data, p, end, v, problem)
}

func (j *jsonFormat) putDecimal(l *leaf, data []byte, p, end int, v batch.Int128, problem batch.DecimalProblem) int {
	switch problem {
	case batch.DecimalOK:
		l.col.v128[j.w.row] = v
		return end
	case batch.DecimalFine:
		j.w.refuse(batch.ReasonOutOfRange, l.col, "more than %d digits behind the point: %s at byte %d", l.col.Type.Scale, snippet(data[p:end]), p)
		return failed
	default:
		t := l.col.Type
		j.w.refuse(batch.ReasonOutOfRange, l.col, "more than %d digits before the point: %s at byte %d", t.Precision-t.Scale, snippet(data[p:end]), p)
		return failed
	}
}

// scaled is the number as a decimal of a type, where that takes one multiplication of 64 bits.
func (d *decimal) scaled(t batch.Type) (v batch.Int128, ok bool) {
	shift := d.exp + int(t.Scale)
	if d.rest || shift < 0 || shift > batch.WordPrecision || d.mant >= 1<<63 {
		return v, false
	}
	if v, ok = batch.Int128Of(int64(d.mant)).MulPow10(shift); !ok || !v.Fits(int(t.Precision)) {
		return v, false
	}
	if d.neg {
		v = v.Neg()
	}
	return v, true
}
