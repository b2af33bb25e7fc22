/* The conformance guest in C. What each mode does is in ../../README.md. */
#include "weir.h"

enum mode { PASS, COPY, TAKE, REPEAT, UPPER, COUNT, DOUBLE, FAIL, PANIC, REFUSE, CONFIG, LOG, EXPLODE, LISTS, MODES };
static const char *const modes[MODES] = {"pass", "copy", "take", "repeat", "upper", "count", "double", "fail", "panic", "refuse",
  "config", "log", "explode", "lists"};

static int mode, n, s, xs, added, more[4];
static int64_t seen;
static struct { double number, sum; bool flag; weir_str text; char keys[256]; size_t keys_len; } config;

static weir_str text(const char *zero_ended) {
  weir_str t = {zero_ended, weir_strlen(zero_ended)};
  return t;
}

static bool need_n(void) {
  n = weir_column("n", WEIR_I64);
  return n >= 0 || weir_fail("needs a column n of type int64");
}

static void read_config(void) {
  config.number = weir_number(weir_config("number"), -1);
  config.text = weir_text_of(weir_config("text"));
  if (!config.text.ptr) config.text = text("none");
  weir_json list = weir_config("entries"), value;
  config.flag = weir_flag(weir_config("flag"), false);
  weir_str key;
  while (weir_next(&list, &key, &value)) {
    config.sum += weir_number(value, 0);
    if (config.keys_len + key.len + 1 > sizeof config.keys) continue;
    if (config.keys_len) config.keys[config.keys_len++] = ',';
    weir_copy(config.keys + config.keys_len, key.ptr, key.len);
    config.keys_len += key.len;
  }
}

bool weir_on_open(void) {
  weir_str name = weir_text_of(weir_config("mode"));
  for (mode = 0; mode < MODES && !weir_equal(name, text(modes[mode])); mode++) {}
  if (mode == MODES) return weir_fail("config.mode is not one of the modes");
  if (mode == REFUSE) {
    static char message[512];
    weir_str m = weir_text_of(weir_config("message"));
    for (size_t i = 0; i < m.len && i < sizeof message - 1; i++) message[i] = m.ptr[i];
    return weir_fail(message);
  }
  weir_pass_all();
  switch (mode) {
  case TAKE: weir_keep_rows(); return need_n();
  case REPEAT: added = weir_declare("copy", WEIR_I32, false); weir_keep_rows(); return need_n();
  case UPPER:
    s = weir_column("s", WEIR_STRING);
    added = weir_declare("size", WEIR_U32, true);
    return s >= 0 || weir_fail("needs a column s of type string");
  case EXPLODE: case LISTS:
    xs = weir_column("xs", WEIR_LIST_OF(WEIR_F64));
    if (xs < 0) return weir_fail("needs a column xs of type list<float64>");
    if (mode == EXPLODE) {
      added = weir_declare("i", WEIR_I32, false);
      more[0] = weir_declare("x", WEIR_F64, false);
      weir_keep_rows();
      break;
    }
    s = weir_column("ss", WEIR_LIST_OF(WEIR_STRING));
    if (s < 0) return weir_fail("needs a column ss of type list<string>");
    added = weir_declare("positive", WEIR_LIST_OF(WEIR_BOOL), false);
    break;
  case COUNT: added = weir_declare("seen", WEIR_I64, false); break;
  case DOUBLE: added = weir_declare("seven", WEIR_BOOL, true); return need_n();
  case FAIL: case PANIC: return need_n();
  case CONFIG:
    more[0] = weir_declare("number", WEIR_F64, false);
    more[1] = weir_declare("text", WEIR_STRING, false);
    more[2] = weir_declare("flag", WEIR_BOOL, false);
    more[3] = weir_declare("sum", WEIR_F64, false);
    added = weir_declare("keys", WEIR_STRING, false);
    read_config();
    break;
  }
  return true;
}

