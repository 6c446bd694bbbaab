//! What tasks wait for, polled by hand: a row of polls, drops, signals and closes, and what each must give.
//!
//! There is no runtime and no task: a few futures of a [`Mutex`], a [`Condition`], a [`Semaphore`], a [`Notify`], a [`Channel`] and a [`Lazy`]
//! are started, polled (each time with the same waker or with another), dropped at any moment, or kept for what they hold. The model is
//! one [`Line`] for each list of waiters. After each operation compared are: what a poll gave, **which wakers were woken** (exactly those whose
//! future has something to go on with, and of each the last), what can be asked (permits, values, closed), and how many of the
//! channel's values are alive.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use matou_core::sync::{Channel, Condition, Lazy, Mutex, MutexGuard, Notify, Permit, Semaphore};

use crate::input::Input;
use crate::line::{Grant, Line};
use crate::same;

const SLOTS: usize = 8;
const PERMITS: usize = 2;
const ROOM: usize = 2;
/// No number of permits.
const SIGNAL: usize = usize::MAX;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lock,
    /// On the condition, for its signal.
    Signal,
    /// On the condition, having been woken: for the mutex. Whether it was a signal that woke it.
    Relock(bool),
    Acquire(usize),
    Notified,
    Send,
    Receive,
    Force,
    /// It computes the value.
    Compute,
}

