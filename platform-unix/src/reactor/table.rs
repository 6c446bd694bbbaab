//! The table of one domain's sockets: what is known of each, and which points wait for it.
//!
//! It is indexed by descriptor number, and both reactors keep their knowledge in it. What it promises:
//!
//! - **Constant time.** Opening, closing, waiting and giving up touch one entry. Waiters are nodes of circular doubly linked
//!   lists, kept by index in one vector: a point's node is at the index the core gave the point, so a point that was given up is
//!   found without a search. Nothing is allocated once the vectors have reached the size of the program.
//! - **No waiter is lost.** Any number of points may wait for one direction of one socket (two reads in a `join!`). An event
//!   resumes all of them; those that then find nothing wait again.
//! - **Several may share.** Sources on the same descriptor share its entry, and lose it together: see the parent module.
//! - **No old event hurts.** A number is reused by the system as soon as a socket is closed. Each use of an entry has a generation,
//!   a [`Token`] carries it, and what bears an old one is ignored.
//!
//! # What "dry" means
//!
//! A direction is *dry* from the moment a call found nothing (or less than it had room for) to the next event. Dry means "do not
//! try, wait"; not dry means "not known": try. Events only ever end dryness, and they are looked at only in `select`, on this
//! domain, so a socket that turned ready after a call found it empty cannot have had its event forgotten. Where only those are asked about that
//! somebody waits for, there is an event only for who waits until then: with the last wait that is given up dryness ends, too.
//!
//! A short read alone does not make a direction dry when the entry is *stubborn*: after an end of stream, an error or urgent data
//! no further edge needs to come, and the next call must find out by itself. A call that found nothing at all always does.
//!
//! The table belongs to its domain. It runs no foreign code.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use matou_core::PointId;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Towards this process; for a listener, connections.
    Read = 0,
    /// Away from it; for a socket that connects, the connection.
    Write = 1,
}

/// One use of one entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    fd: u32,
    generation: u32,
}

impl Token {
    /// A number no token has: descriptors are not negative.
    pub(super) const NONE: u64 = u64::MAX;

    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.fd)
    }

    pub(super) fn from_bits(bits: u64) -> Token {
        Token { fd: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// Whether it was given for this descriptor number.
    pub(crate) fn is_of(self, fd: BorrowedFd<'_>) -> bool {
        u32::try_from(fd.as_raw_fd()) == Ok(self.fd)
    }

    /// The descriptor's place in tables.
    pub(super) fn index(self) -> usize {
        self.fd as usize
    }
}

/// What an event says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness(u8);

impl Readiness {
    pub(super) const READ: Readiness = Readiness(1);
    pub(super) const WRITE: Readiness = Readiness(1 << 1);
    /// No more edge needs to come for the direction: see *stubborn* above.
    pub(super) const READ_STUBBORN: Readiness = Readiness(1 << 2);
    pub(super) const WRITE_STUBBORN: Readiness = Readiness(1 << 3);
    pub(super) const NOTHING: Readiness = Readiness(0);

    const fn ready(direction: Direction) -> Readiness {
        Readiness(1 << direction as u8)
    }

    const fn stubborn(direction: Direction) -> Readiness {
        Readiness(1 << (2 + direction as u8))
    }

    pub(super) const fn with(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    const fn has(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The directions a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    pub(super) fn of(direction: Direction) -> Interest {
        Interest::default().and(direction)
    }

    pub(super) fn and(mut self, direction: Direction) -> Interest {
        match direction {
            Direction::Read => self.read = true,
            Direction::Write => self.write = true,
        }
        self
    }

    pub(super) fn is_none(self) -> bool {
        !self.read && !self.write
    }

    pub(super) fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.read,
            Direction::Write => self.write,
        }
    }
}

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    open: bool,
    known: Readiness,
    /// The first waiter of each direction.
    heads: [u32; 2],
}

impl Entry {
    /// Whether it is in the use that the token names.
    fn is(&self, token: Token) -> bool {
        self.open && self.generation == token.generation
    }

    /// Perhaps the kernel is not asked any more, so that no event does.
    fn end_dryness(&mut self, direction: Direction) {
        self.known = self.known.with(Readiness::ready(direction));
    }
}

