//! Tasks without an allocator: a static table of places.
//!
//! Invariant *Slot*: a slot that is `taken` belongs to the task whose cell lies in its memory, until that task is freed, which is
//! when its last promise, waker and list has let go of it. Slots are shared by all runs of the process.

#![allow(unsafe_code)] // Places task cells into raw static memory.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::panic::Location;
use core::ptr::NonNull;

use super::cell::{Made, Storage, TaskCell};
use super::{Birth, Header, TaskRef};
use crate::domain::Domain;
use crate::error::Full;
use crate::outcome::Outcome;
use crate::promise::{Promise, PromiseOf};
use crate::shim::{AtomicBool, AtomicUsize, Ordering, fault};

/// Places for `TASKS` tasks whose futures and results take at most `BYTES` bytes each, without an allocator.
///
/// `BYTES` counts the larger of future and result, rounded up to 16; the header of a task, at most 128 bytes on a 64-bit machine, is not
/// counted. A future that does not fit in size or alignment (16) does not build. Place it in a `static`:
///
/// ```
/// # #[cfg(feature = "std")] {
/// use matou_core::{run, platform::Bare, Config, TaskPool};
///
/// static HANDLERS: TaskPool<8, 512> = TaskPool::new();
///
/// let answer = run(&Bare, Config::new(), async {
///     let promise = HANDLERS.spawn(async { 42 }).unwrap_or_else(|full| panic!("{full}"));
///     promise.await.unwrap_or(0)
/// });
/// assert_eq!(answer.ok(), Some(42));
/// # }
/// ```
pub struct TaskPool<const TASKS: usize, const BYTES: usize> {
    slots: [Slot<BYTES>; TASKS],
    /// Where to look for a free place first.
    next: AtomicUsize,
}

#[repr(C, align(16))]
struct Slot<const BYTES: usize> {
    memory: UnsafeCell<MaybeUninit<Memory<BYTES>>>,
    taken: AtomicBool,
}

/// What a cell takes: the header, then the payload on a boundary of 16.
#[repr(C, align(16))]
struct Memory<const BYTES: usize> {
    header: MaybeUninit<Header>,
    payload: [MaybeUninit<u8>; BYTES],
}

// SAFETY: *Slot*: who takes a slot has its memory alone; a task's own fields are shared as `task` says.
unsafe impl<const TASKS: usize, const BYTES: usize> Sync for TaskPool<TASKS, BYTES> {}

impl<const BYTES: usize> Slot<BYTES> {
    #[cfg(not(loom))]
    #[allow(clippy::declare_interior_mutable_const)] // It is what each element of the array begins as.
    const FREE: Slot<BYTES> = Slot { memory: UnsafeCell::new(MaybeUninit::uninit()), taken: AtomicBool::new(false) };
}

enum Pooled<const BYTES: usize> {}

impl<const BYTES: usize> Storage for Pooled<BYTES> {
    unsafe fn free<T>(task: TaskRef) {
        // SAFETY: *Slot*: the task's cell lies at the beginning of its slot.
        let slot = unsafe { task.cast::<Slot<BYTES>>().as_ref() };
        slot.taken.store(false, if fault("slot_freed_relaxed") { Ordering::Relaxed } else { Ordering::Release });
    }
}

impl<const TASKS: usize, const BYTES: usize> TaskPool<TASKS, BYTES> {
    /// A pool with every place free.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)] // It is meant for a `static`, where `default` cannot be called.
    pub const fn new() -> Self {
        TaskPool { slots: [const { Slot::FREE }; TASKS], next: AtomicUsize::new(0) }
    }

