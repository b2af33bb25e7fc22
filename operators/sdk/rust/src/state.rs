//! What the exports of [`stateful_operator!`](crate::stateful_operator) do. Not for operators to use.

use std::cell::UnsafeCell;
use std::slice;

use crate::guest::{address, at, fail, Slot};
use crate::Stateful;

/// The state as the host was given it last, and where it is. Calls never overlap, and there are no threads.
pub struct Saved(UnsafeCell<(Vec<u8>, [u32; 2])>);

unsafe impl Sync for Saved {}

impl Saved {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Saved {
        Saved(UnsafeCell::new((Vec::new(), [0; 2])))
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn snapshot<T: Stateful>(&self, of: &Slot<T>) -> u32 {
        let guest = match &*of.0.get() {
            Some(guest) => guest,
            None => return fail("called before weir_open"),
        };
        let (state, answer) = &mut *self.0.get();
        state.clear();
        match guest.operator.save(state) {
            Ok(()) => {
                *answer = [address(state.as_ptr()), state.len() as u32];
                address::<[u32; 2]>(answer)
            }
            Err(e) => fail(e.message()),
        }
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn restore<T: Stateful>(&self, of: &Slot<T>, state: u32, len: u32) -> u32 {
        let guest = match &mut *of.0.get() {
            Some(guest) => guest,
            None => return fail("called before weir_open"),
        };
        match guest.operator.restore(slice::from_raw_parts(at(state), len as usize)) {
            Ok(()) => 1,
            Err(e) => fail(e.message()),
        }
    }
}
