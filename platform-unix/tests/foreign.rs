//! Users' code inside an `Async`: its `AsFd`, its closures and its destructor may do whatever is safe to do.

#[macro_use]
mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use matou_unix::{Async, Exit, Plain, spawn, time, yield_now};
use support::{Setup, join, leak};

everywhere! {
    a_value_that_drops_another_while_it_is_asked
    a_value_that_panics_when_it_is_asked
    a_value_that_changes_its_descriptor
    a_value_that_panics_when_it_is_dropped
    a_closure_that_uses_the_same_async
    a_closure_that_panics
    r46_a_wait_that_is_forgotten
}

/// A pipe that calls a function whenever it is asked for its descriptor.
struct Calls<F: Fn()>(PipeReader, F);

impl<F: Fn()> AsFd for Calls<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (self.1)();
        self.0.as_fd()
    }
}

fn nonblocking() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((Async::new(reader)?.into_inner(), writer))
}

/// Lets somebody wait on it, so that it is registered.
fn wait_on(on: &Async<impl AsFd>) {
    let mut buf = [0; 1];
    let mut read = pin!(on.read(&mut buf));
    assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn a_value_that_drops_another_while_it_is_asked(setup: &Setup) {
    setup.run(0, async {
        let victims: Rc<RefCell<Vec<Async<PipeReader>>>> = Rc::default();
        let mut writers = Vec::new();
        for _ in 0..40 {
            let (reader, writer) = io::pipe()?;
            let reader = Async::new(reader)?;
            wait_on(&reader);
            victims.borrow_mut().push(reader);
            writers.push(writer);
        }
        let (reader, mut writer) = io::pipe()?;
        let dropped = Rc::clone(&victims);
        let reader = Async::new(Calls(reader, move || {
            let victim = dropped.borrow_mut().pop();
            drop(victim); // It leaves the reactor that this one is about to join, or leave.
        }))?;
        for round in 0..10 {
            let mut buf = [9; 1];
            let (read, ()) = join(reader.read(&mut buf), async {
                time::sleep(Duration::from_micros(100)).await;
                writer.write_all(&[round]).expect("there is room");
            })
            .await;
            assert_eq!((read?, buf[0]), (1, round));
        }
        drop(reader);
        assert!(victims.borrow().len() < 30);
        io::Result::Ok(())
    });
}

fn a_value_that_panics_when_it_is_asked(setup: &Setup) {
    setup.run(0, async {
        for patience in 0..12 {
            let left = Rc::new(Cell::new(1000));
            let (reader, mut writer) = nonblocking()?;
            let asked = Rc::clone(&left);
            let reader = Async::new(Calls(reader, move || {
                asked.set(asked.get() - 1);
                assert!(asked.get() != 0, "enough");
            }))?;
            left.set(patience);
            let child = spawn(async move {
                let mut buf = [0; 4];
                reader.read(&mut buf).await?;
                reader.read(&mut buf).await?;
                drop(reader);
                io::Result::Ok(())
            });
            for _ in 0..2 {
                time::sleep(Duration::from_micros(100)).await;
                let _gone = writer.write_all(b"x");
            }
            // Wherever it panicked, that was its task's own misfortune.
            match child.await {
                Ok(()) => {}
                Err(Exit::Panicked(panic)) => assert!(panic.to_string().contains("enough"), "{panic}"),
                Err(exit) => panic!("{exit}"),
            }
        }
        io::Result::Ok(())
    });
}

fn a_value_that_changes_its_descriptor(setup: &Setup) {
    struct Changes([PipeReader; 2], Rc<Cell<usize>>);
    impl AsFd for Changes {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0[self.1.get()].as_fd()
        }
    }
    setup.run(0, async {
        let ((one, mut first), (two, mut second)) = (nonblocking()?, nonblocking()?);
        let which = Rc::new(Cell::new(0));
        let (reader, honest) = (Async::new(Changes([one, two], Rc::clone(&which)))?, nonblocking()?);
        let (honest, mut third) = (Async::new(honest.0)?, honest.1);
        for round in 0..6 {
            wait_on(&honest);
            wait_on(&reader); // Registered with one, and then it is the other.
            which.set(1 - which.get());
            let now = if which.get() == 0 { &mut first } else { &mut second };
            let mut buf = [9; 1];
            let (read, ()) = join(reader.read(&mut buf), async {
                time::sleep(Duration::from_micros(100)).await;
                now.write_all(&[round]).expect("there is room");
            })
            .await;
            assert_eq!((read?, buf[0]), (1, round));
        }
        let (read, ()) = join(honest.read(&mut [0; 1]), async { third.write_all(b"x").expect("there is room") }).await;
        assert_eq!(read?, 1, "nobody else is harmed");
        io::Result::Ok(())
    });
}

