/* explode: a row for every item of a list.
 *
 *   config: {list: readings, as: reading, index: n}
 *
 * The list goes, and its item comes as a new column; `index` names a column for its place in the list, if it is wanted. A row whose list is
 * empty or null becomes no row. It shows lists of every type, and rows that become several. */
#include "weir.h"

static int list, item, place = -1;

/* Text of the configuration with a zero byte behind it, which stays. */
static const char *name_of(const char *key, const char *otherwise) {
  static char names[3][256];
  static int used;
  weir_str s = weir_text_of(weir_config(key));
  if (!s.ptr || s.len >= sizeof names[0] || used == 3) return otherwise;
  weir_copy(names[used], s.ptr, s.len);
  return names[used++];
}

bool weir_on_open(void) {
  list = weir_column(name_of("list", "values"), WEIR_ANY);
  if (list < 0 || !(weir_type_of(list) & WEIR_LIST)) return weir_fail("no list to explode: set config.list to a column of lists");
  for (int i = 0; i < weir_columns(); i++)
    if (i != list) weir_pass(i);
  item = weir_declare(name_of("as", "value"), WEIR_ITEM(weir_type_of(list)), false);
  const char *index = name_of("index", NULL);
  if (index) place = weir_declare(index, WEIR_I32, false);
  weir_keep_rows();
  return true;
}

/* Makes the items a column of rows. */
static bool items(int32_t rows, int32_t made) {
  weir_type type = WEIR_ITEM(weir_type_of(list));
  size_t width = weir_widths[type], bytes = 0;
  bool text = type == WEIR_STRING || type == WEIR_BINARY;
  for (int32_t k = 0; text && k < weir_item_count(list); k++) bytes += weir_item_string(list, k).len;
  if (text && !weir_new_strings(item, made, bytes)) return false;
  char *to = text ? NULL : (char *)weir_new_values(item, made);
  if (!text && !to) return false;
  for (int32_t i = 0, at = 0; i < rows; i++) {
    weir_span s = weir_list(list, i);
    if (width) { /* all of them at once */
      size_t n = width * (size_t)(s.to - s.from);
      weir_copy(to, (const char *)weir_items(list) + width * (size_t)s.from, n);
      to += n;
      continue;
    }
    for (int32_t k = s.from; k < s.to; k++, at++)
      if (text) weir_add_string(item, weir_item_string(list, k));
      else to[at >> 3] |= (char)(weir_item_bool(list, k) << (at & 7));
  }
  return true;
}

bool weir_on_batch(void) {
  int32_t rows = weir_rows(), made = 0, at = 0;
  for (int32_t i = 0; i < rows; i++) made += weir_list(list, i).to - weir_list(list, i).from;
  int32_t *selection = weir_new_selection_of(made), *index = place < 0 ? selection : weir_new_i32(place, made);
  if (!selection || !index || !items(rows, made)) return false;
  for (int32_t i = 0; i < rows; i++) {
    weir_span s = weir_list(list, i);
    for (int32_t k = s.from; k < s.to; k++, at++) {
      index[at] = k - s.from;
      selection[at] = i;
    }
  }
  return weir_take(selection, made);
}
