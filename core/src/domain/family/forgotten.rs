//! What is kept of a forgotten child that has ended, for rule 3: the id and place of its parent's first.
//!
//! A task that forgets none, as all should, has no room for it: it is one of its belongings, where there is a heap.

#![allow(unsafe_code)] // A block of its own, under *Kept once*.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::panic::Location;
#[cfg(feature = "alloc")]
use core::ptr::NonNull;

use crate::id::TaskId;
use crate::task::Header;
#[cfg(feature = "alloc")]
use crate::task::{Belonging, BelongingKind, home};

/// A child, and where it was made.
pub(in crate::domain) type Child = (TaskId, &'static Location<'static>);

/// Invariant *Kept once*: the one belonging of its kind that its owner has, which `FORGOT` says, and made by [`keep`]; it goes with [`free`].
#[cfg(feature = "alloc")]
#[repr(C)]
struct Forgotten {
    /// First, so that the owner's belongings lead here.
    belonging: Belonging,
    child: Child,
}

/// Keeps a child, unless one is kept.
///
/// # Safety
/// *Home*: a task of this domain that has not ended.
pub(in crate::domain) unsafe fn keep(parent: &Header, child: Child) {
    #[cfg(feature = "alloc")]
    if !parent.home_flags.has(home::FORGOT) {
        parent.home_flags.set(home::FORGOT);
        let kept = Box::new(Forgotten { belonging: Belonging::new(BelongingKind::Forgotten), child });
        // SAFETY: *Home*, promised by the caller. *Kept once*: it is unlinked before it is freed.
        unsafe { parent.belongings.push_front(NonNull::from(Box::leak(kept)).cast()) };
    }
    #[cfg(not(feature = "alloc"))]
    parent.forgotten.set(parent.forgotten.get().or(Some(child)));
}

/// The child that is kept.
///
/// # Safety
/// As for [`keep`].
pub(super) unsafe fn kept(parent: &Header) -> Option<Child> {
    #[cfg(feature = "alloc")]
    {
        let mut next = parent.belongings.front();
        while let Some(belonging) = next {
            // SAFETY: *Home*, promised by the caller; *Linked*. Its kind tells what it is the beginning of.
            unsafe {
                if matches!(belonging.as_ref().kind, BelongingKind::Forgotten) {
                    return Some(belonging.cast::<Forgotten>().as_ref().child);
                }
                next = parent.belongings.after(belonging);
            }
        }
        None
    }
    #[cfg(not(feature = "alloc"))]
    parent.forgotten.get()
}

/// Frees it.
///
/// # Safety
/// *Kept once*: it was just unlinked.
#[cfg(feature = "alloc")]
pub(super) unsafe fn free(belonging: NonNull<Belonging>) {
    // SAFETY: promised by the caller; `keep` made it of a box.
    drop(unsafe { Box::from_raw(belonging.cast::<Forgotten>().as_ptr()) });
}
