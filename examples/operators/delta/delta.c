/* delta: what a counter has gone up by since the device's reading before, in a new column. It keeps state.
 *
 *   config: {key: device, counter: counter}
 *
 * delta is null for the first reading of a device. A counter that is lower than before has started again from 0. Readings
 * without a key or a counter pass, with null. */
#define WEIR_STATEFUL
#include "weir.h"

#define DEVICES 4096 /* at most; a name has KEY bytes at most */
#define KEY 47

static int key, counter, delta;

/* The state: every device seen, in the order they came. */
static struct device { int64_t last; uint8_t len; char name[KEY]; } devices[DEVICES];
static uint32_t count;
static uint16_t slots[2 * DEVICES]; /* a hash table over them, 1 more than the index; not part of the state, made from it */

static uint32_t slot_of(weir_str name) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < name.len; i++) h = (h ^ (uint8_t)name.ptr[i]) * 16777619u;
  for (h %= 2 * DEVICES; slots[h]; h = (h + 1) % (2 * DEVICES)) {
    struct device *d = &devices[slots[h] - 1];
    weir_str have = {d->name, d->len};
    if (weir_equal(have, name)) break;
  }
  return h;
}

static int column(const char *option, const char *otherwise, weir_type type) {
  weir_str want = weir_text_of(weir_config(option));
  if (!want.ptr) want = (weir_str){otherwise, weir_strlen(otherwise)};
  for (int i = 0; i < weir_columns(); i++) {
    weir_str have = {weir_name(i), weir_strlen(weir_name(i))};
    if (weir_equal(have, want) && weir_type_of(i) == type) return i;
  }
  return -1;
}

bool weir_on_open(void) {
  key = column("key", "device", WEIR_STRING);
  counter = column("counter", "counter", WEIR_I64);
  if (key < 0) return weir_fail("no string column to tell devices by: set config.key");
  if (counter < 0) return weir_fail("no int64 column that counts: set config.counter");
  weir_pass_all();
  delta = weir_declare("delta", WEIR_I64, true);
  return true;
}

bool weir_on_batch(void) {
  int32_t n = weir_rows();
  const int64_t *now = weir_i64(counter);
  int64_t *out = weir_new_i64(delta, n);
  if (!out) return false;
  for (int32_t i = 0; i < n; i++) {
    out[i] = 0;
    weir_str name = {NULL, 0};
    if (weir_valid(key, i)) name = weir_string(key, i);
    if (!name.ptr || !weir_valid(counter, i)) {
      if (!weir_set_null(delta, n, i)) return false;
      continue;
    }
    if (now[i] < 0) return weir_fail("a counter is negative");
    if (name.len > KEY) return weir_fail("a key is longer than 47 bytes");
    uint32_t s = slot_of(name);
    if (!slots[s]) {
      if (count == DEVICES) return weir_fail("more than 4096 devices");
      devices[count].len = (uint8_t)name.len;
      weir_copy(devices[count].name, name.ptr, name.len);
      slots[s] = (uint16_t)++count;
      if (!weir_set_null(delta, n, i)) return false;
    } else {
      int64_t last = devices[slots[s] - 1].last;
      out[i] = now[i] >= last ? now[i] - last : now[i];
    }
    devices[slots[s] - 1].last = now[i];
  }
  return true;
}

weir_str weir_on_save(void) {
  weir_str state = {(const char *)devices, count * sizeof(struct device)};
  return state;
}

bool weir_on_restore(weir_str state) {
  if (state.len % sizeof(struct device) != 0 || state.len > sizeof devices) return weir_fail("a state of another operator");
  count = (uint32_t)(state.len / sizeof(struct device));
  __builtin_memcpy(devices, state.ptr, state.len);
  for (uint32_t i = 0; i < count; i++) {
    if (devices[i].len > KEY) return weir_fail("a damaged state");
    weir_str name = {devices[i].name, devices[i].len};
    slots[slot_of(name)] = (uint16_t)(i + 1);
  }
  return true;
}
