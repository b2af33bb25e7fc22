/* A guest that passes its input through and lies about it in one of many ways: config {"mode": N}. Test material; the
 * input is (id int64, name string, v float64 nullable, hidden _row). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
__attribute__((import_module("weir"), import_name("error"))) void weir_error(const void *, size_t);
__attribute__((import_module("weir"), import_name("log"))) void weir_log(int32_t, const void *, size_t);

typedef struct array {
  int64_t length, null_count, offset, n_buffers, n_children;
  char **buffers;
  struct array **children, *dictionary;
  void *release, *private_data;
} array;

enum { COLUMNS = 4, ID = 0, NAME = 1, V = 2, ROW = 3 };

static int mode, calls;
static uint32_t in_window, in_size, out_window, out_size;
static array root, columns[COLUMNS], *children[COLUMNS];
static char *buffers[COLUMNS][3], *top[1];
static int64_t numbers[1 << 13];
static int32_t offsets[1 << 13];
static char text[1 << 14];

EXPORT("weir_abi") int weir_abi(void) { return 1; }
EXPORT("weir_alloc") uint32_t weir_alloc(uint32_t n) {
  size_t page = __builtin_wasm_memory_grow(0, (n + 65535) / 65536);
  return page == (size_t)-1 ? 0 : (uint32_t)page * 65536;
}
EXPORT("weir_windows") void weir_windows(uint32_t in, uint32_t in_len, uint32_t out, uint32_t out_len) {
  in_window = in, in_size = in_len, out_window = out, out_size = out_len;
}
EXPORT("weir_open") void *weir_open(const char *config, size_t len, void *schema) {
  for (size_t i = 0; i < len; i++)
    if (config[i] >= '0' && config[i] <= '9') mode = mode * 10 + config[i] - '0';
  return schema;
}

static int deep(volatile int n) {
  if (n < 0) return n; /* never, but the compiler does not know */
  volatile char frame[64];
  frame[n & 63] = 1;
  return deep(n + 1) + frame[0];
}

static void *say(const char *what) {
  size_t n = 0;
  while (what[n]) n++;
  weir_error(what, n);
  return NULL;
}

