//! A task says whether it ended normally, on another domain as well.

struct Measurement(f32);

fn main() {
    let _promise = matou_core::call(|| async { Measurement(1.5) });
}
