//! R5: only the parent awaits a child, and it is on its domain.

use matou_core::Promise;

fn send(promise: Promise<u32>) {
    std::thread::spawn(move || promise);
}

fn main() {}