EXPORT("weir_process") void *weir_process(array *a, char *out, uint32_t room) {
  int64_t n = a->length;
  root = *a;
  root.children = children;
  root.buffers = top;
  for (int i = 0; i < COLUMNS; i++) {
    columns[i] = *a->children[i];
    children[i] = &columns[i];
    for (int b = 0; b < columns[i].n_buffers; b++) buffers[i][b] = columns[i].buffers[b];
    columns[i].buffers = buffers[i];
  }
  calls++;
  for (int i = 0; i < 1 << 13; i++) offsets[i] = i;
  switch (mode) {
  case 1: return NULL;
  case 2: return say("cannot do this");
  case 3: __builtin_trap();
  case 4: return *(void *volatile *)0xfffffff0u;
  case 5: { volatile int zero = 0; return (void *)(uintptr_t)(7 / zero); }
  case 6: return (void *)(uintptr_t)deep(0);
  case 7: { /* memory bomb: says how much it got */
    uint32_t pages = 0;
    while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1) pages += 16;
    while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1) pages += 1;
    char s[12];
    int at = 12;
    do s[--at] = (char)('0' + pages % 10); while (pages /= 10);
    weir_error(s + at, (size_t)(12 - at));
    return NULL;
  }
  case 8: return (void *)0xffffffc0u;
  case 9: return (char *)&root + 4;
  case 10: root.length = -1; break;
  case 11: root.length = INT64_MAX; break;
  case 12: columns[ID].offset = -8; break;
  case 13: columns[V].null_count = n + 1; break;
  case 14: root.n_children = INT64_MAX; break;
  case 15: root.n_children = 1; break;
  case 16: columns[ID].n_buffers = 3; break;
  case 17: root.children = (array **)0xfffffffcu; break;
  case 18: children[ID] = NULL; break;
  case 19: columns[ID].length = n - 1; break;
  case 20: columns[NAME].dictionary = &root; break;
  case 21: buffers[ID][1] = (char *)0xffffff00u; break;
  case 22: buffers[ID][1] += 4; break;
  case 23: buffers[ID][1] = (char *)(in_window + in_size - 8 * (uint32_t)n); break; /* another batch's memory */
  case 24: buffers[ID][1] = (char *)((uint32_t)(uintptr_t)out == out_window ? out_window + out_size - 8 * (uint32_t)n : out_window); break;
  case 25: offsets[1] = 5, offsets[2] = 2, buffers[NAME][1] = (char *)offsets, buffers[NAME][2] = text; break;
  case 26: offsets[n] = 0x7fffffff, buffers[NAME][1] = (char *)offsets, buffers[NAME][2] = text; break;
  case 27: offsets[0] = -4, buffers[NAME][1] = (char *)offsets, buffers[NAME][2] = text; break;
  case 28: text[0] = (char)0xff, buffers[NAME][1] = (char *)offsets, buffers[NAME][2] = text; break;
  case 29: text[0] = (char)0xc3, text[1] = (char)0xb6, buffers[NAME][1] = (char *)offsets, buffers[NAME][2] = text; break;
  case 30: buffers[ID][0] = text, columns[ID].null_count = 0; break; /* all null, in a column without nulls */
  case 31: for (int i = 0; i < n; i++) ((int32_t *)text)[i] = i + 1; buffers[ROW][1] = text; break;
  case 32: for (int i = 0; i < n; i++) ((int32_t *)text)[i] = (int32_t)n - 1 - i; ((int32_t *)text)[n - 1] = -1; buffers[ROW][1] = text; break;
  case 33: /* everything is a thousand times row 0 */
    root.length = 1000;
    for (int i = 0; i < COLUMNS; i++) columns[i].length = 1000, columns[i].null_count = 0, buffers[i][0] = NULL;
    for (int i = 0; i < 1001; i++) offsets[i] = 0;
    buffers[ID][1] = buffers[V][1] = (char *)numbers, buffers[NAME][1] = buffers[ROW][1] = (char *)offsets, buffers[NAME][2] = text;
    break;
  case 34: top[0] = text; break;
  case 35: columns[NAME].null_count = 1; break; /* without a bitmap */
  case 36: /* garbage over the structs, the row column and all of the windows: only its own copies */
    for (int i = 0; i < COLUMNS; i++) a->children[i]->length = -1;
    for (uint32_t i = 0; i < in_size; i += 512) *(char *)(in_window + i) ^= 0x55;
    return say("spoiled");
  case 37: /* writes to what it passes through */
    ((int64_t *)buffers[ID][1])[0] = 666, buffers[NAME][2][0] = (char)0xff, ((int32_t *)buffers[ROW][1])[0] = 99;
    break;
  case 38: for (int i = 0; i < 250000; i++) weir_log(1, "flood", 5); break;
  case 39: weir_error((void *)0xfffffff0u, 0xffffffffu); return NULL;
  case 40: return (void *)1; /* full, always */
  case 41: for (int i = 0; i < n; i++) if (((int64_t *)buffers[ID][1])[i] == 13) return say("row 13"); break;
  case 42: if (calls > 1) return say("worn out"); break;
  case 43: /* rows 1 to n-1, by offset, bits and all */
    for (int i = 0; i < COLUMNS; i++) columns[i].offset = 1, columns[i].length = n - 1;
    root.length = n - 1;
    break;
  case 44: /* the same on the whole batch */
    root.offset = 1, root.length = n - 1;
    break;
  case 45: /* a copy in the guest's own memory */
    for (int i = 0; i < n; i++) numbers[i] = ((int64_t *)buffers[ID][1])[i];
    buffers[ID][1] = (char *)numbers;
    break;
  case 46: columns[ID].offset = INT64_MAX; break;
  case 47: root.offset = INT64_MAX - 4; break;
  case 48: for (uint32_t i = 0; i < room; i++) out[i] = 0x7f; break; /* fills its window, returns the input */
  case 49: /* counts its calls, and says nothing of it */
    for (int i = 0; i < n; i++) numbers[i] = ((int64_t *)buffers[ID][1])[i] + calls;
    buffers[ID][1] = (char *)numbers;
    break;
  case 50: /* the same from the sixth call on */
    for (int i = 0; i < n; i++) numbers[i] = ((int64_t *)buffers[ID][1])[i] + (calls > 5);
    buffers[ID][1] = (char *)numbers;
    break;
  case 51: /* fails on row 13, and from the third call on also on row 14 */
    for (int i = 0; i < n; i++) if (((int64_t *)buffers[ID][1])[i] == 13 || (calls > 2 && ((int64_t *)buffers[ID][1])[i] == 14)) return say("a row");
    break;
  case 52: for (uint32_t i = 0; i < in_size; i += 4096) *(char *)(in_window + i) ^= 1; break; /* stores into every page of its input */
  case 53: { /* keeps pointers from its first call, and returns them later */
    static char *old[3];
    if (calls == 1) for (int b = 0; b < 3; b++) old[b] = buffers[NAME][b];
    else buffers[NAME][1] = old[1] + (old[1] == buffers[NAME][1] ? 4 : 0), buffers[NAME][2] = old[2];
    break;
  }
  case 54: { /* reads where it was pointed to before: what is there now */
    static int64_t *old;
    if (calls == 1) old = (int64_t *)buffers[ID][1];
    for (int i = 0; i < n; i++) numbers[i] = old[i];
    buffers[ID][1] = (char *)numbers;
    break;
  }
  case 55: __builtin_memset((char *)(in_window), 0x55, in_size); return say("filled"); /* in one instruction */
  case 56: { volatile uint32_t size = 0x7fffffff; __builtin_memmove(text, (char *)in_window, size); break; } /* copies past the end of memory */
  case 57: { /* a list of buffers that is itself */
    columns[ID].buffers = (char **)&columns[ID].buffers;
    break;
  }
  case 58: children[NAME] = children[ID] = &root; break; /* a batch that is its own column */
  case 59: for (int i = 0; i < COLUMNS; i++) children[i] = (array *)(out + 8 * i); break; /* columns in the window, over each other */
  case 60: buffers[ID][1] = (char *)a; break; /* values in the host's structs */
  case 61: buffers[ID][1] = (char *)&root; columns[ID].null_count = -1; break; /* values that are the result's own structs */
  case 62: root.buffers = (char **)2; break;
  case 63: root.children = (array **)((char *)children + 2); break;
  case 64: columns[V].buffers = NULL; break;
  case 65: columns[V].length = INT64_MIN; break;
  case 66: columns[V].offset = (int64_t)1 << 26; break; /* within bounds by itself, not with its data */
  case 67: root.null_count = -2; break;
  case 68: root.null_count = 1; break;
  case 69: columns[ID].n_children = 1; columns[ID].children = children; break;
  case 70: root.dictionary = &root; break;
  case 71: buffers[ROW][1] = NULL; break;
  case 72: buffers[NAME][1] = NULL; break;
  case 73: buffers[V][0] = (char *)0xfffffff8u; break;
  case 74: for (int i = 0; i < 64; i++) weir_error("x", 0x7fffffff); return NULL; /* messages that are longer than memory */
  case 75: weir_log(-7, (void *)0xffffff00u, 0xfff); weir_log(99, text, 0xffffffff); return say("logged");
  case 77: { /* memory bomb that touches what it gets */
    size_t page;
    while ((page = __builtin_wasm_memory_grow(0, 1)) != (size_t)-1) __builtin_memset((char *)(page * 65536), 1, 65536);
    return say("no more");
  }
  case 78: for (;;) __builtin_memset((char *)in_window, 1, in_size); /* stores into its input, for ever */
  case 76: { /* every instruction a call of the host */
    for (;;) weir_log(1, "x", 1);
  }
  }
  return &root;
}
