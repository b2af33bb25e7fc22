/* weir.h: write a weir operator in C or C++. One header, no libc, ABI v1 (operators/abi/ABI.md).
 *
 * Include it in exactly one source file and define two functions:
 *
 *     bool weir_on_open(void);    check the input columns and the configuration, declare the output columns
 *     bool weir_on_batch(void);   make the output columns of one batch
 *
 * Both return true, or weir_fail("why"). weir_on_batch may also return false after a weir_new_* gave NULL: the host
 * then calls again with fewer rows. A row's result must depend on that row and the configuration alone, unless the operator
 * keeps state: see WEIR_STATEFUL.
 *
 * Build: clang --target=wasm32 -O3 -nostdlib -mbulk-memory -Wl,--no-entry,--strip-all -o op.wasm op.c
 * With wasi-libc (--target=wasm32-wasi -mexec-model=reactor) it works too.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef WEIR_MAX_COLUMNS
#define WEIR_MAX_COLUMNS 128 /* of the input and of the output each; more are refused */
#endif

/* ---- what the author uses: open ---- */

typedef enum {
  WEIR_ANY, WEIR_BOOL, WEIR_I8, WEIR_I16, WEIR_I32, WEIR_I64, WEIR_U8, WEIR_U16, WEIR_U32, WEIR_U64,
  WEIR_F32, WEIR_F64, WEIR_STRING, WEIR_BINARY, WEIR_DATE32, WEIR_TIME_S, WEIR_TIME_MS, WEIR_TIME_US, WEIR_TIME_NS,
  WEIR_LIST = 32 /* of something: WEIR_LIST_OF(WEIR_F64) */
} weir_type;
#define WEIR_LIST_OF(item) ((weir_type)(WEIR_LIST | (item)))
#define WEIR_ITEM(list) ((weir_type)((list) & ~WEIR_LIST)) /* the type of a list's items */

typedef struct { const char *ptr; size_t len; } weir_str; /* bytes, not zero terminated; ptr is NULL for "not there" */

static bool weir_fail(const char *why);             /* gives the host the reason; always false */
static void weir_log(int level, const char *text);  /* 0 debug, 1 info, 2 warn, 3 error */

static int weir_columns(void);                      /* input columns, the hidden _row not counted */
static int weir_column(const char *name, weir_type type); /* its index, or -1 if it is not there or of another type */
static const char *weir_name(int column);
static weir_type weir_type_of(int column);

static int weir_pass(int column);                   /* declares an output column that is this input column; its index */
static void weir_pass_all(void);                    /* ... every input column, in order, so that indexes are equal */
static int weir_declare(const char *name, weir_type type, bool nullable); /* declares a new output column; its index */
static void weir_replaces(int out, bool nullable);  /* a passed column gets new values of the same type in each batch */
static void weir_keep_rows(void);                   /* call it in weir_on_open if rows are dropped, added: see weir_take */

/* Configuration: the step's `config:` as JSON. What is made of it stays for the life of the operator. */
typedef struct { const char *ptr, *end; } weir_json; /* one JSON value; ptr is NULL for "not there" */
static weir_json weir_config(const char *key);       /* a top level value */
static weir_json weir_get(weir_json object, const char *key);
/* Whether there are no other top level keys than these, "factor column" with spaces between. Otherwise it fails and names the
 * first, which is misspelled as a rule. */
static bool weir_config_keys(const char *keys);
static double weir_number(weir_json v, double otherwise);
static bool weir_flag(weir_json v, bool otherwise);
static weir_str weir_text_of(weir_json v);           /* of a string, escapes decoded; half of a surrogate pair is U+FFFD */
static bool weir_next(weir_json *object, weir_str *key, weir_json *value); /* entries of an object, one by one */
static bool weir_next_element(weir_json *array, weir_json *value);         /* elements of an array, one by one */

/* ---- what the author uses: batch ---- */

static int32_t weir_rows(void);                     /* rows of the input */
static bool weir_valid(int column, int32_t row);    /* not null */
static const uint8_t *weir_validity(int column);    /* its bitmap, or NULL when nothing is null: for tight loops */
static bool weir_bool(int column, int32_t row);
static weir_str weir_string(int column, int32_t row);
static const void *weir_values(int column);         /* fixed width values, of the column's type */
#define weir_f64(column) ((const double *)weir_values(column))
#define weir_f32(column) ((const float *)weir_values(column))
#define weir_i64(column) ((const int64_t *)weir_values(column))
#define weir_i32(column) ((const int32_t *)weir_values(column))

/* Lists. Items are numbered through all rows: those of a row are from `from` up to but not `to`, none where it is null. */
typedef struct { int32_t from, to; } weir_span;
static weir_span weir_list(int column, int32_t row);
static int32_t weir_item_count(int column);         /* of all rows */
static const void *weir_items(int column);          /* fixed width items, of the type WEIR_ITEM(weir_type_of(column)) */
#define weir_items_f64(column) ((const double *)weir_items(column))
#define weir_items_i64(column) ((const int64_t *)weir_items(column))
#define weir_items_i32(column) ((const int32_t *)weir_items(column))
static bool weir_item_bool(int column, int32_t item);
static weir_str weir_item_string(int column, int32_t item);

/* New values of output columns, in the window the host gave. NULL or false: no room, return false. */
static void *weir_new_values(int out, int32_t rows);            /* fixed width; a bitmap for bool */
static inline double *weir_new_f64(int out, int32_t rows) { return (double *)weir_new_values(out, rows); }
static inline int64_t *weir_new_i64(int out, int32_t rows) { return (int64_t *)weir_new_values(out, rows); }
static inline int32_t *weir_new_i32(int out, int32_t rows) { return (int32_t *)weir_new_values(out, rows); }
static bool weir_new_strings(int out, int32_t rows, size_t bytes); /* bytes is the most they have together */
static void weir_add_string(int out, weir_str s);               /* the next row */
/* A new column of lists, with at most so many items, whose strings have at most so many bytes. Row by row its items are added, and
   then the list is ended. More than was told is a trap. */
