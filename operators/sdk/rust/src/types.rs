use std::marker::PhantomData;

use crate::batch::{Binary, Bools, Raw, Strings, Values};
use crate::list::{Lists, Slice};

/// The type of a column. Dates are days and timestamps are counts since 1970, in UTC.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    String,
    Binary,
    Date32,
    TimestampS,
    TimestampMs,
    TimestampUs,
    TimestampNs,
    /// Of items of a type, which is no list itself. No item is null.
    List(&'static Type),
}

/// Each type, its format in an ArrowSchema with a zero byte behind it, its name in pipelines, its bytes per value, and the name
/// of lists of it.
static TABLE: [(Type, &str, &str, usize, &str); 18] = [
    (Type::Bool, "b\0", "bool", 0, "list<bool>"),
    (Type::Int8, "c\0", "int8", 1, "list<int8>"),
    (Type::Int16, "s\0", "int16", 2, "list<int16>"),
    (Type::Int32, "i\0", "int32", 4, "list<int32>"),
    (Type::Int64, "l\0", "int64", 8, "list<int64>"),
    (Type::Uint8, "C\0", "uint8", 1, "list<uint8>"),
    (Type::Uint16, "S\0", "uint16", 2, "list<uint16>"),
    (Type::Uint32, "I\0", "uint32", 4, "list<uint32>"),
    (Type::Uint64, "L\0", "uint64", 8, "list<uint64>"),
    (Type::Float32, "f\0", "float32", 4, "list<float32>"),
    (Type::Float64, "g\0", "float64", 8, "list<float64>"),
    (Type::String, "u\0", "string", 0, "list<string>"),
    (Type::Binary, "z\0", "binary", 0, "list<binary>"),
    (Type::Date32, "tdD\0", "date32", 4, "list<date32>"),
    (Type::TimestampS, "tss:UTC\0", "timestamp[s]", 8, "list<timestamp[s]>"),
    (Type::TimestampMs, "tsm:UTC\0", "timestamp[ms]", 8, "list<timestamp[ms]>"),
    (Type::TimestampUs, "tsu:UTC\0", "timestamp[us]", 8, "list<timestamp[us]>"),
    (Type::TimestampNs, "tsn:UTC\0", "timestamp[ns]", 8, "list<timestamp[ns]>"),
];

impl Type {
    /// The name used in pipelines: `float64`, `timestamp[ms]`.
    pub fn name(self) -> &'static str {
        match self.item() {
            None => self.row().2,
            Some(item) => item.row().4,
        }
    }

    /// The type of a list's items.
    pub fn item(self) -> Option<Type> {
        match self {
            Type::List(item) => Some(*item),
            _ => None,
        }
    }

    fn row(self) -> &'static (Type, &'static str, &'static str, usize, &'static str) {
        TABLE.iter().find(|t| t.0 == self).unwrap_or(&TABLE[0])
    }

    pub(crate) fn format(self) -> &'static str {
        match self {
            Type::List(_) => "+l\0",
            _ => self.row().1,
        }
    }

    pub(crate) fn width(self) -> usize {
        self.row().3
    }

    pub(crate) fn is_text(self) -> bool {
        matches!(self, Type::String | Type::Binary)
    }

    pub(crate) fn parse(format: &str) -> Option<&'static Type> {
        TABLE.iter().find(|t| t.1.trim_end_matches('\0') == format).map(|t| &t.0)
    }
}

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// A Rust type that values of a column can have: `bool`, the numbers, `str`, `[u8]`, and [`List`] of one of them. Dates are
/// `i32`, timestamps `i64`.
pub trait Kind: Sealed {
    /// The type of a new column of this kind.
    const TYPE: Type;

    /// Tells whether columns of a type have values of this kind.
    fn holds(t: Type) -> bool {
        t == Self::TYPE
    }
}

/// A number.
pub trait Fixed: Kind + Copy + 'static + for<'a> View<'a, View = Values<'a, Self>> {}

/// How a column of this kind is looked at.
pub trait View<'a>: Kind {
    /// [`Values`], [`Bools`], [`Strings`], [`Binary`] or [`Lists`].
    type View;

    #[doc(hidden)]
    fn view(raw: Raw<'a>) -> Self::View;
}

macro_rules! fixed {
    ($($t:ty => $type:ident [$($also:ident)*];)*) => {$(
        impl Sealed for $t {}
        impl Kind for $t {
            const TYPE: Type = Type::$type;
            fn holds(t: Type) -> bool {
                matches!(t, Type::$type $(| Type::$also)*)
            }
        }
        impl Fixed for $t {}
        impl<'a> View<'a> for $t {
            type View = Values<'a, $t>;
            fn view(raw: Raw<'a>) -> Self::View {
                Values::new(raw)
            }
        }
    )*};
}

fixed! {
    i8 => Int8 [];
    i16 => Int16 [];
    i32 => Int32 [Date32];
    i64 => Int64 [TimestampS TimestampMs TimestampUs TimestampNs];
    u8 => Uint8 [];
    u16 => Uint16 [];
    u32 => Uint32 [];
    u64 => Uint64 [];
    f32 => Float32 [];
    f64 => Float64 [];
}

impl Sealed for bool {}
impl Kind for bool {
    const TYPE: Type = Type::Bool;
}
impl<'a> View<'a> for bool {
    type View = Bools<'a>;
    fn view(raw: Raw<'a>) -> Bools<'a> {
        Bools::new(raw)
    }
}

impl Sealed for str {}
impl Kind for str {
    const TYPE: Type = Type::String;
}
impl<'a> View<'a> for str {
    type View = Strings<'a>;
    fn view(raw: Raw<'a>) -> Strings<'a> {
        Strings(Binary::new(raw))
    }
}

impl Sealed for [u8] {}
impl Kind for [u8] {
    const TYPE: Type = Type::Binary;
}
impl<'a> View<'a> for [u8] {
    type View = Binary<'a>;
    fn view(raw: Raw<'a>) -> Binary<'a> {
        Binary::new(raw)
    }
}

/// The kind of a column of lists of `T`: `Column<List<f64>>`.
pub struct List<T: ?Sized>(PhantomData<fn() -> Box<T>>);

impl<T: Kind + ?Sized> Sealed for List<T> {}
impl<T: Kind + ?Sized> Kind for List<T> {
    const TYPE: Type = Type::List(&T::TYPE);
    fn holds(t: Type) -> bool {
        t.item().map_or(false, T::holds)
    }
}
impl<'a, T: View<'a> + ?Sized> View<'a> for List<T>
where
    T::View: Slice,
{
    type View = Lists<'a, T::View>;
    fn view(raw: Raw<'a>) -> Self::View {
        Lists::new(raw, T::view)
    }
}
