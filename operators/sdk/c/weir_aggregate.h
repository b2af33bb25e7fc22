/* weir_aggregate.h: write an aggregate of a weir window in C. It stands on weir.h, beside which it lies; ABI v1
 * (operators/abi/ABI.md).
 *
 * Define the type weir_state, include this header in exactly one source file, and define five functions:
 *
 *     bool weir_on_open(void);                                  check the arguments, declare the answer: weir_declare, once
 *     void weir_on_init(weir_state *s);                         the state of no rows; it comes zeroed
 *     bool weir_on_rows(weir_state *s, int32_t from, int32_t to); take rows from..to-1 of the arguments, in order
 *     bool weir_on_merge(weir_state *s, const weir_state *behind); take what another state has seen
 *     bool weir_on_finish(const weir_state *s, int32_t row);    give the answer: one weir_answer_ function, for this row
 *
 * All but weir_on_init return true, or weir_fail("why"). Columns are read with the functions of weir.h: weir_f64, weir_valid,
 * weir_string and so on.
 *
 * The state is kept as the bytes of weir_state. Where it is of no fixed size, or is to be readable by others,
 * #define WEIR_STATE_MAX as the most bytes that it takes, before the include, and define two functions more:
 *
 *     bool weir_on_load(weir_state *s, weir_str bytes);         read it; s comes zeroed
 *     size_t weir_on_save(const weir_state *s, char *to);       write it, return how many bytes
 *
 * What the states become must depend on the rows and their order alone, not on how they were cut into calls: the host cuts
 * where it likes. Rows of a group come together, and groups know nothing of each other.
 */
#ifndef WEIR_AGGREGATE_H
#define WEIR_AGGREGATE_H

#define WEIR_AGGREGATE
#include "weir.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The answer for a row of weir_on_finish, of the type that was declared. False: no room, return false. */
static inline void weir_answer_f64(int32_t row, double v) { ((double *)weir_g.out[0].data)[row] = v; }
static inline void weir_answer_f32(int32_t row, float v) { ((float *)weir_g.out[0].data)[row] = v; }
static inline void weir_answer_i64(int32_t row, int64_t v) { ((int64_t *)weir_g.out[0].data)[row] = v; }
static inline void weir_answer_i32(int32_t row, int32_t v) { ((int32_t *)weir_g.out[0].data)[row] = v; }
static inline void weir_answer_bool(int32_t row, bool v) { if (v) ((uint8_t *)weir_g.out[0].data)[row >> 3] |= (uint8_t)(1u << (row & 7)); }
static bool weir_answer_string(int32_t row, weir_str v); /* rows in order, or weir_answer_null */
static bool weir_answer_null(int32_t row);

void weir_on_init(weir_state *s);
bool weir_on_rows(weir_state *s, int32_t from, int32_t to);
bool weir_on_merge(weir_state *s, const weir_state *behind);
bool weir_on_finish(const weir_state *s, int32_t row);
#ifdef WEIR_STATE_MAX
bool weir_on_load(weir_state *s, weir_str bytes);
size_t weir_on_save(const weir_state *s, char *to);
#endif

/* ==== implementation ==== */

/* Not on the stack, which is small. */
static weir_state weir_a, weir_b;

/* What is being made: the answers, or states, whose offsets and data are those of output column 0 as well. */
WEIR_API const struct weir_arrow_array *weir_made(int32_t n) {
  struct weir_out_column *c = &weir_g.out[0];
  struct weir_arrow_array *r = &weir_g.arr[0];
  const void **b = weir_g.buffers[0];
  r->length = n;
  r->null_count = c->validity ? -1 : 0;
  r->n_buffers = c->offsets ? 3 : 2;
  r->buffers = b;
  b[0] = c->validity;
  b[1] = c->offsets ? (const void *)c->offsets : c->data;
  b[2] = c->data;
  weir_g.arr_children[0] = r;
  weir_g.arr_root.length = n;
  weir_g.arr_root.n_buffers = 1;
  weir_g.arr_root.buffers = weir_g.root_buffers;
  weir_g.arr_root.n_children = 1;
  weir_g.arr_root.children = weir_g.arr_children;
  return &weir_g.arr_root;
}
WEIR_API const struct weir_arrow_array *weir_unmade(void) {
  return weir_g.full && !weir_g.failed ? (const struct weir_arrow_array *)1 : NULL;
}

/* Begins a call: offsets where bytes of any length follow each other, behind which the data takes what room there is. */
WEIR_API bool weir_begin(char *out, size_t room, int32_t n, bool bytes) {
  struct weir_out_column *c = &weir_g.out[0];
  weir_g.room = weir_g.room_start = out;
  weir_g.room_end = out + room;
  weir_g.full = weir_g.failed = false;
  c->validity = NULL;
  c->offsets = NULL;
  weir_g.rows = n;
  if (!bytes) return weir_new_values(0, n) != NULL;
  if (!(c->offsets = (int32_t *)weir_room(4 * ((size_t)n + 1)))) return false;
  c->offsets[0] = 0;
  c->data = weir_g.room;
  return true;
}

