//! The rules, each with the least that shows it. Tasks come from one pool; collections of promises are arrays.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::{pending, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use heapless::Vec;
use matou_core::platform::Bare;
use matou_core::suspension::{POINTS, Point, PointError};
use matou_core::sync::{Channel, Computation, Condition, Lazy, LazyError, Mutex, Notify, Semaphore, Trigger};
use matou_core::time;
use matou_core::{
    Config, Exit, Full, Promise, RunError, State, TaskPool, ViolationKind, await_all_in, await_first_in, await_one_in, current_task, hook,
    protect, run, yield_now,
};

use crate::board::{self, Board};

macro_rules! rules {
    ($($name:ident),+ $(,)?) => {
        /// Each rule's name, and what shows it.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),+];
    };
}

rules!(
    r01_a_child_runs_later_and_in_the_order_of_creation,
    r02_await_gives_the_value_or_the_failure,
    r03_a_child_left_behind_is_a_violation,
    r04_a_failed_task_takes_its_children_along_and_ends_after_them,
    r05_only_the_parent_may_await,
    r06_dropping_a_promise_forgets_the_child,
    r07_one_the_first_and_all_of_several,
    r09_cancel_marks_and_the_drop_comes_before_ordinary_tasks,
    r10_in_every_state_a_task_can_be_cancelled,
    r12_a_cancelled_task_is_never_polled_again,
    r13_cancellations_that_meet_end_each_task_once,
    r14_protect_calls_finally_and_on_cancellation,
    r19_run_again_and_not_inside_a_run,
    r20_nothing_runs_while_there_is_nothing_to_do,
    r21_the_same_seed_makes_the_same_choices,
    r33_a_point_is_resumed_by_the_interrupt_driven_queue,
    r34_a_point_given_up_is_told_once_and_a_full_table_says_so,
    r34_who_takes_the_last_place_has_the_source_told_of_those_given_up,
    r35_events_are_looked_for_while_a_task_always_runs,
    r36_runnable_tasks_run_first_in_first_out,
    r36_a_task_that_always_finds_its_data_ready_lets_others_run,
    r37_without_events_a_suspension_is_an_error,
    r38_an_interrupt_handler_wakes_a_sleeping_domain,
    r39_a_hook_runs_at_every_step,
    r40_a_mutex_is_fair_and_handed_on_by_who_is_cancelled,
    r41_a_condition_holds_the_mutex_again,
    r42_a_lazy_is_computed_once,
    r43_triggers_and_computations_complete_once,
    r44_after_a_violation_everything_is_dropped,
    r46_a_waker_that_outlives_its_run_does_nothing,
    bytes_of_an_interrupt_handler_come_through_a_channel,
    permits_and_notifications_are_kept,
    a_full_pool_gives_the_future_back,
);

static POOL: TaskPool<8, 256> = TaskPool::new();

fn go<F: Future<Output = ()>>(main: F) {
    if let Err(error) = run(&Board, Config::new(), main) {
        panic!("{error:?}");
    }
}

fn spawn<F>(future: F) -> Promise<u32>
where
    F: Future<Output = u32> + 'static,
{
    POOL.spawn(future).unwrap_or_else(|full| panic!("{full}"))
}

