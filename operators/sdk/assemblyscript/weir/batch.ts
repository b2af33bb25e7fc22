import { Declared } from "./plan";
import { BoolListBuilder, ListBuilder, Lists, TextListBuilder, maxItems } from "./lists";
import { Type, isList, isText, itemOf, widthOf } from "./types";
import { Bits, Text, TextBuilder, Values, copy } from "./views";

// Fields of an ArrowArray of the Arrow C data interface as wasm32 lays it out.
export const ARRAY_SIZE: usize = 64;
export const LENGTH: usize = 0;
export const NULL_COUNT: usize = 8;
export const N_BUFFERS: usize = 24;
export const N_CHILDREN: usize = 32;
export const BUFFERS: usize = 40;
export const CHILDREN: usize = 44;

/** The i-th of a list of pointers. */
export function pointer(list: usize, i: i32): usize {
  return load<usize>(list + ((<usize>i) << 2));
}

/** An output column, and what this batch makes of it. */
@final
export class Made {
  made: bool = false;
  validity: usize = 0;
  offsets: usize = 0;
  values: usize = 0;
  rows: i32 = 0; // of lists: so far, and their items
  items: i32 = 0;
  itemOffsets: usize = 0; // of lists of strings

  constructor(readonly type: Type, readonly source: i32) {}
}

/** The rows of one call, and the output that is made of them. */
@final
export class Batch {
  /** How many rows the input has. */
  rows: i32 = 0;

  readonly out: Made[] = [];
  array: usize = 0;
  length: i32 = 0;
  full: bool = false;
  failed: bool = false;
  error: string = "";
  private room: usize = 0;
  private start: usize = 0;
  private end: usize = 0;

  constructor(declared: Declared[]) {
    for (let i = 0; i < declared.length; i++) this.out.push(new Made(declared[i].type, declared[i].source));
  }

  begin(array: usize, out: usize, room: usize): void {
    this.array = array;
    this.rows = this.length = <i32>load<i64>(array, LENGTH);
    this.room = this.start = out;
    this.end = out + room;
    this.full = this.failed = false;
    for (let i = 0; i < this.out.length; i++) {
      const c = this.out[i];
      c.made = false;
      c.validity = c.offsets = c.values = c.itemOffsets = 0;
      c.rows = c.items = 0;
    }
  }

  /** The array of an input column. */
  child(column: i32): usize {
    return pointer(load<usize>(this.array, CHILDREN), column);
  }

  private buffer(column: i32, i: i32): usize {
    return pointer(load<usize>(this.child(column), BUFFERS), i);
  }

  /** Fails the batch, when process returns. */
  fail(why: string): void {
    if (!this.failed) this.error = why;
    this.failed = true;
  }

  // ---- input ----

  /** The numbers of a column. T must have the width of its type. What is under a null is any number. */
  values<T>(column: i32): Values<T> {
    return changetype<Values<T>>(this.buffer(column, 1));
  }

  /** The values of a bool column. */
  bools(column: i32): Bits {
    return changetype<Bits>(this.buffer(column, 1));
  }

  /** The values of a string or binary column. */
  text(column: i32): Text {
    return new Text(this.buffer(column, 1), this.buffer(column, 2));
  }

  private itemBuffer(column: i32, i: i32): usize {
    const child = pointer(load<usize>(this.child(column), CHILDREN), 0);
    return pointer(load<usize>(child, BUFFERS), i);
  }

  /** Where the lists of a column are: which items each row has. */
  lists(column: i32): Lists {
    return new Lists(this.buffer(column, 1), this.buffer(column, 0), this.rows);
  }

  /** The numbers in the lists of a column, all rows one after the other. T must have the width of their type. */
  itemValues<T>(column: i32): Values<T> {
    return changetype<Values<T>>(this.itemBuffer(column, 1));
  }

  /** The truth values in the lists of a column. */
  itemBools(column: i32): Bits {
    return changetype<Bits>(this.itemBuffer(column, 1));
  }

  /** The strings in the lists of a column. */
  itemText(column: i32): Text {
    return new Text(this.itemBuffer(column, 1), this.itemBuffer(column, 2));
  }

  /** Which rows are not null, or null where all are: for tight loops. */
  validity(column: i32): Bits | null {
    return changetype<Bits | null>(this.buffer(column, 0));
  }

  /** Tells whether a row is not null. */
  valid(column: i32, row: i32): bool {
    const bits = this.buffer(column, 0);
    return !bits || changetype<Bits>(bits)[row];
  }

  // ---- output: null, or false, means that there is no room; return then ----

