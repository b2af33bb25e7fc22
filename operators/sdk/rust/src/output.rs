use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::slice;

use crate::batch::{bytes, Batch, Binary, Raw};
use crate::error::{Cause, Error, Result};
use crate::guest::address;
use crate::schema::{Column, Field, Target};
use crate::types::{Fixed, Type};

/// The output of one call. What is made lies in the window that the host gave; where it has no room left, methods return an
/// error to hand on with `?`, and the host calls again with fewer rows.
///
/// Unless [`take`](Output::take) or [`set_len`](Output::set_len) says otherwise the output has as many rows as the input.
pub struct Output<'a> {
    pub(crate) batch: &'a Batch<'a>,
    pub(crate) columns: &'a [Made],
    room: *mut u8,
    left: usize,
    rows: usize,
}

/// An output column, and what this batch makes of it.
pub(crate) struct Made {
    pub(crate) source: Option<usize>,
    pub(crate) kind: Type,
    pub(crate) made: Cell<bool>,
    pub(crate) rows: Cell<usize>,
    pub(crate) validity: Cell<u32>,
    pub(crate) offsets: Cell<u32>,
    pub(crate) values: Cell<u32>,
    pub(crate) items: Cell<usize>, // of lists
    pub(crate) item_offsets: Cell<u32>,
}

impl Made {
    pub(crate) fn new(field: &Field) -> Made {
        Made {
            source: field.source,
            kind: field.kind,
            made: Cell::new(false),
            rows: Cell::new(0),
            validity: Cell::new(0),
            offsets: Cell::new(0),
            values: Cell::new(0),
            items: Cell::new(0),
            item_offsets: Cell::new(0),
        }
    }
}

impl<'a> Output<'a> {
    /// Safety: room has so many bytes, which nobody else uses for `'a`.
    pub(crate) unsafe fn new(batch: &'a Batch<'a>, columns: &'a [Made], room: *mut u8, left: usize) -> Output<'a> {
        for c in columns {
            c.made.set(false);
            c.validity.set(0);
        }
        Output { batch, columns, room, left, rows: batch.rows() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes n values of the window, with undefined contents. They are aligned to 64 bytes.
    pub(crate) fn alloc<T>(&mut self, n: usize) -> Result<&'a mut [T]> {
        let size = n.checked_mul(std::mem::size_of::<T>()).filter(|&s| s <= self.left).ok_or(Error(Cause::Full))?;
        let at = self.room as *mut T;
        let step = self.left.min((size + 63) & !63);
        // Safety: the window outlives the output, and what is taken is not given out again. The host aligns it to a page.
        unsafe {
            self.room = self.room.add(step);
            self.left -= step;
            Ok(slice::from_raw_parts_mut(at, n))
        }
    }

    pub(crate) fn make(&self, column: usize, rows: usize, values: u32) -> &'a Made {
        let c = &self.columns[column];
        c.made.set(true);
        c.rows.set(rows);
        c.values.set(values);
        c
    }

    pub(crate) fn validity(&mut self, column: usize, rows: usize) -> Result<&'a mut [u8]> {
        let bits = self.alloc::<u8>(bytes(rows))?;
        bits.fill(0xff);
        self.columns[column].validity.set(address(bits.as_ptr()));
        Ok(bits)
    }