/// What a future gave.
enum Out<'a> {
    Guard(MutexGuard<'a, ()>),
    Permit(Permit<'a>),
    Done(Said),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Guard,
    Permit(usize),
    Closed,
    Notified,
    Sent,
    NotSent(u64),
    Received(Option<u64>),
    Forced(u64),
}

enum Slot<'a> {
    Empty,
    Waits { kind: Kind, future: Pin<Box<dyn Future<Output = Out<'a>> + 'a>>, value: u64, bell: Option<Arc<Bell>> },
    Guard(MutexGuard<'a, ()>),
    Permit(Permit<'a>),
}

/// A waker that says it was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Bell {
    fn is_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A value in the channel: its number, and one of the references that are counted.
type Value = (u64, Rc<()>);

#[derive(Debug)]
struct Model {
    mutex: Line,
    condition: Line,
    semaphore: Line,
    notify: Line,
    places: Line,
    values: Line,
    turn: Line,
    buffer: VecDeque<u64>,
    forced: Option<u64>,
    /// How often the computation was begun.
    begun: u64,
}

impl Model {
    /// A poll of what waits: what it becomes, or gives.
    fn poll(&mut self, who: usize, kind: Kind, value: u64, open: bool) -> Result<Said, Kind> {
        let line = match kind {
            Kind::Lock | Kind::Relock(_) => self.mutex.ask(who, 1).map(|_| Said::Guard),
            Kind::Signal => {
                let listed = self.condition.ask(who, SIGNAL);
                return match listed {
                    Some(grant) => self.poll(who, Kind::Relock(grant == Grant::Given), value, open),
                    None => Err(kind),
                };
            }
            Kind::Acquire(permits) => self.semaphore.ask(who, permits).map(|grant| match grant {
                Grant::Given => Said::Permit(permits),
                Grant::Swept => Said::Closed,
            }),
            Kind::Notified => self.notify.ask(who, 1).map(|_| Said::Notified),
            Kind::Send => self.places.ask(who, 1).map(|grant| match grant {
                Grant::Given => self.push(value).map_or(Said::NotSent(value), |()| Said::Sent),
                Grant::Swept => Said::NotSent(value),
            }),
            Kind::Receive => match self.values.ask(who, 1) {
                None => None,
                Some(_) => match self.pop() {
                    Some(value) => Some(Said::Received(Some(value))),
                    None if self.values.closed => Some(Said::Received(None)),
                    None => None,
                },
            },
            Kind::Force => match self.turn.ask(who, 1) {
                None => None,
                Some(Grant::Swept) => self.forced.map(Said::Forced),
                Some(Grant::Given) => {
                    self.begun += 1;
                    return self.poll(who, Kind::Compute, self.begun, open);
                }
            },
            Kind::Compute => open.then(|| {
                self.forced = Some(self.begun);
                self.turn.close();
                Said::Forced(self.begun)
            }),
        };
        line.ok_or(kind)
    }

    /// What waits is dropped.
    fn leave(&mut self, who: usize, kind: Kind, polled: bool) {
        let line = match kind {
            // Not polled, it still has the mutex.
            Kind::Signal if !polled => return self.mutex.release(1),
            Kind::Signal => {
                if self.condition.leave(who).is_some() {
                    self.condition.signal();
                }
                return;
            }
            Kind::Compute => return self.turn.release(1),
            Kind::Notified => {
                if self.notify.leave(who).is_some() {
                    self.notify();
                }
                return;
            }
            Kind::Lock | Kind::Relock(_) => &mut self.mutex,
            Kind::Acquire(_) => &mut self.semaphore,
            Kind::Send => &mut self.places,
            Kind::Receive => &mut self.values,
            Kind::Force => &mut self.turn,
        };
        if let Some(permits) = line.leave(who) {
            line.release(permits);
        }
        if kind == Kind::Relock(true) {
            self.condition.signal();
        }
    }

    fn notify(&mut self) {
        if !self.notify.signal() {
            self.notify.permits = 1;
        }
    }

    fn push(&mut self, value: u64) -> Option<()> {
        if self.places.closed {
            return None;
        }
        self.buffer.push_back(value);
        self.values.release(1);
        Some(())
    }

    fn pop(&mut self) -> Option<u64> {
        let value = self.buffer.pop_front()?;
        self.places.release(1);
        Some(value)
    }

    /// Whether this one has something to go on with.
    fn is_granted(&self, who: usize) -> bool {
        let lines = [&self.mutex, &self.condition, &self.semaphore, &self.notify, &self.places, &self.values, &self.turn];
        lines.into_iter().any(|line| line.is_granted(who))
    }
}

/// Does what these bytes say, and compares.
///
/// # Errors
/// What differs, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut done = Vec::new();
    follow(&mut Input::new(bytes), &mut done).map_err(|why| format!("{why}\nafter {}", done.join("\n      ")))
}

fn follow(input: &mut Input<'_>, done: &mut Vec<String>) -> Result<(), String> {
    let (mutex, condition, semaphore, notify) = (Mutex::new(()), Condition::new(), Semaphore::new(PERMITS), Notify::new());
    let channel = Channel::<Value, ROOM>::new();
    let (open, begun) = (Cell::new(false), Cell::new(0));
    let lazy = Lazy::new(|| {
        begun.set(begun.get() + 1);
        let (open, mine) = (&open, begun.get());
        poll_fn(move |_| if open.get() { Poll::Ready(mine) } else { Poll::Pending })
    });
    let alive = Rc::new(());
    let mut slots: [Slot<'_>; SLOTS] = std::array::from_fn(|_| Slot::Empty);
    // Wakers that were given up before they were woken.
    let mut stale: Vec<Arc<Bell>> = Vec::new();
    let mut model = Model {
        mutex: Line::new(1),
        condition: Line::default(),
        semaphore: Line::new(PERMITS),
        notify: Line::default(),
        places: Line::new(ROOM),
        values: Line::default(),
        turn: Line::new(1),
        buffer: VecDeque::new(),
        forced: None,
        begun: 0,
    };
    let mut left = 0..SLOTS;
    for number in 0.. {
        // At the end all that is left is dropped, one after the other.
        let over = input.is_over();
        let who = match over {
            false => input.below(SLOTS),
            true => match left.next() {
                Some(who) => who,
                None => break,
            },
        };
        let slot = &mut slots[who];
        let what = "what an operation gave, or what can be asked after it";
        match if over { 10 } else { input.below(20) } {
            // Starts, goes on, or ends what is in a slot.
            0..=9 => match std::mem::replace(slot, Slot::Empty) {
                Slot::Empty => {
                    let (kind, future): (_, Pin<Box<dyn Future<Output = Out<'_>>>>) = match input.below(8) {
                        0 | 1 => (Kind::Lock, Box::pin(async { Out::Guard(mutex.lock().await) })),
                        2 | 3 => {
                            let (permits, semaphore) = (input.below(PERMITS + 2), &semaphore);
                            let acquire = async move { semaphore.acquire_many(permits).await.map_or(Out::Done(Said::Closed), Out::Permit) };
                            (Kind::Acquire(permits), Box::pin(acquire))
                        }
                        4 => (
                            Kind::Notified,
                            Box::pin(async {
                                notify.notified().await;
                                Out::Done(Said::Notified)
                            }),
                        ),
                        5 => {
                            let send = channel.send((number, alive.clone()));
                            let sent = async { Out::Done(send.await.map_or_else(|error| Said::NotSent(error.0.0), |()| Said::Sent)) };
                            (Kind::Send, Box::pin(sent))
                        }
                        6 => {
                            let receive = async { Out::Done(Said::Received(channel.receive().await.map(|value| value.0))) };
                            (Kind::Receive, Box::pin(receive))
                        }
                        _ => {
                            let force = async { Out::Done(lazy.force().await.map_or(Said::Closed, |made| Said::Forced(*made))) };
                            (Kind::Force, Box::pin(force))
                        }
                    };
                    done.push(format!("slot {who} = {kind:?} {number}"));
                    *slot = Slot::Waits { kind, future, value: number, bell: None };
                }
                Slot::Waits { kind, mut future, value, bell } => {
                    let fresh = input.one_of(3);
                    done.push(format!("poll slot {who}: {kind:?}{}", if fresh { ", with another waker" } else { "" }));
                    let first = bell.is_none();
                    let silent = bell.filter(|bell| !bell.is_rung());
                    let next = silent.clone().filter(|_| !fresh).unwrap_or_default();
                    let due = model.poll(who, kind, value, open.get());
                    let polled = future.as_mut().poll(&mut Context::from_waker(&Waker::from(next.clone())));
                    stale.extend(silent.filter(|bell| polled.is_ready() || !Arc::ptr_eq(bell, &next)));
                    match (polled, due) {
                        (Poll::Pending, Err(now)) => {
                            if kind == Kind::Signal && first {
                                model.mutex.release(1);
                            }
                            *slot = Slot::Waits { kind: now, future, value, bell: Some(next) };
                        }
                        (Poll::Ready(out), Ok(due)) => {
                            let said = match &out {
                                Out::Guard(_) => Said::Guard,
                                Out::Permit(permit) => Said::Permit(permit.permits()),
                                Out::Done(said) => *said,
                            };
                            same(what, &said, &due)?;
                            *slot = match out {
                                Out::Guard(guard) => Slot::Guard(guard),
                                Out::Permit(permit) => Slot::Permit(permit),
                                Out::Done(_) => Slot::Empty,
                            };
                        }
                        (polled, due) => return Err(format!("a poll of {kind:?} is ready: {}, and should be {due:?}", polled.is_ready())),
                    }
                }
                Slot::Guard(guard) if input.below(3) > 0 => {
                    done.push(format!("slot {who} waits on the condition"));
                    let future = Box::pin(async { Out::Guard(condition.wait(guard).await) });
                    *slot = Slot::Waits { kind: Kind::Signal, future, value: 0, bell: None };
                }
                Slot::Guard(guard) => {
                    done.push(format!("slot {who} unlocks"));
                    drop(guard);
                    model.mutex.release(1);
                }
                Slot::Permit(mut permit) => {
                    let (part, forget) = (input.below(3), input.one_of(5));
                    done.push(format!("slot {who} gives {part} of {} back, forgets the others: {forget}", permit.permits()));
                    if let Some(part) = permit.split(part) {
                        model.semaphore.release(part.permits());
                    }
                    if forget {
                        permit.forget();
                    } else if permit.permits() > 0 {
                        *slot = Slot::Permit(permit);
                    }
                }
            },
            10 | 11 => {
                done.push(format!("drop slot {who}"));
                match std::mem::replace(slot, Slot::Empty) {
                    Slot::Empty => {}
                    Slot::Waits { kind, future, bell, .. } => {
                        drop(future);
                        model.leave(who, kind, bell.is_some());
                        stale.extend(bell.filter(|bell| !bell.is_rung()));
                    }
                    Slot::Guard(guard) => {
                        drop(guard);
                        model.mutex.release(1);
                    }
                    Slot::Permit(permit) => {
                        model.semaphore.release(permit.permits());
                        drop(permit);
                    }
                }
            }
            12 => {
                let add = input.below(4);
                done.push(format!("permits: {add} more, or one less"));
                match add {
                    0 => {
                        let taken = model.semaphore.permits.min(1);
                        model.semaphore.permits -= taken;
                        same(what, &semaphore.forget_permits(1), &taken)?;
                    }
                    _ => {
                        semaphore.add_permits(add);
                        model.semaphore.release(add);
                    }
                }
            }
            13 => {
                done.push("notify".into());
                if input.one_of(3) {
                    notify.notify_waiters();
                    model.notify.sweep();
                } else {
                    notify.notify_one();
                    model.notify();
                }
            }
            14 | 15 => {
                done.push("signal".into());
                if input.one_of(4) {
                    condition.broadcast();
                    model.condition.sweep();
                } else {
                    same(what, &condition.signal(), &model.condition.signal())?;
                }
            }
            16 => {
                done.push(format!("try_send {number}"));
                let due = model.places.try_take(1) && model.push(number).is_some();
                same(what, &channel.try_send((number, alive.clone())).is_ok(), &due)?;
            }
            17 => {
                done.push("try_receive".into());
                let due = if model.values.closed || model.values.try_take(1) { model.pop() } else { None };
                same(what, &channel.try_receive().ok().map(|value| value.0), &due)?;
            }
            18 => {
                done.push("the computation may end, or not".into());
                open.set(input.below(2) == 1);
            }
            _ => match input.below(12) {
                0 => {
                    done.push("close the semaphore".into());
                    semaphore.close();
                    model.semaphore.close();
                }
                1 => {
                    done.push("close the channel".into());
                    channel.close();
                    model.places.close();
                    model.values.close();
                }
                2..=6 => {
                    done.push("try_lock".into());
                    let guard = mutex.try_lock();
                    same(what, &guard.is_some(), &model.mutex.try_take(1))?;
                    if guard.is_some() {
                        drop(guard);
                        model.mutex.release(1);
                    }
                }
                _ => {
                    done.push("try_acquire".into());
                    let permit = semaphore.try_acquire();
                    same(what, &permit.is_ok(), &model.semaphore.try_take(1))?;
                    if permit.is_ok() {
                        drop(permit);
                        model.semaphore.release(1);
                    }
                }
            },
        }
        let seen = (semaphore.available_permits(), semaphore.is_closed(), channel.len(), channel.is_closed(), begun.get(), lazy.peek());
        let due =
            (model.semaphore.permits, model.semaphore.closed, model.buffer.len(), model.places.closed, model.begun, model.forced.as_ref());
        same(what, &seen, &due)?;
        let mut sending = 0;
        for (who, slot) in slots.iter().enumerate() {
            if let Slot::Waits { kind, bell, .. } = slot {
                sending += usize::from(*kind == Kind::Send);
                let rung = bell.as_ref().is_some_and(|bell| bell.is_rung());
                if rung != model.is_granted(who) {
                    return Err(format!("slot {who}, {kind:?}: woken: {rung}, and has something to go on with: {}", !rung));
                }
            }
        }
        if stale.iter().any(|bell| bell.is_rung()) {
            return Err("a waker was woken that had been replaced, or whose future had ended".into());
        }
        if Rc::strong_count(&alive) != 1 + channel.len() + sending {
            return Err(format!("{} values are alive, of which {sending} are being sent", Rc::strong_count(&alive) - 1));
        }
    }
    Ok(())
}
