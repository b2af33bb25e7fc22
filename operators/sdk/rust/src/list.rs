use crate::batch::{bit, Binary, Bools, Raw, Strings, Values};
use crate::types::Fixed;

/// A view of which a part can be taken: the items of one list.
pub trait Slice: Copy {
    /// Items from one up to but not another. Ones that are not there are a panic.
    fn slice(&self, from: usize, to: usize) -> Self;
}

impl<'a, T: Fixed> Slice for Values<'a, T> {
    fn slice(&self, from: usize, to: usize) -> Self {
        self.some(from, to)
    }
}

impl<'a> Slice for Bools<'a> {
    fn slice(&self, from: usize, to: usize) -> Self {
        self.some(from, to)
    }
}

impl<'a> Slice for Binary<'a> {
    fn slice(&self, from: usize, to: usize) -> Self {
        self.some(from, to)
    }
}

impl<'a> Slice for Strings<'a> {
    fn slice(&self, from: usize, to: usize) -> Self {
        Strings(self.0.some(from, to))
    }
}

/// A column of lists. Each list is a view of its items: of a `Column<List<f64>>` it is [`Values`].
#[derive(Clone, Copy)]
pub struct Lists<'a, V> {
    offsets: &'a [i32],
    validity: Option<&'a [u8]>,
    items: V,
}

impl<'a, V: Slice> Lists<'a, V> {
    pub(crate) fn new(raw: Raw<'a>, view: impl FnOnce(Raw<'a>) -> V) -> Self {
        // Safety: it is a list column; the host made sure that offsets start at 0 or above, never fall, and end in the items.
        unsafe {
            let offsets: &[i32] = if raw.rows == 0 { &[0] } else { raw.buffer(1, raw.rows + 1) };
            let items = view(raw.items(offsets[raw.rows] as usize));
            Lists { offsets, validity: raw.validity(), items }
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Tells whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether a row is not null.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.map_or(true, |bits| bit(bits, row))
    }

    /// The list of a row, any where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> V {
        self.items.slice(self.offsets[row] as usize, self.offsets[row + 1] as usize)
    }

    /// The list of a row, or `None` where it is null. A row that is not there is a panic.
    #[inline]
    pub fn get(&self, row: usize) -> Option<V> {
        if self.is_valid(row) {
            Some(self.value(row))
        } else {
            None
        }
    }

    /// Goes over the rows, `None` for nulls.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<V>> + DoubleEndedIterator + 'a
    where
        V: 'a,
    {
        let view = *self;
        (0..view.len()).map(move |i| view.get(i))
    }

    /// How many items all rows have together.
    pub fn item_count(&self) -> usize {
        (self.offsets[self.len()] - self.offsets[0]) as usize
    }

    /// The items of all rows, one row after the other.
    pub fn items(&self) -> V {
        self.items.slice(self.offsets[0] as usize, self.offsets[self.len()] as usize)
    }
}
