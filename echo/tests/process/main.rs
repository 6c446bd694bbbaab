//! The echo binary, driven as a process by an independent client.
//!
//! The server side is a guard that kills and reaps its process on every path ([`server`]); the client is a crowd of
//! non-blocking sockets in one epoll loop that knows nothing of matou and checks every byte ([`crowd`]), and that is itself
//! tested against servers with a fault of each kind. No port is fixed, and nothing is awaited by sleeping: where
//! there is no event for a thing, `/proc` is asked until a deadline.
#![cfg(target_os = "linux")]

/// Makes a test of a function for every server and every reactor, or for those servers named.
macro_rules! in_every_mode {
    ($test:ident) => { in_every_mode!($test: sequential concurrent owned parallel multi); };
    ($test:ident: $($mode:ident)+) => {
        mod $test {
            $(mod $mode {
                use crate::server::Setup;

                #[test]
                fn uring() {
                    if crate::server::has_uring() {
                        super::super::$test(Setup { mode: stringify!($mode), reactor: "uring" });
                    }
                }

                #[test]
                fn epoll() {
                    super::super::$test(Setup { mode: stringify!($mode), reactor: "epoll" });
                }

                #[test]
                fn poll() {
                    super::super::$test(Setup { mode: stringify!($mode), reactor: "poll" });
                }
            })+
        }
    };
}

mod crowd;
mod faults;
mod inside;
mod limits;
mod load;
mod output;
mod server;
mod stop;
mod unix;
mod usage;