/// The node of one point. Linked exactly while `list` is not `NIL`.
#[derive(Clone, Copy)]
struct Waiter {
    /// The point's generation: its place is where this is.
    generation: u32,
    /// Descriptor and direction.
    list: u32,
    previous: u32,
    next: u32,
}

#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    waiters: Vec<Waiter>,
    /// Points whose socket left while they waited: resumed by the next `select`, so that they find out.
    released: Vec<PointId>,
}

impl Table {
    /// Begins a use of `fd`'s entry, in which `dry` is known to be dry.
    pub(super) fn open(&mut self, fd: RawFd, dry: Direction) -> Token {
        let index = usize::try_from(fd).expect("an open descriptor is not negative");
        if index >= self.entries.len() {
            let entry = Entry { generation: 0, open: false, known: Readiness::NOTHING, heads: [NIL; 2] };
            self.entries.resize(index + 1, entry);
        }
        self.clear(index); // A socket closed behind our back (by its raw number) may have left waiters.
        let entry = &mut self.entries[index];
        entry.generation = entry.generation.wrapping_add(1);
        entry.open = true;
        entry.known = Readiness::READ.with(Readiness::WRITE).without(Readiness::ready(dry));
        Token { fd: index as u32, generation: entry.generation }
    }

    /// Ends the use of the token's entry, and that of another token too: who still waits will be resumed, and whoever else is there
    /// opens it anew.
    pub(super) fn close(&mut self, token: Token) {
        if token.index() < self.entries.len() {
            self.clear(token.index());
            self.entries[token.index()].open = false;
        }
    }

    /// The token of the use that `fd`'s entry is in.
    pub(super) fn open_at(&self, fd: RawFd) -> Option<Token> {
        let index = usize::try_from(fd).ok()?;
        let entry = self.entries.get(index).filter(|entry| entry.open)?;
        Some(Token { fd: index as u32, generation: entry.generation })
    }

    pub(super) fn is_open(&self, token: Token) -> bool {
        self.entries.get(token.index()).is_some_and(|entry| entry.is(token))
    }

    fn entry(&mut self, token: Token) -> Option<&mut Entry> {
        self.entries.get_mut(token.index()).filter(|entry| entry.is(token))
    }

    pub(super) fn is_dry(&mut self, token: Token, direction: Direction) -> bool {
        self.is_open_and_dry(token, direction) == Some(true)
    }

    /// The same of a token that may be old: `None` then.
    pub(super) fn is_open_and_dry(&mut self, token: Token, direction: Direction) -> Option<bool> {
        self.entry(token).map(|entry| !entry.known.has(Readiness::ready(direction)))
    }

    /// A call found nothing.
    pub(super) fn found_nothing(&mut self, token: Token, direction: Direction) {
        if let Some(entry) = self.entry(token) {
            entry.known = entry.known.without(Readiness::ready(direction));
        }
    }

    /// Whether an event has made reading stubborn; it is so no more.
    pub(super) fn take_announced_end(&mut self, token: Token) -> bool {
        let Some(entry) = self.entry(token) else { return false };
        let announced = entry.known.has(Readiness::READ_STUBBORN);
        entry.known = entry.known.without(Readiness::READ_STUBBORN);
        announced
    }

    /// A call that receives finds nothing for ever: no event tells of it again.
    pub(super) fn found_end(&mut self, token: Token) {
        if let Some(entry) = self.entry(token) {
            entry.known = entry.known.with(Readiness::READ).with(Readiness::READ_STUBBORN);
        }
    }

    /// A call moved fewer bytes than it could have.
    pub(super) fn fell_short(&mut self, token: Token, direction: Direction) {
        if let Some(entry) = self.entry(token)
            && !entry.known.has(Readiness::stubborn(direction))
        {
            entry.known = entry.known.without(Readiness::ready(direction));
        }
    }

