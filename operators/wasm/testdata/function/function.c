/* Functions of one argument that break the contract of functions, or nearly: config is {"mode": "..."}. */
#include "weir.h"

enum { TWICE, TWO, NONE, DROP, REPEAT, FEWER, TRAP, TEXT, SELF } mode;
static const char *names[] = {"twice", "two", "none", "drop", "repeat", "fewer", "trap", "text", "self"};
static int out;

bool weir_on_open(void) {
  weir_str want = weir_text_of(weir_config("mode"));
  for (mode = TWICE; mode < SELF; mode++) {
    weir_str name = {names[mode], weir_strlen(names[mode])};
    if (weir_equal(name, want)) break;
  }
  if (mode != NONE && weir_type_of(0) != WEIR_I64) return weir_fail("it takes an int64");
  switch (mode) {
  case NONE: break;
  case SELF: weir_pass(0); break;
  case TEXT: out = weir_declare("v", WEIR_STRING, false); break;
  case TWO: weir_pass(0); /* fall through */
  default: out = weir_declare("v", WEIR_I64, false);
  }
  if (mode == DROP || mode == REPEAT) weir_keep_rows();
  return true;
}

bool weir_on_batch(void) {
  int32_t n = weir_rows();
  if (mode == NONE || mode == SELF) return true;
  const int64_t *v = weir_i64(0);
  if (mode == TEXT) {
    if (!weir_new_strings(out, n, 8 * (size_t)n)) return false;
    for (int32_t i = 0; i < n; i++) {
      weir_str s = {v[i] < 0 ? "minus" : "plus", v[i] < 0 ? 5 : 4};
      weir_add_string(out, s);
    }
    return true;
  }
  int32_t *rows = NULL, kept = 0;
  if (mode == DROP || mode == REPEAT) {
    if (!(rows = weir_new_selection())) return false;
    for (int32_t i = 0; i < n; i++) {
      if (mode == DROP && v[i] == 13) continue;
      rows[kept++] = mode == REPEAT && v[i] == 13 && i > 0 ? i - 1 : i;
    }
    int64_t *to = weir_new_i64(out, kept);
    if (!to) return false;
    for (int32_t i = 0; i < kept; i++) to[i] = 2 * v[rows[i]];
    return weir_take(rows, kept);
  }
  int64_t *to = weir_new_i64(out, n);
  if (!to) return false;
  bool odd = false;
  for (int32_t i = 0; i < n; i++) {
    if (v[i] == 13 && mode == TRAP) __builtin_trap();
    odd = odd || v[i] == 13;
    to[i] = 2 * v[i];
  }
  if (mode == FEWER && odd) weir_length(n - 1);
  return true;
}