  /** Takes n bytes of the window, or 0. */
  private claim(n: usize): usize {
    const at = this.room;
    if (n > this.end - at) {
      this.full = true;
      return 0;
    }
    this.room = min(this.end, at + ((n + 63) & ~63));
    return at;
  }

  private make(out: i32, values: usize): void {
    const c = this.out[out];
    c.made = true;
    c.values = values;
  }

  /** Makes the numbers of an output column, to be filled. T must have the width of its type. */
  newValues<T>(out: i32, rows: i32): Values<T> | null {
    const at = this.claim((<usize>rows) << alignof<T>());
    if (at) this.make(out, at);
    return changetype<Values<T> | null>(at);
  }

  /** Makes the values of a bool column, all false. */
  newBools(out: i32, rows: i32): Bits | null {
    const n = (<usize>rows + 7) >> 3;
    const at = this.claim(n);
    if (!at) return null;
    memory.fill(at, 0, n);
    this.make(out, at);
    return changetype<Bits>(at);
  }

  /** Starts a column of strings or binary of so many rows, which have at most so many bytes together. */
  newText(out: i32, rows: i32, bytes: i32): TextBuilder | null {
    const offsets = this.claim((<usize>rows + 1) << 2);
    const data = offsets ? this.claim(bytes) : 0;
    if (!data) return null;
    this.make(out, data);
    this.out[out].offsets = offsets;
    return new TextBuilder(offsets, data, rows, bytes);
  }

  private claimLists(out: i32, rows: i32, items: i32, bytes: usize): usize {
    if (items < 0 || items >= maxItems) {
      this.full = true;
      return 0;
    }
    const offsets = this.claim((<usize>rows + 1) << 2);
    const values = offsets ? this.claim(bytes) : 0;
    if (!values) return 0;
    this.make(out, values);
    this.out[out].offsets = offsets;
    this.out[out].rows = this.out[out].items = 0;
    store<i32>(offsets, 0);
    return values;
  }

  /** Starts a column of lists of numbers, which have at most so many items together. T must have the width of their type. */
  newLists<T>(out: i32, rows: i32, items: i32): ListBuilder<T> | null {
    const values = this.claimLists(out, rows, items, (<usize>items) << alignof<T>());
    if (!values) return null;
    return new ListBuilder<T>(this.out[out], rows, items);
  }

  /** Starts a column of lists of truth values, which have at most so many items together. */
  newBoolLists(out: i32, rows: i32, items: i32): BoolListBuilder | null {
    const n = (<usize>items + 7) >> 3;
    const bits = this.claimLists(out, rows, items, n);
    if (!bits) return null;
    memory.fill(bits, 0, n);
    return new BoolListBuilder(this.out[out], rows, items);
  }

  /** Starts a column of lists of strings or binary, of at most so many items together, which have at most so many bytes together. */
  newTextLists(out: i32, rows: i32, items: i32, bytes: i32): TextListBuilder | null {
    if (!this.claimLists(out, rows, items, bytes)) return null;
    const offsets = this.claim((<usize>items + 1) << 2);
    if (!offsets) return null;
    store<i32>(offsets, 0);
    this.out[out].itemOffsets = offsets;
    return new TextListBuilder(this.out[out], rows, items, bytes);
  }

  /** Makes a row of an output column of so many rows null, after its values are made. */
  setNull(out: i32, rows: i32, row: i32): bool {
    const c = this.out[out];
    const shared = c.validity;
    if (shared < this.start || shared >= this.end) {
      // An own bitmap: what the input shares is not ours to write.
      const n = (<usize>rows + 7) >> 3;
      const at = this.claim(n);
      if (!at) return false;
      if (shared) memory.copy(at, shared, n);
      else memory.fill(at, 0xff, n);
      c.validity = at;
    }
    changetype<Bits>(c.validity)[row] = false;
    return true;
  }

  /** Gives an output column with new values the nulls of an input column; both have as many rows as the input. */
  keepNulls(out: i32, column: i32): void {
    this.out[out].validity = this.buffer(column, 0);
  }

  /** Room for so many row numbers, to fill and to give to take. */
  selection(n: i32): Values<i32> | null {
    return changetype<Values<i32> | null>(this.claim((<usize>n) << 2));
  }

  /** Sets how many rows the output has, where every column was made new. take does it otherwise. */
  setLength(rows: i32): void {
    this.length = rows;
  }

  /** Gives every passed column just these n rows, whose numbers must not fall; a row can come more than once. */
  take(rows: Values<i32>, n: i32): bool {
    for (let o = 0; o < this.out.length; o++) {
      const c = this.out[o];
      if (c.source >= 0 && !c.made && !this.takeColumn(o, rows, n)) return false;
    }
    this.length = n;
    return true;
  }

