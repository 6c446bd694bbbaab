//! Ownership: values with a finaliser, owned by at most one task at a time.
//!
//! A task that ends abnormally has the finalisers of what it owns run, last owned first. A task that ends normally and still owns
//! something has broken rule 28.
//!
//! A [`Resource`] can be owned on any domain: its value and finaliser are `Send`. A [`LocalResource`] stays on its own.
//!
//! Invariants:
//!
//! - *Owner*: `owner` is the address of the task that owns the value, or a mark. A task that goes has given up all it owned before, so an
//!   address is never taken for another task's. Only the owner, which runs on one domain, touches `value`, `in_use`, `place` and the links;
//!   who makes itself the owner does so by compare-and-swap from NOBODY, and sees what the last owner wrote.
//! - *Listed*: an owned resource is in its owner's belongings, which hold a strong count of it.

#![allow(unsafe_code)] // The value is reached through `UnsafeCell` under *Owner*; belongings hold raw counts under *Listed*.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::panic::Location;
use core::ptr::{self, NonNull};

use crate::domain::Domain;
use crate::effect;
use crate::error::OwnershipError;
use crate::id::TaskId;
use crate::shim::{AtomicPtr, AtomicU32, Ordering};
use crate::spawn::{Anywhere, Here};
use crate::task::{Belonging, BelongingKind, Header, ParentKind, ResourceVTable, TaskRef, home};

/// No task owns it.
const NOBODY: *mut Header = ptr::null_mut();
/// It is on its way from a task to its parent.
const IN_TRANSIT: *mut Header = ptr::without_provenance_mut(1);
/// There is no value any more.
const GONE: *mut Header = ptr::without_provenance_mut(2);

type Finaliser<T> = Box<dyn FnOnce(T)>;

#[repr(C)]
struct Shared<T> {
    /// First, so that belongings lead here.
    belonging: Belonging,
    owner: AtomicPtr<Header>,
    /// The owner's id, for messages alone: at the very moment of a change it may name the owner before.
    owner_id: [AtomicU32; 2],
    in_use: Cell<bool>,
    place: Cell<&'static Location<'static>>,
    value: UnsafeCell<Option<(T, Finaliser<T>)>>,
}

