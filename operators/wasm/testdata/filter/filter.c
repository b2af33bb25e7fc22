/* The kernel of the benchmark: keep rows with temp > 30, and of their columns id, name and temp. */
#include "weir.h"

static int temp;

bool weir_on_open(void) {
  temp = weir_column("temp", WEIR_F64);
  if (temp < 0) return weir_fail("no temp");
  weir_pass(weir_column("id", WEIR_I64));
  weir_pass(weir_column("name", WEIR_STRING));
  weir_pass(temp);
  weir_keep_rows();
  return true;
}

bool weir_on_batch(void) {
  const double *v = weir_f64(temp);
  const uint8_t *valid = weir_validity(temp);
  return weir_filter(row, weir_is_valid(valid, row) & (v[row] > 30));
}
