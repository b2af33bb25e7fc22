/* dewpoint: a function for expressions. dewpoint(temp, humidity) is the temperature in degrees Celsius at which air of this
 * temperature and relative humidity (percent) is saturated, by the Magnus formula with Sonntag's coefficients (1990).
 *
 *   functions: {dewpoint: {wasm: dewpoint.wasm}}
 *   steps:
 *     - map: {dry_by: temp - dewpoint(temp, humidity)}
 *
 * Null without either of the two, and for air that has no water at all. */
#include "weir.h"

static int dewpoint;

bool weir_on_open(void) {
  if (weir_columns() != 2 || weir_type_of(0) != WEIR_F64 || weir_type_of(1) != WEIR_F64)
    return weir_fail("it takes a temperature and a humidity, both float64: dewpoint(float(t), float(h))");
  dewpoint = weir_declare("dewpoint", WEIR_F64, true);
  return true;
}

/* The natural logarithm of a positive number: of its mantissa by the series of artanh, and of its exponent. */
static double ln(double x) {
  union { double f; uint64_t bits; } v = {x};
  int exponent = (int)(v.bits >> 52) - 1023;
  v.bits = (v.bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
  if (v.f > 1.4142135623730951) v.f /= 2, exponent++;
  double t = (v.f - 1) / (v.f + 1), t2 = t * t, sum = 0;
  for (int k = 21; k > 0; k -= 2) sum = sum * t2 + 1.0 / k;
  return 2 * t * sum + exponent * 0.6931471805599453;
}

bool weir_on_batch(void) {
  const double b = 17.62, c = 243.12;
  int32_t n = weir_rows();
  const double *temp = weir_f64(0), *humidity = weir_f64(1);
  double *out = weir_new_f64(dewpoint, n);
  if (!out) return false;
  for (int32_t i = 0; i < n; i++) {
    bool known = weir_valid(0, i) && weir_valid(1, i) && humidity[i] >= 0x1p-1022 && humidity[i] < 0x1p+1023;
    double g = known ? ln(humidity[i] / 100) + b * temp[i] / (c + temp[i]) : 0;
    out[i] = c * g / (b - g);
    if (!known && !weir_set_null(dewpoint, n, i)) return false;
  }
  return true;
}