static bool copy_lists(int c) {
  int32_t rows = weir_rows(), items = weir_item_count(c);
  weir_type type = WEIR_ITEM(weir_type_of(c));
  bool texts = type == WEIR_STRING || type == WEIR_BINARY;
  size_t bytes = 0, w = weir_widths[type];
  for (int32_t k = 0; texts && k < items; k++) bytes += weir_item_string(c, k).len;
  if (!weir_new_lists(c, rows, items, bytes)) return false;
  for (int32_t i = 0; i < rows; i++) {
    weir_span l = weir_list(c, i);
    if (w) weir_copy((char *)weir_add_items(c, l.to - l.from), (const char *)weir_items(c) + w * (size_t)l.from, w * (size_t)(l.to - l.from));
    else for (int32_t k = l.from; k < l.to; k++)
      if (texts) weir_add_item_string(c, weir_item_string(c, k));
      else weir_add_item_bool(c, weir_item_bool(c, k));
    weir_end_list(c);
  }
  return weir_keep_nulls(c, c);
}

static bool explode(void) {
  int32_t rows = weir_rows(), made = 0, at = 0;
  for (int32_t i = 0; i < rows; i++) made += weir_list(xs, i).to - weir_list(xs, i).from;
  int32_t *selection = weir_new_selection_of(made), *index = weir_new_i32(added, made);
  double *x = weir_new_f64(more[0], made);
  if (!selection || !index || !x) return false;
  for (int32_t i = 0; i < rows; i++) {
    weir_span l = weir_list(xs, i);
    for (int32_t k = l.from; k < l.to; k++, at++) {
      selection[at] = i;
      index[at] = k - l.from;
      x[at] = weir_items_f64(xs)[k];
    }
  }
  return weir_take(selection, made);
}

static bool lists(void) {
  int32_t rows = weir_rows(), texts = weir_item_count(s);
  size_t bytes = 0;
  for (int32_t k = 0; k < texts; k++) bytes += weir_item_string(s, k).len;
  int32_t items = weir_item_count(xs);
  if (!weir_new_lists(xs, rows, items, 0) || !weir_new_lists(added, rows, items, 0) || !weir_new_lists(s, rows, texts, bytes)) return false;
  for (int32_t i = 0; i < rows; i++) {
    weir_span l = weir_list(xs, i), t = weir_list(s, i);
    for (int32_t k = l.from; k < l.to; k++) weir_add_item_bool(added, weir_items_f64(xs)[k] > 0);
    if (l.from < l.to) l.from++; /* all but the first */
    double *to = (double *)weir_add_items(xs, l.to - l.from);
    for (int32_t k = l.from; k < l.to; k++) *to++ = weir_items_f64(xs)[k];
    for (int32_t k = t.to; k-- > t.from;) /* in reverse, without empty ones */
      if (weir_item_string(s, k).len) weir_add_item_string(s, weir_item_string(s, k));
    weir_end_list(xs);
    weir_end_list(added);
    weir_end_list(s);
  }
  return weir_keep_nulls(xs, xs) && weir_keep_nulls(s, s);
}

static bool copy(int c) {
  int32_t rows = weir_rows();
  weir_type type = weir_type_of(c);
  if (type & WEIR_LIST) return copy_lists(c);
  if (type == WEIR_STRING || type == WEIR_BINARY) {
    size_t bytes = 0;
    for (int32_t i = 0; i < rows; i++) bytes += weir_string(c, i).len;
    if (!weir_new_strings(c, rows, bytes)) return false;
    for (int32_t i = 0; i < rows; i++) weir_add_string(c, weir_string(c, i));
  } else {
    void *to = weir_new_values(c, rows);
    if (!to) return false;
#define EACH(T) for (int32_t i = 0; i < rows; i++) ((T *)to)[i] = ((const T *)weir_values(c))[i]
    switch (weir_widths[type]) {
    case 0:
      for (int32_t i = 0; i < rows; i++) ((uint8_t *)to)[i >> 3] |= (uint8_t)(weir_bool(c, i) << (i & 7));
      break;
    case 1: EACH(uint8_t); break;
    case 2: EACH(uint16_t); break;
    case 4: EACH(uint32_t); break;
    default: EACH(uint64_t);
    }
  }
  for (int32_t i = 0; i < rows; i++)
    if (!weir_valid(c, i) && !weir_set_null(c, rows, i)) return false;
  return true;
}

