//! What the programs share, so that only the executor differs: a clock of one tick a millisecond, a line of text, and an end.
//!
//! Nothing here formats: what of `core::fmt` is in a program, its executor has brought.

#[cfg(target_arch = "arm")]
#[path = "lm3s6965.rs"]
mod chip;
#[cfg(target_arch = "riscv32")]
#[path = "virt.rs"]
mod chip;

use core::ffi::CStr;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use semihosting::sys::arm_compat;

pub use chip::*;

/// What each task does: it writes its letter every so many milliseconds, so often. No two of them write in the same millisecond.
pub const TASKS: [(u8, u64, u32); 3] = [(b'a', 7, 10), (b'b', 11, 6), (b'c', 13, 5)];

static TICKS: AtomicU32 = AtomicU32::new(0);
/// The letters, in the order in which they were written, and a zero.
static LINE: [AtomicU8; 24] = [const { AtomicU8::new(0) }; 24];
static WRITTEN: AtomicU32 = AtomicU32::new(0);

/// Milliseconds since the start.
pub fn ticks() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

/// A millisecond has passed. In the clock's handler.
fn ticked() {
    add(&TICKS, 1);
    crate::ticked();
}

/// Adds where there is one writer, on processors that cannot do so in one step, too.
pub fn add(counter: &AtomicU32, number: u32) -> u32 {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(number);
    counter.store(sum, Ordering::Relaxed);
    sum
}

/// Writes a letter.
pub fn write(letter: u8) {
    let index = add(&WRITTEN, 1) as usize - 1;
    if let Some(place) = LINE.get(index) {
        place.store(letter, Ordering::Relaxed);
    }
}

/// Says what was written, and ends the program.
pub fn finish() -> ! {
    for letter in LINE.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|letter| *letter != 0) {
        arm_compat::sys_writec(letter);
    }
    say(c"\n");
    semihosting::process::exit(0)
}

fn say(text: &CStr) {
    arm_compat::sys_write0(text);
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    say(c"panicked\n");
    semihosting::process::exit(101)
}
