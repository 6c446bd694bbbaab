//! Steps: each is one call or two into the runtime, and a line or two in the log.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use matou_core::{
    Care, OwnershipError, Promise, SpawnError, SpawnRefusal, State, Task, TaskId, await_all, await_first, await_one, spawn, yield_now,
};

use super::resources::{Load, Owned, refusal};
use super::task::{Flow, Me, Traced};
use super::trace::{LOADS, Token, count, log, outcome};
use super::{Children, Held, here};
use crate::event::{Event, Found, Refusal, Stands};
use crate::program::{
    Cancel, End, Inside, Into, MOST_ON_BOARD, MOST_RESOURCES, MOST_TASKS, Many, NAME, ORPHANS, Pick, Step, TidyPromises, Use, Which,
};

impl<R: Owned> Me<R> {
    pub(super) async fn step(&self, step: &Step) -> Flow {
        match *step {
            Step::Spawn { more, body, ref gifts, into, named } => {
                let body = self.world.program.child_body(self.body, body)?;
                let gifts: Vec<R> = gifts.iter().filter_map(|&gift| Some(self.resource(gift)?.1)).collect();
                for _ in 0..=more {
                    self.start(&Start { body, gifts: &gifts, into, named });
                }
            }
            Step::Await { promise, keep } => {
                let place = self.held(promise)?;
                let (child, outcome) = poll_fn(|cx| self.poll_held(place, cx)).await;
                if !keep {
                    drop(self.hold(|hold| hold.promises.remove(place)));
                }
                log(Event::Got(child, outcome));
            }
            Step::Glance(promise) => {
                let place = self.held(promise)?;
                match poll_fn(|cx| Poll::Ready(self.poll_held(place, cx))).await {
                    Poll::Ready((child, outcome)) => {
                        drop(self.hold(|hold| hold.promises.remove(place)));
                        log(Event::Got(child, outcome));
                    }
                    Poll::Pending => log(Event::NotYet),
                }
            }
            Step::Join(a, b) => {
                let (a, b) = (self.held(a)?, self.held(b)?);
                let mut left = if a == b { vec![a] } else { vec![a, b] };
                poll_fn(|cx| {
                    left.retain(|&place| match self.poll_held(place, cx) {
                        Poll::Ready((child, outcome)) => {
                            log(Event::Got(child, outcome));
                            false
                        }
                        Poll::Pending => true,
                    });
                    if left.is_empty() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                drop(self.hold(|hold| hold.promises.remove(a.max(b))));
                if a != b {
                    drop(self.hold(|hold| hold.promises.remove(a.min(b))));
                }
            }
            Step::Race(a, b) => {
                let (a, b) = (self.held(a)?, self.held(b)?);
                let (place, child, outcome) = poll_fn(|cx| {
                    for place in [a, b] {
                        if let Poll::Ready((child, outcome)) = self.poll_held(place, cx) {
                            return Poll::Ready((place, child, outcome));
                        }
                        if a == b {
                            break;
                        }
                    }
                    Poll::Pending
                })
                .await;
                drop(self.hold(|hold| hold.promises.remove(place)));
                log(Event::Got(child, outcome));
            }
            Step::Several { many, most, once } => self.several(many, usize::from(most) + 1, once).await,
            Step::Cancel(promise, how) => {
                let held = self.take_held(promise)?;
                self.cancel(held, how).await;
            }
            Step::AwaitCancellation(pick) => {
                let place = self.hold(|hold| usize::from(pick).checked_rem(hold.cancellations.len()))?;
                let (child, cancellation) = self.hold(|hold| hold.cancellations.remove(place));
                cancellation.await;
                log(Event::CancelOver(child));
            }
            Step::Forget(promise) => drop(self.take_held(promise)),
            Step::Look(promise) => {
                let place = self.held(promise)?;
                self.hold(|hold| {
                    let held = &hold.promises[place];
                    if held.spent {
                        return;
                    }
                    let stands = match held.promise.state() {
                        State::Running => Stands::Running,
                        State::Resolved => Stands::Resolved,
                        _ => Stands::Exited,
                    };
                    log(Event::Looked(held.promise.id().number(), stands, held.promise.is_ended()));
                });
            }
            Step::Post(promise) => {
                if self.world.board.borrow().len() < MOST_ON_BOARD {
                    let held = self.take_held(promise)?;
                    self.world.board.borrow_mut().push(held);
                }
            }
            Step::Fetch(pick) => {
                let place = usize::from(pick).checked_rem(self.world.board.borrow().len())?;
                let held = self.world.board.borrow_mut().remove(place);
                self.hold(|hold| hold.promises.push(held));
            }
            Step::Yield => yield_now().await,
            Step::Care(pick) => {
                let (index, orphans) = self.orphans(pick)?;
                let (care, place) = here!(orphans.care());
                self.use_orphans(index, place);
                log(Event::Care(match care {
                    Care::Ready(promise) => Found::Ready(self.given_out(promise)),
                    Care::Pending => Found::Pending,
                    Care::Empty => Found::Empty,
                }));
            }
            Step::Take(pick) => {
                let (index, orphans) = self.orphans(pick)?;
                let (taken, place) = here!(orphans.take());
                self.use_orphans(index, place);
                log(Event::Took(taken.map(|promise| self.given_out(promise))));
            }
            Step::Next { orphans, once } => {
                let (index, orphans) = self.orphans(orphans)?;
                let (next, place) = here!(orphans.next());
                match first_poll(next, once).await {
                    Some(next) => {
                        // That was its first use if it was in use by nobody, as it had no child.
                        self.use_orphans(index, place);
                        log(Event::Next(next.map(outcome)));
                    }
                    None => log(Event::NotYet),
                }
            }
            Step::Len(pick) => {
                let (_, orphans) = self.orphans(pick)?;
                log(Event::Len(orphans.len()));
            }
            Step::DropOrphans { orphans, later } => {
                let (index, orphans) = self.orphans(orphans)?;
                // Who waits for the next one holds it.
                if Rc::strong_count(&orphans) == 2 {
                    self.world.orphans.borrow_mut()[index] = None;
                    if later {
                        self.hold(|hold| hold.orphans.push(orphans));
                    }
                }
            }
            Step::New { panics, owned } => {
                let number = self.world.resources.borrow().len();
                if number < MOST_RESOURCES {
                    count(LOADS, 1);
                    let resource = R::make(Load { number, panics });
                    self.world.resources.borrow_mut().push((resource.clone(), None));
                    if owned {
                        let (answer, place) = here!(resource.own());
                        log(Event::Used(number, Use::Own, self.owned(number, answer, place)));
                    }
                }
            }
            Step::Resource(pick, kind) => {
                let (index, resource) = self.resource(pick)?;
                let answer = self.use_resource(index, &resource, kind);
                log(Event::Used(index, kind, answer));
            }
            Step::Inside(pick, inside) => {
                let (index, resource) = self.resource(pick)?;
                let answer = resource.with(|load| {
                    assert_eq!(load.number, index, "a resource has another's value");
                    match inside {
                        Inside::Panic => panic!("fuzzed task {}", self.number()),
                        Inside::Use(pick, kind) => {
                            if let Some((other, resource)) = self.resource(pick) {
                                let answer = self.use_resource(other, &resource, kind);
                                log(Event::Used(other, kind, answer));
                            }
                        }
                    }
                });
                log(Event::Used(index, Use::With, answer.map_err(refusal)));
            }
            Step::Owner(pick) => {
                let (index, resource) = self.resource(pick)?;
                log(Event::Owner(index, resource.owner().map(TaskId::number)));
            }

            Step::TidyPromises(how) => match how {
                TidyPromises::Leave => {}
                TidyPromises::Forget => drop(self.take_own(usize::MAX)),
                TidyPromises::Await => loop {
                    let number = self.number();
                    let own = self.hold(|hold| hold.promises.iter().position(|held| held.parent == number && !held.spent));
                    let Some(place) = own else { break };
                    let (child, outcome) = poll_fn(|cx| self.poll_held(place, cx)).await;
                    drop(self.hold(|hold| hold.promises.remove(place)));
                    log(Event::Got(child, outcome));
                },
                TidyPromises::Cancel | TidyPromises::CancelAndAwait => {
                    let how = if how == TidyPromises::Cancel { Cancel::Drop } else { Cancel::Await };
                    while let Some(held) = self.take_own(1).pop() {
                        self.cancel(held, how).await;
                    }
                }
            },
            Step::TidyOrphans => {
                for index in 0..ORPHANS {
                    let mine = self.world.first.borrow()[index].is_some_and(|(first, _)| first == self.number());
                    if mine && let Some((_, orphans)) = self.orphans(Which::Place(index as Pick)) {
                        loop {
                            let next = orphans.next().await.map(outcome);
                            let over = next.is_none();
                            log(Event::Next(next));
                            if over {
                                break;
                            }
                        }
                    }
                }
            }
            Step::TidyResources => {
                for index in 0..self.world.resources.borrow().len() {
                    let Some((_, resource)) = self.resource(index as Pick) else { continue };
                    if resource.owner().is_some_and(|owner| owner.number() == self.number()) {
                        log(Event::Used(index, Use::Release, resource.release().map_err(refusal)));
                    }
                }
            }
            Step::End(end) => match end {
                End::Ok => return Some(Ok(Token::new(self.number()))),
                End::Err => return Some(Err(Token::new(self.number()))),
                End::Panic => panic!("fuzzed task {}", self.number()),
                End::Park => std::future::pending::<()>().await,
            },
        }
        None
    }

    /// A promise taken out of an `Orphans` is held.
    fn given_out(&self, promise: Promise<Token, Token>) -> u64 {
        let child = promise.id().number();
        self.hold(|hold| hold.promises.push(Held { promise, child, parent: self.number(), spent: false }));
        child
    }

    async fn cancel(&self, held: Held, how: Cancel) {
        let cancellation = held.promise.cancel();
        log(Event::CancelCalled(cancellation.id().number()));
        match how {
            Cancel::Drop => drop(cancellation),
            Cancel::Await => {
                cancellation.await;
                log(Event::CancelOver(held.child));
            }
            Cancel::Keep => self.hold(|hold| hold.cancellations.push((held.child, cancellation))),
        }
    }

    /// Awaits several of its own children's promises. Those that `await_one` leaves are held again, behind the others.
    async fn several(&self, many: Many, most: usize, once: bool) {
        let (children, mut promises): (Vec<_>, Vec<_>) = self.take_own(most).into_iter().map(|held| (held.child, held.promise)).unzip();
        match many {
            Many::One => {
                let one = first_poll(await_one(&mut promises), once).await;
                let left: Vec<u64> = promises.iter().map(|promise| promise.id().number()).collect();
                let taken = children.into_iter().find(|child| !left.contains(child));
                self.hold(|hold| {
                    for promise in promises {
                        hold.promises.push(Held { child: promise.id().number(), promise, parent: self.number(), spent: false });
                    }
                });
                log(match one {
                    Some(one) => Event::One(one.and_then(|result| Some((taken?, outcome(result))))),
                    None => Event::NotYet,
                });
            }
            Many::First => log(match first_poll(await_first(promises), once).await {
                Some(first) => Event::First(first.map(outcome)),
                None => Event::NotYet,
            }),
            Many::All => log(match first_poll(await_all(promises), once).await {
                Some(all) => Event::All(all.into_iter().map(outcome).collect()),
                None => Event::NotYet,
            }),
        }
    }

    /// Starts a child; its promise is held, or goes where it was asked to.
    fn start(&self, start: &Start<'_, R>) {
        if self.world.born.get() >= MOST_TASKS as u64 {
            return log(Event::Full);
        }
        let future = Traced::new(&self.world, start.body);
        let life = future.life.clone();
        let orphans = match start.into {
            Into::Held => None,
            Into::Orphans(pick) => self.orphans(pick),
        };
        let aside = orphans.as_ref().map(|(_, orphans)| &**orphans);
        let (started, place) = match (start.gifts.split_first(), aside) {
            (Some((first, others)), _) => Self::start_task(named(R::give(first, others), start.named), aside, future),
            (None, _) if start.named => Self::start_task(named(Task::new(), true), aside, future),
            (None, None) => {
                let (promise, place) = here!(spawn(future));
                (Ok(Started::Held(promise)), place)
            }
            (None, Some(orphans)) => {
                let (id, place) = here!(orphans.spawn(future));
                (Ok(Started::Aside(id)), place)
            }
        };
        match started {
            Ok(started) => {
                if let Some((index, _)) = orphans {
                    self.use_orphans(index, place);
                }
                let child = self.world.born.get();
                life.set(Some(self.world.number(place)));
                match started {
                    Started::Aside(id) => log(Event::Spawned(id.number())),
                    Started::Held(promise) => {
                        log(Event::Spawned(promise.id().number()));
                        assert_eq!(promise.name(), start.named.then_some(NAME), "a child has another's name");
                        assert_eq!(promise.location(), place, "a child was made elsewhere");
                        self.hold(|hold| hold.promises.push(Held { promise, child, parent: self.number(), spent: false }));
                    }
                }
            }
            Err(error) => {
                drop(error.task);
                log(Event::Refused(match error.reason {
                    SpawnRefusal::Ownership(error) => refusal(error),
                    _ => Refusal::Unexpected,
                }));
            }
        }
    }

    fn start_task<Reach>(task: Task<Reach>, aside: Option<&Children>, future: Traced<R>) -> (StartedOrNot<R>, &'static Location<'static>) {
        match aside {
            None => {
                let (promise, place) = here!(task.spawn(future));
                (promise.map(Started::Held), place)
            }
            Some(orphans) => {
                let (id, place) = here!(task.spawn_in(orphans, future));
                (id.map(Started::Aside), place)
            }
        }
    }

    /// Notes where a resource was taken.
    fn owned(&self, index: usize, answer: Result<(), OwnershipError>, place: &'static Location<'static>) -> Result<(), Refusal> {
        answer.map_err(refusal).inspect(|()| self.world.resources.borrow_mut()[index].1 = Some(place))
    }

    fn use_resource(&self, index: usize, resource: &R, kind: Use) -> Result<(), Refusal> {
        match kind {
            Use::Own => {
                let (answer, place) = here!(resource.own());
                return self.owned(index, answer, place);
            }
            Use::Check => resource.check(),
            Use::With => resource.with(|load| assert_eq!(load.number, index, "a resource has another's value")),
            Use::Disown => resource.disown().map(|load| assert_eq!(load.number, index, "a resource has another's value")),
            Use::Release => resource.release(),
            Use::Transfer => resource.transfer(),
            Use::Give => {
                let start =
                    Start { body: self.world.program.leaf(), gifts: std::slice::from_ref(resource), into: Into::Held, named: false };
                self.start(&start);
                Ok(())
            }
        }
        .map_err(refusal)
    }
}

/// How to start a child.
struct Start<'a, R> {
    body: usize,
    gifts: &'a [R],
    into: Into,
    named: bool,
}

/// A child as it was made.
enum Started {
    Held(Promise<Token, Token>),
    Aside(TaskId),
}

type StartedOrNot<R> = Result<Started, SpawnError<Traced<R>>>;

fn named<Reach>(task: Task<Reach>, named: bool) -> Task<Reach> {
    if named { task.name(NAME) } else { task }
}

/// Awaits a future; or polls it once and drops it, giving `None` where it was pending.
async fn first_poll<F: Future>(future: F, once: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if once => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
