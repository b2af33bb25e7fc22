/* calibrate: correct a temperature column by an offset per device class.
 *
 *   config:
 *     column: temp             # float64; nulls stay nulls
 *     scale: 1                 # value * scale + offset
 *     offset: 0.4              # of devices whose class is not listed
 *     by: device               # string column; the class of "pump-17" is "pump"
 *     classes: {pump: -1.5}    # offset by class
 *
 * Every other column is passed by pointer: its bytes are not touched. */
#include "weir.h"

#define MAX_CLASSES 64

static int column, by;
static double scale, offset;
static int classes;
static weir_str class_name[MAX_CLASSES];
static double class_offset[MAX_CLASSES];
static char text[2][64];

/* A configured name as a zero terminated string. */
static const char *name_of(weir_json v, const char *otherwise, char *to) {
  weir_str s = weir_text_of(v);
  if (!s.ptr || s.len > 63) return otherwise;
  for (size_t i = 0; i < s.len; i++) to[i] = s.ptr[i];
  return to;
}

bool weir_on_open(void) {
  if (!weir_config_keys("column scale offset by classes")) return false;
  scale = weir_number(weir_config("scale"), 1);
  offset = weir_number(weir_config("offset"), 0);
  column = weir_column(name_of(weir_config("column"), "temp", text[0]), WEIR_F64);
  if (column < 0) return weir_fail("no float64 column to calibrate: set config.column");
  weir_json list = weir_config("classes"), v;
  while (classes < MAX_CLASSES && weir_next(&list, &class_name[classes], &v)) class_offset[classes++] = weir_number(v, 0);
  by = weir_column(name_of(weir_config("by"), "device", text[1]), WEIR_STRING);
  if (classes && by < 0) return weir_fail("no string column to classify by: set config.by");
  weir_pass_all();
  return true;
}

static double offset_of(int32_t row) {
  weir_str s = weir_string(by, row);
  size_t n = 0;
  while (n < s.len && s.ptr[n] != '-') n++;
  s.len = n;
  for (int i = 0; i < classes; i++)
    if (weir_equal(s, class_name[i])) return class_offset[i];
  return offset;
}

bool weir_on_batch(void) {
  int32_t n = weir_rows();
  const double *in = weir_f64(column);
  double *out = weir_new_f64(column, n);
  if (!out) return false;
  if (classes)
    for (int32_t i = 0; i < n; i++) out[i] = in[i] * scale + offset_of(i);
  else
    for (int32_t i = 0; i < n; i++) out[i] = in[i] * scale + offset;
  return weir_keep_nulls(column, column);
}
