//! How far lists are walked when tasks end: nodes are counted, not time.
//!
//! With ten times as many belongings and children an end may ask for ten times as many nodes, and not for a hundred times as many.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::pending;

use crate::container::list::ASKED;
use crate::platform::Bare;
use crate::{Care, Config, Orphans, Resource, run, spawn, yield_now};

/// How many nodes are asked for while a task is cancelled that `make` made so many of its things in.
fn nodes_asked_for<T: 'static>(count: usize, make: fn(usize) -> T) -> usize {
    let ended = run(&Bare, Config::new(), async {
        let task = spawn(async move {
            let _made = make(count);
            pending::<()>().await;
        });
        // It is at its place, and its children are.
        for _ in 0..2 {
            yield_now().await;
        }
        let before = ASKED.get();
        task.cancel().await;
        crate::Plain(ASKED.get() - before)
    });
    ended.unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn assert_grows_no_faster<T: 'static>(make: fn(usize) -> T) {
    let [few, many] = [100, 1000].map(|count| nodes_asked_for(count, make));
    assert!(few > 0 && many <= 10 * few, "{few} nodes with 100, {many} with 1000");
}

fn owned(count: usize) -> Vec<Resource<()>> {
    let all: Vec<_> = (0..count).map(|_| Resource::new((), drop)).collect();
    all.iter().for_each(|resource| resource.own().unwrap());
    all
}

fn with_one_child() -> Orphans<()> {
    let orphans = Orphans::new();
    orphans.spawn(pending::<()>());
    orphans
}

#[test]
fn the_ends_of_children_kept_aside_pass_no_resources() {
    assert_grows_no_faster(|count| {
        let before = owned(count);
        let orphans = Orphans::new();
        (0..count).for_each(|_| {
            orphans.spawn(pending::<()>());
        });
        (before, orphans, owned(count))
    });
}

#[test]
fn the_ends_of_children_in_many_groups_pass_no_resources() {
    assert_grows_no_faster(|count| {
        let before = owned(count);
        let groups: Vec<_> = (0..count).map(|_| with_one_child()).collect();
        (before, groups, owned(count))
    });
}

/// A group whose handle is kept stays among what its owner has, until that ends. These are kept by the children themselves.
#[test]
fn the_ends_of_children_pass_each_group_without_children_once() {
    /// So many groups like this one, younger than that of the children who keep them.
    fn kept(count: usize, make: fn() -> Orphans<()>) {
        let orphans = with_one_child();
        let groups = Rc::new((0..count).map(|_| make()).collect::<Vec<_>>());
        (0..count).for_each(|_| {
            let groups = groups.clone();
            orphans.spawn(async move {
                pending::<()>().await;
                drop(groups);
            });
        });
    }
    assert_grows_no_faster(|count| kept(count, with_one_child));
    assert_grows_no_faster(|count| {
        kept(count, || {
            let childless = Orphans::new();
            assert!(matches!(childless.care(), Care::Empty));
            childless
        });
    });
}

#[test]
fn finalisers_pass_once_what_was_transferred() {
    assert_grows_no_faster(|count| {
        let all = owned(2 * count);
        all[count..].iter().for_each(|resource| resource.transfer().unwrap());
        all
    });
    assert_grows_no_faster(|count| {
        let all = owned(2 * count);
        all.iter().step_by(2).for_each(|resource| resource.transfer().unwrap());
        all
    });
}