static bool repeat(void) {
  int32_t rows = weir_rows(), made = 0, at = 0;
  const int64_t *times = weir_i64(n);
  for (int32_t i = 0; i < rows; i++)
    if (weir_valid(n, i) && times[i] > 0) made += (int32_t)times[i];
  int32_t *selection = weir_new_selection_of(made), *number = weir_new_i32(added, made);
  if (!selection || !number) return false;
  for (int32_t i = 0; i < rows; i++)
    for (int32_t k = 0; weir_valid(n, i) && k < times[i]; k++, at++) {
      selection[at] = i;
      number[at] = k;
    }
  return weir_take(selection, made);
}

static bool upper(void) {
  int32_t rows = weir_rows();
  size_t bytes = 0;
  for (int32_t i = 0; i < rows; i++) bytes += weir_string(s, i).len;
  uint32_t *size = (uint32_t *)weir_new_values(added, rows);
  char *room = (char *)weir_room(bytes);
  if (!size || !room || !weir_new_strings(s, rows, bytes)) return false;
  for (int32_t i = 0; i < rows; i++) {
    weir_str v = weir_string(s, i);
    for (size_t k = 0; k < v.len; k++) room[k] = v.ptr[k] >= 'a' && v.ptr[k] <= 'z' ? (char)(v.ptr[k] - 32) : v.ptr[k];
    size[i] = (uint32_t)v.len;
    v.ptr = room;
    weir_add_string(s, v);
    if (!weir_valid(s, i) && !weir_set_null(added, rows, i)) return false;
  }
  return weir_keep_nulls(s, s);
}

static bool doubled(void) {
  int32_t rows = weir_rows();
  const int64_t *in = weir_i64(n);
  int64_t *out = weir_new_i64(n, rows);
  uint8_t *seven = (uint8_t *)weir_new_values(added, rows);
  if (!out || !seven) return false;
  for (int32_t i = 0; i < rows; i++) {
    out[i] = (int64_t)((uint64_t)in[i] * 2);
    seven[i >> 3] |= (uint8_t)((in[i] == 7) << (i & 7));
  }
  weir_keep_nulls(n, n);
  for (int32_t i = 0; i < rows; i++)
    if (in[i] == 77 && !weir_set_null(n, rows, i)) return false;
  return weir_keep_nulls(added, n);
}

static bool constants(void) {
  int32_t rows = weir_rows();
  weir_str keys = {config.keys, config.keys_len};
  double *number = weir_new_f64(more[0], rows), *sum = weir_new_f64(more[3], rows);
  uint8_t *flag = (uint8_t *)weir_new_values(more[2], rows);
  if (!number || !sum || !flag || !weir_new_strings(more[1], rows, config.text.len * (size_t)rows) ||
      !weir_new_strings(added, rows, keys.len * (size_t)rows)) return false;
  for (int32_t i = 0; i < rows; i++) {
    number[i] = config.number;
    sum[i] = config.sum;
    flag[i >> 3] |= (uint8_t)(config.flag << (i & 7));
    weir_add_string(more[1], config.text);
    weir_add_string(added, keys);
  }
  return true;
}

bool weir_on_batch(void) {
  int32_t rows = weir_rows(), kept = 0;
  switch (mode) {
  case COPY:
    for (int c = 0; c < weir_columns(); c++)
      if (!copy(c)) return false;
    return true;
  case TAKE: {
    int32_t *selection = weir_new_selection();
    if (!selection) return false;
    for (int32_t i = 0; i < rows; i++)
      if (weir_valid(n, i) && weir_i64(n)[i] % 2 == 0) selection[kept++] = i;
    return weir_take(selection, kept);
  }
  case REPEAT: return repeat();
  case UPPER: return upper();
  case EXPLODE: return explode();
  case LISTS: return lists();
  case DOUBLE: return doubled();
  case CONFIG: return constants();
  case COUNT: {
    int64_t *to = weir_new_i64(added, rows);
    if (!to) return false;
    for (int32_t i = 0; i < rows; i++) to[i] = seen++;
    return true;
  }
  case FAIL: case PANIC:
    for (int32_t i = 0; i < rows; i++)
      if (weir_valid(n, i) && weir_i64(n)[i] == 13) {
        if (mode == PANIC) __builtin_trap();
        return weir_fail("a row has n = 13: größer geht's nicht");
      }
    return true;
  case LOG:
    weir_log(0, "a debug line");
    weir_log(1, "an info line");
    weir_log(2, "a warning");
    weir_log(3, "an error: größer");
    return true;
  }
  return true;
}