    /// Makes a column of numbers without nulls, to be filled: what is in it before is undefined.
    pub fn values<T: Fixed>(&mut self, target: Target<T>, rows: usize) -> Result<&'a mut [T]> {
        let values = self.alloc(rows)?;
        self.make(target.index, rows, address(values.as_ptr()));
        Ok(values)
    }

    /// Makes a column of numbers, row by row.
    pub fn builder<T: Fixed>(&mut self, target: Target<T>, rows: usize) -> Result<Builder<'a, T>> {
        let values = self.values(target, rows)?;
        let validity = self.validity(target.index, rows)?;
        Ok(Builder { values, validity, row: 0, column: &self.columns[target.index] })
    }

    /// Makes a column of truth values, row by row.
    pub fn bools(&mut self, target: Target<bool>, rows: usize) -> Result<BoolBuilder<'a>> {
        let bits = self.alloc::<u8>(bytes(rows))?;
        bits.fill(0);
        let column = self.make(target.index, rows, address(bits.as_ptr()));
        let validity = self.validity(target.index, rows)?;
        Ok(BoolBuilder { bits, validity, row: 0, rows, column })
    }

    /// Makes a column of strings, row by row, which have at most so many bytes together.
    pub fn strings(&mut self, target: Target<str>, rows: usize, bytes: usize) -> Result<BytesBuilder<'a, str>> {
        self.text(target, rows, bytes)
    }

    /// Makes a column of byte strings, row by row, which have at most so many bytes together.
    pub fn binary(&mut self, target: Target<[u8]>, rows: usize, bytes: usize) -> Result<BytesBuilder<'a, [u8]>> {
        self.text(target, rows, bytes)
    }

    fn text<T: ?Sized>(&mut self, target: Target<T>, rows: usize, bytes: usize) -> Result<BytesBuilder<'a, T>> {
        let (offsets, data) = self.bytes(target.index, rows, bytes)?;
        let validity = self.validity(target.index, rows)?;
        Ok(BytesBuilder { offsets, data, validity, row: 0, len: 0, column: &self.columns[target.index], kind: PhantomData })
    }

    fn bytes(&mut self, column: usize, rows: usize, bytes: usize) -> Result<(&'a mut [i32], &'a mut [u8])> {
        if bytes > i32::MAX as usize {
            return Err(Error(Cause::Full));
        }
        let offsets = self.alloc::<i32>(rows + 1)?;
        offsets[0] = 0;
        let data = self.alloc::<u8>(bytes)?;
        self.make(column, rows, address(data.as_ptr())).offsets.set(address(offsets.as_ptr()));
        Ok((offsets, data))
    }

    /// Gives a column made with [`values`](Output::values) nulls, which are then set. The column must be declared to hold them.
    pub fn nulls<T: Fixed>(&mut self, target: Target<T>, rows: usize) -> Result<Nulls<'a>> {
        Ok(Nulls(self.validity(target.index, rows)?))
    }

    /// Gives a column with new values the nulls of an input column; both have as many rows as the input. No bytes are copied.
    pub fn keep_nulls<T: ?Sized, S: ?Sized>(&mut self, target: Target<T>, column: Column<S>) {
        self.columns[target.index].validity.set(self.batch.raw(column.index).buffers[0]);
    }

    /// Sets how many rows the output has, where every column was made new. [`take`](Output::take) does it otherwise.
    pub fn set_len(&mut self, rows: usize) {
        self.rows = rows;
    }

    /// Gives every passed column just these rows, whose numbers must not fall; a row can come more than once.
    pub fn take(&mut self, rows: &[u32]) -> Result<()> {
        let n = self.batch.rows();
        if rows.iter().fold(0, |most, &r| most.max(r as usize + 1)) > n {
            return Err(Error::new("takes a row that is not in the batch"));
        }
        self.take_rows(rows)
    }

    /// The rows are there.
    fn take_rows(&mut self, rows: &[u32]) -> Result<()> {
        for (o, c) in self.columns.iter().enumerate() {
            if let (Some(source), false) = (c.source, c.made.get()) {
                self.take_column(o, source, rows)?;
            }
        }
        self.rows = rows.len();
        Ok(())
    }

    /// Gives every passed column just the rows for which `keep` is true. It is faster than [`take`](Output::take) of a list that
    /// is made with a branch for each row, since nobody can guess which rows a filter keeps; and for the same reason a condition
    /// without branches is faster: `v.is_valid(row) & (v.value(row) > 30.0)` than `v.get(row) > Some(30.0)`.
    pub fn filter(&mut self, mut keep: impl FnMut(usize) -> bool) -> Result<()> {
        let n = self.batch.rows();
        let rows = self.alloc::<u32>(n)?;
        let (mut kept, mut row) = (0, 0);
        // Eight at a time: a round of a loop takes longer than a comparison.
        while row + 8 <= n {
            let mut bits = 0;
            for k in 0..8 {
                // Safety: so it is. The compiler then need not check it for every value.
                if row + k >= n {
                    unsafe { std::hint::unreachable_unchecked() }
                }
                bits |= (keep(row + k) as u8) << k;
            }
            // Safety: kept is at most row.
            kept = unsafe { pick(rows.as_mut_ptr(), kept, row, bits) };
            row += 8;
        }
        while row < n {
            // Safety: kept is at most row.
            unsafe { *rows.get_unchecked_mut(kept) = row as u32 };
            kept += keep(row) as usize;
            row += 1;
        }
        self.take_rows(&rows[..kept])
    }

    /// Safety of the copies in it: take made sure that all rows are there.
    fn take_column(&mut self, o: usize, source: usize, rows: &[u32]) -> Result<()> {
        let raw = self.batch.raw(source);
        if raw.array.null_count != 0 {
            if let Some(from) = raw.validity() {
                let to = self.alloc(bytes(rows.len()))?;
                take_bits(to, from, rows);
                self.columns[o].validity.set(address(to.as_ptr()));
            }
        }
        let kind = self.columns[o].kind;
        match kind.item() {
            Some(item) => self.take_list(o, item, raw, rows),
            None => self.take_values(o, kind, raw, rows),
        }
    }

    /// The values of a column, or of the items of a list, at these places. Safety: all are there.
    #[inline(never)]
    pub(crate) fn take_values(&mut self, o: usize, kind: Type, raw: Raw, rows: &[u32]) -> Result<()> {
        if kind.is_text() {
            return self.take_bytes(o, Binary::new(raw), rows);
        }
        macro_rules! fixed {
            ($t:ty) => {{
                let from = unsafe { raw.buffer::<$t>(1, raw.rows) };
                let to = self.alloc::<$t>(rows.len())?;
                for (to, r) in to.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
                    // From the last to the first: the bounds of all are then checked with the one.
                    for k in [3, 2, 1, 0] {
                        to[k] = unsafe { *from.get_unchecked(r[k] as usize) };
                    }
                }
                let done = rows.len() & !3;
                for (to, &r) in to[done..].iter_mut().zip(&rows[done..]) {
                    *to = unsafe { *from.get_unchecked(r as usize) };
                }
                address(to.as_ptr())
            }};
        }
        let values = match kind.width() {
            0 => {
                let to = self.alloc(bytes(rows.len()))?;
                take_bits(to, unsafe { raw.buffer(1, bytes(raw.rows)) }, rows);
                address(to.as_ptr())
            }
            1 => fixed!(u8),
            2 => fixed!(u16),
            4 => fixed!(u32),
            _ => fixed!(u64),
        };
        self.make(o, rows.len(), values);
        Ok(())
    }

    /// One pass: the data takes what room there is, and gives back the rest. Short strings are copied as 16 bytes, whatever
    /// their length, where there is so much to read and to write: what is too much is written over by the next one.
    fn take_bytes(&mut self, o: usize, from: Binary, rows: &[u32]) -> Result<()> {
        let (offsets, _) = self.bytes(o, rows.len(), 0)?;
        let (start, left) = (self.room, self.left.min(i32::MAX as usize));
        let mut at = 0;
        for (i, &r) in rows.iter().enumerate() {
            // Safety: r is a row, offsets lie in the data, and no more than what is left is written.
            unsafe {
                let two = (from.offsets.as_ptr().add(r as usize) as *const u64).read_unaligned();
                let (first, len) = (two as u32 as usize, ((two >> 32) as u32).wrapping_sub(two as u32) as usize);
                let (src, to) = (from.data.as_ptr().add(first), start.add(at));
                if len <= 16 && first + 16 <= from.data.len() && at + 16 <= left {
                    // The second word first: the bounds of both are then checked with the one.
                    let second = (src.add(8) as *const u64).read_unaligned();
                    let first = (src as *const u64).read_unaligned();
                    (to.add(8) as *mut u64).write_unaligned(second);
                    (to as *mut u64).write_unaligned(first);
                } else if len > left - at {
                    return Err(Error(Cause::Full));
                } else {
                    ptr::copy_nonoverlapping(src, to, len);
                }
                at += len;
                *offsets.get_unchecked_mut(i + 1) = at as i32;
            }
        }
        self.columns[o].values.set(address(start));
        self.alloc::<u8>(at).map(|_| ())
    }
}

