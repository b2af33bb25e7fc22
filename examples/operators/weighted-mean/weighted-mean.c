/* weighted-mean: the mean of one column weighted by another, such as a price by its volume.
 *
 *   aggregates:
 *     vwap: {wasm: weighted-mean.wasm, args: [price, volume], merge: avgWeighted}
 *
 * Both arguments are float64. A row whose value or weight is null counts for nothing; a weight below zero, or one that is no
 * number, is refused, and the row with it. Without any weight the answer is null.
 *
 * The state is that of ClickHouse's avgWeighted(Float64, Float64): the sum of value times weight, and the sum of the
 * weights. So a central ClickHouse merges and finishes it by itself. */
typedef struct { double sum, weight; } weir_state;
#include "weir_aggregate.h"

bool weir_on_open(void) {
  if (weir_columns() != 2 || weir_type_of(0) != WEIR_F64 || weir_type_of(1) != WEIR_F64)
    return weir_fail("needs two arguments, both float64: the value and its weight");
  weir_declare("mean", WEIR_F64, true);
  return true;
}

void weir_on_init(weir_state *s) { (void)s; } /* zeroes are right */

bool weir_on_rows(weir_state *s, int32_t from, int32_t to) {
  const double *value = weir_f64(0), *weight = weir_f64(1);
  bool nulls = weir_validity(0) || weir_validity(1);
  for (int32_t i = from; i < to; i++) {
    if (nulls && !(weir_valid(0, i) && weir_valid(1, i))) continue;
    if (!(weight[i] >= 0)) return weir_fail("a weight is negative, or no number");
    s->sum += value[i] * weight[i];
    s->weight += weight[i];
  }
  return true;
}

bool weir_on_merge(weir_state *s, const weir_state *behind) {
  s->sum += behind->sum;
  s->weight += behind->weight;
  return true;
}

bool weir_on_finish(const weir_state *s, int32_t row) {
  if (s->weight == 0) return weir_answer_null(row);
  weir_answer_f64(row, s->sum / s->weight);
  return true;
}
