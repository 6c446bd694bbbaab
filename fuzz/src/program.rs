//! Programs: the language in which the fuzzer writes.
//!
//! A program is a list of *bodies*. Body 0 is the main task's; a body starts tasks only of bodies behind it, so that every program ends,
//! by itself or by having nothing runnable. A body is a list of steps, then a way to tidy up, then an end. One body may be the body of
//! many tasks.
//!
//! What tasks share, so that they can get at what is not theirs: a table of resources, a few `Orphans`, and a *board* on which promises
//! are put up for others to take. Each task has *held* promises, in the order in which it came by them.
//!
//! A step names a thing by any small number, which is taken modulo how many such things there are at that moment; where there is none
//! the step does nothing. So every program is a legal one, and every input is a program. [`crate::machine`] and [`crate::model`] each read
//! this language in their own way; only [`Program::scripts`], which spells the tidying out as steps, is common to both.
//!
//! Reading and writing are inverse: [`Program::encode`] gives bytes that [`Arbitrary`] reads as the same program, for those who want to
//! add a program of their own to the corpus. Every choice takes one byte, so a change of one byte is a change of one choice.

use std::rc::Rc;

use arbitrary::{Arbitrary, Unstructured};

/// How many `Orphans` the tasks of a program share.
pub const ORPHANS: usize = 6;
/// How many tasks a program can make by its steps; afterwards a spawn does nothing.
pub const MOST_TASKS: usize = 48;
/// How many resources a program can make.
pub const MOST_RESOURCES: usize = 12;
/// How many promises fit on the board.
pub const MOST_ON_BOARD: usize = 6;
/// The name of a task that was given one.
pub const NAME: &str = "named";

const MOST_BODIES: u8 = 6;
const MOST_STEPS: u8 = 15;
/// The effects in a poll, of which a program picks one number.
const QUANTA: [u32; 6] = [64, 1, 2, 3, 7, 1000];

/// A number that names one of several things, modulo how many there are.
pub type Pick = u8;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The run's seed.
    pub seed: u8,
    /// Which of the budgets.
    pub quanta: u8,
    /// The resources are `LocalResource`s.
    pub local: bool,
    /// At least one.
    pub bodies: Vec<Body>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// First these.
    pub steps: Vec<Step>,
    /// Then what it tidies up.
    pub tidy: Tidy,
    /// Then its end.
    pub end: End,
    /// What the destructor of its future does.
    pub on_drop: OnDrop,
}

/// How a task ends by itself, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A value.
    Ok,
    /// An error.
    Err,
    /// A panic.
    Panic,
    /// It waits for ever.
    Park,
}

/// What the destructor of a task's future does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// Nothing but to drop what the future holds.
    Nothing,
    /// Starts a task.
    Spawn,
    /// Panics.
    Panic,
    /// Cancels the held promises.
    Cancel,
    /// Releases a resource.
    Release(Pick),
}

/// What a task does with what it holds before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tidy {
    /// With its promises.
    pub promises: TidyPromises,
    /// Whether it awaits all that is in the `Orphans` it was the first to use.
    pub orphans: bool,
    /// Whether it releases what it owns.
    pub resources: bool,
}

/// What a task does with its promises before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TidyPromises {
    /// Nothing: dropped with the future.
    Leave,
    /// Awaits each.
    Await,
    /// Cancels each and awaits the cancellation.
    CancelAndAwait,
    /// Cancels each.
    Cancel,
    /// Drops each.
    Forget,
}

/// One of the shared `Orphans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first that the task was the first to use; else the first that nobody has used.
    Own,
    /// This one, whose it may be.
    Place(Pick),
}

/// Where a new task's promise goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// To the task that made it.
    Held,
    /// Into one of the shared `Orphans`.
    Orphans(Which),
}

/// What becomes of a cancellation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Dropped at once.
    Drop,
    /// Awaited at once.
    Await,
    /// Kept, for [`Step::AwaitCancellation`].
    Keep,
}

/// What is awaited of several promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// `await_one`.
    One,
    /// `await_first`.
    First,
    /// `await_all`.
    All,
}

/// What can be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `own`.
    Own,
    /// `check`.
    Check,
    /// `with`, and nothing inside.
    With,
    /// `disown`.
    Disown,
    /// `release`.
    Release,
    /// `transfer`.
    Transfer,
    /// Given to a new task, which does nothing with it.
    Give,
}

/// What happens inside a `with`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// This, with this resource: the same, or another.
    Use(Pick, Use),
    /// A panic.
    Panic,
}

