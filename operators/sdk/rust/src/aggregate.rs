//! Aggregates of a window: the trait for authors, and what the exports of [`aggregate!`](crate::aggregate!) do.

use std::cell::UnsafeCell;
use std::ops::Range;

use crate::batch::{Batch, Binary};
use crate::config::Value;
use crate::error::{Cause, Error, Result};
use crate::guest::{address, fail, read_schema, report_panics, Array, Plan};
use crate::output::Output;
use crate::schema::{Column, Schema, Target};
use crate::types::{Fixed, Type};

const FULL: u32 = 1;

/// An aggregate of a window. Between calls its states are bytes that the host keeps: what they become must depend on the
/// rows and their order alone, not on how they were cut into calls.
pub trait Aggregate: Sized {
    /// What is known of the rows of one key in one window.
    type State;
    /// What a state is finished to: a number, `bool`, `String`, or an `Option` of these where there may be none.
    type Answer: Answer;

    /// Checks the arguments and the configuration. For the same ones the result must be the same.
    fn open(config: Value, args: &Schema) -> Result<Self>;
    /// The state of no rows.
    fn init(&self) -> Self::State;
    /// Reads a state that `save` has written, by this module or by an earlier one.
    fn load(&self, bytes: &[u8]) -> Result<Self::State>;
    /// Writes a state, at least one byte, behind what is there.
    fn save(&self, state: &Self::State, to: &mut Vec<u8>);
    /// Takes rows into a state, in their order. The other rows of the batch are of other keys.
    fn accumulate(&self, state: &mut Self::State, batch: &Batch, rows: Range<usize>) -> Result<()>;
    /// Takes what another state has seen.
    fn merge(&self, state: &mut Self::State, other: Self::State) -> Result<()>;
    /// Gives the answer.
    fn finish(&self, state: &Self::State) -> Result<Self::Answer>;
}

/// A value that a state can be finished to.
pub trait Answer: Sized {
    #[doc(hidden)]
    fn declare(to: &mut Schema);
    #[doc(hidden)]
    fn write(answers: &[Self], to: &mut Output) -> Result<()>;
}

const NAME: &str = "answer";

/// The only column of an output.
fn only<T: ?Sized + crate::types::Kind>() -> Target<T> {
    Schema::new().add(NAME, false)
}

macro_rules! answers {
    ($($t:ty)*) => {$(
        impl Answer for $t {
            fn declare(to: &mut Schema) {
                to.add::<$t>(NAME, false);
            }
            fn write(answers: &[$t], to: &mut Output) -> Result<()> {
                to.values(only::<$t>(), answers.len())?.copy_from_slice(answers);
                Ok(())
            }
        }
        impl Answer for Option<$t> {
            fn declare(to: &mut Schema) {
                to.add::<$t>(NAME, true);
            }
            fn write(answers: &[Option<$t>], to: &mut Output) -> Result<()> {
                numbers(answers, to)
            }
        }
    )*};
}
answers! { i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 }

fn numbers<T: Fixed>(answers: &[Option<T>], to: &mut Output) -> Result<()> {
    let mut builder = to.builder(only::<T>(), answers.len())?;
    answers.iter().for_each(|a| builder.push_option(*a));
    Ok(())
}

impl Answer for Option<bool> {
    fn declare(to: &mut Schema) {
        to.add::<bool>(NAME, true);
    }
    fn write(answers: &[Option<bool>], to: &mut Output) -> Result<()> {
        let mut builder = to.bools(only::<bool>(), answers.len())?;
        answers.iter().for_each(|a| builder.push_option(*a));
        Ok(())
    }
}

impl Answer for bool {
    fn declare(to: &mut Schema) {
        to.add::<bool>(NAME, false);
    }
    fn write(answers: &[bool], to: &mut Output) -> Result<()> {
        let mut builder = to.bools(only::<bool>(), answers.len())?;
        answers.iter().for_each(|a| builder.push(*a));
        Ok(())
    }
}

impl Answer for String {
    fn declare(to: &mut Schema) {
        to.add::<str>(NAME, false);
    }
    fn write(answers: &[String], to: &mut Output) -> Result<()> {
        let bytes = answers.iter().map(String::len).sum();
        let mut builder = to.strings(only::<str>(), answers.len(), bytes)?;
        answers.iter().for_each(|a| builder.push(a));
        Ok(())
    }
}

impl Answer for Option<String> {
    fn declare(to: &mut Schema) {
        to.add::<str>(NAME, true);
    }
    fn write(answers: &[Option<String>], to: &mut Output) -> Result<()> {
        let bytes = answers.iter().flatten().map(String::len).sum();
        let mut builder = to.strings(only::<str>(), answers.len(), bytes)?;
        answers.iter().for_each(|a| builder.push_option(a.as_deref()));
        Ok(())
    }
}

/// Where the aggregate lives. Calls never overlap, and there are no threads.
pub struct Slot<T>(UnsafeCell<Option<Guest<T>>>);

unsafe impl<T> Sync for Slot<T> {}

