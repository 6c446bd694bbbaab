//! Sockets whose error queue is not empty, as that of one which asks for time stamps: each poll of them ends with an error that no call tells.

#![cfg(target_os = "linux")]

#[macro_use]
mod support;

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;

use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt::Timestamping};
use support::{Setup, pair};

everywhere! {
    an_event_for_a_writer_lets_no_read_pass_what_is_received
}

/// A socket whose error queue is not empty ends every poll, and has io_uring receive on a thread of its own.
fn an_event_for_a_writer_lets_no_read_pass_what_is_received(setup: &Setup) {
    const NUMBERS: u32 = 20_000;
    setup.run(0, async {
        let (near, far) = pair().await?;
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(&near, Timestamping, &stamps).unwrap();
        near.write_all(b"x").await?;
        let mut far = far.into_std();
        far.set_nonblocking(false)?;
        let sender = std::thread::spawn(move || {
            for number in 0..NUMBERS {
                far.write_all(&number.to_ne_bytes()).unwrap();
                std::thread::yield_now();
            }
            let _ = far.read_to_end(&mut Vec::new());
        });
        // More than there is room for: this write waits while the numbers come.
        let mut written = false;
        let large = vec![0; 16 << 20];
        let mut write = pin!(near.write_all(&large));
        for expected in 0..NUMBERS {
            let mut number = [0; 4];
            let mut read = Box::pin(near.read_exact(&mut number));
            poll_fn(|cx| {
                written = written || write.as_mut().poll(cx).is_ready();
                read.as_mut().poll(cx)
            })
            .await?;
            drop(read);
            assert_eq!(u32::from_ne_bytes(number), expected);
        }
        near.shutdown(Shutdown::Both)?;
        sender.join().unwrap();
        io::Result::Ok(())
    });
}
