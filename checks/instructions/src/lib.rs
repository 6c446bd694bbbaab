//! The operations of matou's core that are counted, on a platform that is the same in each run. See `checks/README.md`.

pub mod operations;
pub mod platform;
pub mod table;

/// What is there beside an operation while it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tasks that wait.
    Tasks,
    /// Timers that are set for later.
    Timers,
    /// Children that wait, in the `Orphans` that is asked.
    Orphans,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Tasks, Kind::Timers, Kind::Orphans];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Tasks => "tasks",
            Kind::Timers => "timers",
            Kind::Orphans => "orphans",
        }
    }
}
