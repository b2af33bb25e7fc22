package report

import (
	"math"
	"slices"
)

// Median is the middle of the samples, or the mean of the two in the middle. It is NaN without any.
func Median(samples []float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(samples))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// Interval is where the median of what the samples were drawn from lies, with a confidence that follows from their number
// alone, whatever they are distributed like.
type Interval struct {
	Low, High  float64
	Confidence float64 // from 0 to 1
}

// MedianInterval gives the narrowest interval between two samples whose confidence is at least 95 %, or that of all samples
// where they are too few for it: of n independent samples, k and more lie on each side of the median with a probability of
// 1 - 2·P(B < k), B being binomial with n and 1/2.
func MedianInterval(samples []float64) Interval {
	n := len(samples)
	if n == 0 {
		return Interval{math.NaN(), math.NaN(), 0}
	}
	v := slices.Sorted(slices.Values(samples))
	best := Interval{v[0], v[n-1], 1 - 2*math.Pow(0.5, float64(n))}
	// tail is P(B < k), p is P(B = k-1).
	p := math.Pow(0.5, float64(n))
	tail := 0.0
	for k := 1; k <= n/2; k++ {
		tail += p
		if confidence := 1 - 2*tail; confidence >= 0.95 {
			best = Interval{v[k-1], v[n-k], confidence}
		}
		p *= float64(n-k+1) / float64(k)
	}
	best.Confidence = max(0, best.Confidence)
	return best
}

// Distribute works out a distribution. The samples are sorted in place.
func Distribute(samples []float64) *Distribution {
	if len(samples) == 0 {
		return nil
	}
	slices.Sort(samples)
	// The smallest value that at least the share q of the samples does not exceed.
	at := func(q float64) float64 {
		return samples[min(len(samples)-1, max(0, int(math.Ceil(q*float64(len(samples))))-1))]
	}
	d := &Distribution{Samples: len(samples), P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: samples[len(samples)-1]}
	for i := range 101 {
		d.CDF = append(d.CDF, at(float64(i)/100))
	}
	return d
}
