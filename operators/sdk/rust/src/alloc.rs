//! An allocator in place of the standard library's, which is a quarter of a small operator. Blocks have sizes of powers of
//! two and go back to a list of their size: an operator has few sizes, and the same ones in each batch.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

use crate::guest::grow;

const PAGE: usize = 64 << 10;
const LEAST: u32 = 4; // 16 bytes: the alignment of all blocks

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(UnsafeCell::new(State { free: [ptr::null_mut(); 32], next: 0, end: 0 }));

struct Allocator(UnsafeCell<State>);

struct State {
    free: [*mut Block; 32], // by the power of two
    next: usize,            // what is left of the last pages
    end: usize,
}

struct Block {
    next: *mut Block,
}

/// Safety: there are no threads.
unsafe impl Sync for Allocator {}

/// The power of two that holds a layout, whose alignment is a power of two.
fn class(layout: &Layout) -> u32 {
    let size = layout.size().max(layout.align()).max(1 << LEAST);
    usize::BITS - (size - 1).leading_zeros()
}

unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (s, class) = (&mut *self.0.get(), class(&layout));
        if class > 31 {
            return ptr::null_mut();
        }
        let size = 1usize << class;
        let head = &mut s.free[class as usize & 31];
        if !head.is_null() {
            let block = *head;
            *head = (*block).next;
            return block as *mut u8;
        }
        // Blocks are aligned to their size, or to a page: nothing asks for more.
        let align = size.min(PAGE);
        let mut at = (s.next + align - 1) & !(align - 1);
        if at + size > s.end {
            let pages = (size + PAGE - 1) / PAGE;
            let first = match grow(pages as u32) {
                Some(first) => first as usize,
                None => return ptr::null_mut(),
            };
            at = first * PAGE; // what was left is lost: less than a page, and less than was asked for
            s.end = at + pages * PAGE;
        }
        s.next = at + size;
        at as *mut u8
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (s, block) = (&mut *self.0.get(), block as *mut Block);
        let head = &mut s.free[class(&layout) as usize & 31];
        (*block).next = *head;
        *head = block;
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let larger = Layout::from_size_align_unchecked(size, layout.align());
        if class(&larger) == class(&layout) {
            return block;
        }
        let to = self.alloc(larger);
        if !to.is_null() {
            ptr::copy_nonoverlapping(block, to, size.min(layout.size()));
            self.dealloc(block, layout);
        }
        to
    }
}
