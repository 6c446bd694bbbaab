//! The back ends behind one face. What only io_uring does is nothing with the others.

use std::io;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::epoll;
use super::table::{Table, Token};
use super::unread::Unread;
#[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
use super::uring;
use super::{Reactor, poll};
use crate::interrupt::Bell;

pub(super) enum Kernel {
    #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
    Uring(Box<uring::Uring>),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll(epoll::Epoll),
    Poll(poll::Poll),
}

/// Calls the same method of whichever back end it is.
macro_rules! kernel {
    ($kernel:expr, $method:ident($($argument:expr),*)) => {
        match $kernel {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            $crate::reactor::kernel::Kernel::Uring(kernel) => kernel.$method($($argument),*),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            $crate::reactor::kernel::Kernel::Epoll(kernel) => kernel.$method($($argument),*),
            $crate::reactor::kernel::Kernel::Poll(kernel) => kernel.$method($($argument),*),
        }
    };
}
pub(super) use kernel;

impl Kernel {
    /// The kind that was asked for, else the first one that there is and that is worth it.
    pub(super) fn new(reactor: Option<Reactor>, bell: &Bell) -> io::Result<Kernel> {
        let Some(reactor) = reactor else {
            let (&last, before) = Reactor::CHOICE.split_last().expect("there is one everywhere");
            let found = before.iter().find_map(|&reactor| Kernel::of_choice(reactor, bell));
            return found.map_or_else(|| Kernel::of(last, bell), Ok);
        };
        Kernel::of(reactor, bell)
    }

    /// This kind, where there is a choice: io_uring is worth it only where it repeats receives. Else it takes more processor time than epoll.
    fn of_choice(reactor: Reactor, bell: &Bell) -> Option<Kernel> {
        match reactor {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Reactor::Uring => Some(Kernel::Uring(Box::new(uring::Uring::that_repeats(bell)?))),
            reactor => Kernel::of(reactor, bell).ok(),
        }
    }

    pub(super) fn of(reactor: Reactor, bell: &Bell) -> io::Result<Kernel> {
        match reactor {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Reactor::Uring => Ok(Kernel::Uring(Box::new(uring::Uring::new(bell)?))),
            #[cfg(not(all(target_os = "linux", not(matou_scripted_kernel))))]
            Reactor::Uring => Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring is Linux's: take `Reactor::Poll`")),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Reactor::Epoll => Ok(Kernel::Epoll(epoll::Epoll::new(bell)?)),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Reactor::Epoll => Err(io::Error::new(io::ErrorKind::Unsupported, "epoll is Linux's: take `Reactor::Poll`")),
            Reactor::Poll => Ok(Kernel::Poll(poll::Poll::new(bell))),
        }
    }

    pub(super) fn kind(&self) -> Reactor {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(_) => Reactor::Uring,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kernel::Epoll(_) => Reactor::Epoll,
            Kernel::Poll(_) => Reactor::Poll,
        }
    }

    /// The domain asks for nothing any more. What came, and was not read, with the places it belongs to.
    pub(super) fn end(&mut self, table: &mut Table) -> Vec<(usize, Box<Unread>)> {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.end(table),
            // What is registered goes with the descriptor it is registered at.
            _ => Vec::new(),
        }
    }

    /// A descriptor has left, and its entry was closed.
    pub(super) fn leave(&mut self, token: Token, table: &mut Table) {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.leave(token, table),
            _ => kernel!(self, settle(token.index(), table)),
        }
    }

    /// A read waits, with room for as many bytes as `room` says: what comes is to be put aside for it. Says whether it will be.
    pub(super) fn want(&mut self, token: Token, room: &dyn Fn() -> usize) -> bool {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => {
                let room = room();
                if room > 0 {
                    uring.want(token.index(), room);
                }
                room > 0
            }
            _ => false,
        }
    }

    /// Whether something was put aside.
    pub(super) fn is_ahead(&self, token: Token) -> bool {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.is_ahead(token.index()),
            _ => false,
        }
    }

    pub(super) fn is_receiving(&self, token: Token) -> bool {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.is_receiving(token.index()),
            _ => false,
        }
    }

    /// A read has its bytes. Says whether all is ready for the next one.
    pub(super) fn rest(&mut self, token: Token) -> bool {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.rest(token.index()),
            _ => false,
        }
    }

    pub(super) fn offer<R>(&mut self, token: Token, take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>) -> Option<io::Result<R>> {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.offer(token.index(), take),
            _ => None,
        }
    }

    pub(super) fn quit(&mut self, token: Token, table: &mut Table) -> Option<Box<Unread>> {
        match self {
            #[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
            Kernel::Uring(uring) => uring.quit(token.index(), table),
            _ => None,
        }
    }
}
