//! A domain's store of memory for tasks: what an ended task leaves is what the next one of about its size begins with.
//!
//! In a steady state `spawn` and `call` therefore allocate nothing. A domain keeps at most [`KEPT`] blocks of each class and gives the rest
//! back; a block freed on a thread that runs no domain goes back at once. Blocks wander with their tasks: one made here and freed on another
//! domain is kept there.
//!
//! Invariant *Block*: a block in a list is free memory of its class's layout, whose first bytes hold the link to the next.

#![allow(unsafe_code)] // Raw memory, under *Block*.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use crate::domain::Domain;

/// Blocks are multiples of this many bytes.
const STEP: usize = 32;
/// Classes of blocks: larger tasks are not kept.
const CLASSES: usize = 64;
/// How many blocks of a class are kept.
const KEPT: u32 = 1024;
/// The alignment of every block: larger ones are not kept.
const ALIGN: usize = 16;

struct Block {
    next: Option<NonNull<Block>>,
}

pub(crate) struct Cache {
    classes: [Class; CLASSES],
}

struct Class {
    first: Cell<Option<NonNull<Block>>>,
    count: Cell<u32>,
}

/// The class of a type, if its blocks are kept.
const fn class_of<T>() -> Option<usize> {
    let class = size_of::<T>().div_ceil(STEP);
    // A sanitizer sees the use of freed memory only if it is really freed.
    let kept = !cfg!(matou_plain_alloc);
    if kept && align_of::<T>() <= ALIGN && class < CLASSES { Some(class) } else { None }
}

/// The layout of the memory for a `T`: the same for `make` and `free`, on whichever thread.
const fn layout_of<T>() -> Layout {
    match class_of::<T>() {
        // The size of a class, with an alignment of 16, is a layout: CLASSES × STEP is far below `isize::MAX`.
        Some(class) => match Layout::from_size_align(class * STEP, ALIGN) {
            Ok(layout) => layout,
            Err(_) => Layout::new::<T>(),
        },
        None => Layout::new::<T>(),
    }
}

impl Cache {
    pub(crate) const fn new() -> Self {
        Cache { classes: [const { Class { first: Cell::new(None), count: Cell::new(0) } }; CLASSES] }
    }

    fn take(&self, class: usize) -> Option<NonNull<Block>> {
        let class = &self.classes[class];
        let block = class.first.get()?;
        // SAFETY: *Block*.
        class.first.set(unsafe { block.as_ref() }.next);
        class.count.set(class.count.get() - 1);
        Some(block)
    }

    /// Keeps a block, unless there are enough.
    ///
    /// # Safety
    /// It is free memory of the class's layout.
    unsafe fn keep(&self, class: usize, block: NonNull<Block>) -> bool {
        let class = &self.classes[class];
        if class.count.get() == KEPT {
            return false;
        }
        // SAFETY: *Block*, promised by the caller.
        unsafe { block.write(Block { next: class.first.get() }) };
        class.first.set(Some(block));
        class.count.set(class.count.get() + 1);
        true
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for class in 0..CLASSES {
            while let Some(block) = self.take(class) {
                // SAFETY: *Block*: this is the layout of the class.
                unsafe { dealloc(block.as_ptr().cast(), Layout::from_size_align_unchecked(class * STEP, ALIGN)) };
            }
        }
    }
}

/// Puts a value into memory of its own.
pub(crate) fn place<T>(value: T) -> NonNull<T> {
    const { assert!(size_of::<T>() >= size_of::<Block>()) };
    let layout = const { layout_of::<T>() };
    let kept = const { class_of::<T>() }.and_then(|class| Domain::with(|domain| domain.cache.take(class)).flatten());
    let memory = match kept {
        Some(block) => block.cast::<T>(),
        // SAFETY: the layout's size is not zero.
        None => match NonNull::new(unsafe { alloc(layout) }) {
            Some(memory) => memory.cast(),
            None => handle_alloc_error(layout),
        },
    };
    // SAFETY: *Block*: the memory is ours, large enough and aligned.
    unsafe { memory.write(value) };
    memory
}

/// Gives back the memory of a value, which is not dropped.
///
/// # Safety
/// `place` made it, and nobody uses it any more.
pub(crate) unsafe fn free<T>(value: NonNull<T>) {
    let kept = const { class_of::<T>() }
        // SAFETY: promised by the caller: the memory has the layout of `T`'s class.
        .and_then(|class| Domain::with(|domain| unsafe { domain.cache.keep(class, value.cast()) }))
        .unwrap_or(false);
    if !kept {
        // SAFETY: promised by the caller; `place` used this layout.
        unsafe { dealloc(value.as_ptr().cast(), const { layout_of::<T>() }) };
    }
}
