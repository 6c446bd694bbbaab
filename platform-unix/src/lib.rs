//! matou on Unix: a structured-concurrency executor whose domains are threads.
//!
//! ```
//! use matou_unix::net::{TcpListener, TcpStream};
//! use std::io;
//!
//! async fn handler(stream: TcpStream) -> io::Result<()> {
//!     let mut buf = [0; 0x100];
//!     loop {
//!         match stream.read(&mut buf).await? {
//!             0 => return Ok(()),
//!             n => stream.write_all(&buf[..n]).await?,
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (stream, _peer) = listener.accept().await?;
//!     let echo = matou_unix::spawn(handler(stream));
//!     client.write_all(b"meow").await?;
//!     let mut buf = [0; 4];
//!     client.read_exact(&mut buf).await?;
//!     assert_eq!(&buf, b"meow");
//!     drop(client);
//!     Ok::<(), io::Error>(echo.await?)
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! Those who are new here begin with the [`tutorial`].
//!
//! This crate brings to the core, which it re-exports whole, what an operating system has:
//!
//! | module | what | Miou |
//! | --- | --- | --- |
//! | the root | [`run`] and [`Builder`]: domains as threads, settings | `Miou_unix.run` |
//! | [`blocking()`] | blocking work, on threads beside the domains | |
//! | [`fs`] | files and directories, with the conventions of [`std::fs`] | |
//! | [`Async`] | pipes, terminals, devices: any descriptor that can be waited for | `Miou_unix.of_file_descr` |
//! | [`net`] | sockets, with the conventions of [`std::net`] | `Miou_unix` |
//! | [`owned`] | sockets that belong to a task, checked at each use | `Miou_unix.Ownership` |
//! | [`process`] | other programs, with the conventions of [`std::process`] | |
//! | [`signal`] | signals: awaited on any domain, handled on domain 0 | `Miou.sys_signal` |
//! | [`platform`] | what plugs a runtime into a system | |
//! | [`dump`](mod@dump) | the live tree of tasks, as text | |
//! | [`time`] | sleeping, deadlines, the clock | `Miou_unix.sleep` |
//! | [`tutorial`] | where to begin: five programs, explained | the tutorials |
//!
//! # How it waits
//!
//! Each domain has a reactor of its own: on Linux io_uring, or edge-triggered epoll where the kernel is too old for that ([`Reactor`]), elsewhere
//! `poll(2)`. A descriptor registers with it when it first has to wait; one that never does is never registered. A domain with nothing to do sleeps in the kernel, and another
//! one wakes it by an `eventfd`, or a pipe. Nothing here allocates per wait, and no table is walked but `poll`'s own.
//!
//! # For those who come from elsewhere
//!
//! [`guide::from_tokio`] has the names, and tells what `select!`, timeouts, `?` and dropped handles do to children here.
//! [`guide::from_miou`] and [the core's](matou_core::guide::from_miou) have every name of Miou.
//!
//! # Looking inside
//!
//! `MATOU_TRACE=file.json` has any program record what its tasks do, for <https://ui.perfetto.dev>: see [`Builder::trace`].
//! [`dump()`] tells which tasks there are at the moment, and what they wait for, without anything switched on before.
//!
//! # Panics and processes
//!
//! A panic in a task is that task's outcome. A signal's default action is replaced only for the kinds of signal that are listened
//! to. Writing to the peer of a socket that is gone is an error, never `SIGPIPE`; for pipes see [`Async::write`].

// What epoll and io_uring alone need.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_variables))]

mod blocking;
mod builder;
mod checked;
mod descriptor;
pub mod dump;
pub mod fs;
mod futures_io;
pub mod guide;
mod interrupt;
pub mod net;
pub mod owned;
pub mod platform;
pub mod process;
mod reactor;
mod record;
pub mod signal;
pub mod time;
pub mod tutorial;

#[doc(inline)]
pub use matou_core::*;

pub use self::blocking::{BlockingError, BlockingRefusal, blocking};
pub use self::builder::{Builder, run};
pub use self::descriptor::Async;
pub use self::dump::dump;
pub use self::futures_io::FuturesIo;
pub use self::reactor::{Reactor, UnknownReactor};

/// The README's examples, so that they cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