/// One thing a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Starts a child of this body, giving it resources; then others like it.
    Spawn {
        /// How many there are to be beside the first.
        more: u8,
        /// Which of the bodies behind the task's own.
        body: Pick,
        /// The resources, named twice or not the task's own at times.
        gifts: Vec<Pick>,
        /// Where the promise goes.
        into: Into,
        /// Whether it has a name.
        named: bool,
    },
    /// Awaits a held promise; afterwards keeps the promise, spent, or drops it.
    Await {
        /// Which.
        promise: Pick,
        /// Whether the spent promise is still held.
        keep: bool,
    },
    /// Polls a held promise once.
    Glance(Pick),
    /// Polls two held promises in turn until both are ready.
    Join(Pick, Pick),
    /// Polls two held promises in turn until one is ready; the other is still held.
    Race(Pick, Pick),
    /// Awaits several of its own children's promises, or polls once and drops the future.
    Several {
        /// What is awaited.
        many: Many,
        /// At most so many of them and one.
        most: Pick,
        /// Whether it is polled once and dropped.
        once: bool,
    },
    /// Cancels a held promise.
    Cancel(Pick, Cancel),
    /// Awaits a kept cancellation.
    AwaitCancellation(Pick),
    /// Drops a held promise.
    Forget(Pick),
    /// Asks a held promise how the child stands.
    Look(Pick),
    /// Puts a held promise on the board.
    Post(Pick),
    /// Takes a promise from the board.
    Fetch(Pick),
    /// Lets others run.
    Yield,
    /// `Orphans::care`.
    Care(Which),
    /// `Orphans::take`.
    Take(Which),
    /// `Orphans::next`, awaited, or polled once and dropped.
    Next {
        /// Which `Orphans`.
        orphans: Which,
        /// Whether it is polled once and dropped.
        once: bool,
    },
    /// `Orphans::len`.
    Len(Which),
    /// Drops an `Orphans`, at once or with the task's future.
    DropOrphans {
        /// Which.
        orphans: Which,
        /// With the task's future.
        later: bool,
    },
    /// Makes a resource.
    New {
        /// Its finaliser panics.
        panics: bool,
        /// The task owns it at once.
        owned: bool,
    },
    /// Does something with a resource.
    Resource(Pick, Use),
    /// Does something inside a `with`.
    Inside(Pick, Inside),
    /// Asks who owns a resource.
    Owner(Pick),

    // The steps that `Program::scripts` adds.
    /// Does this to each promise it holds of its own children.
    TidyPromises(TidyPromises),
    /// Awaits all that is in the `Orphans` it was the first to use.
    TidyOrphans,
    /// Releases what it owns.
    TidyResources,
    /// The end.
    End(End),
}

/// The number of the body that every other can start: it yields, then ends.
fn leaf() -> Body {
    let tidy = Tidy { promises: TidyPromises::Leave, orphans: false, resources: true };
    Body { steps: vec![Step::Yield], tidy, end: End::Ok, on_drop: OnDrop::Nothing }
}

impl Program {
    /// The steps of each body, the tidying and the end spelt out; behind them those of a body that any other can start.
    pub fn scripts(&self) -> Vec<Rc<[Step]>> {
        let script = |body: &Body| {
            let mut steps = body.steps.clone();
            steps.push(Step::TidyPromises(body.tidy.promises));
            if body.tidy.orphans {
                steps.push(Step::TidyOrphans);
            }
            if body.tidy.resources {
                steps.push(Step::TidyResources);
            }
            steps.push(Step::End(body.end));
            steps.into()
        };
        self.bodies.iter().chain([&leaf()]).map(script).collect()
    }

    /// The number of the last script.
    pub fn leaf(&self) -> usize {
        self.bodies.len()
    }

    /// Which body a task of body `own` starts. None for the last one.
    pub fn child_body(&self, own: usize, pick: Pick) -> Option<usize> {
        let behind = self.leaf().checked_sub(own).filter(|&behind| behind > 0)?;
        Some(own + 1 + usize::from(pick) % behind)
    }

    /// What the destructor of a future of this body does.
    pub fn on_drop(&self, body: usize) -> OnDrop {
        self.bodies.get(body).map_or(OnDrop::Nothing, |body| body.on_drop)
    }

    /// Whether it is run twice.
    pub fn twice(&self) -> bool {
        self.seed % 4 == 3
    }

    /// How many domains with nothing to do step between its own, in a simulation; `None` for a run on the smallest platform.
    pub fn idle_domains(&self) -> Option<usize> {
        usize::from(self.seed).checked_sub(usize::from(PICKS) / 2)
    }

