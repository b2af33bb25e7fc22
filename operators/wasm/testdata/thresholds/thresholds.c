/* A guest that does to each row what the row says, so that rows can stand around every limit. Test material; the input is
 * (id int64, cost int64, copies int64, size int64, own int64, pad string, hidden _row); the output is (id int64, text
 * string, _row), with each row there `copies` times with a text of `size` bytes, after `cost` rounds of a loop. With `own`
 * the text is in the guest's own memory. Config {"first": N, "later": M, "tired": C}: the first call of an instance takes N
 * rounds more, as one that makes its tables, and each third M more, as one that collects garbage; from call C on, if it is
 * not 0, the instance has no room for anything, as one that leaks. */
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

typedef struct array {
  int64_t length, null_count, offset, n_buffers, n_children;
  char **buffers;
  struct array **children, *dictionary;
  void *release, *private_data;
} array;
typedef struct schema {
  const char *format, *name, *metadata;
  uint32_t unused;
  int64_t flags, n_children;
  struct schema **children, *dictionary;
  void *release, *private_data;
} schema;

enum { COLUMNS = 3, OWN = 1 << 20, ROWS = 1 << 14 };
static array root, columns[COLUMNS], *children[COLUMNS];
static char *buffers[COLUMNS][3], *top[1];
static schema out_schema, out_fields[COLUMNS], *out_children[COLUMNS];
static uint32_t config[3], calls;
static char own_text[OWN];
static int64_t ids[ROWS];
static int32_t offsets[ROWS + 1], from[ROWS];

EXPORT("weir_abi") int weir_abi(void) { return 1; }
EXPORT("weir_alloc") uint32_t weir_alloc(uint32_t n) {
  size_t page = __builtin_wasm_memory_grow(0, (n + 65535) / 65536);
  return page == (size_t)-1 ? 0 : (uint32_t)page * 65536;
}
EXPORT("weir_windows") void weir_windows(uint32_t in, uint32_t in_len, uint32_t out, uint32_t out_len) {
  (void)in, (void)in_len, (void)out, (void)out_len;
}
EXPORT("weir_open") void *weir_open(const char *text, size_t len, schema *in) {
  int at = -1, digit = 0;
  for (size_t i = 0; i < len; i++) {
    if (text[i] >= '0' && text[i] <= '9') {
      if (!digit) at++;
      digit = 1;
      if (at < 3) config[at] = config[at] * 10 + (uint32_t)(text[i] - '0');
    } else
      digit = 0;
  }
  out_schema = *in;
  out_schema.n_children = COLUMNS;
  out_schema.children = out_children;
  out_fields[0] = *in->children[0];
  out_fields[1] = *in->children[5];
  out_fields[2] = *in->children[6];
  out_fields[1].name = "text";
  for (int i = 0; i < COLUMNS; i++) out_children[i] = &out_fields[i];
  return &out_schema;
}

static void burn(int64_t rounds) {
  for (volatile int64_t i = 0; i < rounds; i++) {
  }
}

static const int64_t *numbers(array *a, int i) { return (const int64_t *)a->children[i]->buffers[1]; }

EXPORT("weir_process") void *weir_process(array *a, char *out, uint32_t room) {
  if (calls == 0) burn(config[0]);
  if (calls++ % 3 == 2) burn(config[1]);
  if (config[2] && calls >= config[2]) return (void *)1;
  const int64_t *id = numbers(a, 0), *cost = numbers(a, 1), *copies = numbers(a, 2), *size = numbers(a, 3), *own = numbers(a, 4);
  int in_own = 0;
  uint64_t rows = 0, bytes = 0;
  for (int64_t i = 0; i < a->length; i++) {
    burn(cost[i]);
    in_own |= own[i] != 0;
    rows += (uint64_t)copies[i];
    bytes += (uint64_t)(copies[i] * size[i]);
  }
  if (rows > ROWS || bytes > (in_own ? OWN : room)) return (void *)1;
  char *text = in_own ? own_text : out;
  uint32_t n = 0, used = 0;
  for (int64_t i = 0; i < a->length; i++)
    for (int64_t c = 0; c < copies[i]; c++) {
      ids[n] = id[i], offsets[n] = (int32_t)used, from[n] = (int32_t)i;
      for (int64_t k = 0; k < size[i]; k++) text[used + (uint32_t)k] = (char)('a' + id[i] % 26);
      used += (uint32_t)size[i], n++;
    }
  offsets[n] = (int32_t)used;
  root = *a;
  root.length = n, root.n_children = COLUMNS, root.children = children, root.buffers = top;
  for (int i = 0; i < COLUMNS; i++) {
    columns[i] = *a->children[i == 1 ? 5 : i == 2 ? 6 : 0];
    columns[i].length = n, columns[i].null_count = 0, columns[i].buffers = buffers[i];
    children[i] = &columns[i];
  }
  buffers[0][1] = (char *)ids, buffers[1][1] = (char *)offsets, buffers[1][2] = text, buffers[2][1] = (char *)from;
  return &root;
}