fn a_value_that_panics_when_it_is_dropped(setup: &Setup) {
    struct Explodes(PipeReader);
    impl AsFd for Explodes {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Drop for Explodes {
        fn drop(&mut self) {
            panic!("the destructor");
        }
    }
    setup.run(0, async {
        let (reader, writer) = io::pipe()?;
        let child = spawn(async move {
            let reader = Async::new(Explodes(reader))?;
            wait_on(&reader);
            drop(reader);
            io::Result::Ok(())
        });
        assert!(matches!(child.await, Err(Exit::Panicked(_))));
        // It had left, and its descriptor is closed.
        assert_eq!(Async::new(writer)?.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        io::Result::Ok(())
    });
}

fn a_closure_that_uses_the_same_async(setup: &Setup) {
    setup.run(0, async {
        let (reader, mut writer) = io::pipe()?;
        let reader = Rc::new(Async::new(reader)?);
        let same = Rc::clone(&reader);
        let child = spawn(async move {
            let first = Cell::new(true);
            let got = same.read_with(|pipe| {
                if first.take() {
                    wait_on(&same); // Waits where this call is about to, takes nothing, and is dropped.
                }
                let mut buf = [0; 4];
                let mut pipe = pipe;
                pipe.read(&mut buf).map(|n| buf[..n].to_vec())
            });
            Plain(got.await)
        });
        yield_now().await;
        writer.write_all(b"ok")?;
        let Ok(got) = child.await else { panic!("it ends in order") };
        assert_eq!(got?, b"ok");
        io::Result::Ok(())
    });
}

fn a_closure_that_panics(setup: &Setup) {
    setup.run(0, async {
        let (reader, mut writer) = io::pipe()?;
        let reader = Rc::new(Async::new(reader)?);
        let same = Rc::clone(&reader);
        let child = spawn(async move {
            let calls = Cell::new(0);
            same.read_with(|_| -> io::Result<()> {
                calls.set(calls.get() + 1);
                assert!(calls.get() < 2, "not again");
                Err(io::ErrorKind::WouldBlock.into())
            })
            .await
        });
        yield_now().await;
        writer.write_all(b"x")?;
        assert!(matches!(child.await, Err(Exit::Panicked(_))));
        assert_eq!(reader.read(&mut [0; 4]).await?, 1, "the byte is still there");
        io::Result::Ok(())
    });
}

fn r46_a_wait_that_is_forgotten(setup: &Setup) {
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = Rc::new(Async::new(reader).unwrap());
    setup.run(0, async {
        for _ in 0..20 {
            let forgotten = Rc::clone(&reader);
            let mut wait = Box::pin(async move { forgotten.readable().await });
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            leak(wait);
        }
        let mut buf = [0; 1];
        let (read, ()) = join(reader.read(&mut buf), async { writer.write_all(b"x").expect("there is room") }).await;
        assert_eq!(read?, 1);
        // One on a borrowed descriptor is forgotten with its registration, and the descriptor goes.
        let (gone, far) = nonblocking()?;
        let borrowed = Async::new(gone.as_fd())?;
        wait_on(&borrowed);
        leak(borrowed);
        drop((gone, far));
        let (next, mut far) = nonblocking()?; // With the same numbers, as it happens.
        let next = Async::new(next)?;
        let (read, ()) = join(next.read(&mut buf), async {
            time::sleep(Duration::from_micros(100)).await;
            far.write_all(b"x").expect("there is room");
        })
        .await;
        assert_eq!(read?, 1);
        io::Result::Ok(())
    });
}