/* Reads state i of an array of states. */
WEIR_API bool weir_load(weir_state *s, const struct weir_arrow_array *states, int32_t i) {
  const struct weir_arrow_array *a = states->children[0];
  const uint8_t *valid = (const uint8_t *)a->buffers[0];
  const int32_t *off = (const int32_t *)a->buffers[1];
  __builtin_memset(s, 0, sizeof *s);
  if (valid && !(valid[i >> 3] >> (i & 7) & 1)) { weir_on_init(s); return true; }
  weir_str bytes = {(const char *)a->buffers[2] + off[i], (size_t)(off[i + 1] - off[i])};
#ifdef WEIR_STATE_MAX
  return weir_on_load(s, bytes);
#else
  if (bytes.len != sizeof *s) return weir_fail("a state has another size: it is of another version of the aggregate");
  __builtin_memcpy(s, bytes.ptr, sizeof *s);
  return true;
#endif
}

/* Where the bytes of a row go, of which there are at most so many; NULL is no room. */
WEIR_API char *weir_put(int32_t row, size_t most) {
  char *to = weir_g.out[0].data + weir_g.out[0].offsets[row];
  if (most > (size_t)(weir_g.room_end - to)) { weir_g.full = true; return NULL; }
  return to;
}
WEIR_API bool weir_save(const weir_state *s, int32_t i) {
  struct weir_out_column *c = &weir_g.out[0];
#ifdef WEIR_STATE_MAX
  char *to = weir_put(i, WEIR_STATE_MAX);
  if (!to) return false;
  size_t n = weir_on_save(s, to);
  if (n > WEIR_STATE_MAX) __builtin_trap(); /* more than it said; what lay behind is lost */
#else
  size_t n = sizeof *s;
  char *to = weir_put(i, n);
  if (!to) return false;
  __builtin_memcpy(to, s, n);
#endif
  c->offsets[i + 1] = c->offsets[i] + (int32_t)n;
  return true;
}

WEIR_API bool weir_answer_string(int32_t row, weir_str v) {
  char *to = weir_put(row, v.len);
  if (!to) return false;
  weir_copy(to, v.ptr, v.len);
  weir_g.out[0].offsets[row + 1] = weir_g.out[0].offsets[row] + (int32_t)v.len;
  return true;
}
WEIR_API bool weir_answer_null(int32_t row) {
  struct weir_out_column *c = &weir_g.out[0];
  if (!c->validity) {
    /* From the end of the room, since text grows at its beginning. */
    size_t n = ((size_t)weir_g.rows + 7) / 8;
    if (n > (size_t)(weir_g.room_end - (c->offsets ? c->data + c->offsets[row] : weir_g.room))) { weir_g.full = true; return false; }
    weir_g.room_end -= n;
    c->validity = (uint8_t *)weir_g.room_end;
    __builtin_memset(c->validity, 0xff, n);
  }
  c->validity[row >> 3] &= (uint8_t)~(1u << (row & 7));
  if (c->offsets) c->offsets[row + 1] = c->offsets[row];
  return true;
}

/* -- exports -- */

WEIR_EXPORT("weir_accumulate") const struct weir_arrow_array *weir_export_accumulate(
    struct weir_arrow_array *rows, const struct weir_arrow_array *states, char *out, size_t room) {
  int32_t n = (int32_t)rows->length, groups = (int32_t)states->length, from = 0;
  weir_g.batch = rows;
  const int32_t *group = (const int32_t *)weir_in_buffer(weir_g.columns, 1); /* the hidden column: it never falls */
  if (!weir_begin(out, room, groups, true)) return weir_unmade();
  weir_g.rows = n;
  for (int32_t g = 0; g < groups; g++) {
    int32_t to = from;
    while (to < n && group[to] == g) to++;
    if (!weir_load(&weir_a, states, g) || !weir_on_rows(&weir_a, from, to) || !weir_save(&weir_a, g)) return weir_unmade();
    from = to;
  }
  return weir_made(groups);
}

WEIR_EXPORT("weir_merge") const struct weir_arrow_array *weir_export_merge(
    const struct weir_arrow_array *a, const struct weir_arrow_array *b, char *out, size_t room) {
  int32_t n = (int32_t)a->length;
  if (!weir_begin(out, room, n, true)) return weir_unmade();
  for (int32_t i = 0; i < n; i++)
    if (!weir_load(&weir_a, a, i) || !weir_load(&weir_b, b, i) || !weir_on_merge(&weir_a, &weir_b) || !weir_save(&weir_a, i)) return weir_unmade();
  return weir_made(n);
}

WEIR_EXPORT("weir_finish") const struct weir_arrow_array *weir_export_finish(
    const struct weir_arrow_array *states, char *out, size_t room) {
  int32_t n = (int32_t)states->length;
  weir_type t = weir_g.out[0].type;
  if (!weir_begin(out, room, n, t == WEIR_STRING || t == WEIR_BINARY)) return weir_unmade();
  for (int32_t i = 0; i < n; i++)
    if (!weir_load(&weir_a, states, i) || !weir_on_finish(&weir_a, i)) return weir_unmade();
  return weir_made(n);
}

#ifdef __cplusplus
}
#endif
#endif /* WEIR_AGGREGATE_H */