struct Guest<T> {
    aggregate: T,
    groups: Column<i32>,
    states: Column<[u8]>,
    answer: Plan,
    made: Plan, // states
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl<T: Aggregate> Slot<T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Slot<T> {
        Slot(UnsafeCell::new(None))
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn open(&self, config: u32, len: u32, schema: u32) -> u32 {
        report_panics();
        let config = std::slice::from_raw_parts(config as usize as *const u8, len as usize);
        match Guest::<T>::open(Value::new(std::str::from_utf8(config).unwrap_or("")), schema) {
            Ok(guest) => (*self.0.get()).insert(guest).answer.schema(),
            Err(e) => fail(e.message()),
        }
    }

    unsafe fn call(&self, f: impl FnOnce(&mut Guest<T>) -> Result<u32>) -> u32 {
        match &mut *self.0.get() {
            None => fail("called before weir_open"),
            Some(guest) => match f(guest) {
                Ok(address) => address,
                Err(Error(Cause::Full)) => FULL,
                Err(e) => fail(e.message()),
            },
        }
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn accumulate(&self, rows: u32, states: u32, out: u32, room: u32) -> u32 {
        self.call(|g| {
            let (rows, before) = (Batch::new(rows), Batch::new(states));
            let (groups, states) = (rows.column(g.groups).as_slice(), before.column(g.states));
            let mut from = 0;
            g.clear();
            for i in 0..states.len() {
                let mut state = g.load(&states, i)?;
                let to = from + groups[from..].iter().take_while(|&&group| group == i as i32).count();
                g.aggregate.accumulate(&mut state, &rows, from..to)?;
                g.save(&state);
                from = to;
            }
            g.made(&before, out, room)
        })
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn merge(&self, states: u32, others: u32, out: u32, room: u32) -> u32 {
        self.call(|g| {
            let (a, b) = (Batch::new(states), Batch::new(others));
            let (states, others) = (a.column(g.states), b.column(g.states));
            g.clear();
            for i in 0..states.len() {
                let mut state = g.load(&states, i)?;
                let other = g.load(&others, i)?;
                g.aggregate.merge(&mut state, other)?;
                g.save(&state);
            }
            g.made(&a, out, room)
        })
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn finish(&self, states: u32, out: u32, room: u32) -> u32 {
        self.call(|g| {
            let batch = Batch::new(states);
            let states = batch.column(g.states);
            let mut answers = Vec::with_capacity(states.len());
            for i in 0..states.len() {
                answers.push(g.aggregate.finish(&g.load(&states, i)?)?);
            }
            let mut output = Output::new(&batch, &g.answer.columns, out as usize as *mut u8, room as usize);
            T::Answer::write(&answers, &mut output)?;
            g.answer.finish(&batch, answers.len())?;
            Ok(address::<Array>(&*g.answer.result))
        })
    }
}

impl<T: Aggregate> Guest<T> {
    unsafe fn open(config: Value, schema: u32) -> Result<Guest<T>> {
        let (args, group) = read_schema(schema)?;
        let aggregate = T::open(config, &args)?;
        let mut all = args.clone();
        all.read(&group.name, group.kind, false);
        let groups = all.column_at(args.fields().len())?;
        let (mut before, mut made, mut answer) = (Schema::new(), Schema::new(), Schema::new());
        before.read("state", Type::Binary, true);
        made.add::<[u8]>("state", false);
        T::Answer::declare(&mut answer);
        Ok(Guest {
            aggregate,
            groups,
            states: before.column_at(0)?,
            answer: Plan::new(answer, group.clone()),
            made: Plan::new(made, group),
            bytes: Vec::new(),
            ends: Vec::new(),
        })
    }

    fn load(&self, states: &Binary, i: usize) -> Result<T::State> {
        match states.get(i) {
            None => Ok(self.aggregate.init()),
            Some(bytes) => self.aggregate.load(bytes),
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn save(&mut self, state: &T::State) {
        self.aggregate.save(state, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Safety: out has so much room.
    unsafe fn made(&mut self, batch: &Batch, out: u32, room: u32) -> Result<u32> {
        let mut output = Output::new(batch, &self.made.columns, out as usize as *mut u8, room as usize);
        let mut builder = output.binary(only::<[u8]>(), self.ends.len(), self.bytes.len())?;
        let mut from = 0;
        for &end in &self.ends {
            builder.push(&self.bytes[from..end]);
            from = end;
        }
        drop(builder);
        self.made.finish(batch, self.ends.len())?;
        Ok(address::<Array>(&*self.made.result))
    }
}

/// Makes a type that implements [`Aggregate`] the aggregate of this module. Call it once, in the crate's root.
#[macro_export]
macro_rules! aggregate {
    ($aggregate:ty) => {
        static WEIR: $crate::aggregate::Slot<$aggregate> = $crate::aggregate::Slot::new();

        #[no_mangle]
        pub extern "C" fn weir_abi() -> u32 {
            $crate::guest::ABI
        }

        #[no_mangle]
        pub extern "C" fn weir_alloc(size: u32) -> u32 {
            $crate::guest::alloc(size)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_open(config: u32, len: u32, schema: u32) -> u32 {
            WEIR.open(config, len, schema)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_accumulate(rows: u32, states: u32, out: u32, room: u32) -> u32 {
            WEIR.accumulate(rows, states, out, room)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_merge(states: u32, others: u32, out: u32, room: u32) -> u32 {
            WEIR.merge(states, others, out, room)
        }

        #[no_mangle]
        pub unsafe extern "C" fn weir_finish(states: u32, out: u32, room: u32) -> u32 {
            WEIR.finish(states, out, room)
        }
    };
}
