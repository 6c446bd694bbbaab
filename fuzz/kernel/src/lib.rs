//! A kernel that does as it is told, behind the names by which the platform's reactor calls the real one.
//!
//! `io` and `event` are what the reactor uses of `rustix`, with its types and its signatures; [`kernel`] is what a test plays with: sockets,
//! their other sides, who shares a descriptor, and what happens while somebody sleeps. Each thread has a kernel of its own, with a clock
//! that moves when somebody sleeps until a deadline.
//!
//! No call here reaches the system but one: an epoll instance and an `eventfd` hold a descriptor of `/dev/null`, since they are owned as
//! `OwnedFd`. Their numbers begin at 512; those of sockets are below 64, and are no descriptors of this process.

pub mod kernel;

/// What `rustix::io` gives.
pub mod io {
    use std::os::fd::AsFd;

    pub use real::io::Errno;

    use crate::kernel;

    /// Reads the count of an `eventfd`.
    ///
    /// # Errors
    /// `EAGAIN` where it is zero.
    pub fn read(fd: impl AsFd, _buf: &mut [u8]) -> Result<usize, Errno> {
        kernel::read_event(fd.as_fd())
    }

    /// Adds to the count of an `eventfd`.
    ///
    /// # Errors
    /// None that matters here.
    pub fn write(fd: impl AsFd, _buf: &[u8]) -> Result<usize, Errno> {
        kernel::write_event(fd.as_fd())
    }

    /// Nothing here blocks.
    ///
    /// # Errors
    /// None.
    pub fn ioctl_fionbio(_fd: impl AsFd, _on: bool) -> Result<(), Errno> {
        Ok(())
    }
}

/// What `rustix::event` gives.
pub mod event {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

    pub use real::event::{EventfdFlags, PollFlags, Timespec};

    use crate::io::Errno;
    use crate::kernel;

    /// An entry of the list that `poll` is given.
    #[derive(Clone, Debug)]
    pub struct PollFd<'fd> {
        fd: BorrowedFd<'fd>,
        events: PollFlags,
        revents: PollFlags,
    }

    impl<'fd> PollFd<'fd> {
        /// One that asks for `events`.
        pub fn new<Fd: AsFd>(fd: &'fd Fd, events: PollFlags) -> Self {
            PollFd::from_borrowed_fd(fd.as_fd(), events)
        }

        /// The same.
        pub fn from_borrowed_fd(fd: BorrowedFd<'fd>, events: PollFlags) -> Self {
            PollFd { fd, events, revents: PollFlags::empty() }
        }

        /// What came of it.
        pub fn revents(&self) -> PollFlags {
            self.revents
        }
    }

    /// Waits for one of those in the list.
    ///
    /// # Errors
    /// `EINTR` where the test says so.
    pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize, Errno> {
        kernel::sleep(timeout, |kernel| {
            let mut count = 0;
            for entry in &mut *fds {
                entry.revents = kernel.poll(entry.fd.as_raw_fd(), entry.events);
                count += usize::from(!entry.revents.is_empty());
            }
            count
        })
    }

    /// A counter that can be waited for.
    ///
    /// # Errors
    /// None that matters here.
    pub fn eventfd(_initial: u32, _flags: EventfdFlags) -> Result<OwnedFd, Errno> {
        kernel::new_event()
    }

    /// What `rustix::event::epoll` gives.
    pub mod epoll {
        use std::os::fd::{AsFd, AsRawFd, OwnedFd};

        pub use real::event::epoll::{CreateFlags, Event, EventData, EventFlags};

        use super::Timespec;
        use crate::io::Errno;
        use crate::kernel::{self, Control};

        /// An epoll instance.
        ///
        /// # Errors
        /// None that matters here.
        pub fn create(_flags: CreateFlags) -> Result<OwnedFd, Errno> {
            kernel::new_epoll()
        }

        /// Registers a descriptor.
        ///
        /// # Errors
        /// `EEXIST`, and what the test says.
        pub fn add(epoll: impl AsFd, fd: impl AsFd, data: EventData, flags: EventFlags) -> Result<(), Errno> {
            kernel::control(epoll.as_fd(), fd.as_fd(), Control::Add(data.u64(), flags))
        }

        /// Registers it for something else.
        ///
        /// # Errors
        /// `ENOENT`, and what the test says.
        pub fn modify(epoll: impl AsFd, fd: impl AsFd, data: EventData, flags: EventFlags) -> Result<(), Errno> {
            kernel::control(epoll.as_fd(), fd.as_fd(), Control::Modify(data.u64(), flags))
        }

        /// Takes a descriptor out.
        ///
        /// # Errors
        /// `ENOENT`.
        pub fn delete(epoll: impl AsFd, fd: impl AsFd) -> Result<(), Errno> {
            kernel::control(epoll.as_fd(), fd.as_fd(), Control::Delete)
        }

        /// Waits for events.
        ///
        /// # Errors
        /// `EINTR` where the test says so.
        pub fn wait(epoll: impl AsFd, events: &mut [Event], timeout: Option<&Timespec>) -> Result<usize, Errno> {
            let epoll = epoll.as_fd().as_raw_fd();
            kernel::sleep(timeout, |kernel| kernel.harvest(epoll, events))
        }
    }
}
