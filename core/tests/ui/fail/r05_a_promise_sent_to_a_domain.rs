//! R5: only the parent awaits a child; a task on another domain is not the parent.

fn main() {
    let promise = matou_core::spawn(async { 7 });
    let _other = matou_core::call(move || async move { promise.await.is_ok() });
}
