//! The hooks of a domain: what it calls at each of its scheduling steps.
//!
//! A hook may add and remove hooks, itself included, and its destructor is foreign code: no borrow of the table is held over either. While a
//! hook runs its place in the table is empty. The table is in the order of the numbers, which are never given twice.

use core::cell::{Cell, RefCell};
use core::ops::Range;

use super::Domain;
use crate::outcome::catch;
use crate::violation::ReportPlace;

#[cfg(feature = "alloc")]
pub(crate) struct Call(pub(crate) alloc::boxed::Box<dyn FnMut()>);
#[cfg(not(feature = "alloc"))]
pub(crate) struct Call(pub(crate) &'static dyn Fn());

#[cfg(feature = "alloc")]
type Table = alloc::vec::Vec<Slot>;
/// How many there may be where there is no allocator.
#[cfg(not(feature = "alloc"))]
type Table = heapless::Vec<Slot, 4>;

struct Slot {
    number: u64,
    /// None while it runs.
    call: Option<Call>,
}

pub(crate) struct Hooks {
    any: Cell<bool>,
    added: Cell<u64>,
    table: RefCell<Table>,
}

impl Hooks {
    pub(crate) const fn new() -> Hooks {
        Hooks { any: Cell::new(false), added: Cell::new(0), table: RefCell::new(Table::new()) }
    }

    pub(crate) fn any(&self) -> bool {
        self.any.get()
    }

    /// Adds a hook, and gives its number; gives it back if there is no place.
    pub(crate) fn add(&self, call: Call) -> Result<u64, Call> {
        let number = self.added.get();
        let slot = Slot { number, call: Some(call) };
        #[cfg(feature = "alloc")]
        self.table.borrow_mut().push(slot);
        #[cfg(not(feature = "alloc"))]
        if let Err(Slot { call: Some(call), .. }) = self.table.borrow_mut().push(slot) {
            return Err(call);
        }
        self.added.set(number + 1);
        self.any.set(true);
        Ok(number)
    }

    /// Removes a hook; `None` if it is gone. What is given back is for the caller to drop; nothing of one that is running.
    pub(crate) fn remove(&self, number: u64) -> Option<Option<Call>> {
        let mut table = self.table.borrow_mut();
        let call = table.iter_mut().find(|slot| slot.number == number)?.call.take();
        // `remove` would bring `memmove` along, a large part of a small program.
        table.retain(|slot| slot.number != number);
        self.any.set(!table.is_empty());
        Some(call)
    }

    /// Takes out the hook with the least of these numbers.
    fn take(&self, numbers: Range<u64>) -> Option<(u64, Option<Call>)> {
        let mut table = self.table.borrow_mut();
        let slot = table.iter_mut().find(|slot| numbers.contains(&slot.number))?;
        Some((slot.number, slot.call.take()))
    }

    /// Puts it back, unless it was removed meanwhile.
    fn put_back(&self, number: u64, call: Call) -> Option<Call> {
        let mut table = self.table.borrow_mut();
        match table.iter_mut().find(|slot| slot.number == number) {
            Some(slot) => slot.call.replace(call),
            None => Some(call),
        }
    }
}

impl Domain {
    /// Calls the hooks. With no current task: they are not a part of any.
    #[inline]
    pub(crate) fn call_hooks(&self) {
        if self.hooks.any.get() {
            self.uncounted(|| self.call_hooks_in_turn());
        }
    }

    #[cold]
    fn call_hooks_in_turn(&self) {
        // Those that are added meanwhile wait for the next step.
        let end = self.hooks.added.get();
        let mut from = 0;
        while let Some((number, call)) = self.hooks.take(from..end) {
            from = number + 1;
            // It runs already: a hook that has its domain go a step further would have to be inside itself.
            let Some(call) = call else { continue };
            #[cfg(feature = "alloc")]
            let mut call = call;
            match self.as_task(None, || catch(|| (call.0)())) {
                Ok(()) => {
                    if let Some(removed) = self.hooks.put_back(number, call) {
                        self.drop_hook(removed);
                    }
                }
                Err(panic) => {
                    let _place = self.hooks.remove(number);
                    Domain::report(ReportPlace::Hook, panic);
                    self.drop_hook(call);
                }
            }
        }
    }

    /// Drops what a hook was: foreign code.
    pub(crate) fn drop_hook<T>(&self, gone: T) {
        self.foreign(ReportPlace::Hook, move || {
            let _gone = gone;
        });
    }

    /// Drops the hooks that were not removed.
    pub(crate) fn clear_hooks(&self) {
        while let Some((number, call)) = self.hooks.take(0..u64::MAX) {
            let _place = self.hooks.remove(number);
            self.drop_hook(call);
        }
    }
}
