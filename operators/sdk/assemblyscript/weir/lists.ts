import { Made } from "./batch";
import { Bits, Text, Utf8, copy } from "./views";

/** Where a column of lists with that many items would be too large for its offsets. */
export const maxItems: i32 = 1 << 27;

/** The items of a row: from one up to but not another. */
@final
export class Items {
  constructor(readonly from: i32, readonly to: i32) {}
}

/** Which items the rows of a column of lists have; a row that is null has none. Rows are not checked against their number. */
@final
export class Lists {
  constructor(private offsets: usize, private validity: usize, private rows: i32) {}

  @inline
  private valid(row: i32): bool {
    return !this.validity || changetype<Bits>(this.validity)[row];
  }

  /** The first item of a row. */
  @inline
  from(row: i32): i32 {
    return this.valid(row) ? load<i32>(this.offsets + ((<usize>row) << 2)) : 0;
  }

  /** Behind the last item of a row. */
  @inline
  to(row: i32): i32 {
    return this.valid(row) ? load<i32>(this.offsets + ((<usize>row) << 2), 4) : 0;
  }

  /** How many items a row has. */
  @inline
  length(row: i32): i32 {
    return this.to(row) - this.from(row);
  }

  /** The items of a row. */
  get(row: i32): Items {
    return new Items(this.from(row), this.to(row));
  }

  /** How many items there are, those of all rows. */
  get total(): i32 {
    return load<i32>(this.offsets + ((<usize>this.rows) << 2));
  }
}

const tooMany = "more lists or items, or longer ones, than the column was made for";

/** Ends the list of the next row. */
function endList(c: Made, rows: i32): void {
  assert(c.rows < rows, tooMany);
  c.rows++;
  store<i32>(c.offsets + ((<usize>c.rows) << 2), c.items);
}

/** A column of lists of numbers that is made item by item. More than it was made for fails the call. */
@final
export class ListBuilder<T> {
  constructor(private c: Made, private rows: i32, private max: i32) {}

  /** The next item of this row. */
  add(item: T): void {
    assert(this.c.items < this.max, tooMany);
    store<T>(this.c.values + ((<usize>this.c.items) << alignof<T>()), item);
    this.c.items++;
  }

  /** Ends the list of this row: the next item is in the next one. */
  end(): void {
    endList(this.c, this.rows);
  }
}

/** A column of lists of truth values that is made item by item. More than it was made for fails the call. */
@final
export class BoolListBuilder {
  constructor(private c: Made, private rows: i32, private max: i32) {}

  /** The next item of this row. */
  add(item: bool): void {
    assert(this.c.items < this.max, tooMany);
    changetype<Bits>(this.c.values)[this.c.items] = item;
    this.c.items++;
  }

  /** Ends the list of this row: the next item is in the next one. */
  end(): void {
    endList(this.c, this.rows);
  }
}

/** A column of lists of strings or binary that is made item by item. More than it was made for fails the call. */
@final
export class TextListBuilder {
  private used: usize = 0;

  constructor(private c: Made, private rows: i32, private max: i32, private room: usize) {}

  /** The next item of this row is this string. */
  add(text: string): void {
    this.addUtf8(new Utf8(text));
  }

  /** The next item of this row is this text. */
  addUtf8(text: Utf8): void {
    this.addBytes(text.at, text.length);
  }

  /** The next item of this row is that row, or that item, of a column. */
  addFrom(text: Text, row: i32): void {
    this.addBytes(text.at(row), text.length(row));
  }

  /** The next item of this row is so many bytes. */
  addBytes(at: usize, n: usize): void {
    assert(this.c.items < this.max && n <= this.room - this.used, tooMany);
    copy(this.c.values + this.used, at, n);
    this.used += n;
    this.c.items++;
    store<i32>(this.c.itemOffsets + ((<usize>this.c.items) << 2), <i32>this.used);
  }

  /** Ends the list of this row: the next item is in the next one. */
  end(): void {
    endList(this.c, this.rows);
  }
}