fn take_bits(to: &mut [u8], from: &[u8], rows: &[u32]) {
    for (to, rows) in to.iter_mut().zip(rows.chunks(8)) {
        let mut bits = 0;
        // Safety: all rows are there.
        let one = |r: u32| unsafe { *from.get_unchecked(r as usize >> 3) } >> (r & 7) & 1;
        if let [a, b, c, d, e, f, g, h] = *rows {
            bits = one(a) | one(b) << 1 | one(c) << 2 | one(d) << 3 | one(e) << 4 | one(f) << 5 | one(g) << 6 | one(h) << 7;
        } else {
            for (i, &r) in rows.iter().enumerate() {
                bits |= one(r) << i;
            }
        }
        *to = bits;
    }
}

/// Stores the rows of these eight that a bit says, behind those that are there, and returns how many there are then. A table
/// has the rows of four bits, two of them in a number: that many are stored, whatever the bits, and what is too much is written
/// over by the next.
///
/// Safety: eight numbers at `kept` lie in `to`.
#[inline]
unsafe fn pick(to: *mut u32, mut kept: usize, row: usize, bits: u8) -> usize {
    const fn two(a: u64, b: u64) -> u64 {
        a | b << 32
    }
    static ROWS: [[u64; 2]; 16] = [
        [0, 0],
        [0, 0],
        [1, 0],
        [two(0, 1), 0],
        [2, 0],
        [two(0, 2), 0],
        [two(1, 2), 0],
        [two(0, 1), 2],
        [3, 0],
        [two(0, 3), 0],
        [two(1, 3), 0],
        [two(0, 1), 3],
        [two(2, 3), 0],
        [two(0, 2), 3],
        [two(1, 2), 3],
        [two(0, 1), two(2, 3)],
    ];
    let row = row as u64;
    for (first, bits) in [(row, bits & 15), (row + 4, bits >> 4)] {
        let ([a, b], first) = (ROWS[bits as usize], two(first, first));
        (to.add(kept) as *mut [u64; 2]).write_unaligned([a + first, b + first]);
        kept += bits.count_ones() as usize;
    }
    kept
}