static bool weir_new_lists(int out, int32_t rows, int32_t items, size_t bytes);
static void *weir_add_items(int out, int32_t n);                /* room for n more items of fixed width, to be filled */
static void weir_add_item_bool(int out, bool v);
static void weir_add_item_string(int out, weir_str s);
static void weir_end_list(int out);
static bool weir_set_null(int out, int32_t rows, int32_t row);  /* after the values are made; false is no room */
static bool weir_keep_nulls(int out, int column);               /* the nulls of an input column, which share its bitmap */

/* Rows. Without a call of these the output has as many rows as the input.
 *
 * A filter is one expression: every passed column gets just the rows for which the condition is true, and the value is that of
 * weir_take:
 *
 *     const double *value = weir_f64(column);
 *     const uint8_t *valid = weir_validity(column);
 *     return weir_filter(row, weir_is_valid(valid, row) & (value[row] > 30));
 *
 * It asks for eight rows at a time, so the condition must not change anything. & rather than && saves a branch for each row. */
static inline bool weir_is_valid(const uint8_t *validity, int32_t row) { return !validity || (validity[row >> 3] >> (row & 7) & 1); }
#define weir_filter(row, condition) WEIR_FILTER(row, condition)
static int32_t *weir_new_selection(void);           /* room for a row number per input row */
static int32_t *weir_new_selection_of(int32_t n);   /* room for n row numbers, where a row becomes several */
static bool weir_take(const int32_t *selection, int32_t rows); /* every passed column gets just these rows, in rising order */
static void weir_length(int32_t rows);              /* the output has this many rows; every column was made new */

bool weir_on_open(void);
#ifndef WEIR_AGGREGATE /* weir_aggregate.h has other functions to define */
bool weir_on_batch(void);
#endif

/* State. An operator that remembers earlier rows defines WEIR_STATEFUL before it includes this file, and two functions more.
 * The state must follow from the rows in order, however they are cut into batches. The host asks for it after batches and keeps
 * it in a safe place; after a restart, and after a call that failed, a new instance is given it back, before its first batch. */
#ifdef WEIR_STATEFUL
weir_str weir_on_save(void);            /* the state as bytes, valid until the next call; or weir_fail("why") first */
bool weir_on_restore(weir_str state);   /* takes it; the bytes stay where they are. May weir_fail("why") */
#endif

/* ==== implementation ==== */

#define WEIR_API __attribute__((unused)) static
/* What runs once: small rather than fast. */
#ifdef __clang__
#define WEIR_COLD __attribute__((unused, noinline, minsize)) static
#define WEIR_ONCE __attribute__((minsize))
#else
#define WEIR_COLD __attribute__((unused, noinline)) static
#define WEIR_ONCE
#endif
#define WEIR_EXPORT(name) __attribute__((export_name(name), used))
#define WEIR_PAGE 65536u

__attribute__((import_module("weir"), import_name("error"))) void weir_import_error(const char *, size_t);
__attribute__((import_module("weir"), import_name("log"))) void weir_import_log(int32_t, const char *, size_t);

/* The Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html); release is never called. */
struct weir_arrow_schema {
  const char *format, *name, *metadata;
  int64_t flags, n_children;
  struct weir_arrow_schema **children, *dictionary;
  void *release, *private_data;
};
struct weir_arrow_array {
  int64_t length, null_count, offset, n_buffers, n_children;
  const void **buffers;
  struct weir_arrow_array **children, *dictionary;
  void *release, *private_data;
};

struct weir_out_column {
  int from;         /* the input column that is passed, or -1 */
  weir_type type;
  bool made;        /* new values in this batch */
  uint8_t *validity;
  int32_t *offsets;
  char *data, *data_end;
  int32_t count;    /* strings or lists added */
  int32_t rows, items, max_items; /* of lists */
  int32_t *item_offsets;
};

static struct {
  struct weir_arrow_schema *in;
  int columns;      /* of the input, _row not counted */
  weir_type types[WEIR_MAX_COLUMNS + 1];
  weir_json config;
  struct weir_arrow_array *batch;
  char *room, *room_start, *room_end;
  int32_t rows;
  bool full, failed, keeps_rows;
  int outs, row_out;
  struct weir_out_column out[WEIR_MAX_COLUMNS + 1];
  struct weir_arrow_schema out_root, out_schema[WEIR_MAX_COLUMNS + 1], *out_children[WEIR_MAX_COLUMNS + 1];
  struct weir_arrow_array arr_root, arr[WEIR_MAX_COLUMNS + 1], *arr_children[WEIR_MAX_COLUMNS + 1];
  const void *buffers[WEIR_MAX_COLUMNS + 1][3], *root_buffers[1];
  struct weir_arrow_schema item_schema[WEIR_MAX_COLUMNS + 1], *item_schema_at[WEIR_MAX_COLUMNS + 1];
  struct weir_arrow_array item_arr[WEIR_MAX_COLUMNS + 1], *item_arr_at[WEIR_MAX_COLUMNS + 1];
  const void *item_buffers[WEIR_MAX_COLUMNS + 1][3];
  size_t config_len;
  char *config_text; /* decoded strings of the configuration, each as far in as it is there */
} weir_g;

void *weir_export_alloc(size_t n);
WEIR_API const char *const weir_formats[] = {"", "b", "c", "s", "i", "l", "C", "S", "I", "L", "f", "g", "u", "z", "tdD",
  "tss:UTC", "tsm:UTC", "tsu:UTC", "tsn:UTC"};
WEIR_API const uint8_t weir_widths[] = {0, 0, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 0, 0, 4, 8, 8, 8, 8};

