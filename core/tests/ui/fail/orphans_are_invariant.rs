//! R22: children go into an `Orphans` and come out: it is no other collector because its type could be read so.

use matou_core::Orphans;

fn longer<'short>(orphans: Orphans<&'static str>) -> Orphans<&'short str> {
    orphans
}

fn shorter<'short>(orphans: Orphans<&'short str>) -> Orphans<&'static str> {
    orphans
}

fn a_function<'short>(orphans: Orphans<fn(&'short str)>) -> Orphans<fn(&'static str)> {
    orphans
}

fn the_error<'short>(orphans: Orphans<(), &'static str>) -> Orphans<(), &'short str> {
    orphans
}

fn main() {}