pub(crate) fn clear(bits: &mut [u8], row: usize) {
    bits[row >> 3] &= !(1 << (row & 7));
}

/// The nulls of a column that is made.
pub struct Nulls<'a>(&'a mut [u8]);

impl Nulls<'_> {
    /// Makes a row null.
    pub fn set(&mut self, row: usize) {
        clear(self.0, row);
    }
}

/// Makes a column of numbers. It is a panic to push more rows than it was made for; fewer fail the call.
pub struct Builder<'a, T> {
    values: &'a mut [T],
    validity: &'a mut [u8],
    row: usize,
    column: &'a Made,
}

impl<T: Fixed> Builder<'_, T> {
    /// The next row is this value.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.values[self.row] = value;
        self.row += 1;
    }

    /// The next row is null.
    #[inline]
    pub fn push_null(&mut self) {
        clear(self.validity, self.row);
        self.row += 1;
    }
}

/// Makes a column of truth values. It is a panic to push more rows than it was made for; fewer fail the call.
pub struct BoolBuilder<'a> {
    bits: &'a mut [u8],
    validity: &'a mut [u8],
    row: usize,
    rows: usize,
    column: &'a Made,
}

impl BoolBuilder<'_> {
    /// The next row is this value.
    #[inline]
    pub fn push(&mut self, value: bool) {
        assert!(self.row < self.rows, "more rows than the builder was made for");
        self.bits[self.row >> 3] |= (value as u8) << (self.row & 7);
        self.row += 1;
    }

    /// The next row is null.
    #[inline]
    pub fn push_null(&mut self) {
        assert!(self.row < self.rows, "more rows than the builder was made for");
        clear(self.validity, self.row);
        self.row += 1;
    }
}

/// Makes a column of strings (`T` is `str`) or byte strings (`[u8]`). It is a panic to push more rows, or more bytes, than it
/// was made for; fewer rows fail the call.
pub struct BytesBuilder<'a, T: ?Sized> {
    offsets: &'a mut [i32],
    data: &'a mut [u8],
    validity: &'a mut [u8],
    row: usize,
    len: usize,
    column: &'a Made,
    kind: PhantomData<fn(&T)>,
}

impl<T: AsRef<[u8]> + ?Sized> BytesBuilder<'_, T> {
    /// The next row is this value.
    #[inline]
    pub fn push(&mut self, value: &T) {
        let value = value.as_ref();
        self.data[self.len..self.len + value.len()].copy_from_slice(value);
        self.len += value.len();
        self.row += 1;
        self.offsets[self.row] = self.len as i32;
    }

    /// The next row is null.
    #[inline]
    pub fn push_null(&mut self) {
        self.row += 1;
        self.offsets[self.row] = self.len as i32;
        clear(self.validity, self.row - 1);
    }
}

impl BoolBuilder<'_> {
    /// The next row is this value, or null.
    #[inline]
    pub fn push_option(&mut self, value: Option<bool>) {
        match value {
            Some(v) => self.push(v),
            None => self.push_null(),
        }
    }
}

impl Drop for BoolBuilder<'_> {
    fn drop(&mut self) {
        self.column.rows.set(self.row);
    }
}

impl<T: Fixed> Builder<'_, T> {
    /// The next row is this value, or null.
    #[inline]
    pub fn push_option(&mut self, value: Option<T>) {
        match value {
            Some(v) => self.push(v),
            None => self.push_null(),
        }
    }
}

impl<T> Drop for Builder<'_, T> {
    fn drop(&mut self) {
        self.column.rows.set(self.row);
    }
}

impl<T: AsRef<[u8]> + ?Sized> BytesBuilder<'_, T> {
    /// The next row is this value, or null.
    #[inline]
    pub fn push_option(&mut self, value: Option<&T>) {
        match value {
            Some(v) => self.push(v),
            None => self.push_null(),
        }
    }
}

impl<T: ?Sized> Drop for BytesBuilder<'_, T> {
    fn drop(&mut self) {
        self.column.rows.set(self.row);
    }
}
