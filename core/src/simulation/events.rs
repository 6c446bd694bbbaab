//! Events: what occurs in a simulated world, and how a task waits for it.

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::time::Duration;

use super::world::{Name, Registered, World};
use crate::domain;
use crate::effect::poll_budget;
use crate::id::{DomainId, PointId};
use crate::suspension::Point;

/// What occurs: a name by which tasks wait for it, and the bytes that come with it.
///
/// Made of a name, or of a name and bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub(super) name: Name,
    pub(super) data: Vec<u8>,
}

impl Event {
    /// An event with these bytes.
    pub fn new(name: impl Into<Name>, data: impl Into<Vec<u8>>) -> Event {
        Event { name: name.into(), data: data.into() }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {:?} of {} bytes", self.name, self.data.len())
    }
}

impl<N: Into<Name>> From<N> for Event {
    fn from(name: N) -> Event {
        Event::new(name, [])
    }
}

/// Waits for an event of this name on the current domain, and gives its bytes.
///
/// Each occurrence is for one task: the one that has waited longest, and if none waits, the next that does.
///
/// ```
/// use core::time::Duration;
/// use matou_core::simulation::{Simulation, event};
/// use matou_core::{DomainId, time::now};
///
/// let simulation = Simulation::new(7).at(Duration::from_millis(5), DomainId::ZERO, "alarm");
/// let heard = simulation.run(async {
///     event("alarm").await;
///     now().as_nanos()
/// });
/// assert_eq!(heard.ok(), Some(5_000_000));
/// ```
///
/// # Panics
/// Outside a simulation.
///
/// # Cancellation
/// Dropped early it loses no event: what it was handed goes to the next that waits.
pub async fn event(name: impl Into<Name>) -> Vec<u8> {
    let name = name.into();
    poll_fn(poll_budget).await;
    let mut waiting = Waiting { world: World::current(), domain: here(), name, point: None };
    if let Some(data) = waiting.world.port(waiting.domain).take(&waiting.name) {
        return data;
    }
    let point = Point::new().unwrap_or_else(|error| panic!("{error}"));
    let Ok(()) = point.suspend(|point| waiting.register(point)).await;
    waiting.received()
}

/// A task that waits for an event, on its way to a point.
struct Waiting {
    world: alloc::rc::Rc<World>,
    domain: DomainId,
    name: Name,
    point: Option<PointId>,
}

impl Waiting {
    fn register(&mut self, point: PointId) -> Registered {
        self.point = Some(point);
        self.world.port(self.domain).wait(&self.name, point);
        Ok(())
    }

    fn received(mut self) -> Vec<u8> {
        let received = self.point.take().and_then(|point| self.world.port(self.domain).receive(point));
        received.unwrap_or_else(|| unreachable!("a point is resumed after something was handed to it"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(point) = self.point {
            self.world.port(self.domain).leave(&self.name, point);
        }
    }
}

#[track_caller]
fn here() -> DomainId {
    domain::current().expect("a simulated event was waited for outside a task")
}

/// Lets an event occur on this domain, now: as soon as the current step is over.
///
/// ```
/// use matou_core::simulation::{Event, Simulation, event, fire};
/// use matou_core::{call, domain};
///
/// let greeting = Simulation::new(0).domains(1).run(async {
///     let other = call(|| async {
///         fire(matou_core::DomainId::ZERO, Event::new("greeting", "hello"));
///     })
///     .unwrap();
///     let greeting = event("greeting").await;
///     other.await.unwrap();
///     String::from_utf8(greeting).unwrap()
/// });
/// assert_eq!(greeting.ok().as_deref(), Some("hello"));
/// ```
///
/// # Panics
/// Outside a simulation, or if it has no such domain.
#[track_caller]
pub fn fire(domain: DomainId, event: impl Into<Event>) {
    fire_after(Duration::ZERO, domain, event);
}

/// Lets an event occur on this domain, so much later: a message on its way, a reply of a device.
///
/// # Panics
/// As [`fire`].
#[track_caller]
pub fn fire_after(delay: Duration, domain: DomainId, event: impl Into<Event>) {
    let world = World::current();
    world.write(world.now() + delay, domain, event.into());
}