WEIR_API size_t weir_strlen(const char *s) { size_t n = 0; while (s[n]) n++; return n; }
WEIR_COLD bool weir_same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; }
WEIR_API bool weir_equal(weir_str a, weir_str b) {
  if (a.len != b.len) return false;
  for (size_t i = 0; i < a.len; i++) if (a.ptr[i] != b.ptr[i]) return false;
  return true;
}
/* Short copies by words: a memory.copy instruction costs more than it saves below some tens of bytes. */
WEIR_API void weir_copy(char *to, const char *from, size_t n) {
  if (n > 64) { __builtin_memcpy(to, from, n); return; }
  for (; n >= 8; n -= 8, to += 8, from += 8) __builtin_memcpy(to, from, 8);
  if (n & 4) { __builtin_memcpy(to, from, 4); to += 4; from += 4; }
  if (n & 2) { __builtin_memcpy(to, from, 2); to += 2; from += 2; }
  if (n & 1) *to = *from;
}

WEIR_COLD bool weir_fail(const char *why) { weir_g.failed = true; weir_import_error(why, weir_strlen(why)); return false; }
WEIR_API void weir_log(int level, const char *text) { weir_import_log(level, text, weir_strlen(text)); }

/* -- schema -- */

WEIR_COLD weir_type weir_parse_format(const char *f) {
  if (f[0] == 't' && f[1] == 's')
    return f[2] == 's' ? WEIR_TIME_S : f[2] == 'm' ? WEIR_TIME_MS : f[2] == 'u' ? WEIR_TIME_US : WEIR_TIME_NS;
  for (int t = WEIR_BOOL; t <= WEIR_DATE32; t++) if (weir_same(f, weir_formats[t])) return (weir_type)t;
  return WEIR_ANY;
}
WEIR_COLD weir_type weir_parse_type(const struct weir_arrow_schema *s) {
  if (!weir_same(s->format, "+l")) return weir_parse_format(s->format);
  weir_type item = weir_parse_format(s->children[0]->format);
  return item == WEIR_ANY ? WEIR_ANY : WEIR_LIST_OF(item);
}
WEIR_API int weir_columns(void) { return weir_g.columns; }
WEIR_API const char *weir_name(int c) { return weir_g.in->children[c]->name; }
WEIR_API weir_type weir_type_of(int c) { return weir_g.types[c]; }
WEIR_COLD int weir_column(const char *name, weir_type type) {
  for (int i = 0; i < weir_g.columns; i++)
    if (weir_same(weir_name(i), name)) return type == WEIR_ANY || type == weir_g.types[i] ? i : -1;
  return -1;
}
WEIR_COLD int weir_add_out(int from, const char *name, weir_type type, int64_t flags) {
  if (weir_g.outs > WEIR_MAX_COLUMNS) { weir_fail("too many output columns: define WEIR_MAX_COLUMNS larger"); return 0; }
  int o = weir_g.outs++;
  weir_g.out[o].from = from;
  weir_g.out[o].type = type;
  weir_g.out_schema[o].format = weir_formats[WEIR_ITEM(type)];
  if (type & WEIR_LIST) {
    weir_g.item_schema[o].format = weir_g.out_schema[o].format;
    weir_g.item_schema[o].name = "item";
    weir_g.item_schema_at[o] = &weir_g.item_schema[o];
    weir_g.item_arr_at[o] = &weir_g.item_arr[o];
    weir_g.out_schema[o].format = "+l";
    weir_g.out_schema[o].n_children = 1;
    weir_g.out_schema[o].children = &weir_g.item_schema_at[o];
  }
  weir_g.out_schema[o].name = name;
  weir_g.out_schema[o].flags = flags;
  return o;
}
WEIR_COLD int weir_pass(int c) { return weir_add_out(c, weir_name(c), weir_g.types[c], weir_g.in->children[c]->flags); }
WEIR_COLD void weir_pass_all(void) { for (int i = 0; i < weir_g.columns; i++) weir_pass(i); }
WEIR_API int weir_declare(const char *name, weir_type type, bool nullable) { return weir_add_out(-1, name, type, nullable ? 2 : 0); }
WEIR_API void weir_replaces(int o, bool nullable) { weir_g.out_schema[o].flags = nullable ? 2 : 0; }
WEIR_API void weir_keep_rows(void) { weir_g.keeps_rows = true; }

/* -- configuration -- */

