package aggregate

import (
	"encoding/binary"
	"math"
)

// The variances, after Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products" (1962): mean and
// squared distance from it are updated row by row, so that large values with small differences lose no digits. The states are
// those of ClickHouse's varSampStable and its kin.

func newVar(s Spec) *Aggregate {
	return floatAggregate[variance](s, "varSampStable", float64Type)
}

func newVarPop(s Spec) *Aggregate {
	return floatAggregate[variance](s, "varPopStable", float64Type)
}

func newStddev(s Spec) *Aggregate {
	return floatAggregate[variance](s, "stddevSampStable", float64Type)
}

func newStddevPop(s Spec) *Aggregate {
	return floatAggregate[variance](s, "stddevPopStable", float64Type)
}

type variance struct {
	n        uint64
	mean, m2 float64
}

func (v *variance) seen() bool  { return v.n > 0 }
func (v *variance) size() int64 { return 0 }

func (v *variance) add(x float64) int64 {
	v.n++
	d := x - v.mean
	v.mean += d / float64(v.n)
	v.m2 += d * (x - v.mean)
	return 0
}

// merge is after Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
func (v *variance) merge(from *variance, _ cells, _ int) {
	n := v.n + from.n
	d, share := from.mean-v.mean, float64(from.n)/float64(n)
	v.m2 += from.m2 + d*d*float64(v.n)*share
	v.mean += d * share
	v.n = n
}

// append writes: varint n, float64 mean, float64 m2.
func (v *variance) append(dst []byte, _ cells) []byte {
	return appendFloat(appendFloat(binary.AppendUvarint(dst, v.n), v.mean), v.m2)
}

func (v *variance) load(src []byte, _ cells) error {
	r := reader{src: src}
	v.n, v.mean, v.m2 = r.uvarint(), r.float(), r.float()
	return r.end()
}

func newCovar(s Spec) *Aggregate    { return pairAggregate[covariance](s, "covarSampStable") }
func newCovarPop(s Spec) *Aggregate { return pairAggregate[covariance](s, "covarPopStable") }

type covariance struct {
	n                  uint64
	meanX, meanY, comb float64
}

func (v *covariance) seen() bool  { return v.n > 0 }
func (v *covariance) size() int64 { return 0 }

func (v *covariance) add(x, y float64) {
	v.n++
	dx := x - v.meanX
	v.meanX += dx / float64(v.n)
	v.meanY += (y - v.meanY) / float64(v.n)
	v.comb += dx * (y - v.meanY)
}

// merge is that of variance.
func (v *covariance) merge(from *covariance, _ cells, _ int) {
	n := v.n + from.n
	dx, dy, share := from.meanX-v.meanX, from.meanY-v.meanY, float64(from.n)/float64(n)
	v.comb += from.comb + dx*dy*float64(v.n)*share
	v.meanX += dx * share
	v.meanY += dy * share
	v.n = n
}

// append writes: varint n, float64 mean of x, mean of y, co-moment.
func (v *covariance) append(dst []byte, _ cells) []byte {
	return appendFloat(appendFloat(appendFloat(binary.AppendUvarint(dst, v.n), v.meanX), v.meanY), v.comb)
}

func (v *covariance) load(src []byte, _ cells) error {
	r := reader{src: src}
	v.n, v.meanX, v.meanY, v.comb = r.uvarint(), r.float(), r.float(), r.float()
	return r.end()
}

func newCorr(s Spec) *Aggregate { return pairAggregate[correlation](s, "corrStable") }

type correlation struct {
	covariance
	m2X, m2Y float64
}

func (v *correlation) add(x, y float64) {
	dx, dy := x-v.meanX, y-v.meanY
	v.covariance.add(x, y)
	v.m2X += dx * (x - v.meanX)
	v.m2Y += dy * (y - v.meanY)
}

func (v *correlation) merge(from *correlation, k cells, limit int) {
	dx, dy := from.meanX-v.meanX, from.meanY-v.meanY
	weight := float64(v.n) * float64(from.n) / float64(v.n+from.n)
	v.m2X += from.m2X + dx*dx*weight
	v.m2Y += from.m2Y + dy*dy*weight
	v.covariance.merge(&from.covariance, k, limit)
}

// append writes a covariance, then float64 m2 of x, and of y.
func (v *correlation) append(dst []byte, k cells) []byte {
	return appendFloat(appendFloat(v.covariance.append(dst, k), v.m2X), v.m2Y)
}

func (v *correlation) load(src []byte, _ cells) error {
	r := reader{src: src}
	v.n, v.meanX, v.meanY, v.comb, v.m2X, v.m2Y = r.uvarint(), r.float(), r.float(), r.float(), r.float(), r.float()
	return r.end()
}

// newSumKahan adds floats up with compensation, after Kahan (1965): small values are not lost in a large total. ClickHouse's
// sumKahan.
func newSumKahan(s Spec) *Aggregate {
	return floatAggregate[kahan](s, "sumKahan", float64Type)
}

type kahan struct {
	sum, compensation float64
	any               bool
}

func (k *kahan) seen() bool  { return k.any }
func (k *kahan) size() int64 { return 0 }

func (k *kahan) add(x float64) int64 {
	k.any = true
	if math.IsInf(x, 0) || math.IsInf(k.sum, 0) { // compensating would make a NaN of it
		k.sum += x
		return 0
	}
	y := x - k.compensation
	t := k.sum + y
	k.compensation = (t - k.sum) - y
	k.sum = t
	return 0
}

// merge adds both sums, with what is lost of the smaller one, and both compensations.
func (k *kahan) merge(from *kahan, _ cells, _ int) {
	if math.IsInf(from.sum, 0) || math.IsInf(k.sum, 0) {
		k.sum += from.sum
		return
	}
	raw := k.sum + from.sum
	part := raw - k.sum
	lost := (from.sum - part) + (k.sum - (raw - part)) - k.compensation - from.compensation
	k.sum = raw + lost
	k.compensation = (k.sum - raw) - lost
}

// append writes: float64 sum, float64 compensation.
func (k *kahan) append(dst []byte, _ cells) []byte {
	return appendFloat(appendFloat(dst, k.sum), k.compensation)
}

func (k *kahan) load(src []byte, _ cells) error {
	r := reader{src: src}
	k.sum, k.compensation, k.any = r.float(), r.float(), true
	return r.end()
}
