//! Models of matou's lock-free parts.
#[cfg(all(test, loom))]
mod explore;
#[cfg(all(test, loom))]
mod doorbell;
#[cfg(all(test, loom))]
mod state;
#[cfg(all(test, loom))]
mod inbox;
#[cfg(all(test, loom))]
mod world;
