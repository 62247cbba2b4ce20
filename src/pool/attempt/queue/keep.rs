//! Our ticket on the server: made, renewed and taken away; and those of others that are left behind.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::register::Register;
use super::{Queue, now};
use crate::line::ours::{Answer, Lacking, Next, Ours};
use crate::line::removal::Way;
use crate::line::{OnDeadlock, PlaceName, STEP, TicketText, left};
use crate::message::Origin;
use git::object::Oid;
use git::{Identity, Note, RefUpdate, RemoteError, StoreError};
use pace::{Fault, pauses};

/// Who waits.
#[derive(Clone, Copy)]
pub(in crate::attempt) struct Who<'a> {
    /// On whose behalf.
    pub origin: &'a Origin,
    /// Who commits.
    pub identity: &'a Identity,
}

/// How it stands with our ticket.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::attempt) enum Kept {
    /// It is there, as far as we know.
    Done,
    /// The server did not answer, or said no: it is tried again. This is said once.
    Troubled(String),
    /// No ticket can be kept here.
    Without(Lacking),
}

/// What became of our ticket when we left.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::attempt) enum Gone {
    /// It is gone, or there was none.
    Away,
    /// It says that it is left.
    Left,
    /// It stays: the server's reason.
    Stays(String),
}

impl Queue {
    /// Has our ticket made, put back or renewed, whatever there is to do; and looks first, if we don't know how it is. An
    /// answer is waited for until it is `given_up`.
    ///
    /// # Errors
    /// [`RemoteError`] that does not pass; a place in line is not worth to fail for.
    pub async fn keep(
        &mut self,
        register: &mut impl Register,
        who: Who<'_>,
        given_up: impl Future<Output = ()>,
    ) -> Result<Kept, RemoteError> {
        if self.without {
            return Ok(Kept::Done);
        }
        tokio::pin!(given_up);
        if self.ours.as_ref().map(Ours::next) == Some(Next::Look) {
            let looked = tokio::select! {
                looked = self.look_at_line(register) => looked,
                () = &mut given_up => return Ok(Kept::Done),
            };
            match looked {
                Err(fault) if fault.is_transient() => {
                    let words = terminal::chain(&fault);
                    return Ok(self.troubled(Answer::Silence, words));
                }
                looked => looked?,
            }
        }
        if let Some(lacking) = self.ours.as_ref().and_then(Ours::lacking).cloned() {
            return Ok(Kept::Without(lacking));
        }
        let (updates, objects) = self.change_of_ours(register, who)?;
        let answer = tokio::select! {
            answer = register.change(&updates, true, &objects) => answer,
            () = &mut given_up => {
                self.answer(Answer::Silence);
                return Ok(Kept::Done);
            }
        };
        match answer {
            Ok(outcomes) => match outcomes.into_iter().flatten().next() {
                None => {
                    self.answer(Answer::Yes);
                    self.told_trouble = false;
                    Ok(Kept::Done)
                }
                // What that means, the next look tells.
                Some(words) => {
                    self.answer(Answer::No(words));
                    Ok(Kept::Done)
                }
            },
            Err(fault) if fault.is_transient() => {
                Ok(self.troubled(Answer::Silence, terminal::chain(&fault)))
            }
            Err(fault) => {
                self.answer(Answer::No(terminal::chain(&fault)));
                Ok(Kept::Without(Lacking::Make(terminal::chain(&fault))))
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(mine) = &mut self.ours {
            mine.answered(answer, now());
        }
    }

    fn troubled(&mut self, answer: Answer, words: String) -> Kept {
        self.answer(answer);
        match std::mem::replace(&mut self.told_trouble, true) {
            true => Kept::Done,
            false => Kept::Troubled(words),
        }
    }

    /// From now on we wait without a ticket.
    pub fn go_without(&mut self) {
        self.without = true;
    }

    pub(super) async fn look_at_line(
        &mut self,
        register: &mut impl Register,
    ) -> Result<(), RemoteError> {
        let began = Instant::now();
        let listing = register.look().await?;
        self.observe(&listing, &|commit| register.said(commit), began.elapsed());
        Ok(())
    }

    /// The change that takes a ticket, puts ours back, or renews it; and the objects that it needs.
    fn change_of_ours(
        &mut self,
        register: &impl Register,
        who: Who<'_>,
    ) -> Result<(Vec<RefUpdate>, Vec<Oid>), StoreError> {
        let now = now();
        let period = self.period();
        let mut mine = self.ours.take().unwrap_or_else(|| {
            let together = self.together.as_ref().map(|together| together.id.clone());
            let place = PlaceName {
                id: together.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
                ..self.next_place()
            };
            Ours::new(place, now)
        });
        let mut place = mine.place().clone();
        // As long as nobody is more urgent there is nothing to gain.
        let is_overtaken = self.waiting().any(|(_, other)| {
            let other = other.place.as_ref();
            other.is_some_and(|other| other.priority > place.priority)
        });
        if is_overtaken && mine.can_rename() {
            let steps = self.arrived.elapsed().as_secs() / STEP.as_secs();
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            place.raised = steps.saturating_add(self.earlier.raised());
        }
        let text = TicketText {
            subject: String::new(),
            url: None,
            need: self.need.clone(),
            since: self.since,
            renewal: period,
            step: self.settings.step.clone(),
            build: None,
            also: match &self.together {
                Some(together) => together.others.clone(),
                None => Vec::new(),
            },
            within: self.settings.within.clone(),
            instance_vars: None,
            newest: self.settings.newest.is_some(),
            gives_way: self.settings.on_deadlock == OnDeadlock::Fail,
        };
        // Two tickets of the same second are not one commit: where one goes away, the other one's would go with it.
        let message = format!("{}Pool-Ticket: {}\n", text.compose(who.origin), place.id);
        let note = Note {
            after: mine.at(),
            message: &message,
            identity: who.identity,
            time: (self.clock)(),
        };
        let made = register.make(&note);
        let before = mine.at().map(|commit| (self.name(mine.place()), commit));
        let made = made.map(|(commit, objects)| {
            mine.pushing(place.clone(), commit, period, now);
            (commit, objects)
        });
        self.ours = Some(mine);
        let (commit, objects) = made?;
        let name = self.name(&place);
        let updates = match before {
            Some((before, old)) if before == name => vec![RefUpdate {
                name,
                old: Some(old),
                new: Some(commit),
            }],
            before => {
                let made = RefUpdate {
                    name,
                    old: None,
                    new: Some(commit),
                };
                let gone = before.map(|(name, old)| deletion(name, old));
                [Some(made), gone].into_iter().flatten().collect()
            }
        };
        Ok((updates, objects))
    }

    /// Takes our ticket out of the line, whatever state it is in: away, or where that is not allowed, marked as left.
    ///
    /// # Errors
    /// [`RemoteError`] that does not pass. What passes is tried again, for as long as the caller waits.
    pub async fn leave(&mut self, register: &mut impl Register) -> Result<Gone, RemoteError> {
        let mut pauses = pauses(Duration::from_millis(50), Duration::from_secs(2));
        let mut words = None;
        let mut is_first = true;
        let mut marked = HashSet::new();
        loop {
            if !std::mem::replace(&mut is_first, false) {
                match self.look_at_line(register).await {
                    Err(fault) if fault.is_transient() => {
                        sleep(pauses.next().unwrap_or_default()).await;
                        is_first = false;
                        continue;
                    }
                    looked => looked?,
                }
            }
            let traces = self.ours.as_ref().map(Ours::traces).unwrap_or_default();
            let traces = traces
                .into_iter()
                .map(|(place, commit)| (self.name(&place), commit));
            let traces: Vec<(String, Oid)> = traces.chain(self.earlier_ticket()).collect();
            let here = traces.len();
            let traces: Vec<(String, Oid)> = traces
                .into_iter()
                .filter(|(_, commit)| !marked.contains(commit))
                .collect();
            if traces.is_empty() {
                self.ours = None;
                return Ok(match here {
                    0 => Gone::Away,
                    _ => Gone::Left,
                });
            }
            let ways = [Way::Delete, Way::Leave];
            let Some(round) = self.removal.next(&traces, &ways) else {
                self.ours = None;
                return Ok(Gone::Stays(words.unwrap_or_default()));
            };
            let way = round.way;
            if way == Way::Leave {
                marked.extend(traces.iter().map(|(_, commit)| left(*commit).id()));
            }
            match self.carry_out(register, round).await {
                Ok(cleared) if cleared.refused.is_none() => {
                    self.ours = None;
                    return Ok(match way {
                        Way::Delete => Gone::Away,
                        Way::Leave => Gone::Left,
                    });
                }
                Ok(cleared) => words = cleared.refused,
                Err(fault) if fault.is_transient() => {
                    sleep(pauses.next().unwrap_or_default()).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }
}

pub(super) fn deletion(name: String, old: Oid) -> RefUpdate {
    RefUpdate {
        name,
        old: Some(old),
        new: None,
    }
}