    /// Lets `point` wait for the next event in `direction`. The token is of this table and open.
    pub(super) fn wait(&mut self, token: Token, direction: Direction, point: PointId) {
        let node = place(point);
        let list = token.fd << 1 | direction as u32;
        let alone = Waiter { generation: generation(point), list, previous: node, next: node };
        match self.waiters.get_mut(node as usize) {
            None => self.waiters.resize(node as usize + 1, Waiter { list: NIL, ..alone }),
            Some(waiter) if waiter.list == NIL => {}
            // An earlier point of this place that was given up, and whose turn in `cancelled` has not come yet.
            Some(_) => self.unlink(node),
        }
        let head = &mut self.entries[token.index()].heads[direction as usize];
        if *head == NIL {
            *head = node;
            self.waiters[node as usize] = alone;
        } else {
            let next = *head;
            let previous = self.waiters[next as usize].previous;
            self.waiters[node as usize] = Waiter { previous, next, ..alone };
            self.waiters[previous as usize].next = node;
            self.waiters[next as usize].previous = node;
        }
    }

    /// Forgets a point that was given up. Gives the entry it waited at.
    pub(super) fn give_up(&mut self, point: PointId) -> Option<usize> {
        let node = place(point);
        let waiter = self.waiters.get(node as usize)?;
        if waiter.generation != generation(point) || waiter.list == NIL {
            return None; // It was resumed, or its place has a successor.
        }
        let (index, direction) = ((waiter.list >> 1) as usize, if waiter.list & 1 == 0 { Direction::Read } else { Direction::Write });
        self.unlink(node);
        let entry = &mut self.entries[index];
        if entry.heads[direction as usize] == NIL {
            entry.end_dryness(direction);
        }
        Some(index)
    }

    /// What the waiters of an entry wait for.
    pub(super) fn wanted(&self, index: usize) -> Interest {
        let heads = self.entries[index].heads;
        Interest { read: heads[0] != NIL, write: heads[1] != NIL }
    }

    /// A wait for what a call in `direction` would find was given up, and nobody asks any more: what came is to be found by trying.
    pub(super) fn asked_in_vain(&mut self, token: Token, direction: Direction) {
        if let Some(entry) = self.entry(token) {
            entry.end_dryness(direction);
        }
    }

    /// What calls found before says nothing any more.
    pub(super) fn end_dryness(&mut self, token: Token) {
        if let Some(entry) = self.entry(token) {
            entry.end_dryness(Direction::Read);
            entry.end_dryness(Direction::Write);
        }
    }

    /// An event came: notes it, and resumes who waited for it.
    pub(super) fn event(&mut self, token: Token, news: Readiness, resume: &mut dyn FnMut(PointId)) {
        let Some(entry) = self.entry(token) else { return };
        entry.known = entry.known.with(news);
        for direction in [Direction::Read, Direction::Write] {
            if news.has(Readiness::ready(direction)) {
                self.drain(token.index(), direction, resume);
            }
        }
    }

    /// Lets everyone who waits at this token look again, at the next `select`.
    pub(super) fn rouse(&mut self, token: Token) {
        if self.is_open(token) {
            self.clear(token.index());
        }
    }

    /// Lets those who wait to read at this token look again, at the next `select`.
    #[inline]
    pub(super) fn rouse_readers(&mut self, token: Token) {
        if self.entry(token).is_some_and(|entry| entry.heads[Direction::Read as usize] != NIL) {
            self.release_all(token.index(), Direction::Read);
        }
    }

    #[inline(never)]
    fn release_all(&mut self, index: usize, direction: Direction) {
        let mut released = core::mem::take(&mut self.released);
        self.drain(index, direction, &mut |point| released.push(point));
        self.released = released;
    }

    /// Lets these be resumed by the next `select`.
    pub(super) fn release(&mut self, points: Vec<PointId>) {
        self.released.extend(points);
    }

    /// Resumes those whose socket has left. Says whether there were any.
    pub(super) fn resume_released(&mut self, resume: &mut dyn FnMut(PointId)) -> bool {
        let any = !self.released.is_empty();
        self.released.drain(..).for_each(resume);
        any
    }

    fn clear(&mut self, index: usize) {
        for direction in [Direction::Read, Direction::Write] {
            self.release_all(index, direction);
        }
    }