/// Counts what was dropped.
struct Guard(&'static AtomicU32);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// What happened, in order.
struct Journal(critical_section::Mutex<RefCell<Vec<u32, 16>>>);

impl Journal {
    const fn new() -> Journal {
        Journal(critical_section::Mutex::new(RefCell::new(Vec::new())))
    }

    fn write(&self, what: u32) {
        critical_section::with(|section| self.0.borrow_ref_mut(section).push(what)).unwrap_or_else(|_| panic!("the journal is full"));
    }

    /// All so far, which is forgotten.
    fn take(&self) -> Vec<u32, 16> {
        critical_section::with(|section| core::mem::take(&mut *self.0.borrow_ref_mut(section)))
    }
}

fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn r01_a_child_runs_later_and_in_the_order_of_creation() {
    static JOURNAL: Journal = Journal::new();
    go(async {
        let mut children = [1, 2, 3].map(|number| {
            Some(spawn(async move {
                JOURNAL.write(number);
                number
            }))
        });
        JOURNAL.write(0);
        let mut results = [const { None }; 3];
        await_all_in(&mut children, &mut results).await;
        assert_eq!(JOURNAL.take(), [0, 1, 2, 3]);
    });
}

fn r02_await_gives_the_value_or_the_failure() {
    go(async {
        assert!(matches!(spawn(async { 7 }).await, Ok(7)));
        let Ok(failing) = POOL.spawn(async { Err::<u32, &str>("torn") }) else { panic!("there is room") };
        assert!(matches!(failing.await, Err(Exit::Failed("torn"))));
    });
}

fn r03_a_child_left_behind_is_a_violation() {
    let ended = run(&Board, Config::new(), async {
        drop(spawn(async { 7 }));
        yield_now().await;
    });
    let Err(RunError::Violation(violation)) = ended else { panic!("a child was left behind") };
    let ViolationKind::StillHasChildren { spawned, .. } = violation.kind else { panic!("{violation}") };
    assert!(spawned.file().ends_with("rules.rs"));
}

fn r04_a_failed_task_takes_its_children_along_and_ends_after_them() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    go(async {
        let parent = POOL.spawn(async {
            for _ in 0..3 {
                let guard = Guard(&DROPPED);
                let child = spawn(async move {
                    let _guard = guard;
                    pending().await
                });
                drop(child);
            }
            yield_now().await;
            Err::<u32, &str>("it fails")
        });
        let Ok(parent) = parent else { panic!("there is room") };
        assert!(matches!(parent.await, Err(Exit::Failed("it fails"))));
        assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
    });
}

fn r05_only_the_parent_may_await() {
    static RESUMED: AtomicU32 = AtomicU32::new(0);
    let ended = run(&Board, Config::new(), async {
        let child = spawn(async { 7 });
        let stranger = spawn(async move {
            let value = child.await.unwrap_or(0);
            count(&RESUMED);
            value
        });
        let _ = stranger.await;
        count(&RESUMED);
    });
    let Err(RunError::Violation(violation)) = ended else { panic!("it is not its child") };
    assert!(matches!(violation.kind, ViolationKind::NotAChild { .. }), "{violation}");
    assert_eq!(RESUMED.load(Ordering::Relaxed), 0);
}

fn r06_dropping_a_promise_forgets_the_child() {
    static DONE: AtomicU32 = AtomicU32::new(0);
    let ended = run(&Board, Config::new(), async {
        drop(spawn(async {
            yield_now().await;
            count(&DONE);
            7
        }));
        while DONE.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        // An abnormal end may leave it behind.
        Err::<(), &str>("enough")
    });
    assert!(matches!(ended, Err(RunError::Failed("enough"))));
}

fn r07_one_the_first_and_all_of_several() {
    go(async {
        let slow = |number| async move {
            for _ in 0..number {
                yield_now().await;
            }
            number
        };
        let mut some = [3, 1, 2].map(|number| Some(spawn(slow(number))));
        let mut sum = 0;
        while let Some(ended) = await_one_in(&mut some).await {
            sum += ended.unwrap_or(100);
        }
        assert_eq!(sum, 6);

        let mut some = [Some(spawn(pending())), Some(spawn(slow(1)))];
        assert!(matches!(await_first_in(&mut some).await, Some(Ok(1))));
        assert!(some.iter().all(Option::is_none), "the other was cancelled");

        let mut some = [2, 1].map(|number| Some(spawn(slow(number))));
        let mut results = [const { None }; 2];
        await_all_in(&mut some, &mut results).await;
        assert!(matches!(results, [Some(Ok(2)), Some(Ok(1))]));
    });
}

fn r09_cancel_marks_and_the_drop_comes_before_ordinary_tasks() {
    static JOURNAL: Journal = Journal::new();
    struct Says(u32);
    impl Drop for Says {
        fn drop(&mut self) {
            JOURNAL.write(self.0);
        }
    }
    go(async {
        let cancelled = spawn(async {
            let _says = Says(2);
            pending().await
        });
        yield_now().await;
        let ordinary = spawn(async {
            JOURNAL.write(3);
            0
        });
        let cancellation = cancelled.cancel();
        JOURNAL.write(1);
        cancellation.await;
        assert!(ordinary.await.is_ok());
        assert_eq!(JOURNAL.take(), [1, 2, 3]);
    });
}

