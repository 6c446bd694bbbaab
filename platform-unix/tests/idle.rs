//! What a connection costs that waits for something to receive: a task, and no buffer.
//!
//! The allocator counts, for the whole process, so this is one test.

#![allow(unsafe_code)] // An allocator.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, Ordering};

use matou_unix::net::UnixStream;
use matou_unix::{spawn, yield_now};
use support::{Watchdog, everywhere};

/// Counts the bytes that are allocated.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> isize {
    LIVE.load(Ordering::SeqCst)
}

const MANY: usize = 200;
const BUFFER: usize = 1 << 20;

#[test]
fn a_connection_that_waits_costs_its_task() {
    let _watchdog = Watchdog::new("a_connection_that_waits_costs_its_task");
    for setup in everywhere() {
        let main = async {
            let pairs: Vec<_> = (0..MANY).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
            let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let taken = Rc::new(Cell::new(0));
            let before = live();
            let mut waiting = Vec::with_capacity(MANY);
            for stream in near {
                let taken = Rc::clone(&taken);
                waiting.push(spawn(async move {
                    assert_eq!(*stream.receive().await?, *b"meow");
                    taken.set(taken.get() + 1);
                    // It had a buffer, and has none any more.
                    stream.receive().await.map(|end| end.len())
                }));
            }
            yield_now().await;
            for stream in &far {
                stream.write_all(b"meow").await?;
            }
            while taken.get() < MANY {
                yield_now().await;
            }
            let each = (live() - before) / MANY as isize;
            // Vectors grow to twice of what is needed at most; one buffer is kept, for all.
            assert!(each < 640 + (BUFFER / MANY) as isize, "{each} bytes for each connection that waits");
            drop(far);
            for end in waiting {
                assert_eq!(end.await?, 0);
            }
            io::Result::Ok(())
        };
        setup.builder(0).lent_buffer(BUFFER).run(main).unwrap();
    }
}
