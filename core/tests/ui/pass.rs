//! What the other cases do, done right.

use std::cell::Cell;
use std::rc::Rc;

use matou_core::platform::Bare;
use matou_core::{Config, Exit, LocalResource, Plain, Resource, Task, TaskPool, call, run, spawn};

/// Exactly as large as its future and its result are.
static POOL: TaskPool<2, 256> = TaskPool::new();

/// A value that is no `Outcome` itself.
struct Measurement(f32);

fn main() {
    let ended = run(&Bare, Config::new(), async {
        // The closure is `Send`, what it makes need not be. There is no domain here, so it is given back.
        let text = String::from("sent");
        let refused = call(move || async move {
            let bound = Rc::new(Cell::new(text.len()));
            matou_core::yield_now().await;
            bound.get()
        });
        assert!(refused.is_err());

        // 240 bytes and the state of the future, and an alignment of 16, fit.
        let large = [1_u8; 240];
        let pooled = POOL.spawn(async move { large.iter().map(|byte| u32::from(*byte)).sum::<u32>() }).unwrap();
        assert_eq!(pooled.await.unwrap(), 240);
        #[repr(align(16))]
        struct Aligned(u128);
        let aligned = POOL.spawn(std::future::ready(Plain(Aligned(1)))).unwrap();
        assert_eq!(aligned.await.unwrap().0, 1);

        let measured = spawn(async { Plain(Measurement(1.5)) });
        assert!(measured.await.unwrap().0 > 1.0);

        let resource = Resource::new(String::new(), drop);
        resource.own().unwrap();
        assert!(Task::new().give(&resource).call(|| async {}).is_err());
        resource.release().unwrap();
        let local = LocalResource::new(Rc::new(1), drop);
        local.own().unwrap();
        let child = Task::new().give(&local).spawn({
            let local = local.clone();
            async move { local.release().unwrap() }
        });
        child.unwrap().await.unwrap();
        Ok::<_, Exit>(())
    });
    ended.unwrap();
}