    /// A pool with every place free.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        TaskPool {
            slots: core::array::from_fn(|_| Slot { memory: UnsafeCell::new(MaybeUninit::uninit()), taken: AtomicBool::new(false) }),
            next: AtomicUsize::new(0),
        }
    }

    /// How many places are free at this moment.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.taken.load(Ordering::Relaxed)).count()
    }

    fn take(&'static self) -> Option<&'static Slot<BYTES>> {
        let first = self.next.load(Ordering::Relaxed);
        (0..TASKS).map(|step| (first.wrapping_add(step)) % TASKS).find_map(|index| {
            let slot = &self.slots[index];
            let took = if fault("slot_taken_in_two_steps") {
                let free = !slot.taken.load(Ordering::Acquire);
                slot.taken.store(true, Ordering::Relaxed);
                free
            } else {
                let order = if fault("slot_taken_relaxed") { Ordering::Relaxed } else { Ordering::Acquire };
                slot.taken.compare_exchange(false, true, order, Ordering::Relaxed).is_ok()
            };
            took.then(|| {
                self.next.store(index + 1, Ordering::Relaxed);
                slot
            })
        })
    }

    /// Starts a task on the current domain, as `spawn` does, in a place of this pool.
    ///
    /// # Errors
    /// [`Full`], with the future, when every place is taken: a place is free again when the task has ended and its promise and its
    /// wakers are gone.
    ///
    /// # Panics
    /// Outside a task.
    ///
    /// # Cancellation
    /// Dropping the promise does not cancel the child, it forgets it: see [`Promise`].
    #[track_caller]
    pub fn spawn<F>(&'static self, future: F) -> Result<PromiseOf<F>, Full<F>>
    where
        F: Future<Output: Outcome> + 'static,
    {
        // Here and not further down, so that the compiler names the line that calls this.
        const { fits::<F, BYTES>() }
        let born = Location::caller();
        let spawned = Domain::with_task(|domain, parent| {
            let Some(slot) = self.take() else { return Err(Full(future)) };
            let birth = domain.birth(parent, born, true, None);
            // SAFETY: *Slot*: the place was taken, so it is ours; it fits, or this does not build.
            let task = unsafe { Self::place(slot, &birth, future) };
            // SAFETY: the task was just made, for this domain, by the current one.
            unsafe {
                domain.announce(task);
                domain.adopt(task, parent);
            }
            Ok(Promise::new(task))
        });
        spawned.expect("a task was spawned outside a task: spawn it inside `run`, from a task")
    }

    /// Puts a task into a place that the caller took.
    ///
    /// # Safety
    /// The place is taken by the caller (*Slot*), and the future [`fits`].
    unsafe fn place<F: Future<Output: Outcome>>(slot: &'static Slot<BYTES>, birth: &Birth, future: F) -> TaskRef {
        // Made from the whole slot, as `free` finds its flag by it.
        let place = core::ptr::from_ref(slot).cast_mut().cast::<Cell<F, BYTES>>();
        // SAFETY: *Slot*: the memory is ours; large enough and aligned, as the caller promises.
        unsafe {
            place.write(TaskCell::of_future(birth, future, ()));
            NonNull::new_unchecked(place).cast()
        }
    }

    /// As [`spawn`](Self::spawn), for a task that nobody has as a parent: the main task of a run without an allocator.
    #[cfg(not(feature = "alloc"))]
    pub(crate) fn root<F: Future<Output: Outcome>>(&'static self, birth: &Birth, future: F) -> Option<TaskRef> {
        const { fits::<F, BYTES>() }
        // SAFETY: *Slot*: the place was just taken; the future fits, or this does not build.
        self.take().map(|slot| unsafe { Self::place(slot, birth, future) })
    }
}

/// For the models: the hand-over of places without tasks in them.
#[cfg(loom)]
impl<const TASKS: usize, const BYTES: usize> TaskPool<TASKS, BYTES> {
    pub(crate) fn take_place(&'static self) -> Option<TaskRef> {
        self.take().map(|slot| NonNull::from(slot).cast())
    }

    /// # Safety
    /// The place was taken, and is not used any more.
    pub(crate) unsafe fn free_place(place: TaskRef) {
        // SAFETY: promised by the caller.
        unsafe { Pooled::<BYTES>::free::<()>(place) };
    }
}

/// A task as it lies in a place.
type Cell<F, const BYTES: usize> = TaskCell<Made, F, (), Pooled<BYTES>>;

/// Does not build for a future that a place has no room for.
const fn fits<F: Future<Output: Outcome>, const BYTES: usize>() {
    assert!(
        align_of::<Cell<F, BYTES>>() <= 16,
        "this future's alignment is above 16, which is all that a TaskPool gives: box what needs more"
    );
    assert!(
        size_of::<Cell<F, BYTES>>() <= size_of::<Memory<BYTES>>(),
        "this future or its result is larger than BYTES of the TaskPool: make BYTES larger or the future smaller"
    );
}

impl<const TASKS: usize, const BYTES: usize> fmt::Debug for TaskPool<TASKS, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskPool").field("tasks", &TASKS).field("bytes", &BYTES).field("free", &self.free()).finish()
    }
}
