use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::types::{Kind, Type};

/// A column of a schema.
#[derive(Clone, Debug)]
pub struct Field {
    /// UTF-8, from 1 to 255 bytes; unique in its schema.
    pub name: String,
    /// Of its values.
    pub kind: Type,
    /// Whether it may hold nulls.
    pub nullable: bool,
    pub(crate) source: Option<usize>,
}

/// The columns of the input, or of the output. A field of the input that is put into an output schema passes that column:
/// its bytes are not touched, unless a batch makes new values for it. A clone of the input passes everything.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    fields: Vec<Field>,
    pub(crate) keeps_rows: bool,
}

/// An input column with values of kind `T`, to be given to [`Batch::column`](crate::Batch::column).
pub struct Column<T: ?Sized> {
    pub(crate) index: usize,
    kind: PhantomData<fn() -> Box<T>>,
}

/// An output column that takes values of kind `T`, to be given to an [`Output`](crate::Output).
pub struct Target<T: ?Sized> {
    pub(crate) index: usize,
    kind: PhantomData<fn() -> Box<T>>,
}

macro_rules! handle {
    ($name:ident) => {
        impl<T: ?Sized> $name<T> {
            fn new(index: usize) -> Self {
                $name { index, kind: PhantomData }
            }

            /// Its place in the schema, from 0.
            pub fn index(self) -> usize {
                self.index
            }
        }

        impl<T: ?Sized> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T: ?Sized> Copy for $name<T> {}

        impl<T: ?Sized> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.index)
            }
        }
    };
}
handle!(Column);
handle!(Target);

impl Schema {
    /// A schema without columns.
    pub fn new() -> Schema {
        Schema::default()
    }

    /// The columns, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The place of the named column.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// The named column of the input. It is an error, with a message for the user, if it is not there or has other values.
    pub fn column<T: Kind + ?Sized>(&self, name: &str) -> Result<Column<T>> {
        match self.find(name) {
            Some(index) => self.column_at(index),
            None => Err(Error::new(
                ["needs a column ", name, " of type ", T::TYPE.name(), "; there is none of this name"].concat(),
            )),
        }
    }

    /// The column at a place of the input. It is an error if it has values of another kind.
    pub fn column_at<T: Kind + ?Sized>(&self, index: usize) -> Result<Column<T>> {
        let f = self.fields.get(index).ok_or("there are fewer columns")?;
        if !T::holds(f.kind) {
            return Err(Error::new(
                ["needs column ", &f.name, " of type ", T::TYPE.name(), "; it is ", f.kind.name()].concat(),
            ));
        }
        Ok(Column::new(index))
    }

    /// Adds a column of the input, which is passed.
    pub fn pass(&mut self, field: &Field) {
        self.fields.push(field.clone());
    }

    /// Says that batches make new values for a column that is passed. It may hold nulls if it could before.
    pub fn replace<T: Kind + ?Sized>(&mut self, column: Column<T>) -> Result<Target<T>> {
        let index = self.fields.iter().position(|f| f.source == Some(column.index));
        index.map(Target::new).ok_or_else(|| Error::new("replaces a column that it does not pass"))
    }

    /// Adds a new column, which every batch must make.
    pub fn add<T: Kind + ?Sized>(&mut self, name: &str, nullable: bool) -> Target<T> {
        self.push(name, T::TYPE, nullable)
    }

    /// Adds a new column of a type that is not the usual one of its kind: a date is an `i32`, a timestamp an `i64`.
    pub fn add_as<T: Kind + ?Sized>(&mut self, name: &str, kind: Type, nullable: bool) -> Result<Target<T>> {
        if !T::holds(kind) {
            return Err(Error::new([kind.name(), " does not hold values of ", T::TYPE.name()].concat()));
        }
        Ok(self.push(name, kind, nullable))
    }

    fn push<T: ?Sized>(&mut self, name: &str, kind: Type, nullable: bool) -> Target<T> {
        self.fields.push(Field { name: name.into(), kind, nullable, source: None });
        Target::new(self.fields.len() - 1)
    }

    /// Says that rows are dropped or added, with [`Output::take`](crate::Output::take): the host learns which row each one
    /// comes from.
    pub fn keep_rows(&mut self) {
        self.keeps_rows = true;
    }

    pub(crate) fn read(&mut self, name: &str, kind: Type, nullable: bool) {
        let source = Some(self.fields.len());
        self.fields.push(Field { name: name.into(), kind, nullable, source });
    }

    pub(crate) fn pop(&mut self) -> Option<Field> {
        self.fields.pop()
    }

    pub(crate) fn into_fields(self) -> Vec<Field> {
        self.fields
    }
}
