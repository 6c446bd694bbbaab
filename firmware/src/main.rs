//! The rules of matou that need neither threads nor a heap, on a microcontroller.
//!
//! Each is a function of `rules`, named after the rule. Its name is printed before it runs; a check that fails panics, and the program ends with
//! 101 as a test would. Whoever runs it feeds `matou` into the serial line.

#![no_std]
#![no_main]

#[allow(dead_code, unused_imports)] // The programs of `examples` use another part of it.
mod board;
mod rules;

use semihosting::{print, println, process};

fn main() -> ! {
    let rules = rules::ALL;
    println!("running {} rules", rules.len());
    for (name, rule) in rules {
        print!("rule {name} ... ");
        rule();
        println!("ok");
    }
    println!("all {} rules hold", rules.len());
    process::exit(0)
}
