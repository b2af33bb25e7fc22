/* severity: keep readings from `warning` up, and say how bad they are in a new column.
 *
 *   config: {column: temp, warning: 60, critical: 80}
 *
 * Rows below `warning`, and those without a value, are dropped. It shows selection, strings and row lineage. */
#include "weir.h"

static int column, severity;
static double warning, critical;

bool weir_on_open(void) {
  weir_str name = weir_text_of(weir_config("column"));
  column = -1;
  for (int i = 0; i < weir_columns(); i++) {
    weir_str have = {weir_name(i), weir_strlen(weir_name(i))};
    weir_str want = {"temp", 4};
    if (weir_equal(have, name.ptr ? name : want) && weir_type_of(i) == WEIR_F64) column = i;
  }
  if (column < 0) return weir_fail("no float64 column to judge: set config.column");
  warning = weir_number(weir_config("warning"), 60);
  critical = weir_number(weir_config("critical"), 80);
  if (critical < warning) return weir_fail("config.critical is below config.warning");
  weir_pass_all();
  severity = weir_declare("severity", WEIR_STRING, false);
  weir_keep_rows();
  return true;
}

bool weir_on_batch(void) {
  static const weir_str words[2] = {{"warning", 7}, {"critical", 8}};
  int32_t n = weir_rows(), kept = 0;
  const double *v = weir_f64(column);
  int32_t *rows = weir_new_selection();
  if (!rows) return false;
  for (int32_t i = 0; i < n; i++)
    if (weir_valid(column, i) && v[i] >= warning) rows[kept++] = i;
  if (!weir_new_strings(severity, kept, 8 * (size_t)kept)) return false;
  for (int32_t i = 0; i < kept; i++) weir_add_string(severity, words[v[rows[i]] >= critical]);
  return weir_take(rows, kept);
}
