//! Write weir operators in Rust: typed views of the input columns, builders for the output columns, the configuration,
//! errors and logging, over ABI v1 (`operators/abi/ABI.md`).
//!
//! An operator is a `cdylib` for `wasm32-unknown-unknown` with one type that implements [`Operator`]:
//!
//! ```ignore
//! use weir::{Batch, Column, Operator, Output, Result, Schema, Target, Value};
//!
//! struct Shift { temp: Column<f64>, shifted: Target<f64>, offset: f64 }
//!
//! impl Operator for Shift {
//!     fn open(config: Value, input: &Schema) -> Result<(Self, Schema)> {
//!         let temp = input.column::<f64>("temp")?;
//!         let mut out = input.clone(); // passes every column
//!         let shifted = out.replace(temp)?; // but this one gets new values
//!         let offset = config.get("offset").f64().unwrap_or(0.0);
//!         Ok((Shift { temp, shifted, offset }, out))
//!     }
//!
//!     fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
//!         let shifted = out.values(self.shifted, batch.rows())?;
//!         for (to, from) in shifted.iter_mut().zip(batch.column(self.temp).as_slice()) {
//!             *to = from + self.offset;
//!         }
//!         out.keep_nulls(self.shifted, self.temp);
//!         Ok(())
//!     }
//! }
//!
//! weir::operator!(Shift);
//! ```
//!
//! What a row becomes must depend on that row and the configuration alone: batches may be cut anywhere and run again. A
//! panic is reported with its message, fails the batch, and ends the instance. The crate has no dependencies, builds
//! with Rust 1.63 or newer, and brings an allocator that is smaller than the standard library's.

#![warn(missing_docs)]

#[doc(hidden)]
pub mod aggregate;
#[cfg(target_arch = "wasm32")]
mod alloc;
mod batch;
mod config;
mod error;
mod list;
mod list_output;
#[doc(hidden)]
pub mod guest;
mod output;
mod schema;
#[doc(hidden)]
pub mod state;
mod types;

pub use aggregate::{Aggregate, Answer};
pub use batch::{Batch, Binary, Bools, Strings, Values};
pub use config::Value;
pub use error::{Error, Result};
pub use list::{Lists, Slice};
pub use list_output::{BoolListBuilder, BytesListBuilder, ListBuilder};
pub use output::{BoolBuilder, Builder, BytesBuilder, Nulls, Output};
pub use schema::{Column, Field, Schema, Target};
pub use types::{Fixed, Kind, List, Type, View};

/// An operator. One value of it lives as long as the instance, and is called from one thread.
pub trait Operator: Sized {
    /// Checks the input columns and the configuration, and returns the operator with the columns of its output. For the
    /// same arguments the result must be the same.
    fn open(config: Value, input: &Schema) -> Result<(Self, Schema)>;

    /// Makes the output columns of one batch. An error fails the batch; one that came from [`Output`] for want of room makes
    /// the host call again with fewer rows.
    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<()>;
}

/// An operator that remembers earlier rows, served with [`stateful_operator!`]. What it remembers must follow from the rows in
/// order, however they are cut into batches; a restart, and a batch that failed, go on in a new instance with what was
/// saved last.
pub trait Stateful: Operator {
    /// Appends the state. It is called after batches: forget what is not needed any more, for the state's size is limited
    /// (`limits.state` of the step, 1 MiB) and costs time with every batch.
    fn save(&self, state: &mut Vec<u8>) -> Result<()>;

    /// Takes a state, at most once, before the first batch.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// How much a line in the node's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

/// Writes a line to the node's log. 16 lines of each call are kept, and 1024 bytes of each.
pub fn log(level: Level, text: &str) {
    guest::log(level as i32, text);
}

/// Makes a type that implements [`Operator`] the operator of this module. Call it once, in the crate's root.
#[macro_export]
macro_rules! operator {
    ($operator:ty) => {
        static WEIR: $crate::guest::Slot<$operator> = $crate::guest::Slot::new();

        #[no_mangle]
        pub extern "C" fn weir_abi() -> u32 {
            $crate::guest::ABI
        }

        #[no_mangle]
        pub extern "C" fn weir_alloc(size: u32) -> u32 {
            $crate::guest::alloc(size)
        }

        #[no_mangle]
        pub extern "C" fn weir_windows(_in: u32, _in_len: u32, _out: u32, _out_len: u32) {}

        #[no_mangle]
        pub unsafe extern "C" fn weir_open(config: u32, len: u32, schema: u32) -> u32 {
            WEIR.open(config, len, schema)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_process(array: u32, out: u32, room: u32) -> u32 {
            WEIR.process(array, out, room)
        }
    };
}

/// Makes a type that implements [`Stateful`] the operator of this module, in place of [`operator!`].
#[macro_export]
macro_rules! stateful_operator {
    ($operator:ty) => {
        $crate::operator!($operator);

        static WEIR_STATE: $crate::state::Saved = $crate::state::Saved::new();

        #[no_mangle]
        pub unsafe extern "C" fn weir_snapshot() -> u32 {
            WEIR_STATE.snapshot(&WEIR)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_restore(state: u32, len: u32) -> u32 {
            WEIR_STATE.restore(&WEIR, state, len)
        }
    };
}