fn r10_in_every_state_a_task_can_be_cancelled() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    static LOCK: Mutex<()> = Mutex::new(());
    go(async {
        let held = LOCK.lock().await;
        let guard = Guard(&DROPPED);
        let fresh = spawn(async move {
            let _guard = guard;
            0
        });
        fresh.cancel().await;
        let guarded = |wait: u32| async move {
            let _guard = Guard(&DROPPED);
            match wait {
                0 => time::sleep(Duration::from_secs(3600)).await,
                1 => drop(LOCK.lock().await),
                2 => {
                    let Ok(point) = Point::new() else { panic!("there is a point") };
                    let _ = point.suspend(|_| Ok::<_, PointError>(())).await;
                }
                _ => {}
            }
            0
        };
        let children = [0, 1, 2, 3].map(|wait| spawn(guarded(wait)));
        yield_now().await;
        yield_now().await;
        assert_eq!(children[3].state(), State::Resolved);
        for child in children {
            child.cancel().await;
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 5);
        drop(held);
    });
}

fn r12_a_cancelled_task_is_never_polled_again() {
    static POLLS: AtomicU32 = AtomicU32::new(0);
    static OWN: AtomicU32 = AtomicU32::new(0);
    struct Inside(matou_core::TaskId);
    impl Drop for Inside {
        fn drop(&mut self) {
            assert_eq!(current_task(), Some(self.0), "it is the current task while it is dropped");
            count(&OWN);
        }
    }
    go(async {
        let child = spawn(async {
            let Some(id) = current_task() else { panic!("a task runs") };
            let _inside = Inside(id);
            poll_fn(|cx| {
                count(&POLLS);
                cx.waker().wake_by_ref();
                Poll::<u32>::Pending
            })
            .await
        });
        yield_now().await;
        let cancellation = child.cancel();
        let polls = POLLS.load(Ordering::Relaxed);
        cancellation.await;
        assert_eq!((POLLS.load(Ordering::Relaxed), OWN.load(Ordering::Relaxed)), (polls, 1));
    });
}

fn r13_cancellations_that_meet_end_each_task_once() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    /// Cancels the child while the parent, which is being cancelled itself, is dropped.
    struct Cancels(Option<Promise<u32>>);
    impl Drop for Cancels {
        fn drop(&mut self) {
            drop(self.0.take().map(Promise::cancel));
        }
    }
    async fn guarded() -> u32 {
        let _guard = Guard(&DROPPED);
        pending().await
    }
    go(async {
        let parent = spawn(async {
            let _guard = Guard(&DROPPED);
            let _held = Cancels(Some(spawn(guarded())));
            let forgotten = spawn(guarded());
            yield_now().await;
            forgotten.cancel().await;
            pending().await
        });
        // Once for the children to be made, once for them to run, and the parent to wait for the end of one.
        yield_now().await;
        yield_now().await;
        parent.cancel().await;
        assert_eq!(DROPPED.load(Ordering::Relaxed), 3);

        // The parent has marked its child and is marked in the same moment; neither has run.
        let parent = spawn(async {
            let _guard = Guard(&DROPPED);
            let _cancelled = spawn(guarded()).cancel();
            pending().await
        });
        yield_now().await;
        parent.cancel().await;
        assert_eq!(DROPPED.load(Ordering::Relaxed), 4);
    });
    assert_eq!(POOL.free(), 8);
}

fn r14_protect_calls_finally_and_on_cancellation() {
    static JOURNAL: Journal = Journal::new();
    go(async {
        let protected = |number| {
            let future = async move { if number == 0 { 0 } else { pending().await } };
            protect(future, || JOURNAL.write(10), |cancelled| JOURNAL.write(cancelled.into()))
        };
        assert!(spawn(protected(0)).await.is_ok());
        let cut_short = spawn(protected(1));
        yield_now().await;
        cut_short.cancel().await;
        assert_eq!(JOURNAL.take(), [0, 1, 10]);
    });
}

fn r19_run_again_and_not_inside_a_run() {
    for round in 0..10_u32 {
        let inside = Cell::new(0);
        go(async {
            assert!(matches!(run(&Board, Config::new(), async {}), Err(RunError::Nested)));
            inside.set(spawn(async move { round }).await.unwrap_or(99));
        });
        assert_eq!(inside.get(), round);
    }
}