impl<T: 'static> Shared<T> {
    const VTABLE: ResourceVTable =
        ResourceVTable { finalise: Self::finalise, adopt: Self::adopt, in_transit: Self::in_transit, place: Self::place };

    fn new(value: T, finaliser: Finaliser<T>, place: &'static Location<'static>) -> Arc<Self> {
        #[allow(clippy::arc_with_non_send_sync)] // Whether it is sent is decided by the two types built on it.
        Arc::new(Shared {
            belonging: Belonging::new(BelongingKind::Resource(&Self::VTABLE)),
            owner: AtomicPtr::new(NOBODY),
            owner_id: [AtomicU32::new(0), AtomicU32::new(0)],
            in_use: Cell::new(false),
            place: Cell::new(place),
            value: UnsafeCell::new(Some((value, finaliser))),
        })
    }

    fn belonging(&self) -> NonNull<Belonging> {
        NonNull::from(self).cast()
    }

    fn set_owner_id(&self, id: TaskId) {
        let bits = id.to_bits();
        self.owner_id[0].store(bits as u32, Ordering::Relaxed);
        self.owner_id[1].store((bits >> 32) as u32, Ordering::Relaxed);
    }

    fn owner_id(&self) -> TaskId {
        let [low, high] = [0, 1].map(|half| u64::from(self.owner_id[half].load(Ordering::Relaxed)));
        TaskId::from_bits(high << 32 | low)
    }

    fn owner(&self) -> Option<TaskId> {
        let owner = self.owner.load(Ordering::Acquire);
        (![NOBODY, IN_TRANSIT, GONE].contains(&owner)).then(|| self.owner_id())
    }

    /// Calls `f` if the current task is the owner and the value is not in use.
    fn as_owner<R>(&self, f: impl FnOnce(&Domain, TaskRef) -> Result<R, OwnershipError>) -> Result<R, OwnershipError> {
        Domain::with_task(|domain, current| {
            effect::count(domain);
            self.check(current)?;
            f(domain, current)
        })
        .unwrap_or(Err(OwnershipError::NoTask))
    }

    fn check(&self, task: TaskRef) -> Result<(), OwnershipError> {
        let owner = self.owner.load(Ordering::Acquire);
        if owner == task.as_ptr() {
            return if self.in_use.get() { Err(OwnershipError::InUse) } else { Ok(()) };
        }
        Err(match owner {
            NOBODY | IN_TRANSIT => OwnershipError::NotOwned,
            GONE => OwnershipError::Gone,
            _ => OwnershipError::NotOwner(self.owner_id()),
        })
    }

    fn own(this: &Arc<Self>, place: &'static Location<'static>) -> Result<(), OwnershipError> {
        Domain::with_task(|domain, current| {
            effect::count(domain);
            match this.owner.compare_exchange(NOBODY, current.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {}
                Err(GONE) => return Err(OwnershipError::Gone),
                Err(IN_TRANSIT) => return Err(OwnershipError::NotOwned),
                Err(_) => return Err(OwnershipError::AlreadyOwned(this.owner_id())),
            }
            // SAFETY: *Counted*: the current task. *Listed*: it was nobody's, so it is in no list; the count goes with it.
            unsafe {
                this.set_owner_id(current.as_ref().id);
                this.place.set(place);
                let belonging = NonNull::new_unchecked(Arc::into_raw(this.clone()).cast_mut()).cast();
                current.as_ref().belongings.push_front(belonging);
                domain.trace_resource(true, current.as_ref().id, belonging);
            }
            Ok(())
        })
        .unwrap_or(Err(OwnershipError::NoTask))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, OwnershipError> {
        struct Use<'a>(&'a Cell<bool>);
        impl Drop for Use<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        self.as_owner(|_, _| Ok(()))?;
        self.in_use.set(true);
        let _use = Use(&self.in_use);
        // SAFETY: *Owner*: the current task owns it and stays the owner until `in_use` is cleared.
        match unsafe { &mut *self.value.get() } {
            Some((value, _)) => Ok(f(value)),
            None => Err(OwnershipError::Gone),
        }
    }

    /// Takes the value out of its owner's hands. It is gone afterwards.
    fn take(this: &Arc<Self>) -> Result<(T, Finaliser<T>), OwnershipError> {
        this.as_owner(|domain, current| {
            // SAFETY: *Owner* and *Listed*: the current task owns it.
            unsafe {
                domain.trace_resource(false, current.as_ref().id, this.belonging());
                current.as_ref().belongings.remove(this.belonging());
                let taken = this.take_value();
                // The count that the list held. The caller has one more.
                Arc::decrement_strong_count(Arc::as_ptr(this));
                taken.ok_or(OwnershipError::Gone)
            }
        })
    }

    /// # Safety
    /// *Owner*: by the owner's domain, or for an owner that ends.
    unsafe fn take_value(&self) -> Option<(T, Finaliser<T>)> {
        // SAFETY: promised by the caller.
        let taken = unsafe { (*self.value.get()).take() };
        self.owner.store(GONE, Ordering::Release);
        taken
    }

    fn transfer(&self, local: bool) -> Result<(), OwnershipError> {
        self.as_owner(|domain, current| {
            // SAFETY: *Counted*: the current task.
            let header = unsafe { current.as_ref() };
            if matches!(header.parent.kind(), ParentKind::Nobody) {
                return Err(OwnershipError::NoParent);
            }
            if local && header.home_flags.has(home::SENT) {
                return Err(OwnershipError::OtherDomain);
            }
            self.owner.store(IN_TRANSIT, Ordering::Release);
            // SAFETY: *Listed*: it stays with the task until that has ended.
            unsafe { domain.trace_resource(false, header.id, self.belonging()) };
            Ok(())
        })
    }

    unsafe fn finalise(belonging: NonNull<Belonging>) {
        // SAFETY: *Listed*: the list's count is ours now. *Owner*: the caller unlinked it from an owner that ends.
        let (this, taken) = unsafe {
            let this = Arc::from_raw(belonging.cast::<Self>().as_ptr().cast_const());
            let taken = this.take_value();
            (this, taken)
        };
        drop(this);
        if let Some((value, finaliser)) = taken {
            finaliser(value);
        }
    }

    unsafe fn adopt(belonging: NonNull<Belonging>, task: &Header) {
        // SAFETY: *Listed*.
        let this = unsafe { belonging.cast::<Self>().as_ref() };
        this.set_owner_id(task.id);
        this.owner.store(ptr::from_ref(task).cast_mut(), Ordering::Release);
    }

    unsafe fn in_transit(belonging: NonNull<Belonging>) -> bool {
        // SAFETY: *Listed*.
        unsafe { belonging.cast::<Self>().as_ref() }.owner.load(Ordering::Relaxed) == IN_TRANSIT
    }

    unsafe fn place(belonging: NonNull<Belonging>) -> &'static Location<'static> {
        // SAFETY: *Listed*; *Owner*: on the owner's domain.
        unsafe { belonging.cast::<Self>().as_ref() }.place.get()
    }
}

