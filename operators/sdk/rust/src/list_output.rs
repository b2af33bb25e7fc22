use std::marker::PhantomData;

use crate::batch::{bytes, Raw};
use crate::error::{Cause, Error, Result};
use crate::guest::address;
use crate::output::{clear, Made, Output};
use crate::schema::Target;
use crate::types::{Fixed, List, Type};

/// Where the lists of a column end.
struct Ends<'a> {
    offsets: &'a mut [i32],
    validity: Option<&'a mut [u8]>,
    row: usize,
    items: usize,
    column: &'a Made,
}

impl Ends<'_> {
    fn end(&mut self) {
        self.row += 1;
        self.offsets[self.row] = self.items as i32;
    }

    fn null(&mut self) {
        if let Some(bits) = &mut self.validity {
            clear(bits, self.row);
        }
        self.end();
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.column.rows.set(self.row);
        self.column.items.set(self.items);
    }
}

macro_rules! rows {
    ($name:ident [$($params:tt)*] [$($bound:tt)*]) => {
        impl<$($bound)*> $name<$($params)*> {
            /// Ends the list of this row: the next item is in the next one.
            #[inline]
            pub fn end(&mut self) {
                self.ends.end();
            }

            /// The next row is null. Items that were pushed since the last end belong to no row.
            #[inline]
            pub fn push_null(&mut self) {
                self.ends.null();
            }
        }
    };
}

