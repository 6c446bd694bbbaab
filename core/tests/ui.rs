//! What must not compile, and what the compiler says about it.
//!
//! Rules that the type system keeps need no violation: a promise stays on its domain (R5), what is not `Send` is not sent (R17, R26), a
//! task that does not fit its pool, or does not say how it ends, does not build. The messages are part of what users see, and are compared
//! with the `.stderr` files beside the cases.
//!
//! The case that passes has every case built to the end, not only checked: a future that is too large for its pool is found when its code
//! is generated.

#![cfg(feature = "std")]

use std::rc::Rc;

use matou_core::suspension::Point;
use matou_core::time::Sleep;
use matou_core::{Cancellation, Care, LocalResource, Orphans, Promise, Resource, Task};

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

/// Whether a type has a trait, decided where an inherent constant hides the one of a trait.
macro_rules! has {
    ($type:ty: $($bound:tt)+) => {{
        #[allow(dead_code)]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Asked<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        impl<T: ?Sized + $($bound)+> Asked<T> {
            const HAS: bool = true;
        }
        <Asked<$type>>::HAS
    }};
}

#[test]
fn r05_r24_r26_r33_what_belongs_to_a_domain_does_not_leave_it() {
    // The question itself tells both answers apart.
    assert!(has!(u32: Send) && !has!(Rc<u32>: Send));
    macro_rules! stays {
        ($($type:ty),+) => {$(
            assert!(!has!($type: Send), "{} is Send", stringify!($type));
            assert!(!has!($type: Sync), "{} is Sync", stringify!($type));
        )+};
    }
    stays!(Promise<u32>, Promise<u32, String>, Cancellation, Care<u32>, Orphans<u32>, LocalResource<u32>, Point, Sleep);
    stays!(Task<matou_core::Here>);
    assert!(has!(Promise<u32>: Unpin) && has!(Promise<Rc<u32>, std::marker::PhantomPinned>: Unpin));
    assert!(has!(Resource<u32>: Send + Sync + Clone) && has!(Resource<std::cell::Cell<u32>>: Send + Sync));
    assert!(!has!(Resource<Rc<u32>>: Send));
}
