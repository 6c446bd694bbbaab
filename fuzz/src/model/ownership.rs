//! Ownership: who may do what with a resource (R26–R32).

use super::{Flow, Model, Owner};
use crate::event::{Event, Refusal, Said};
use crate::program::{Inside, Into, Pick, Use};

impl Model<'_> {
    pub(super) fn resource(&self, pick: Pick) -> Option<usize> {
        usize::from(pick).checked_rem(self.resources.len())
    }

    /// Whether a task owns a resource that is not in use.
    pub(super) fn may_use(&self, task: usize, index: usize) -> Result<(), Refusal> {
        let resource = &self.resources[index];
        match resource.owner {
            Owner::Task(owner) if owner == task => match resource.in_use {
                true => Err(Refusal::InUse),
                false => Ok(()),
            },
            Owner::Task(owner) => Err(Refusal::NotOwner(owner as u64)),
            Owner::Nobody | Owner::From(_) => Err(Refusal::NotOwned),
            Owner::Gone => Err(Refusal::Gone),
        }
    }

    pub(super) fn becomes_owner(&mut self, task: usize, index: usize) {
        self.clock += 1;
        self.resources[index].owner = Owner::Task(task);
        self.resources[index].since = self.clock;
    }

    /// Does this with a resource. A panic of its finaliser is the caller's.
    pub(super) fn use_resource(&mut self, task: usize, index: usize, kind: Use) -> Result<Result<(), Refusal>, Said> {
        if kind == Use::Give {
            self.start(task, self.program.leaf(), &[index], Into::Held, false)?;
            return Ok(Ok(()));
        }
        self.counts();
        if kind == Use::Own {
            return Ok(match self.resources[index].owner {
                Owner::Nobody => {
                    self.becomes_owner(task, index);
                    Ok(())
                }
                Owner::Task(owner) => Err(Refusal::AlreadyOwned(owner as u64)),
                Owner::From(_) => Err(Refusal::NotOwned),
                Owner::Gone => Err(Refusal::Gone),
            });
        }
        if let Err(refusal) = self.may_use(task, index) {
            return Ok(Err(refusal));
        }
        let resource = &mut self.resources[index];
        match kind {
            Use::Disown => resource.owner = Owner::Gone,
            Use::Release => {
                resource.owner = Owner::Gone;
                let panics = resource.panics;
                self.say(Event::Finalised { resource: index, nobody: true });
                if panics {
                    return Err(Said::Finaliser(index));
                }
            }
            Use::Transfer if self.tasks[task].parent.is_none() => return Ok(Err(Refusal::NoParent)),
            Use::Transfer => resource.owner = Owner::From(task),
            Use::Own | Use::Check | Use::With | Use::Give => {}
        }
        Ok(Ok(()))
    }

    pub(super) fn used(&mut self, task: usize, index: usize, kind: Use) -> Result<(), Flow> {
        let answer = self.use_resource(task, index, kind).map_err(Flow::Panic)?;
        self.say(Event::Used(index, kind, answer));
        Ok(())
    }

    pub(super) fn inside(&mut self, task: usize, pick: Pick, inside: Inside) -> Result<(), Flow> {
        let Some(index) = self.resource(pick) else { return Ok(()) };
        self.counts();
        let answer = self.may_use(task, index);
        if answer.is_ok() {
            self.resources[index].in_use = true;
            let inside = match inside {
                Inside::Panic => Err(Flow::Panic(Said::Task(task as u64))),
                Inside::Use(pick, kind) => match self.resource(pick) {
                    Some(other) => self.used(task, other, kind),
                    None => Ok(()),
                },
            };
            self.resources[index].in_use = false;
            inside?;
        }
        self.say(Event::Used(index, Use::With, answer));
        Ok(())
    }
}