WEIR_COLD const char *weir_space(const char *p, const char *e) { while (p < e && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++; return p; }
WEIR_COLD const char *weir_skip(const char *p, const char *e) { /* behind one value; the host made sure that it is JSON */
  int depth = 0;
  while (p < e) {
    char c = *p;
    if (c == '"') {
      for (p++; p < e && *p != '"'; p++) if (*p == '\\') p++;
    } else if (c == '{' || c == '[') depth++;
    else if (c == '}' || c == ']') { if (depth == 0) return p; depth--; }
    else if (c == ',' && depth == 0) return p;
    else if (depth == 0 && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) return p;
    p++;
    if (depth == 0 && (c == '"' || c == '}' || c == ']')) break;
  }
  return p < e ? p : e;
}
WEIR_COLD uint32_t weir_hex4(const char *p) {
  uint32_t u = 0;
  for (int i = 0; i < 4; i++) u = u << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
  return u;
}
WEIR_COLD char *weir_utf8(char *to, uint32_t c) {
  int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  *to++ = (char)(more ? 0xff00u >> (more + 1) | c >> 6 * more : c);
  while (more--) *to++ = (char)(0x80 | (c >> 6 * more & 63));
  return to;
}
/* Text with its escapes decoded, which is never longer. The host made sure that it is JSON. */
WEIR_COLD char *weir_unescape(char *to, const char *p, const char *e) {
  static const char plain[] = "b\bf\fn\nr\rt\t";
  while (p < e) {
    if (*p != '\\') { *to++ = *p++; continue; }
    char c = p[1];
    p += 2;
    if (c != 'u') {
      for (size_t i = 0; i + 1 < sizeof plain; i += 2) if (plain[i] == c) { c = plain[i + 1]; break; }
      *to++ = c;
      continue;
    }
    uint32_t u = weir_hex4(p), low;
    p += 4;
    if (u >= 0xd800 && u < 0xe000) {
      if (u < 0xdc00 && e - p >= 6 && p[0] == '\\' && p[1] == 'u' && (low = weir_hex4(p + 2)) >= 0xdc00 && low < 0xe000) {
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        p += 6;
      } else u = 0xfffd;
    }
    to = weir_utf8(to, u);
  }
  return to;
}
WEIR_COLD weir_str weir_text_of(weir_json v) {
  weir_str s = {NULL, 0};
  if (!v.ptr || v.end - v.ptr < 2 || *v.ptr != '"') return s;
  s.ptr = v.ptr + 1;
  s.len = (size_t)(v.end - v.ptr) - 2;
  size_t i = 0;
  while (i < s.len && s.ptr[i] != '\\') i++;
  if (i == s.len) return s;
  if (!weir_g.config_text) weir_g.config_text = (char *)weir_export_alloc(weir_g.config_len);
  if (!weir_g.config_text) return s;
  char *to = weir_g.config_text + (s.ptr - weir_g.config.ptr);
  s.len = (size_t)(weir_unescape(to, s.ptr, s.ptr + s.len) - to);
  s.ptr = to;
  return s;
}
WEIR_COLD bool weir_next(weir_json *o, weir_str *key, weir_json *value) {
  if (!o->ptr) return false;
  const char *p = weir_space(o->ptr, o->end);
  if (p < o->end && (*p == '{' || *p == ',')) p = weir_space(p + 1, o->end);
  if (p >= o->end || *p != '"') return false;
  weir_json k = {p, weir_skip(p, o->end)};
  *key = weir_text_of(k);
  p = weir_space(k.end, o->end);
  if (p >= o->end || *p != ':') return false;
  p = weir_space(p + 1, o->end);
  value->ptr = p;
  value->end = weir_skip(p, o->end);
  o->ptr = weir_space(value->end, o->end);
  return true;
}
WEIR_COLD bool weir_next_element(weir_json *a, weir_json *value) {
  if (!a->ptr) return false;
  const char *p = weir_space(a->ptr, a->end);
  if (p >= a->end || (*p != '[' && *p != ',')) return false;
  p = weir_space(p + 1, a->end);
  if (p >= a->end || *p == ']') return false;
  value->ptr = p;
  value->end = weir_skip(p, a->end);
  a->ptr = weir_space(value->end, a->end);
  return true;
}
WEIR_COLD weir_json weir_get(weir_json o, const char *name) {
  weir_json v, none = {NULL, NULL};
  weir_str key, want = {name, weir_strlen(name)};
  while (weir_next(&o, &key, &v)) if (weir_equal(key, want)) return v;
  return none;
}
WEIR_COLD weir_json weir_config(const char *name) { return weir_get(weir_g.config, name); }
WEIR_COLD char *weir_say(char *to, const char *end, const char *s, size_t n) { /* as much as there is room for */
  for (size_t i = 0; i < n && to < end; i++) *to++ = s[i];
  return to;
}
WEIR_COLD bool weir_is_listed(weir_str word, const char *list) {
  while (*list) {
    weir_str one = {list, 0};
    while (list[one.len] && list[one.len] != ' ') one.len++;
    if (weir_equal(word, one)) return true;
    list += one.len;
    while (*list == ' ') list++;
  }
  return false;
}
WEIR_COLD bool weir_config_keys(const char *keys) {
  weir_json all = weir_g.config, v;
  weir_str key;
  while (weir_next(&all, &key, &v)) {
    if (weir_is_listed(key, keys)) continue;
    char text[512], *to = text, *end = text + sizeof text - 1;
    to = weir_say(to, end, "config has no key \"", 19);
    to = weir_say(to, end, key.ptr, key.len);
    to = weir_say(to, end, "\"; there are: ", 14);
    *weir_say(to, end, keys, weir_strlen(keys)) = 0;
    return weir_fail(text);
  }
  return true;
}
WEIR_COLD bool weir_flag(weir_json v, bool otherwise) { return v.ptr && (*v.ptr == 't' || *v.ptr == 'f') ? *v.ptr == 't' : otherwise; }
/* Exact for numbers of up to 15 digits and small exponents, which is what people write; close otherwise. */
WEIR_COLD double weir_number(weir_json v, double otherwise) {
  const char *p = v.ptr;
  if (!p || p >= v.end || !(*p == '-' || (*p >= '0' && *p <= '9'))) return otherwise;
  bool negative = *p == '-', below = false;
  double m = 0, scale = 1;
  int exp = 0, e = 0;
  if (negative) p++;
  for (; p < v.end; p++) {
    if (*p >= '0' && *p <= '9') { m = m * 10 + (*p - '0'); if (below) exp--; }
    else if (*p == '.') below = true;
    else break;
  }
  if (p < v.end && (*p == 'e' || *p == 'E')) {
    bool minus = ++p < v.end && *p == '-';
    if (p < v.end && (*p == '-' || *p == '+')) p++;
    for (; p < v.end && *p >= '0' && *p <= '9'; p++) if (e < 1000) e = e * 10 + (*p - '0');
    exp += minus ? -e : e;
  }
  for (int i = exp < 0 ? -exp : exp; i > 0 && i < 700; i--) scale *= 10;
  m = exp < 0 ? m / scale : m * scale;
  return negative ? -m : m;
}

/* -- input -- */

WEIR_API int32_t weir_rows(void) { return weir_g.rows; }
WEIR_API const void *weir_in_buffer(int c, int i) { return weir_g.batch->children[c]->buffers[i]; }
WEIR_API const uint8_t *weir_validity(int c) { return (const uint8_t *)weir_in_buffer(c, 0); }
WEIR_API bool weir_valid(int c, int32_t r) {
  const uint8_t *v = weir_validity(c);
  return !v || (v[r >> 3] >> (r & 7) & 1);
}
WEIR_API const void *weir_values(int c) { return weir_in_buffer(c, 1); }
WEIR_API bool weir_bool(int c, int32_t r) { return ((const uint8_t *)weir_values(c))[r >> 3] >> (r & 7) & 1; }
WEIR_API weir_str weir_string(int c, int32_t r) {
  const int32_t *o = (const int32_t *)weir_in_buffer(c, 1);
  weir_str s = {(const char *)weir_in_buffer(c, 2) + o[r], (size_t)(o[r + 1] - o[r])};
  return s;
}

WEIR_API const int32_t *weir_list_offsets(int c) { return (const int32_t *)weir_in_buffer(c, 1); }
WEIR_API weir_span weir_list(int c, int32_t r) {
  weir_span s = {0, 0};
  if (weir_valid(c, r)) { s.from = weir_list_offsets(c)[r]; s.to = weir_list_offsets(c)[r + 1]; }
  return s;
}
WEIR_API int32_t weir_item_count(int c) { return weir_list_offsets(c)[weir_g.batch->length]; }
WEIR_API const void *weir_item_buffer(int c, int i) { return weir_g.batch->children[c]->children[0]->buffers[i]; }
WEIR_API const void *weir_items(int c) { return weir_item_buffer(c, 1); }
WEIR_API bool weir_item_bool(int c, int32_t k) { return ((const uint8_t *)weir_items(c))[k >> 3] >> (k & 7) & 1; }
WEIR_API weir_str weir_item_string(int c, int32_t k) {
  const int32_t *o = (const int32_t *)weir_items(c);
  weir_str s = {(const char *)weir_item_buffer(c, 2) + o[k], (size_t)(o[k + 1] - o[k])};
  return s;
}

/* -- output -- */

WEIR_API void *weir_room(size_t n) {
  char *p = weir_g.room;
  if (n > (size_t)(weir_g.room_end - p)) { weir_g.full = true; return NULL; }
  size_t step = (n + 63) & ~(size_t)63, left = (size_t)(weir_g.room_end - p);
  weir_g.room = p + (step < left ? step : left);
  return p;
}
WEIR_API void *weir_new_values(int o, int32_t rows) {
  size_t w = weir_widths[weir_g.out[o].type], n = w ? w * (size_t)rows : ((size_t)rows + 7) / 8;
  void *p = weir_room(n);
  if (!p) return NULL;
  if (!w) __builtin_memset(p, 0, n);
  weir_g.out[o].made = true;
  weir_g.out[o].data = (char *)p;
  return p;
}
WEIR_COLD bool weir_new_strings(int o, int32_t rows, size_t bytes) {
  struct weir_out_column *c = &weir_g.out[o];
  c->offsets = (int32_t *)weir_room(4 * ((size_t)rows + 1));
  c->data = (char *)weir_room(bytes);
  if (!c->offsets || !c->data) return false;
  c->data_end = c->data + bytes;
  c->offsets[0] = 0;
  c->count = 0;
  return c->made = true;
}
WEIR_API void weir_add_string(int o, weir_str s) {
  struct weir_out_column *c = &weir_g.out[o];
  int32_t at = c->offsets[c->count];
  if (s.len > (size_t)(c->data_end - c->data) - (size_t)at) __builtin_trap(); /* more than weir_new_strings was told */
  weir_copy(c->data + at, s.ptr, s.len);
  c->offsets[++c->count] = at + (int32_t)s.len;
}
WEIR_API bool weir_text_items(weir_type t) { return WEIR_ITEM(t) == WEIR_STRING || WEIR_ITEM(t) == WEIR_BINARY; }
WEIR_COLD bool weir_new_lists(int o, int32_t rows, int32_t items, size_t bytes) {
  struct weir_out_column *c = &weir_g.out[o];
  size_t w = weir_widths[WEIR_ITEM(c->type)];
  if ((uint32_t)items >= 1u << 27) { weir_g.full = true; return false; }
  c->offsets = (int32_t *)weir_room(4 * ((size_t)rows + 1));
  if (!c->offsets) return false;
  if (weir_text_items(c->type)) {
    c->item_offsets = (int32_t *)weir_room(4 * ((size_t)items + 1));
    if (!c->item_offsets) return false;
    c->item_offsets[0] = 0;
  } else {
    bytes = w ? w * (size_t)items : ((size_t)items + 7) / 8;
  }
  c->data = (char *)weir_room(bytes);
  if (!c->data) return false;
  if (!w) __builtin_memset(c->data, 0, bytes);
  c->data_end = c->data + bytes;
  c->offsets[0] = c->count = c->items = 0;
  c->rows = rows;
  c->max_items = items;
  return c->made = true;
}
WEIR_API void *weir_add_items(int o, int32_t n) {
  struct weir_out_column *c = &weir_g.out[o];
  if (n < 0 || n > c->max_items - c->items) __builtin_trap(); /* more than weir_new_lists was told */
  void *to = c->data + (size_t)c->items * weir_widths[WEIR_ITEM(c->type)];
  c->items += n;
  return to;
}
WEIR_API void weir_add_item_bool(int o, bool v) {
  struct weir_out_column *c = &weir_g.out[o];
  weir_add_items(o, 1);
  c->data[(c->items - 1) >> 3] |= (char)(v << ((c->items - 1) & 7));
}
WEIR_API void weir_add_item_string(int o, weir_str s) {
  struct weir_out_column *c = &weir_g.out[o];
  int32_t at = c->item_offsets[c->items];
  weir_add_items(o, 1);
  if (s.len > (size_t)(c->data_end - c->data) - (size_t)at) __builtin_trap();
  weir_copy(c->data + at, s.ptr, s.len);
  c->item_offsets[c->items] = at + (int32_t)s.len;
}
WEIR_API void weir_end_list(int o) {
  struct weir_out_column *c = &weir_g.out[o];
  if (c->count >= c->rows) __builtin_trap();
  c->offsets[++c->count] = c->items;
}
WEIR_API bool weir_set_null(int o, int32_t rows, int32_t row) {
  struct weir_out_column *c = &weir_g.out[o];
  const uint8_t *shared = c->validity;
  if (!shared || (const char *)shared < weir_g.room_start || (const char *)shared >= weir_g.room_end) {
    size_t n = ((size_t)rows + 7) / 8; /* an own bitmap; what the input shares is not ours to write */
    if (!(c->validity = (uint8_t *)weir_room(n))) return false;
    if (shared) __builtin_memcpy(c->validity, shared, n);
    else __builtin_memset(c->validity, 0xff, n);
  }
  c->validity[row >> 3] &= (uint8_t)~(1u << (row & 7));
  return true;
}
WEIR_API bool weir_keep_nulls(int o, int c) {
  weir_g.out[o].validity = (uint8_t *)(uintptr_t)weir_in_buffer(c, 0);
  return true;
}
WEIR_API int32_t *weir_new_selection_of(int32_t n) { return n < 0 ? NULL : (int32_t *)weir_room(4 * (size_t)n); }
WEIR_API int32_t *weir_new_selection(void) { return (int32_t *)weir_room(4 * (size_t)weir_g.rows); }
WEIR_API void weir_length(int32_t rows) { weir_g.rows = rows; }

/* Unrolled, the rarer ones cost more bytes than they save time. */
#ifdef __clang__
#define WEIR_SMALL_LOOP _Pragma("clang loop unroll(disable)")
#else
#define WEIR_SMALL_LOOP
#endif
/* Four values that stand together, and any two words. The members are used from the last to the first: then the bounds of
   all are checked with the one. For that they must have one base, and the compiler would make one of each. */
#define WEIR_BASE(p) __asm__("" : "+r"(p))
#define WEIR_FOUR(T) struct { T a, b, c, d; }
typedef WEIR_FOUR(int32_t) weir_rows_four;
typedef struct { uint64_t a, b; } __attribute__((packed)) weir_words;
WEIR_API void weir_copy_words(char *to, const char *from) {
  uint64_t b = ((const weir_words *)from)->b, a = ((const weir_words *)from)->a;
  ((weir_words *)to)->b = b;
  ((weir_words *)to)->a = a;
}
WEIR_API uint32_t weir_take_bit(const uint8_t *from, int32_t row) { return (uint32_t)from[row >> 3] >> (row & 7) & 1; }
WEIR_API void weir_take_bits(uint8_t *to, const uint8_t *from, const int32_t *sel, int32_t n) {
  uint32_t bits = 0;
  int32_t i = 0;
  WEIR_SMALL_LOOP for (; i + 4 <= n; i += 4) {
    const weir_rows_four *r = (const weir_rows_four *)(sel + i);
    WEIR_BASE(r);
    bits = bits >> 4 | weir_take_bit(from, r->d) << 7 | weir_take_bit(from, r->c) << 6 | weir_take_bit(from, r->b) << 5 | weir_take_bit(from, r->a) << 4;
    to[i >> 3] = (uint8_t)(i & 4 ? bits : bits >> 4);
  }
  if (!(i & 7) && i < n) to[i >> 3] = 0;
  WEIR_SMALL_LOOP for (; i < n; i++) to[i >> 3] |= (uint8_t)(weir_take_bit(from, sel[i]) << (i & 7));
}
#define WEIR_TAKE(T) { \
  int32_t i = 0; \
  WEIR_SMALL_LOOP for (; i + 4 <= n; i += 4) { \
    const weir_rows_four *r = (const weir_rows_four *)(sel + i); \
    WEIR_BASE(r); \
    typedef WEIR_FOUR(T) four; \
    four *out = (four *)((T *)to + i); \
    WEIR_BASE(out); \
    out->d = ((const T *)from)[r->d]; \
    out->c = ((const T *)from)[r->c]; \
    out->b = ((const T *)from)[r->b]; \
    out->a = ((const T *)from)[r->a]; \
  } \
  WEIR_SMALL_LOOP for (; i < n; i++) ((T *)to)[i] = ((const T *)from)[sel[i]]; \
}
#define WEIR_TAKE_SMALL(T) WEIR_SMALL_LOOP for (int32_t i = 0; i < n; i++) ((T *)to)[i] = ((const T *)from)[sel[i]]
/* The values of an array at these places, made anew for an output column or for the items of one. */
__attribute__((unused, noinline)) static bool weir_take_values(struct weir_out_column *c, const struct weir_arrow_array *a, weir_type type, const int32_t *sel, int32_t n, int32_t **offsets) {
  if (type == WEIR_STRING || type == WEIR_BINARY) {
    const int32_t *off = (const int32_t *)a->buffers[1];
    const char *from = (const char *)a->buffers[2];
    int32_t *ends = (int32_t *)weir_room(4 * ((size_t)n + 1));
    if (!ends) return false;
    *offsets = ends;
    *ends++ = 0;
    /* One pass: the data takes what room there is, and gives back the rest. Short strings are copied by 16 bytes, whatever
       their length, where that much is free: what is too much is written over by the next one. Reading too much is fine,
       since the windows are not the end of the memory. A memory.copy instruction costs more below some tens of bytes. */
    char *data = weir_g.room, *to = data, *end = weir_g.room_end;
    c->data = data;
    for (int32_t i = 0; i < n; i++) {
      uint64_t two;
      __builtin_memcpy(&two, off + sel[i], 8); /* where it starts and ends */
      const char *at = from + (uint32_t)two;
      int32_t len = (int32_t)(two >> 32) - (int32_t)two;
      if (len <= 16 && end - to >= 16) weir_copy_words(to, at);
      else if (len > end - to) { weir_g.full = true; return false; }
      else if (len > 64 || end - to < 80) __builtin_memcpy(to, at, (size_t)len);
      else WEIR_SMALL_LOOP for (int32_t k = 0; k < len; k += 16) weir_copy_words(to + k, at + k);
      to += len;
      ends[i] = (int32_t)(to - data);
    }
    return weir_room((size_t)(to - data)) != NULL;
  }
  const void *from = a->buffers[1];
  size_t w = weir_widths[type];
  void *to = c->data = (char *)weir_room(w ? w * (size_t)n : ((size_t)n + 7) / 8);
  if (!to) return false;
  switch (w) {
  case 0: weir_take_bits((uint8_t *)to, (const uint8_t *)from, sel, n); break;
  case 1: WEIR_TAKE_SMALL(uint8_t); break;
  case 2: WEIR_TAKE_SMALL(uint16_t); break;
  case 4: WEIR_TAKE(uint32_t); break;
  default: WEIR_TAKE(uint64_t);
  }
  return true;
}
/* The rows of these eight that a bit says, behind those that are there. A table has the rows of four bits, two of them in a
   number: that many are stored, whatever the bits, and what is too much is written over by the next. */