fn r20_nothing_runs_while_there_is_nothing_to_do() {
    static POLLS: AtomicU32 = AtomicU32::new(0);
    go(async {
        let (before, slept) = (time::now(), board::sleeps());
        let mut sleep = pin!(time::sleep(Duration::from_millis(20)));
        poll_fn(|cx| {
            count(&POLLS);
            sleep.as_mut().poll(cx)
        })
        .await;
        assert!(time::now().saturating_duration_since(before) >= Duration::from_millis(20));
        assert_eq!(POLLS.load(Ordering::Relaxed), 2, "polled to begin and to end");
        let slept = board::sleeps() - slept;
        assert!((1..=30).contains(&slept), "slept {slept} times: once a tick at most");
    });
}

fn r21_the_same_seed_makes_the_same_choices() {
    let chosen = |seed| {
        let order = RefCell::new(Vec::<u32, 6>::new());
        let ended = run(&Board, Config::new().seed(seed), async {
            let mut some = [0, 1, 2, 3, 4, 5].map(|number| Some(spawn(async move { number })));
            // All have ended, so that chance decides.
            yield_now().await;
            while let Some(ended) = await_one_in(&mut some).await {
                let _ = order.borrow_mut().push(ended.unwrap_or(100));
            }
        });
        assert!(ended.is_ok());
        order.into_inner()
    };
    assert_eq!(chosen(7), chosen(7));
    assert!((0..7).any(|seed| chosen(seed) != chosen(7)), "the seed decides");
}

fn r33_a_point_is_resumed_by_the_interrupt_driven_queue() {
    go(async {
        for expected in *b"matou" {
            assert_eq!(board::read().await, Ok(expected));
        }
    });
}

fn r34_a_point_given_up_is_told_once_and_a_full_table_says_so() {
    go(async {
        let before = board::given_up();
        let reader = spawn(async {
            let _ = board::read().await;
            0
        });
        yield_now().await;
        reader.cancel().await;
        time::sleep(Duration::from_millis(2)).await;
        assert_eq!(board::given_up() - before, 1);

        let all: [Option<Point>; POINTS] = core::array::from_fn(|_| Point::new().ok());
        assert!(all.iter().all(Option::is_some));
        assert!(matches!(Point::new(), Err(PointError::Full)));
        drop(all);
        assert!(Point::new().is_ok());
        time::sleep(Duration::from_millis(2)).await;
        assert_eq!(board::given_up() - before, 1, "they were never registered");
    });
}