/// Makes a column of lists of numbers: item by item with [`push`](ListBuilder::push) and [`end`](ListBuilder::end), or list by
/// list. It is a panic to push more rows or items than it was made for; fewer rows fail the call.
pub struct ListBuilder<'a, T> {
    items: &'a mut [T],
    ends: Ends<'a>,
}
rows!(ListBuilder ['_, T] [T: Fixed]);

impl<T: Fixed> ListBuilder<'_, T> {
    /// The next item of this row's list.
    #[inline]
    pub fn push(&mut self, item: T) {
        self.items[self.ends.items] = item;
        self.ends.items += 1;
    }

    /// The next row is this list.
    pub fn push_list(&mut self, items: &[T]) {
        self.items[self.ends.items..self.ends.items + items.len()].copy_from_slice(items);
        self.ends.items += items.len();
        self.ends.end();
    }
}

/// Makes a column of lists of truth values. It is a panic to push more rows or items than it was made for; fewer rows fail the
/// call.
pub struct BoolListBuilder<'a> {
    bits: &'a mut [u8],
    max: usize,
    ends: Ends<'a>,
}
rows!(BoolListBuilder ['_] []);

impl BoolListBuilder<'_> {
    /// The next item of this row's list.
    #[inline]
    pub fn push(&mut self, item: bool) {
        let i = self.ends.items;
        assert!(i < self.max, "more items than the builder was made for");
        self.bits[i >> 3] |= (item as u8) << (i & 7);
        self.ends.items += 1;
    }
}

/// Makes a column of lists of strings (`T` is `str`) or byte strings (`[u8]`). It is a panic to push more rows, items or bytes
/// than it was made for; fewer rows fail the call.
pub struct BytesListBuilder<'a, T: ?Sized> {
    offsets: &'a mut [i32],
    data: &'a mut [u8],
    len: usize,
    ends: Ends<'a>,
    kind: PhantomData<fn(&T)>,
}
rows!(BytesListBuilder ['_, T] [T: ?Sized]);

impl<T: AsRef<[u8]> + ?Sized> BytesListBuilder<'_, T> {
    /// The next item of this row's list.
    #[inline]
    pub fn push(&mut self, item: &T) {
        let item = item.as_ref();
        self.data[self.len..self.len + item.len()].copy_from_slice(item);
        self.len += item.len();
        self.ends.items += 1;
        self.offsets[self.ends.items] = self.len as i32;
    }
}

impl<'a> Output<'a> {
    /// Makes a column of lists of numbers, which have at most so many items together.
    pub fn lists<T: Fixed>(&mut self, target: Target<List<T>>, rows: usize, items: usize) -> Result<ListBuilder<'a, T>> {
        let mut b = self.fixed_lists(target.index, rows, items)?;
        b.ends.validity = Some(self.validity(target.index, rows)?);
        Ok(b)
    }

    /// Makes a column of lists of truth values, which have at most so many items together.
    pub fn bool_lists(&mut self, target: Target<List<bool>>, rows: usize, items: usize) -> Result<BoolListBuilder<'a>> {
        let mut b = self.bit_lists(target.index, rows, items)?;
        b.ends.validity = Some(self.validity(target.index, rows)?);
        Ok(b)
    }

    /// Makes a column of lists of strings, which have at most so many items together, of at most so many bytes together.
    pub fn string_lists(
        &mut self,
        target: Target<List<str>>,
        rows: usize,
        items: usize,
        bytes: usize,
    ) -> Result<BytesListBuilder<'a, str>> {
        let mut b = self.text_lists(target.index, rows, items, bytes)?;
        b.ends.validity = Some(self.validity(target.index, rows)?);
        Ok(b)
    }

    /// Makes a column of lists of byte strings, likewise.
    pub fn binary_lists(
        &mut self,
        target: Target<List<[u8]>>,
        rows: usize,
        items: usize,
        bytes: usize,
    ) -> Result<BytesListBuilder<'a, [u8]>> {
        let mut b = self.text_lists(target.index, rows, items, bytes)?;
        b.ends.validity = Some(self.validity(target.index, rows)?);
        Ok(b)
    }

    fn ends(&mut self, column: usize, rows: usize, items: usize) -> Result<Ends<'a>> {
        if items >= 1 << 27 {
            return Err(Error(Cause::Full));
        }
        let offsets = self.alloc::<i32>(rows + 1)?;
        offsets[0] = 0;
        let made = &self.columns[column];
        made.offsets.set(address(offsets.as_ptr()));
        Ok(Ends { offsets, validity: None, row: 0, items: 0, column: made })
    }

    fn fixed_lists<T>(&mut self, column: usize, rows: usize, items: usize) -> Result<ListBuilder<'a, T>> {
        let ends = self.ends(column, rows, items)?;
        let items = self.alloc::<T>(items)?;
        self.make(column, rows, address(items.as_ptr()));
        Ok(ListBuilder { items, ends })
    }

    fn bit_lists(&mut self, column: usize, rows: usize, items: usize) -> Result<BoolListBuilder<'a>> {
        let ends = self.ends(column, rows, items)?;
        let bits = self.alloc::<u8>(bytes(items))?;
        bits.fill(0);
        self.make(column, rows, address(bits.as_ptr()));
        Ok(BoolListBuilder { bits, max: items, ends })
    }

    fn text_lists<T: ?Sized>(
        &mut self,
        column: usize,
        rows: usize,
        items: usize,
        bytes: usize,
    ) -> Result<BytesListBuilder<'a, T>> {
        if bytes > i32::MAX as usize {
            return Err(Error(Cause::Full));
        }
        let ends = self.ends(column, rows, items)?;
        let offsets = self.alloc::<i32>(items + 1)?;
        offsets[0] = 0;
        let data = self.alloc::<u8>(bytes)?;
        self.make(column, rows, address(data.as_ptr())).item_offsets.set(address(offsets.as_ptr()));
        Ok(BytesListBuilder { offsets, data, len: 0, ends, kind: PhantomData })
    }

    /// Gives a passed column of lists just these rows, which take made sure are there. Its nulls are taken apart.
    #[inline(never)]
    pub(crate) fn take_list(&mut self, o: usize, item: Type, raw: Raw, rows: &[u32]) -> Result<()> {
        // Safety: it is a list column, and so many offsets it has.
        let from: &[i32] = if raw.rows == 0 { &[0] } else { unsafe { raw.buffer(1, raw.rows + 1) } };
        let of = unsafe { raw.items(from[raw.rows] as usize) };
        let mut ends = self.ends(o, rows.len(), 0)?;
        let (offsets, column) = (address(ends.offsets.as_ptr()), ends.column);
        let mut places = Vec::new();
        for &r in rows {
            let span = from[r as usize] as u32..from[r as usize + 1] as u32;
            if places.len() + span.len() >= 1 << 27 {
                return Err(Error(Cause::Full));
            }
            places.extend(span);
            ends.items = places.len();
            ends.end();
        }
        self.take_values(o, item, of, &places)?;
        column.item_offsets.set(column.offsets.replace(offsets));
        Ok(()) // ends, dropped, says how many rows and items
    }
}