    /// The effects in a poll.
    pub fn effects(&self) -> u32 {
        QUANTA[usize::from(self.quanta) % QUANTA.len()]
    }

    /// The program that these bytes are read as.
    pub fn decode(bytes: &[u8]) -> Program {
        Reader(Unstructured::new(bytes)).program()
    }

    /// Bytes that are read as this program.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::new());
        writer.program(self);
        writer.0
    }
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let bytes = u.bytes(u.len())?;
        Ok(Program::decode(bytes))
    }
}

/// How many different numbers a pick is.
const PICKS: u8 = 8;
/// How many different first bytes a step has.
const STEPS: u8 = 64;

/// Bytes that are read on and on: behind the last come zeros.
struct Reader<'a>(Unstructured<'a>);

impl Reader<'_> {
    /// A number below `n`, of one byte.
    fn below(&mut self, n: u8) -> u8 {
        self.0.int_in_range(0..=n - 1).unwrap_or(0)
    }

    fn pick(&mut self) -> Pick {
        self.below(PICKS)
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn program(&mut self) -> Program {
        let (seed, quanta, local) = (self.below(PICKS), self.below(QUANTA.len() as u8), self.flag());
        let bodies = 1 + self.below(MOST_BODIES);
        Program { seed, quanta, local, bodies: (0..bodies).map(|_| self.body()).collect() }
    }

    fn body(&mut self) -> Body {
        let steps = self.below(MOST_STEPS + 1);
        let steps = (0..steps).map(|_| self.step()).collect();
        let promises = match self.below(16) {
            0..=9 => TidyPromises::Await,
            10 | 11 => TidyPromises::CancelAndAwait,
            12 | 13 => TidyPromises::Cancel,
            14 => TidyPromises::Forget,
            _ => TidyPromises::Leave,
        };
        let (orphans, resources) = (!self.rarely(), !self.rarely());
        let end = match self.below(16) {
            0..=10 => End::Ok,
            11 | 12 => End::Err,
            13 | 14 => End::Panic,
            _ => End::Park,
        };
        let on_drop = match self.below(16) {
            0..=9 => OnDrop::Nothing,
            10 | 11 => OnDrop::Spawn,
            12 => OnDrop::Panic,
            13 => OnDrop::Cancel,
            _ => OnDrop::Release(self.pick()),
        };
        Body { steps, tidy: Tidy { promises, orphans, resources }, end, on_drop }
    }

    fn step(&mut self) -> Step {
        match self.below(STEPS) {
            kind @ 0..=13 => {
                let into = if kind < 10 { Into::Held } else { Into::Orphans(self.orphans()) };
                let (more, body) = ([0, 0, 0, 0, 0, 1, 2, 3][usize::from(self.below(8))], self.pick());
                let gifts = [0, 0, 0, 0, 0, 1, 2, 3][usize::from(self.below(8))];
                let gifts = (0..gifts).map(|_| self.pick()).collect();
                Step::Spawn { more, body, gifts, into, named: self.flag() }
            }
            14..=16 => Step::Await { promise: self.pick(), keep: self.rarely() },
            17 => Step::Glance(self.pick()),
            18 => Step::Join(self.pick(), self.pick()),
            19 => Step::Race(self.pick(), self.pick()),
            kind @ 20..=22 => {
                let many = [Many::One, Many::First, Many::All][usize::from(kind) - 20];
                Step::Several { many, most: self.pick(), once: self.rarely() }
            }
            kind @ 23..=25 => Step::Cancel(self.pick(), [Cancel::Drop, Cancel::Await, Cancel::Keep][usize::from(kind) - 23]),
            26 => Step::AwaitCancellation(self.pick()),
            27 => Step::Forget(self.pick()),
            28 => Step::Look(self.pick()),
            29 | 30 => Step::Post(self.pick()),
            31 | 32 => Step::Fetch(self.pick()),
            33..=38 => Step::Yield,
            39 | 40 => Step::Care(self.orphans()),
            41 => Step::Take(self.orphans()),
            42 | 43 => Step::Next { orphans: self.orphans(), once: self.rarely() },
            44 => Step::Len(self.orphans()),
            45 => Step::DropOrphans { orphans: self.orphans(), later: self.flag() },
            46..=50 => Step::New { panics: self.rarely(), owned: !self.rarely() },
            51..=60 => {
                let pick = self.pick();
                Step::Resource(pick, self.kind_of_use())
            }
            61 | 62 => {
                let pick = self.pick();
                Step::Inside(pick, if self.rarely() { Inside::Panic } else { Inside::Use(self.pick(), self.kind_of_use()) })
            }
            _ => Step::Owner(self.pick()),
        }
    }

    fn kind_of_use(&mut self) -> Use {
        USES[usize::from(self.below(USES.len() as u8))]
    }

    /// True for one of eight.
    fn rarely(&mut self) -> bool {
        self.below(8) == 7
    }

    fn orphans(&mut self) -> Which {
        match self.below(8) {
            pick @ (6 | 7) => Which::Place(pick - 6),
            _ => Which::Own,
        }
    }
}