    fn drain(&mut self, index: usize, direction: Direction, each: &mut dyn FnMut(PointId)) {
        loop {
            let head = self.entries[index].heads[direction as usize];
            if head == NIL {
                return;
            }
            self.unlink(head);
            each(PointId::from_bits(u64::from(self.waiters[head as usize].generation) << 32 | u64::from(head)));
        }
    }

    /// Takes a node out that is linked.
    fn unlink(&mut self, node: u32) {
        let Waiter { list, previous, next, .. } = self.waiters[node as usize];
        let head = &mut self.entries[(list >> 1) as usize].heads[(list & 1) as usize];
        self.waiters[node as usize].list = NIL;
        if next == node {
            *head = NIL;
            return;
        }
        if *head == node {
            *head = next;
        }
        self.waiters[previous as usize].next = next;
        self.waiters[next as usize].previous = previous;
    }
}

/// The high half of a point's number: which of those that had its place it is.
fn generation(point: PointId) -> u32 {
    (point.to_bits() >> 32) as u32
}

/// A point's place in its domain's table of points: the low half of its number. Places are dense and reused.
fn place(point: PointId) -> u32 {
    point.to_bits() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(place: u32, generation: u32) -> PointId {
        PointId::from_bits(u64::from(generation) << 32 | u64::from(place))
    }

    fn fire(table: &mut Table, token: Token, news: Readiness) -> Vec<PointId> {
        let mut resumed = Vec::new();
        table.event(token, news, &mut |point| resumed.push(point));
        resumed
    }

    fn released(table: &mut Table) -> Vec<PointId> {
        let mut resumed = Vec::new();
        table.resume_released(&mut |point| resumed.push(point));
        resumed
    }

    #[test]
    fn an_event_resumes_all_waiters_of_its_direction_in_order() {
        let mut table = Table::default();
        let token = table.open(7, Direction::Read);
        for place in [3, 0, 5] {
            table.wait(token, Direction::Read, point(place, 0));
        }
        table.wait(token, Direction::Write, point(1, 0));
        assert_eq!(fire(&mut table, token, Readiness::READ), [point(3, 0), point(0, 0), point(5, 0)]);
        assert_eq!(fire(&mut table, token, Readiness::READ), []);
        assert_eq!(table.wanted(7), Interest { read: false, write: true });
        assert_eq!(fire(&mut table, token, Readiness::READ.with(Readiness::WRITE)), [point(1, 0)]);
    }

    #[test]
    fn r34_a_point_given_up_is_not_resumed_and_the_others_are() {
        for gone in 0..3 {
            let mut table = Table::default();
            let token = table.open(4, Direction::Read);
            for place in 0..3 {
                table.wait(token, Direction::Read, point(place, 0));
            }
            assert_eq!(table.give_up(point(gone, 0)), Some(4));
            assert_eq!(table.give_up(point(gone, 0)), None);
            let expected: Vec<_> = (0..3).filter(|&place| place != gone).map(|place| point(place, 0)).collect();
            assert_eq!(fire(&mut table, token, Readiness::READ), expected);
        }
    }

    #[test]
    fn r34_a_place_reused_before_its_cancellation_was_told_belongs_to_the_successor() {
        let mut table = Table::default();
        let (one, two) = (table.open(4, Direction::Read), table.open(5, Direction::Read));
        table.wait(one, Direction::Read, point(0, 0));
        table.wait(two, Direction::Read, point(0, 1));
        assert_eq!(table.give_up(point(0, 0)), None);
        assert_eq!(fire(&mut table, one, Readiness::READ), []);
        assert_eq!(fire(&mut table, two, Readiness::READ), [point(0, 1)]);
    }

    #[test]
    fn an_old_token_touches_nothing() {
        let mut table = Table::default();
        let old = table.open(4, Direction::Read);
        table.wait(old, Direction::Read, point(0, 0));
        let new = table.open(4, Direction::Read);
        assert_eq!(released(&mut table), [point(0, 0)], "who waited at the old socket finds out");
        table.wait(new, Direction::Read, point(1, 0));
        assert_eq!(fire(&mut table, old, Readiness::READ), []);
        assert!(table.is_dry(new, Direction::Read));
        assert_eq!(released(&mut table), []);
        assert_eq!(fire(&mut table, new, Readiness::READ), [point(1, 0)]);
        assert!(!table.is_dry(new, Direction::Read));
    }

    #[test]
    fn whoever_leaves_closes_the_entry_for_all() {
        let mut table = Table::default();
        let old = table.open(4, Direction::Read);
        let new = table.open(4, Direction::Read);
        assert_eq!(table.open_at(4), Some(new));
        table.wait(new, Direction::Read, point(1, 0));
        table.close(old);
        assert_eq!((table.open_at(4), table.is_open(new)), (None, false));
        assert_eq!(released(&mut table), [point(1, 0)], "it joins anew");
    }

    #[test]
    fn a_short_read_makes_dry_unless_the_end_was_announced() {
        let mut table = Table::default();
        let token = table.open(4, Direction::Read);
        assert!(table.is_dry(token, Direction::Read));
        assert!(!table.is_dry(token, Direction::Write), "what nobody tried is not known");
        fire(&mut table, token, Readiness::READ);
        table.fell_short(token, Direction::Read);
        assert!(table.is_dry(token, Direction::Read));
        fire(&mut table, token, Readiness::READ.with(Readiness::READ_STUBBORN));
        table.fell_short(token, Direction::Read);
        assert!(!table.is_dry(token, Direction::Read), "an end of stream behind the data must be found");
        table.found_nothing(token, Direction::Read);
        assert!(table.is_dry(token, Direction::Read), "else a wait would spin");
    }

    #[test]
    fn an_end_that_no_call_tells_is_looked_for_once_and_found_by_each() {
        let mut table = Table::default();
        let token = table.open(4, Direction::Read);
        assert!(!table.take_announced_end(token));
        fire(&mut table, token, Readiness::READ.with(Readiness::READ_STUBBORN));
        table.found_nothing(token, Direction::Read);
        assert!(table.take_announced_end(token));
        assert!(!table.take_announced_end(token) && table.is_dry(token, Direction::Read), "it was an error");
        table.found_end(token);
        assert!(!table.is_dry(token, Direction::Read) && table.take_announced_end(token));
    }

    #[test]
    fn those_who_read_are_roused_alone() {
        let mut table = Table::default();
        let token = table.open(4, Direction::Read);
        table.wait(token, Direction::Read, point(0, 0));
        table.wait(token, Direction::Write, point(1, 0));
        table.rouse_readers(token);
        assert_eq!(released(&mut table), [point(0, 0)]);
        assert_eq!(table.wanted(4), Interest { read: false, write: true });
    }

    #[test]
    fn bits_and_tokens() {
        let mut table = Table::default();
        let token = table.open(0x7fff, Direction::Write);
        assert_eq!(Token::from_bits(token.to_bits()), token);
        assert_ne!(token.to_bits(), Token::NONE);
    }

    /// The lists against a model: random steps, each compared with what a plain vector would do.
    #[test]
    fn the_lists_follow_a_model() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut table = Table::default();
        let tokens: Vec<_> = (0..4).map(|fd| table.open(fd, Direction::Read)).collect();
        let mut model: Vec<(u32, PointId)> = Vec::new();
        let mut generation = 0;
        for _ in 0..100_000 {
            let fd = random(4) as u32;
            match random(4) {
                0 | 1 => {
                    generation += 1;
                    let new = point(random(16) as u32, generation);
                    model.retain(|(_, old)| place(*old) != place(new));
                    model.push((fd, new));
                    table.wait(tokens[fd as usize], Direction::Read, new);
                }
                2 if !model.is_empty() => {
                    let (fd, gone) = model.remove(random(model.len() as u64) as usize);
                    assert_eq!(table.give_up(gone), Some(fd as usize));
                }
                _ => {
                    let expected: Vec<_> = model.extract_if(.., |(at, _)| *at == fd).map(|(_, point)| point).collect();
                    assert_eq!(fire(&mut table, tokens[fd as usize], Readiness::READ), expected);
                }
            }
        }
    }
}