fn r34_who_takes_the_last_place_has_the_source_told_of_those_given_up() {
    let ended = run(&Board, Config::new().quanta(10_000), async {
        // So that the domain has looked around, and sees no reason to before the end.
        yield_now().await;
        yield_now().await;
        let _kept: [Option<Point>; POINTS - 2] = core::array::from_fn(|_| Point::new().ok());
        let mut given_up = Point::new().ok().map(|point| point.suspend(|_| Ok::<(), Infallible>(())));
        poll_fn(|cx| {
            assert!(given_up.as_mut().is_some_and(|waits| Pin::new(waits).poll(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        let next = spawn(async { u32::from(Point::new().is_ok()) });
        drop(given_up);
        let _last = Point::new();
        assert_eq!(next.await.ok(), Some(1), "there is a place for who comes next");
    });
    assert!(ended.is_ok());
}

fn r35_events_are_looked_for_while_a_task_always_runs() {
    static FIRED: AtomicU32 = AtomicU32::new(0);
    let ended = run(&Board, Config::new().quanta(4), async {
        let slept = board::sleeps();
        let sleeper = spawn(async {
            time::sleep(Duration::from_millis(3)).await;
            count(&FIRED);
            0
        });
        while FIRED.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        assert_eq!(board::sleeps(), slept, "there was always somebody to run");
        assert!(sleeper.await.is_ok());
    });
    assert!(ended.is_ok());
}

fn r36_runnable_tasks_run_first_in_first_out() {
    static JOURNAL: Journal = Journal::new();
    go(async {
        let mut children = [1, 2].map(|number| {
            Some(spawn(async move {
                for _ in 0..3 {
                    JOURNAL.write(number);
                    yield_now().await;
                }
                0
            }))
        });
        let mut results = [const { None }; 2];
        await_all_in(&mut children, &mut results).await;
        assert_eq!(JOURNAL.take(), [1, 2, 1, 2, 1, 2]);
    });
}

fn r36_a_task_that_always_finds_its_data_ready_lets_others_run() {
    static LOCK: Mutex<u32> = Mutex::new(0);
    static STOP: AtomicU32 = AtomicU32::new(0);
    go(async {
        let greedy = spawn(async {
            let mut rounds = 0;
            while STOP.load(Ordering::Relaxed) == 0 {
                *LOCK.lock().await += 1;
                rounds += 1;
            }
            rounds
        });
        for _ in 0..3 {
            yield_now().await;
        }
        count(&STOP);
        let rounds = greedy.await.unwrap_or(0);
        assert!((1..=4 * 64).contains(&rounds), "{rounds} in a few turns of 64");
    });
}

fn r37_without_events_a_suspension_is_an_error() {
    let ended = run(&Bare, Config::new(), async {
        assert!(matches!(Point::new(), Err(PointError::NoEvents)));
    });
    assert!(ended.is_ok());
}

fn r38_an_interrupt_handler_wakes_a_sleeping_domain() {
    static TRIGGER: Trigger = Trigger::new();
    go(async {
        let waiting = spawn(async {
            TRIGGER.wait().await;
            1
        });
        let mut raised = false;
        poll_fn(|cx| {
            if raised {
                return Poll::Ready(());
            }
            raised = true;
            board::wake_on_raise(cx.waker().clone());
            board::raise();
            Poll::Pending
        })
        .await;
        assert!(TRIGGER.signal());
        assert!(matches!(waiting.await, Ok(1)));
    });
}

fn r39_a_hook_runs_at_every_step() {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    go(async {
        let hooks: [_; 5] = core::array::from_fn(|_| hook::add_static(&|| count(&STEPS)));
        assert!(hooks[..4].iter().all(Result::is_ok));
        assert!(matches!(hooks[4], Err(Full(_))), "without an allocator there are four");
        let before = STEPS.load(Ordering::Relaxed);
        yield_now().await;
        assert!(STEPS.load(Ordering::Relaxed) >= before + 4);
        drop(hooks);
        let after = STEPS.load(Ordering::Relaxed);
        yield_now().await;
        assert_eq!(STEPS.load(Ordering::Relaxed), after);
    });
}

fn r40_a_mutex_is_fair_and_handed_on_by_who_is_cancelled() {
    static LOCK: Mutex<()> = Mutex::new(());
    static JOURNAL: Journal = Journal::new();
    go(async {
        let held = LOCK.lock().await;
        let [first, second, third] = [1, 2, 3].map(|number| {
            spawn(async move {
                let _held = LOCK.lock().await;
                JOURNAL.write(number);
                yield_now().await;
                0
            })
        });
        yield_now().await;
        second.cancel().await;
        drop(held);
        assert!(LOCK.try_lock().is_none(), "it is the first one's already");
        assert!(first.await.is_ok() && third.await.is_ok());
        assert_eq!(JOURNAL.take(), [1, 3]);
    });
}

fn r41_a_condition_holds_the_mutex_again() {
    static VALUE: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condition = Condition::new();
    go(async {
        let waiting = spawn(async {
            let mut value = CHANGED.wait_while(VALUE.lock().await, |value| *value < 2).await;
            *value += 1;
            *value
        });
        for _ in 0..2 {
            yield_now().await;
            *VALUE.lock().await += 1;
            CHANGED.signal();
        }
        assert!(matches!(waiting.await, Ok(3)));
    });
}

fn r42_a_lazy_is_computed_once() {
    static COMPUTED: AtomicU32 = AtomicU32::new(0);
    /// Forces the value from within its computation, in one poll: it does not wait.
    fn force_within() -> Result<u32, LazyError> {
        match pin!(LAZY.force()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value.copied(),
            Poll::Pending => panic!("it waits for itself"),
        }
    }
    static LAZY: Lazy<u32, fn() -> Computing> = Lazy::new(|| Computing { yielded: false });
    struct Computing {
        yielded: bool,
    }
    impl Future for Computing {
        type Output = u32;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
            if !self.yielded {
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            assert_eq!(force_within(), Err(LazyError::Undefined));
            count(&COMPUTED);
            Poll::Ready(42)
        }
    }
    go(async {
        let children = [(), (), ()].map(|()| spawn(async { LAZY.force().await.copied().unwrap_or(0) }));
        for child in children {
            assert!(matches!(child.await, Ok(42)));
        }
        assert_eq!(COMPUTED.load(Ordering::Relaxed), 1);
    });
}

fn r43_triggers_and_computations_complete_once() {
    static TRIGGER: Trigger = Trigger::new();
    static ANSWER: Computation<u32> = Computation::new();
    go(async {
        let children = [(), ()].map(|()| spawn(async { *ANSWER.wait().await }));
        let waiting = spawn(async {
            TRIGGER.wait().await;
            1
        });
        yield_now().await;
        assert!(TRIGGER.signal() && !TRIGGER.signal());
        assert_eq!((ANSWER.try_complete(42), ANSWER.try_complete(43)), (Ok(()), Err(43)));
        for child in children {
            assert!(matches!(child.await, Ok(42)));
        }
        assert!(waiting.await.is_ok());
    });
}

fn r44_after_a_violation_everything_is_dropped() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    static POLLED: AtomicU32 = AtomicU32::new(0);
    let ended = run(&Board, Config::new(), async {
        let _guard = Guard(&DROPPED);
        let guard = Guard(&DROPPED);
        let waiting = spawn(async move {
            let _guard = guard;
            pending().await
        });
        let guilty = spawn(async {
            drop(spawn(async { pending().await }));
            7
        });
        let _ = guilty.await;
        count(&POLLED);
        waiting.cancel().await;
    });
    assert!(matches!(ended, Err(RunError::Violation(_))));
    assert_eq!((DROPPED.load(Ordering::Relaxed), POLLED.load(Ordering::Relaxed)), (2, 0));
    assert_eq!(POOL.free(), 8);
}

fn r46_a_waker_that_outlives_its_run_does_nothing() {
    let kept = RefCell::new(None);
    go(poll_fn(|cx| {
        *kept.borrow_mut() = Some(cx.waker().clone());
        Poll::Ready(())
    }));
    let Some(waker) = kept.take() else { panic!("it was kept") };
    waker.wake_by_ref();
    go(async {
        yield_now().await;
    });
    waker.wake();
}

fn bytes_of_an_interrupt_handler_come_through_a_channel() {
    go(async {
        let mut word = [0; 5];
        for byte in &mut word {
            *byte = board::BYTES.receive().await.unwrap_or(0);
        }
        assert_eq!(word, *b"matou");
    });
}

fn permits_and_notifications_are_kept() {
    static PERMITS: Semaphore = Semaphore::new(1);
    static NOTIFY: Notify = Notify::new();
    static QUEUE: Channel<u32, 2> = Channel::new();
    go(async {
        let Ok(permit) = PERMITS.acquire().await else { panic!("nobody closes it") };
        assert!(PERMITS.try_acquire().is_err());
        drop(permit);
        assert!(PERMITS.try_acquire().is_ok());
        NOTIFY.notify_one();
        NOTIFY.notified().await;
        let sender = spawn(async {
            for number in 1..=5 {
                assert_eq!(QUEUE.send(number).await, Ok(()));
            }
            QUEUE.close();
            0
        });
        let mut sum = 0;
        while let Some(number) = QUEUE.receive().await {
            sum += number;
        }
        assert!(sum == 15 && sender.await.is_ok());
    });
}

fn a_full_pool_gives_the_future_back() {
    go(async {
        let mut all: [_; 8] = core::array::from_fn(|_| Some(spawn(pending())));
        assert_eq!(POOL.free(), 0);
        let Err(Full(future)) = POOL.spawn(async { 7_u32 }) else { panic!("there are eight places") };
        assert_eq!(future.await, 7);
        for promise in all.iter_mut().filter_map(Option::take) {
            promise.cancel().await;
        }
        assert_eq!(POOL.free(), 8);
    });
}
