/* An aggregate of one int64 column that misbehaves as config.mode says; aggregate_hostile_test.go has the cases. Its state is
 * the number of rows. */
#include <stdint.h>
typedef struct { uint64_t rows; } weir_state;
#define WEIR_STATE_MAX 70000
#include "weir_aggregate.h"

static char mode;
static uint64_t seen; /* over all calls: what an aggregate must not keep */

bool weir_on_open(void) {
  weir_str m = weir_text_of(weir_config("mode"));
  mode = m.ptr ? m.ptr[0] : 0;
  weir_declare("answer", WEIR_I64, false);
  return true;
}
void weir_on_init(weir_state *s) { (void)s; }
bool weir_on_rows(weir_state *s, int32_t from, int32_t to) {
  for (int32_t i = from; i < to; i++) {
    if (weir_i64(0)[i] == 13) {
      if (mode == 's') for (volatile int x = 0;; x++) {} /* spins */
      if (mode == 't') __builtin_trap();
    }
    seen++;
    s->rows += mode == 'r' ? seen : 1; /* remembers */
    if (mode == 'b' && to - from > 1) s->rows += 7; /* counts batches */
  }
  return true;
}
bool weir_on_merge(weir_state *s, const weir_state *o) { s->rows += o->rows; return true; }
bool weir_on_load(weir_state *s, weir_str b) {
  if (b.len < 8) return weir_fail("short");
  __builtin_memcpy(&s->rows, b.ptr, 8);
  return true;
}
size_t weir_on_save(const weir_state *s, char *to) {
  __builtin_memcpy(to, &s->rows, 8);
  if (mode == 'g') return s->rows > 3 ? 66000 : 8; /* grows */
  if (mode == 'e') return 0;                       /* empty */
  if (mode == 'o') weir_g.out[0].offsets[0] = -8;  /* offsets that fall */
  if (mode == 'l') weir_g.out[0].data += 1 << 28;  /* lies about where it is */
  if (mode == 'n') { static uint8_t none[64]; weir_g.out[0].validity = none; } /* nulls */
  return 8;
}
bool weir_on_finish(const weir_state *s, int32_t row) { weir_answer_i64(row, (int64_t)s->rows); return true; }
