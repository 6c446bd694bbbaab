//! A task says whether it ended normally.

struct Measurement(f32);

fn main() {
    let _promise = matou_core::spawn(async { Measurement(1.5) });
}
