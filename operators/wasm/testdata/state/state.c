/* A stateful guest for the tests of the host. It adds total: int64, the sum of v so far, and seen: int64, the rows so far.
 *
 *   config: {size: 16, fit: 1000000, lie: 0}
 *
 * size is the bytes of its state, fit how many rows it takes at once. Rows with v = 13 trap, 14 fail, 15 are returned with the
 * values out of memory; the state has been spoiled by then. lie is how weir_snapshot lies, and 20 is a weir_restore that
 * refuses, 21 one that traps. */
#include "weir.h"

#define MOST (4 << 20)
static int v, total, seen, lie, fit;
static struct { uint32_t address, length; } answer;
static int64_t state[MOST / 8]; /* the sum, the rows, and what size asks for */
static uint32_t size;

bool weir_on_open(void) {
  size = (uint32_t)weir_number(weir_config("size"), 16);
  fit = (int)weir_number(weir_config("fit"), 1000000);
  lie = (int)weir_number(weir_config("lie"), 0);
  v = weir_column("v", WEIR_I64);
  if (v < 0 || size > MOST) return weir_fail("no v, or size is too much");
  weir_pass_all();
  total = weir_declare("total", WEIR_I64, false);
  seen = weir_declare("seen", WEIR_I64, false);
  return true;
}

bool weir_on_batch(void) {
  int32_t n = weir_rows();
  if (n > fit) {
    state[0] += 1000; /* spoiled */
    weir_g.full = true;
    return false;
  }
  const int64_t *in = weir_i64(v);
  int64_t *totals = weir_new_i64(total, n), *rows = weir_new_i64(seen, n);
  if (!totals || !rows) return false;
  bool bad = false;
  for (int32_t i = 0; i < n; i++) {
    totals[i] = state[0] += in[i];
    rows[i] = ++state[1];
    if (in[i] == 13) __builtin_trap();
    if (in[i] == 14) return weir_fail("a row has v = 14");
    bad |= in[i] == 15;
  }
  if (bad) weir_g.out[total].data = (char *)0xfffffff0u;
  return true;
}

WEIR_EXPORT("weir_snapshot") void *weir_export_snapshot(void) {
  answer.address = (uint32_t)(uintptr_t)state;
  answer.length = size;
  switch (lie) {
  case 1: return NULL;
  case 2: weir_fail("no state today"); return NULL;
  case 3: __builtin_trap();
  case 4: return (void *)0xfffffffcu;
  case 5: return (char *)&answer + 2;
  case 6: answer.address = 0xffffff00u; answer.length = 0x1000; break;
  case 7: answer.length = 0xffffffffu; break;
  case 8: answer.address = (uint32_t)(__builtin_wasm_memory_size(0) * WEIR_PAGE - 8); break;
  case 9: answer.address = (uint32_t)(uintptr_t)weir_g.room_start; break;
  case 10: for (;;) { }
  case 11: answer.address = 0; answer.length = 0; break; /* nothing: as if it were new */
  case 12: /* output that was returned, changed afterwards */
    for (char *p = weir_g.room_start; p < weir_g.room_end; p++) *p = 0x55;
    break;
  case 13: /* its own answer in the state */
    answer.address = (uint32_t)(uintptr_t)&answer; answer.length = 8;
    break;
  default: break;
  }
  return &answer;
}

WEIR_EXPORT("weir_restore") int32_t weir_export_restore(const char *from, size_t len) {
  if (lie == 20) return weir_fail("not this state");
  if (lie == 21) __builtin_trap();
  if (lie == 22) return 7;
  if (len < 16 || len > MOST) return weir_fail("a state of another size");
  __builtin_memcpy(state, from, len);
  return 1;
}