WEIR_API int32_t weir_pick(int32_t *to, int32_t kept, int32_t row, uint32_t bits) {
#define WEIR_TWO(a, b) ((uint64_t)(a) | (uint64_t)(b) << 32)
  static const uint64_t rows[16][2] = {
    {0, 0}, {0, 0}, {1, 0}, {WEIR_TWO(0, 1), 0}, {2, 0}, {WEIR_TWO(0, 2), 0}, {WEIR_TWO(1, 2), 0}, {WEIR_TWO(0, 1), 2},
    {3, 0}, {WEIR_TWO(0, 3), 0}, {WEIR_TWO(1, 3), 0}, {WEIR_TWO(0, 1), 3}, {WEIR_TWO(2, 3), 0}, {WEIR_TWO(0, 2), 3},
    {WEIR_TWO(1, 2), 3}, {WEIR_TWO(0, 1), WEIR_TWO(2, 3)},
  };
  uint64_t first = WEIR_TWO((uint32_t)row, (uint32_t)row);
  for (int i = 0; i < 8; i += 4, bits >>= 4) {
    const uint64_t *from = rows[bits & 15];
    uint64_t two[2] = {from[0] + first, from[1] + first};
    __builtin_memcpy(to + kept, two, 16);
    first += WEIR_TWO(4, 4);
    kept += __builtin_popcount(bits & 15);
  }
  return kept;
}
#define WEIR_FILTER(row, condition) __extension__({ \
  int32_t *weir_to = weir_new_selection(), weir_n = weir_rows(), weir_kept = 0, weir_at = 0; \
  if (weir_to) { \
    for (; weir_at + 8 <= weir_n; weir_at += 8) { \
      uint32_t weir_bits = 0; \
      _Pragma("GCC unroll 8") for (int32_t weir_k = 0; weir_k < 8; weir_k++) { \
        const int32_t row = weir_at | weir_k; \
        weir_bits |= (uint32_t)((condition) ? 1 : 0) << weir_k; \
      } \
      weir_kept = weir_pick(weir_to, weir_kept, weir_at, weir_bits); \
    } \
    WEIR_SMALL_LOOP for (; weir_at < weir_n; weir_at++) { \
      const int32_t row = weir_at; \
      weir_to[weir_kept] = row; \
      weir_kept += (condition) ? 1 : 0; \
    } \
  } \
  weir_to && weir_take(weir_to, weir_kept); \
})
/* Lists: the places of their items stand at the end of the room while these are taken. */
WEIR_COLD bool weir_take_lists(struct weir_out_column *c, const struct weir_arrow_array *a, const int32_t *sel, int32_t n) {
  const int32_t *off = (const int32_t *)a->buffers[1];
  int32_t *ends = (int32_t *)weir_room(4 * ((size_t)n + 1));
  size_t items = 0, limit = (size_t)(weir_g.room_end - weir_g.room) / 4;
  if (!ends) return false;
  c->offsets = ends;
  *ends = 0;
  for (int32_t i = 0; i < n; i++) {
    items += (size_t)(off[sel[i] + 1] - off[sel[i]]);
    if (items > limit) { weir_g.full = true; return false; }
    *++ends = (int32_t)items;
  }
  char *end = weir_g.room_end;
  int32_t *places = (int32_t *)((uintptr_t)end & ~(uintptr_t)3) - items, *p = places;
  for (int32_t i = 0; i < n; i++)
    for (int32_t k = off[sel[i]]; k < off[sel[i] + 1]; k++) *p++ = k;
  weir_g.room_end = (char *)places;
  bool ok = weir_take_values(c, a->children[0], WEIR_ITEM(c->type), places, (int32_t)items, &c->item_offsets);
  weir_g.room_end = end;
  c->count = n;
  c->items = (int32_t)items;
  return ok;
}
WEIR_API bool weir_take_column(int o, const int32_t *sel, int32_t n) {
  struct weir_out_column *c = &weir_g.out[o];
  const struct weir_arrow_array *a = weir_g.batch->children[c->from];
  if (a->buffers[0] && a->null_count) {
    if (!(c->validity = (uint8_t *)weir_room(((size_t)n + 7) / 8))) return false;
    weir_take_bits(c->validity, (const uint8_t *)a->buffers[0], sel, n);
  }
  c->made = true;
  return c->type & WEIR_LIST ? weir_take_lists(c, a, sel, n) : weir_take_values(c, a, c->type, sel, n, &c->offsets);
}
WEIR_API bool weir_take(const int32_t *sel, int32_t n) {
  for (int o = 0; o < weir_g.outs; o++)
    if (weir_g.out[o].from >= 0 && !weir_g.out[o].made && !weir_take_column(o, sel, n)) return false;
  weir_g.rows = n;
  return true;
}

