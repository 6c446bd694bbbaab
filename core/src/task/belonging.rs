//! What a task owns, in a list of its own.

#![allow(unsafe_code)] // Lists raw nodes, under the invariants of the module above.

#[cfg(feature = "alloc")]
use core::panic::Location;
use core::ptr::NonNull;

#[cfg(feature = "alloc")]
use super::Header;
use crate::container::{Links, Ring};

/// What a task owns beside its future: resources, groups of children, and what is kept of a forgotten one.
#[repr(C)]
pub(crate) struct Belonging {
    links: Links<Belonging>,
    pub(crate) kind: BelongingKind,
}

/// What a [`Belonging`] is part of.
#[derive(Clone, Copy)]
pub(crate) enum BelongingKind {
    /// A `Group`.
    #[cfg(feature = "alloc")]
    Group,
    /// A `Forgotten`.
    #[cfg(feature = "alloc")]
    Forgotten,
    /// A resource, and what can be done with it.
    #[cfg(feature = "alloc")]
    Resource(&'static ResourceVTable),
}

/// What a resource's type knows.
#[cfg(feature = "alloc")]
pub(crate) struct ResourceVTable {
    /// Runs the finaliser, after the resource was unlinked. Panics as that does.
    ///
    /// Safety: the resource was owned by a task of this domain.
    pub(crate) finalise: unsafe fn(NonNull<Belonging>),
    /// Makes the task its owner, after it was linked to its belongings.
    ///
    /// Safety: on the task's home domain.
    pub(crate) adopt: unsafe fn(NonNull<Belonging>, &Header),
    /// Whether it is on its way to the parent.
    ///
    /// Safety: on the owner's domain.
    pub(crate) in_transit: unsafe fn(NonNull<Belonging>) -> bool,
    /// Where it was taken into ownership.
    ///
    /// Safety: on the owner's domain.
    pub(crate) place: unsafe fn(NonNull<Belonging>) -> &'static Location<'static>,
}

#[cfg(feature = "alloc")]
impl Belonging {
    pub(crate) const fn new(kind: BelongingKind) -> Self {
        Belonging { links: Links::new(), kind }
    }

    pub(crate) fn is_group(&self) -> bool {
        matches!(self.kind, BelongingKind::Group)
    }
}

/// Lists what one task owns.
pub(crate) enum Belongings {}

// SAFETY: `links` is used by this list alone; a group and a resource are kept by their list.
unsafe impl Ring for Belongings {
    type Node = Belonging;

    unsafe fn links<'a>(node: NonNull<Belonging>) -> &'a Links<Belonging> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}
