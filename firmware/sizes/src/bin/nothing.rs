//! The board alone: what a program takes before it has an executor. It writes the letters from a loop.

#![no_std]
#![no_main]

#[path = "../board/mod.rs"]
mod board;

fn ticked() {}

fn main() -> ! {
    board::start();
    let mut written = 0;
    while written < 21 {
        let now = board::ticks();
        for (letter, period, times) in board::TASKS {
            let period = period as u32;
            if now > 0 && now.is_multiple_of(period) && now / period <= times {
                board::write(letter);
                written += 1;
            }
        }
        while board::ticks() == now {
            board::sleep();
        }
    }
    board::finish()
}
