/* The guest of the conformance suite's aggregate in C; operators/sdk/conformance/README.md says what it does. */
#include <stddef.h>
#include <stdint.h>
typedef struct { uint64_t count; int64_t sum; size_t len; char text[8192]; } weir_state;
#define WEIR_STATE_MAX (16 + 8192)
#include "weir_aggregate.h"

static int n, s;
static char message[256];

bool weir_on_open(void) {
  weir_str m = weir_text_of(weir_config("message"));
  if (m.ptr) {
    for (size_t i = 0; i < m.len && i < sizeof message - 1; i++) message[i] = m.ptr[i];
    return weir_fail(message);
  }
  if ((n = weir_column("n", WEIR_I64)) < 0) return weir_fail("needs a column n of type int64");
  if ((s = weir_column("s", WEIR_STRING)) < 0) return weir_fail("needs a column s of type string");
  weir_declare("answer", WEIR_STRING, true);
  return true;
}

void weir_on_init(weir_state *a) { (void)a; }

static bool add_text(weir_state *a, const char *from, size_t len) {
  if (len > sizeof a->text - a->len) return weir_fail("the text is too long");
  weir_copy(a->text + a->len, from, len);
  a->len += len;
  return true;
}

bool weir_on_rows(weir_state *a, int32_t from, int32_t to) {
  for (int32_t i = from; i < to; i++) {
    if (!weir_valid(n, i)) continue;
    int64_t v = weir_i64(n)[i];
    if (v == 13) return weir_fail("a row has n = 13");
    weir_str t = weir_string(s, i);
    a->count++;
    a->sum = (int64_t)((uint64_t)a->sum + (uint64_t)v);
    if (!add_text(a, t.ptr, t.len)) return false;
  }
  return true;
}

bool weir_on_merge(weir_state *a, const weir_state *b) {
  a->count += b->count;
  a->sum = (int64_t)((uint64_t)a->sum + (uint64_t)b->sum);
  return add_text(a, b->text, b->len);
}

bool weir_on_load(weir_state *a, weir_str b) {
  if (b.len < 16) return weir_fail("a state is too short");
  __builtin_memcpy(&a->count, b.ptr, 8);
  __builtin_memcpy(&a->sum, b.ptr + 8, 8);
  return add_text(a, b.ptr + 16, b.len - 16);
}

size_t weir_on_save(const weir_state *a, char *to) {
  __builtin_memcpy(to, &a->count, 8);
  __builtin_memcpy(to + 8, &a->sum, 8);
  weir_copy(to + 16, a->text, a->len);
  return 16 + a->len;
}

static char *number(char *end, uint64_t v) {
  do *--end = (char)('0' + v % 10); while (v /= 10);
  return end;
}

bool weir_on_finish(const weir_state *a, int32_t row) {
  static char answer[64 + 8192];
  if (!a->count) return weir_answer_null(row);
  char digits[24], *end = digits + sizeof digits, *p = number(end, a->count);
  size_t len = 0;
  while (p < end) answer[len++] = *p++;
  answer[len++] = ' ';
  if (a->sum < 0) answer[len++] = '-';
  for (p = number(end, a->sum < 0 ? 0 - (uint64_t)a->sum : (uint64_t)a->sum); p < end;) answer[len++] = *p++;
  answer[len++] = ' ';
  weir_copy(answer + len, a->text, a->len);
  weir_str text = {answer, len + a->len};
  return weir_answer_string(row, text);
}
