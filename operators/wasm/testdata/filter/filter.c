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
  int32_t n = weir_rows(), kept = 0;
  const double *v = weir_f64(temp);
  int32_t *rows = weir_new_selection();
  if (!rows) return false;
  const uint8_t *valid = weir_validity(temp);
  for (int32_t i = 0; i < n; i++) {
    rows[kept] = i;
    kept += (v[i] > 30) & (!valid || (valid[i >> 3] >> (i & 7) & 1));
  }
  return weir_take(rows, kept);
}