  private takeColumn(o: i32, rows: Values<i32>, n: i32): bool {
    const c = this.out[o];
    const validity = this.buffer(c.source, 0);
    if (validity && load<i64>(this.child(c.source), NULL_COUNT) != 0) {
      c.validity = this.takeBits(validity, rows, n);
      if (!c.validity) return false;
    }
    if (isList(c.type)) return this.takeList(o, rows, n);
    return this.takeValues(o, c.type, this.buffer(c.source, 1), this.buffer(c.source, 2), rows, n);
  }

  /** The values of a column, or the items of lists, at n places. More is the third buffer, of strings. */
  private takeValues(o: i32, type: Type, from: usize, more: usize, rows: Values<i32>, n: i32): bool {
    if (isText(type)) return this.takeText(this.out[o], from, more, rows, n);
    switch (widthOf(type)) {
      case 0:
        const bits = this.takeBits(from, rows, n);
        if (bits) this.make(o, bits);
        return bits != 0;
      case 1:
        return this.takeFixed<u8>(o, changetype<Values<u8>>(from), rows, n);
      case 2:
        return this.takeFixed<u16>(o, changetype<Values<u16>>(from), rows, n);
      case 4:
        return this.takeFixed<u32>(o, changetype<Values<u32>>(from), rows, n);
      default:
        return this.takeFixed<u64>(o, changetype<Values<u64>>(from), rows, n);
    }
  }

  /** The items are taken as rows are, by their places. */
  private takeList(o: i32, rows: Values<i32>, n: i32): bool {
    const c = this.out[o], from = changetype<Values<i32>>(this.buffer(c.source, 1));
    const offsets = this.claim((<usize>n + 1) << 2);
    if (!offsets) return false;
    const ends = changetype<Values<i32>>(offsets);
    let items: i64 = 0;
    ends[0] = 0;
    for (let i = 0; i < n; i++) {
      items += from[rows[i] + 1] - from[rows[i]];
      if (items >= maxItems) {
        this.full = true;
        return false;
      }
      ends[i + 1] = <i32>items;
    }
    const places = this.selection(<i32>items);
    if (!places) return false;
    for (let i = 0, at = 0; i < n; i++) {
      for (let k = from[rows[i]]; k < from[rows[i] + 1]; k++) places[at++] = k;
    }
    if (!this.takeValues(o, itemOf(c.type), this.itemBuffer(c.source, 1), this.itemBuffer(c.source, 2), places, <i32>items)) return false;
    c.itemOffsets = c.offsets;
    c.offsets = offsets;
    c.rows = n;
    c.items = <i32>items;
    return true;
  }

  private takeFixed<T>(o: i32, from: Values<T>, rows: Values<i32>, n: i32): bool {
    const to = this.newValues<T>(o, n);
    if (!to) return false;
    for (let i = 0; i < n; i++) to[i] = from[rows[i]];
    return true;
  }

  private takeBits(from: usize, rows: Values<i32>, n: i32): usize {
    const bytes = (<usize>n + 7) >> 3;
    const at = this.claim(bytes);
    if (!at) return 0;
    memory.fill(at, 0, bytes);
    for (let i = 0; i < n; i++) {
      if (changetype<Bits>(from)[rows[i]]) changetype<Bits>(at)[i] = true;
    }
    return at;
  }

  /**
   * One pass: the data takes what room there is, and gives back the rest. Short strings are copied as 16 bytes, whatever their
   * length, where that much is free: what is too much is written over by the next one. Reading too much is fine, since the
   * windows are not the end of the memory.
   */
  private takeText(c: Made, from: usize, data: usize, rows: Values<i32>, n: i32): bool {
    const offsets = this.claim((<usize>n + 1) << 2);
    if (!offsets) return false;
    store<i32>(offsets, 0);
    const start = this.room, end = this.end;
    let to = start;
    for (let i = 0; i < n; i++) {
      const at = from + ((<usize>rows[i]) << 2);
      const first = load<u32>(at), len = <usize>(load<u32>(at, 4) - first);
      if (len <= 16 && end - to >= 16) {
        store<u64>(to, load<u64>(data + first));
        store<u64>(to, load<u64>(data + first, 8), 8);
      } else if (len > end - to) {
        this.full = true;
        return false;
      } else copy(to, data + first, len);
      to += len;
      store<i32>(offsets + ((<usize>i) << 2), <i32>(to - start), 4);
    }
    c.made = true;
    c.offsets = offsets;
    c.values = start;
    return this.claim(to - start) != 0;
  }
}
