use std::slice;

use crate::guest::{at, Array};
use crate::schema::Column;
use crate::types::{Fixed, View};

/// The rows of one call. Views of it must not be kept beyond the call, and the compiler sees to that.
pub struct Batch<'a> {
    array: &'a Array,
    columns: &'a [u32],
}

/// A column as the host gives it.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    pub(crate) array: &'a Array,
    pub(crate) buffers: &'a [u32],
    pub(crate) rows: usize,
}

impl<'a> Batch<'a> {
    /// Safety: address is that of an array from the host, which stays and does not change for `'a`.
    pub(crate) unsafe fn new(address: u32) -> Batch<'a> {
        let array: &Array = &*at(address);
        Batch { array, columns: slice::from_raw_parts(at(array.children), array.n_children as usize) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.array.length() as usize
    }

    /// The values of a column: [`Values`], [`Bools`], [`Strings`], [`Binary`] or [`Lists`](crate::Lists).
    pub fn column<T: View<'a> + ?Sized>(&self, column: Column<T>) -> T::View {
        T::view(self.raw(column.index))
    }

    pub(crate) fn raw(&self, column: usize) -> Raw<'a> {
        // Safety: the host laid out an array for each column of the schema, with the buffers of its type.
        unsafe {
            let array: &Array = &*at(self.columns[column]);
            Raw { array, buffers: slice::from_raw_parts(at(array.buffers), array.n_buffers as usize), rows: self.rows() }
        }
    }
}

impl<'a> Raw<'a> {
    /// Safety: buffer i has n values of T.
    pub(crate) unsafe fn buffer<T>(&self, i: usize, n: usize) -> &'a [T] {
        if n == 0 {
            return &[];
        }
        slice::from_raw_parts(at(self.buffers[i]), n)
    }

    /// The items of a list column, of which there are so many. Safety: it is one.
    pub(crate) unsafe fn items(&self, rows: usize) -> Raw<'a> {
        let child: &u32 = &*at(self.array.children);
        let array: &Array = &*at(*child);
        Raw { array, buffers: slice::from_raw_parts(at(array.buffers), array.n_buffers as usize), rows }
    }

    pub(crate) fn validity(&self) -> Option<&'a [u8]> {
        if self.buffers[0] == 0 {
            return None;
        }
        Some(unsafe { self.buffer(0, bytes(self.rows)) })
    }
}

/// The bytes of a bitmap.
pub(crate) fn bytes(rows: usize) -> usize {
    (rows + 7) / 8
}

pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row >> 3] >> (row & 7) & 1 != 0
}

macro_rules! view {
    ($name:ident [$($params:tt)*] [$($bound:tt)*], $item:ty) => {
        impl<'a, $($bound)*> $name<$($params)*> {
            /// The value of a row, or `None` where it is null. A row that is not there is a panic.
            #[inline]
            pub fn get(&self, row: usize) -> Option<$item> {
                if self.is_valid(row) {
                    Some(self.value(row))
                } else {
                    None
                }
            }

            /// Goes over the rows, `None` for nulls.
            #[inline]
            pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<$item>> + DoubleEndedIterator + 'a {
                let view = *self;
                (0..view.len()).map(move |i| view.get(i))
            }

            /// Tells whether there are no rows.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

/// A column of numbers.
#[derive(Clone, Copy)]
pub struct Values<'a, T> {
    values: &'a [T],
    validity: Option<&'a [u8]>,
}

view!(Values ['a, T] [T: Fixed + 'a], T);

impl<'a, T: Fixed> Values<'a, T> {
    pub(crate) fn new(raw: Raw<'a>) -> Self {
        // Safety: T has the width of the column's type.
        Values { values: unsafe { raw.buffer(1, raw.rows) }, validity: raw.validity() }
    }

    /// Items of a list: some of these, which have no nulls.
    pub(crate) fn some(&self, from: usize, to: usize) -> Self {
        Values { values: &self.values[from..to], validity: None }
    }

    /// All values; what is under a null is any number.
    pub fn as_slice(&self) -> &'a [T] {
        self.values
    }

    /// The value of a row, any number where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> T {
        self.values[row]
    }
}

/// A column of truth values.
#[derive(Clone, Copy)]
pub struct Bools<'a> {
    pub(crate) bits: &'a [u8],
    validity: Option<&'a [u8]>,
    rows: usize,
    from: usize, // the bit of the first one
}

view!(Bools ['a] [], bool);

impl<'a> Bools<'a> {
    pub(crate) fn new(raw: Raw<'a>) -> Self {
        // Safety: so long is the bitmap of a bool column.
        Bools { bits: unsafe { raw.buffer(1, bytes(raw.rows)) }, validity: raw.validity(), rows: raw.rows, from: 0 }
    }

    /// Items of a list: some of these, which have no nulls.
    pub(crate) fn some(&self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows, "no such items");
        Bools { bits: self.bits, validity: None, rows: to - from, from: self.from + from }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The value of a row, either where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> bool {
        assert!(row < self.rows, "no such row");
        bit(self.bits, self.from + row)
    }
}

/// A column of byte strings.
#[derive(Clone, Copy)]
pub struct Binary<'a> {
    pub(crate) offsets: &'a [i32],
    pub(crate) data: &'a [u8],
    validity: Option<&'a [u8]>,
}

view!(Binary ['a] [], &'a [u8]);

impl<'a> Binary<'a> {
    pub(crate) fn new(raw: Raw<'a>) -> Self {
        if raw.rows == 0 {
            return Binary { offsets: &[0], data: &[], validity: None };
        }
        // Safety: the host made sure that offsets start at 0 or above, never fall, and end in the data.
        unsafe {
            let offsets: &[i32] = raw.buffer(1, raw.rows + 1);
            Binary { offsets, data: raw.buffer(2, offsets[raw.rows] as usize), validity: raw.validity() }
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The value of a row, any where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> &'a [u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The bytes of all rows together.
    pub fn data_len(&self) -> usize {
        (self.offsets[self.len()] - self.offsets[0]) as usize
    }

    /// Items of a list: some of these, which have no nulls.
    pub(crate) fn some(&self, from: usize, to: usize) -> Self {
        Binary { offsets: &self.offsets[from..=to], data: self.data, validity: None }
    }
}

/// A column of UTF-8 strings.
#[derive(Clone, Copy)]
pub struct Strings<'a>(pub(crate) Binary<'a>);

view!(Strings ['a] [], &'a str);

impl<'a> Strings<'a> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a row, any where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> &'a str {
        // Safety: strings are UTF-8 in a batch; the host checks it where they come in and after each operator.
        unsafe { std::str::from_utf8_unchecked(self.0.value(row)) }
    }

    /// The bytes of all rows together.
    pub fn data_len(&self) -> usize {
        self.0.data_len()
    }

    /// Tells whether a row is not null.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.0.is_valid(row)
    }
}

macro_rules! validity {
    ($($name:ident [$($params:tt)*] [$($bound:tt)*];)*) => {$(
        impl<'a, $($bound)*> $name<$($params)*> {
            /// Tells whether a row is not null.
            #[inline]
            pub fn is_valid(&self, row: usize) -> bool {
                match self.validity {
                    None => true,
                    Some(bits) => bit(bits, row),
                }
            }
        }
    )*};
}

validity! {
    Values ['a, T] [T: Fixed];
    Bools ['a] [];
    Binary ['a] [];
}

impl<'a, T: Fixed> Values<'a, T> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }
}