/// A resource as a [`Task`](crate::Task) keeps it until it starts.
pub struct Handle(Arc<dyn Given>);

trait Given {
    fn check(&self, task: TaskRef) -> Result<(), OwnershipError>;
}

impl<T: 'static> Given for Shared<T> {
    fn check(&self, task: TaskRef) -> Result<(), OwnershipError> {
        Shared::check(self, task)
    }
}

impl Handle {
    /// The link by which it is listed: a pointer that leads to the whole allocation, counts included.
    fn belonging(&self) -> NonNull<Belonging> {
        // SAFETY: an `Arc` is not null; *Listed*: a `Belonging` is at the beginning of what it shares.
        unsafe { NonNull::new_unchecked(Arc::as_ptr(&self.0).cast::<Belonging>().cast_mut()) }
    }

    /// Whether the task owns them all, none is in use, and none is named twice.
    pub(crate) fn check_all(gifts: &[Handle], owner: TaskRef) -> Result<(), OwnershipError> {
        for (index, gift) in gifts.iter().enumerate() {
            gift.0.check(owner)?;
            if gifts[..index].iter().any(|other| other.belonging() == gift.belonging()) {
                return Err(OwnershipError::InUse);
            }
        }
        Ok(())
    }

    /// Moves them from the current task to a new one, in the order in which they were given.
    ///
    /// # Safety
    /// `check_all` said so, for the current task; nobody has seen the new one.
    pub(crate) unsafe fn give_all(gifts: Vec<Handle>, to: TaskRef) {
        Domain::with_task(|domain, from| {
            for gift in gifts {
                let belonging = gift.belonging();
                // SAFETY: *Owner* and *Listed*: the current task owns it, and the list's count goes from one list to the other.
                unsafe {
                    from.as_ref().belongings.remove(belonging);
                    to.as_ref().belongings.push_front(belonging);
                    if let BelongingKind::Resource(vtable) = belonging.as_ref().kind {
                        (vtable.adopt)(belonging, to.as_ref());
                    }
                    domain.trace_resource(false, from.as_ref().id, belonging);
                    domain.trace_resource(true, to.as_ref().id, belonging);
                }
            }
        });
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// What can be given to a task: a [`Resource`] to any, a [`LocalResource`] to one that is spawned here.
pub trait Gift<Reach>: sealed::Sealed {
    /// Where the task may go with it.
    type Reach;

    #[doc(hidden)]
    fn handle(&self) -> Handle;
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for super::Resource<T> {}
    impl<T> Sealed for super::LocalResource<T> {}
}

macro_rules! resource {
    ($(#[$attribute:meta])* $name:ident, $local:literal, [$($value_bound:tt)*], [$($finaliser_bound:tt)*]) => {
        $(#[$attribute])*
        pub struct $name<T> {
            shared: Arc<Shared<T>>,
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                $name { shared: self.shared.clone() }
            }
        }

        impl<T: $($value_bound)* 'static> $name<T> {
            /// A resource that no task owns yet. While nobody does, dropping its last handle drops the value without the finaliser.
            ///
            /// The finaliser runs with no current task, on its owner's domain, and must not block.
            ///
            /// Miou: `Miou.Ownership.create`.
            #[doc(alias = "create")]
            #[track_caller]
            pub fn new(value: T, finaliser: impl FnOnce(T) + $($finaliser_bound)* 'static) -> Self {
                $name { shared: Shared::new(value, Box::new(finaliser), Location::caller()) }
            }

            /// Makes the current task its owner.
            ///
            /// # Errors
            /// `AlreadyOwned`, by the current task too; `NotOwned` while it is on its way to a parent; `Gone`; `NoTask`.
            ///
            /// Miou: `Miou.Ownership.own`.
            #[track_caller]
            pub fn own(&self) -> Result<(), OwnershipError> {
                Shared::own(&self.shared, Location::caller())
            }

            /// As [`own`](Self::own), naming another place in the message of a leak: for wrappers that are async.
            ///
            /// # Errors
            /// As [`own`](Self::own).
            pub fn own_at(&self, place: &'static Location<'static>) -> Result<(), OwnershipError> {
                Shared::own(&self.shared, place)
            }

            /// Whether the current task owns it and may use it.
            ///
            /// # Errors
            /// `NotOwner`, `NotOwned`, `InUse`, `Gone`, `NoTask`.
            ///
            /// Miou: `Miou.Ownership.check`.
            pub fn check(&self) -> Result<(), OwnershipError> {
                self.shared.as_owner(|_, _| Ok(()))
            }

            /// Uses the value. By its owner.
            ///
            /// # Errors
            /// As [`check`](Self::check); `with` inside `with` is `InUse`.
            pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, OwnershipError> {
                self.shared.with(f)
            }

            /// Gives the value back, without the finaliser. By its owner.
            ///
            /// # Errors
            /// As [`check`](Self::check).
            ///
            /// Miou: `Miou.Ownership.disown`.
            pub fn disown(&self) -> Result<T, OwnershipError> {
                let (value, finaliser) = Shared::take(&self.shared)?;
                drop(finaliser);
                Ok(value)
            }

            /// Runs the finaliser, now. By its owner.
            ///
            /// # Errors
            /// As [`check`](Self::check).
            ///
            /// # Panics
            /// Where the finaliser does: the panic goes on.
            ///
            /// Miou: `Miou.Ownership.release`.
            pub fn release(&self) -> Result<(), OwnershipError> {
                let (value, finaliser) = Shared::take(&self.shared)?;
                Domain::with(|domain| domain.as_task(None, || finaliser(value)));
                Ok(())
            }

            /// Gives it to the parent: it is the parent's no later than when the promise of the current task resolves. In between nobody
            /// may use it.
            ///
            /// # Errors
            /// As [`check`](Self::check); `NoParent` for the main task; `OtherDomain` for what may not leave its domain.
            ///
            /// Miou: `Miou.Ownership.transfer`.
            pub fn transfer(&self) -> Result<(), OwnershipError> {
                self.shared.transfer($local)
            }

            /// The task that owns it.
            pub fn owner(&self) -> Option<TaskId> {
                self.shared.owner()
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

resource!(
    /// A value with a finaliser, owned by at most one task at a time, on any domain. Handles are `Clone` and `Send`.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::{run, spawn, Resource, OwnershipError, platform::Bare, Config};
    /// # let ran = run(&Bare, Config::new(), async {
    /// let file = Resource::new(String::from("contents"), |_| println!("closed"));
    /// file.own().unwrap();
    /// let other = file.clone();
    /// let child = spawn(async move { other.check().is_err() }); // NotOwner
    /// assert!(child.await.unwrap());
    /// file.release().unwrap(); // prints: closed
    /// # });
    /// # assert!(ran.is_ok());
    /// # }
    /// ```
    ///
    /// Miou: `Miou.Ownership.t`.
    Resource, false, [Send +], [Send +]
);

resource!(
    /// A value with a finaliser that stays on its domain: neither need be `Send`, and the handle is not. It can be given only with `spawn`.
    LocalResource, true, [], []
);

// SAFETY: the value and the finaliser are `Send`, and *Owner* lets one task at a time touch them; the rest is atomic.
unsafe impl<T: Send> Send for Resource<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Resource<T> {}

impl<Reach, T: Send + 'static> Gift<Reach> for Resource<T> {
    type Reach = Reach;

    fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

impl<T: 'static> Gift<Anywhere> for LocalResource<T> {
    type Reach = Here;

    fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

impl<T: 'static> Gift<Here> for LocalResource<T> {
    type Reach = Here;

    fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owners_id_is_kept_whole() {
        let shared = Shared::new((), Box::new(drop), Location::caller());
        for bits in [0, 1, u64::from(u32::MAX), 1 << 32, 0x0123_4567_89ab_cdef] {
            shared.set_owner_id(TaskId::from_bits(bits));
            assert_eq!(shared.owner_id().to_bits(), bits);
        }
    }
}