const USES: [Use; 7] = [Use::Own, Use::Check, Use::With, Use::Disown, Use::Release, Use::Transfer, Use::Give];

/// Writes what [`Reader`] reads.
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.extend_from_slice(bytes.as_ref());
    }

    fn program(&mut self, program: &Program) {
        self.put([program.seed, program.quanta, u8::from(program.local), program.bodies.len() as u8 - 1]);
        for body in &program.bodies {
            self.body(body);
        }
    }

    fn body(&mut self, body: &Body) {
        self.put([body.steps.len() as u8]);
        for step in &body.steps {
            self.step(step);
        }
        self.put([match body.tidy.promises {
            TidyPromises::Await => 0,
            TidyPromises::CancelAndAwait => 10,
            TidyPromises::Cancel => 12,
            TidyPromises::Forget => 14,
            TidyPromises::Leave => 15,
        }]);
        self.put([rarely(!body.tidy.orphans), rarely(!body.tidy.resources)]);
        self.put([match body.end {
            End::Ok => 0,
            End::Err => 11,
            End::Panic => 13,
            End::Park => 15,
        }]);
        match body.on_drop {
            OnDrop::Nothing => self.put([0]),
            OnDrop::Spawn => self.put([10]),
            OnDrop::Panic => self.put([12]),
            OnDrop::Cancel => self.put([13]),
            OnDrop::Release(pick) => self.put([14, pick]),
        }
    }

    fn step(&mut self, step: &Step) {
        let used = |kind: &Use| USES.iter().position(|other| other == kind).unwrap_or(0) as u8;
        let which = |which: &Which| match which {
            Which::Own => 0,
            Which::Place(pick) => 6 + pick,
        };
        match step {
            Step::Spawn { more, body, gifts, into, named } => {
                match into {
                    Into::Held => self.put([0]),
                    Into::Orphans(pick) => self.put([10, which(pick)]),
                }
                self.put([[0, 5, 6, 7][usize::from(*more)], *body, [0, 5, 6, 7][gifts.len()]]);
                self.put(gifts);
                self.put([u8::from(*named)]);
            }
            Step::Await { promise, keep } => self.put([14, *promise, rarely(*keep)]),
            Step::Glance(pick) => self.put([17, *pick]),
            Step::Join(a, b) => self.put([18, *a, *b]),
            Step::Race(a, b) => self.put([19, *a, *b]),
            Step::Several { many, most, once } => self.put([20 + *many as u8, *most, rarely(*once)]),
            Step::Cancel(pick, how) => self.put([23 + *how as u8, *pick]),
            Step::AwaitCancellation(pick) => self.put([26, *pick]),
            Step::Forget(pick) => self.put([27, *pick]),
            Step::Look(pick) => self.put([28, *pick]),
            Step::Post(pick) => self.put([29, *pick]),
            Step::Fetch(pick) => self.put([31, *pick]),
            Step::Yield => self.put([33]),
            Step::Care(pick) => self.put([39, which(pick)]),
            Step::Take(pick) => self.put([41, which(pick)]),
            Step::Next { orphans, once } => self.put([42, which(orphans), rarely(*once)]),
            Step::Len(pick) => self.put([44, which(pick)]),
            Step::DropOrphans { orphans, later } => self.put([45, which(orphans), u8::from(*later)]),
            Step::New { panics, owned } => self.put([46, rarely(*panics), rarely(!*owned)]),
            Step::Resource(pick, kind) => self.put([51, *pick, used(kind)]),
            Step::Inside(pick, Inside::Panic) => self.put([61, *pick, 7]),
            Step::Inside(pick, Inside::Use(other, kind)) => self.put([61, *pick, 0, *other, used(kind)]),
            Step::Owner(pick) => self.put([63, *pick]),
            Step::TidyPromises(_) | Step::TidyOrphans | Step::TidyResources | Step::End(_) => {
                unreachable!("added by `scripts`, never part of a body")
            }
        }
    }
}

/// What `Reader::rarely` reads as this.
fn rarely(flag: bool) -> u8 {
    if flag { 7 } else { 0 }
}
