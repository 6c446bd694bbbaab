//! Several sources on one descriptor: they share its entry, lose it together, and join anew.

use super::*;

everywhere! {
    both_wait_and_both_are_resumed
    what_came_before_the_second_joined_is_not_lost
    one_that_leaves_lets_the_others_join_anew
    r45_one_that_leaves_elsewhere_lets_the_others_join_anew
    r45_an_old_registration_that_leaves_elsewhere_takes_nobody_with_it
    r45_the_other_direction_is_watched_after_a_departure_not_known_yet
    r20_two_that_wait_keep_nobody_awake
    a_descriptor_replaced_behind_its_back_shares_nothing
    what_is_replaced_in_its_source_leaves
}

/// A source of its own on a descriptor that somebody else keeps.
fn another(fd: &impl AsFd) -> Source<BorrowedFd<'_>> {
    Source::new(fd.as_fd())
}

/// Lets it be registered, and wait.
fn wait_for_data(source: &Source<impl AsFd>, point: u64) {
    assert_eq!(read(source, 8), None);
    arm(source, Direction::Read, point);
}

fn both_wait_and_both_are_resumed(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two) = (another(&near), another(&near));
    wait_for_data(&one, 1);
    wait_for_data(&two, 2);
    assert_eq!(bench.quiet(), [0_u64; 0], "the second does not push out the first");
    far.write_all(b"data").unwrap();
    let mut resumed = bench.resumed();
    resumed.sort_unstable();
    assert_eq!(resumed, [1, 2]);
    assert_eq!(read(&two, 8), Some(4));
    assert_eq!(read(&one, 8), None);
}

fn what_came_before_the_second_joined_is_not_lost(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two) = (another(&near), another(&near));
    wait_for_data(&one, 1);
    assert_eq!(read(&two, 8), None);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [1]); // The edge is spent, and the first takes nothing.
    assert_eq!(read_later(bench, &two, 8), 4);
}

fn one_that_leaves_lets_the_others_join_anew(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two) = (another(&near), another(&near));
    wait_for_data(&one, 1);
    wait_for_data(&two, 2);
    drop(two);
    assert!(bench.select(Wait::Forever, &[2]).contains(&1), "it looks again");
    wait_for_data(&one, 3);
    assert_eq!(bench.quiet(), [0_u64; 0]);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [3]);
    assert_eq!(read(&one, 8), Some(4));
}

fn r45_one_that_leaves_elsewhere_lets_the_others_join_anew(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two) = (another(&near), another(&near));
    wait_for_data(&one, 1);
    wait_for_data(&two, 2);
    thread::scope(|scope| scope.spawn(|| drop(two)).join().unwrap());
    // Its departure is not known here yet, and the third joins in between.
    let three = another(&near);
    wait_for_data(&three, 3);
    wait_for_data(&one, 4);
    bench.select(Wait::Forever, &[2]);
    bench.quiet();
    wait_for_data(&one, 5);
    wait_for_data(&three, 6);
    assert_eq!(bench.quiet(), [0_u64; 0]);
    far.write_all(b"data").unwrap();
    let mut resumed = bench.resumed();
    resumed.sort_unstable();
    assert_eq!(resumed, [5, 6]);
}

fn r45_an_old_registration_that_leaves_elsewhere_takes_nobody_with_it(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two, three) = (another(&near), another(&near), another(&near));
    wait_for_data(&one, 1);
    wait_for_data(&two, 2);
    drop(one); // From now on the second's registration is an old one.
    bench.select(Wait::Forever, &[]);
    wait_for_data(&three, 3);
    thread::scope(|scope| scope.spawn(|| drop(two)).join().unwrap());
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [3], "by the departure or by the data");
    assert_eq!(read_later(bench, &three, 8), 4);
}

fn r45_the_other_direction_is_watched_after_a_departure_not_known_yet(bench: &Bench) {
    let (near, mut far) = pair();
    let (one, two) = (another(&near), another(&near));
    wait_for_data(&one, 1);
    wait_for_data(&two, 2);
    fill(&one);
    thread::scope(|scope| scope.spawn(|| drop(two)).join().unwrap());
    arm(&one, Direction::Write, 3); // An error, if the system no longer knows the descriptor.
    bench.select(Wait::Forever, &[2]);
    bench.quiet();
    fill(&one);
    arm(&one, Direction::Write, 4);
    let mut buf = [0; 1 << 16];
    while !bench.select(Wait::No, &[]).contains(&4) {
        assert!(far.read(&mut buf).unwrap() > 0);
    }
}

fn r20_two_that_wait_keep_nobody_awake(bench: &Bench) {
    let (near, _far) = pair();
    let (one, two) = (another(&near), another(&near));
    let (mut waiting, mut rounds) = ([false; 2], 0);
    let deadline = clock() + Duration::from_millis(20);
    while clock() < deadline {
        rounds += 1;
        for (source, point) in [(&one, 0), (&two, 1)] {
            if !waiting[point] {
                wait_for_data(source, point as u64);
                waiting[point] = true;
            }
        }
        for point in bench.select(Wait::Until(deadline), &[]) {
            waiting[point as usize] = false;
        }
    }
    assert!(rounds <= 4, "they take the registration from each other: {rounds} rounds");
}

fn a_descriptor_replaced_behind_its_back_shares_nothing(bench: &Bench) {
    let (near, _far) = pair();
    let mut number = near.into_io();
    let old = another(&number);
    wait_for_data(&old, 1);
    std::mem::forget(old); // It never leaves.
    let (other, mut far) = pair();
    rustix::io::dup2(other, &mut number).unwrap();
    let new = another(&number);
    wait_for_data(&new, 2);
    far.write_all(b"data").unwrap();
    while !bench.resumed().contains(&2) {}
    assert_eq!(read(&new, 8), Some(4));
}

fn what_is_replaced_in_its_source_leaves(bench: &Bench) {
    let ((mut source, _far), (other, mut far)) = (pair(), pair());
    wait_for_data(&source, 1);
    let old = std::mem::replace(source.io_mut(), other.into_io());
    assert_eq!(bench.select(Wait::Forever, &[]), [1]);
    wait_for_data(&source, 2);
    drop(old);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [2]);
    assert_eq!(read(&source, 8), Some(4));
}