/* -- exports -- */

WEIR_EXPORT("weir_abi") int32_t weir_export_abi(void) { return 1; }

#ifdef __wasi__
void *aligned_alloc(size_t, size_t);
WEIR_EXPORT("weir_alloc") void *weir_export_alloc(size_t n) { return aligned_alloc(WEIR_PAGE, (n + WEIR_PAGE - 1) & ~(size_t)(WEIR_PAGE - 1)); }
#else
/* Nothing else grows the memory, so new pages are all ours. */
WEIR_EXPORT("weir_alloc") void *weir_export_alloc(size_t n) {
  size_t page = __builtin_wasm_memory_grow(0, (n + WEIR_PAGE - 1) / WEIR_PAGE);
  return page == (size_t)-1 ? NULL : (void *)(page * WEIR_PAGE);
}
#endif

#ifndef WEIR_AGGREGATE
WEIR_EXPORT("weir_windows") void weir_export_windows(void *in, size_t in_len, void *out, size_t out_len) { (void)in; (void)in_len; (void)out; (void)out_len; }
#endif

WEIR_EXPORT("weir_open") WEIR_ONCE struct weir_arrow_schema *weir_export_open(const char *config, size_t len, struct weir_arrow_schema *in) {
  if (in->n_children - 1 > WEIR_MAX_COLUMNS) { weir_fail("too many input columns: define WEIR_MAX_COLUMNS larger"); return NULL; }
  weir_g.in = in;
  weir_g.columns = (int)in->n_children - 1; /* the last one is _row */
  for (int i = 0; i <= weir_g.columns; i++) weir_g.types[i] = weir_parse_type(in->children[i]);
  weir_g.config.ptr = config;
  weir_g.config.end = config + len;
  weir_g.config_len = len;
  if (!weir_on_open() || weir_g.failed) return NULL;
  if (weir_g.keeps_rows) weir_g.row_out = weir_pass(weir_g.columns);
  for (int o = 0; o < weir_g.outs; o++) weir_g.out_children[o] = &weir_g.out_schema[o];
  weir_g.out_root.format = "+s";
  weir_g.out_root.name = "";
  weir_g.out_root.n_children = weir_g.outs;
  weir_g.out_root.children = weir_g.out_children;
  return &weir_g.out_root;
}

