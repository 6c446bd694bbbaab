//! A platform whose runs are all alike: its clock goes on only when a domain sleeps, and a point is resumed at the next look.

use std::cell::RefCell;
use std::convert::Infallible;

use matou_core::platform::{Events, NoInterrupt, Platform, Signals, Wait};
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

std::thread_local! {
    static REGISTERED: RefCell<Vec<PointId>> = const { RefCell::new(Vec::new()) };
}

/// Has the point resumed at the next look.
pub fn register(point: PointId) {
    REGISTERED.with_borrow_mut(|points| points.push(point));
}

/// One domain, on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manual;

impl Platform for Manual {
    type Error = Infallible;
    type Events = Clock;

    fn events(&self, _: DomainId) -> Result<Clock, Infallible> {
        Ok(Clock { now: Instant::from_nanos(0) })
    }

    fn domains(&self, workers: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Infallible> {
        assert_eq!(workers, 0, "this platform has one domain");
        main();
        Ok(())
    }
}

/// The time, which goes on to where it is slept to.
#[derive(Debug)]
pub struct Clock {
    now: Instant,
}

impl Events for Clock {
    type Interrupt = NoInterrupt;
    type Error = Infallible;

    fn interrupter(&self) -> NoInterrupt {
        NoInterrupt
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn select(&mut self, wait: Wait, _: &[PointId], signals: &mut Signals<'_>) -> Result<(), Infallible> {
        let mut resumed = false;
        REGISTERED.with_borrow_mut(|points| {
            for point in points.drain(..) {
                signals.resume(point);
                resumed = true;
            }
        });
        match wait {
            Wait::No => {}
            Wait::Until(time) if !resumed => self.now = time,
            Wait::Until(_) => {}
            Wait::Forever => assert!(resumed, "nothing will ever happen"),
        }
        Ok(())
    }
}
