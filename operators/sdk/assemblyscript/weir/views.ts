/** Numbers of a column, of the input or to be filled. Rows are not checked against their number: stay within batch.rows. */
@unmanaged
export class Values<T> {
  @operator("[]") @inline
  get(row: i32): T {
    return load<T>(changetype<usize>(this) + ((<usize>row) << alignof<T>()));
  }

  @operator("[]=") @inline
  set(row: i32, value: T): void {
    store<T>(changetype<usize>(this) + ((<usize>row) << alignof<T>()), value);
  }
}

/** Truth values, a bit each. Rows are not checked against their number. */
@unmanaged
export class Bits {
  @operator("[]") @inline
  get(row: i32): bool {
    return <bool>((load<u8>(changetype<usize>(this) + (<usize>row >> 3)) >> (row & 7)) & 1);
  }

  @operator("[]=") @inline
  set(row: i32, value: bool): void {
    const at = changetype<usize>(this) + (<usize>row >> 3);
    const bit = <u8>1 << <u8>(row & 7);
    store<u8>(at, value ? load<u8>(at) | bit : load<u8>(at) & ~bit);
  }
}

/** Text as UTF-8, made once and compared or written often. */
@final
export class Utf8 {
  private bytes: ArrayBuffer;

  constructor(text: string) {
    this.bytes = String.UTF8.encode(text);
  }

  /** Where its bytes are. */
  get at(): usize {
    return changetype<usize>(this.bytes);
  }

  /** How many bytes it has. */
  get length(): i32 {
    return this.bytes.byteLength;
  }
}

/** A column of strings or binary. Rows are not checked against their number. */
@final
export class Text {
  constructor(private offsets: usize, private data: usize) {}

  /** How many bytes a row has. */
  @inline
  length(row: i32): i32 {
    const o = this.offsets + ((<usize>row) << 2);
    return load<i32>(o, 4) - load<i32>(o);
  }

  /** Where the bytes of a row are: in the memory of the batch, which is not to be written. */
  @inline
  at(row: i32): usize {
    return this.data + load<u32>(this.offsets + ((<usize>row) << 2));
  }

  /** How many bytes rows from the first one have together. */
  total(rows: i32): i32 {
    return rows ? load<i32>(this.offsets + ((<usize>rows) << 2)) - load<i32>(this.offsets) : 0;
  }

  /** How many bytes rows from one up to but not another have together. */
  between(from: i32, to: i32): i32 {
    return load<i32>(this.offsets + ((<usize>to) << 2)) - load<i32>(this.offsets + ((<usize>from) << 2));
  }

  /** The string of a row. It makes a new string: for tight loops compare bytes, with is. */
  get(row: i32): string {
    return String.UTF8.decodeUnsafe(this.at(row), this.length(row));
  }

  /** Tells whether a row is this text. */
  is(row: i32, text: Utf8): bool {
    return this.length(row) == text.length && memory.compare(this.at(row), text.at, text.length) == 0;
  }

  /** The place of the first such byte in a row, or its length. */
  indexOf(row: i32, byte: u8): i32 {
    const at = this.at(row), n = this.length(row);
    for (let i = 0; i < n; i++) {
      if (load<u8>(at + i) == byte) return i;
    }
    return n;
  }

  /** Tells whether the first so many bytes of a row are this text. */
  starts(row: i32, bytes: i32, text: Utf8): bool {
    return bytes == text.length && memory.compare(this.at(row), text.at, bytes) == 0;
  }
}

/** Copies n bytes. Short copies go by words: a memory.copy instruction costs more than it saves there. */
export function copy(to: usize, from: usize, n: usize): void {
  if (n > 64) {
    memory.copy(to, from, n);
    return;
  }
  for (; n >= 8; n -= 8, to += 8, from += 8) store<u64>(to, load<u64>(from));
  if (n & 4) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
  if (n & 2) {
    store<u16>(to, load<u16>(from));
    to += 2;
    from += 2;
  }
  if (n & 1) store<u8>(to, load<u8>(from));
}

/** A column of strings or binary that is made row by row. More rows or bytes than it was made for fail the call. */
@final
export class TextBuilder {
  private row: i32 = 0;
  private used: usize = 0;

  constructor(private offsets: usize, private data: usize, private rows: i32, private room: usize) {
    store<i32>(offsets, 0);
  }

  /** The next row is this string. */
  add(text: string): void {
    const n = <usize>String.UTF8.byteLength(text);
    this.reserve(n);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.data + this.used);
    this.end(n);
  }

  /** The next row is this text. */
  addUtf8(text: Utf8): void {
    this.addBytes(text.at, text.length);
  }

  /** The next row is that row of a column. */
  addFrom(text: Text, row: i32): void {
    this.addBytes(text.at(row), text.length(row));
  }

  /** The next row is so many bytes. */
  addBytes(at: usize, n: usize): void {
    this.reserve(n);
    copy(this.data + this.used, at, n);
    this.end(n);
  }

  private reserve(n: usize): void {
    assert(n <= this.room - this.used && this.row < this.rows, "more strings, or longer ones, than newText was told");
  }

  private end(n: usize): void {
    this.used += n;
    this.row++;
    store<i32>(this.offsets + ((<usize>this.row) << 2), <i32>this.used);
  }
}