#ifndef WEIR_AGGREGATE
WEIR_COLD bool weir_result_list(int o, struct weir_arrow_array *r) {
  struct weir_out_column *c = &weir_g.out[o];
  struct weir_arrow_array *items = &weir_g.item_arr[o];
  bool strings = weir_text_items(c->type);
  r->n_children = 1;
  r->children = &weir_g.item_arr_at[o];
  if (!c->made) return true; /* those of the input */
  items->length = c->items;
  items->n_buffers = strings ? 3 : 2;
  items->buffers = weir_g.item_buffers[o];
  items->buffers[1] = strings ? (const void *)c->item_offsets : c->data;
  items->buffers[2] = c->data;
  return c->count == weir_g.rows || weir_fail("an output column of lists has another number of rows than the output");
}

WEIR_EXPORT("weir_process") WEIR_ONCE const struct weir_arrow_array *weir_export_process(struct weir_arrow_array *a, char *out, size_t room) {
  weir_g.batch = a;
  weir_g.rows = (int32_t)a->length;
  weir_g.room = weir_g.room_start = out;
  weir_g.room_end = out + room;
  weir_g.full = weir_g.failed = false;
  for (int o = 0; o < weir_g.outs; o++) {
    struct weir_out_column *c = &weir_g.out[o];
    c->made = false;
    c->validity = NULL;
  }
  if (!weir_on_batch()) return weir_g.full && !weir_g.failed ? (const struct weir_arrow_array *)1 : NULL;
  for (int o = 0; o < weir_g.outs; o++) {
    struct weir_out_column *c = &weir_g.out[o];
    struct weir_arrow_array *r = &weir_g.arr[o];
    bool text = c->type == WEIR_STRING || c->type == WEIR_BINARY;
    const void **b = weir_g.buffers[o];
    r->length = weir_g.rows;
    r->n_buffers = text ? 3 : 2;
    r->buffers = b;
    if (c->type & WEIR_LIST && !weir_result_list(o, r)) return NULL;
    if (c->made) {
      r->null_count = c->validity ? -1 : 0;
      b[0] = c->validity;
      b[1] = text || c->type & WEIR_LIST ? (const void *)c->offsets : c->data;
      b[2] = c->data;
    } else if (c->from < 0) {
      weir_fail("an output column was not made in this batch");
      return NULL;
    } else {
      const struct weir_arrow_array *from = a->children[c->from];
      r->null_count = from->null_count;
      b[0] = from->buffers[0];
      b[1] = from->buffers[1];
      if (text) b[2] = from->buffers[2];
      if (c->type & WEIR_LIST) r->children = from->children;
    }
    weir_g.arr_children[o] = r;
  }
  weir_g.arr_root.length = weir_g.rows;
  weir_g.arr_root.n_buffers = 1;
  weir_g.arr_root.buffers = weir_g.root_buffers;
  weir_g.arr_root.n_children = weir_g.outs;
  weir_g.arr_root.children = weir_g.arr_children;
  return &weir_g.arr_root;
}
#endif /* WEIR_AGGREGATE */

#ifdef WEIR_STATEFUL
WEIR_EXPORT("weir_snapshot") const weir_str *weir_export_snapshot(void) {
  static weir_str state;
  weir_g.failed = false;
  state = weir_on_save();
  return weir_g.failed ? NULL : &state;
}
WEIR_EXPORT("weir_restore") int32_t weir_export_restore(const char *state, size_t len) {
  weir_str s = {state, len};
  weir_g.failed = false;
  return weir_on_restore(s) && !weir_g.failed;
}
#endif

#ifdef __cplusplus
}
#endif
#endif /* WEIR_H */
