//! What must be true of a history, whatever happened on the way: a pure function of what the repository says and of what
//! the workers were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::story::{Asked, Commit, Ending, Files, Hold, POOL, Run, Story, Verb};

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// How.
    pub what: String,
}

/// What must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Each commit is made on the one before, and on no other.
    OneLine,
    /// A commit does what its message says, all of it and nothing else, and no request is there twice.
    AsSaid,
    /// A run does what it was asked for, once.
    AsAsked,
    /// A lock is claimed only when it is free, and ended is only the claim that stands.
    OneHolder,
    /// No lock is in both folders, and none comes or goes but by being added or removed.
    NoneLost,
    /// What a run was told is in the history, made by that very step, and was told to no other.
    Told,
    /// What a worker believed to hold was his, until he himself gave it back.
    Held,
    /// A claim is reaped only when its lease is over, as the last sign of its holder gave it.
    InTime,
    /// Each change has a higher number than the one before it.
    Growing,
    /// A claim that nobody was told of is ended by the step that made it, unless that was killed or said that it could not.
    NoneLeft,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

fn claimed(lock: &str) -> String {
    format!("{POOL}/claimed/{lock}")
}

fn unclaimed(lock: &str) -> String {
    format!("{POOL}/unclaimed/{lock}")
}

/// The locks that have a file in one of the two folders.
fn locks(files: &Files) -> BTreeSet<&str> {
    let in_folder = |path, folder| str::strip_prefix(path, folder);
    files
        .keys()
        .filter_map(|path| {
            let path = path.strip_prefix(POOL)?;
            in_folder(path, "/claimed/").or_else(|| in_folder(path, "/unclaimed/"))
        })
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// A claim, from the commit that made it to the one that ended it, as indices into the history.
struct Claim<'a> {
    lock: &'a str,
    made: usize,
    ended: Option<usize>,
}

struct Check<'a> {
    story: &'a Story,
    claims: Vec<Claim<'a>>,
    index: BTreeMap<&'a str, usize>,
    runs: BTreeMap<&'a str, &'a Run>,
    found: Vec<Violation>,
}

/// Every rule that the story breaks, and where.
pub fn violations(story: &Story) -> Vec<Violation> {
    let mut check = Check {
        story,
        claims: claims(&story.commits),
        index: story
            .commits
            .iter()
            .enumerate()
            .map(|(n, commit)| (commit.id.as_str(), n))
            .collect(),
        runs: story
            .runs
            .iter()
            .map(|run| (run.actor.as_str(), run))
            .collect(),
        found: Vec::new(),
    };
    check.line();
    check.messages();
    check.locks();
    check.holders();
    check.work();
    check.told();
    check.holds();
    check.reaped();
    check.numbers();
    check.left();
    check.found
}

/// All claims, as the files tell them: whatever the messages say.
fn claims(commits: &[Commit]) -> Vec<Claim<'_>> {
    let mut all: Vec<Claim<'_>> = Vec::new();
    for (n, commit) in commits.iter().enumerate() {
        for lock in locks(&commit.before).union(&locks(&commit.after)) {
            let path = claimed(lock);
            let (was, is) = (
                commit.before.contains_key(&path),
                commit.after.contains_key(&path),
            );
            if is && !was {
                all.push(Claim {
                    lock,
                    made: n,
                    ended: None,
                });
            } else if was && !is {
                let standing = all
                    .iter_mut()
                    .find(|claim| claim.lock == *lock && claim.ended.is_none());
                if let Some(claim) = standing {
                    claim.ended = Some(n);
                }
            }
        }
    }
    all
}

impl<'a> Check<'a> {
    fn report(&mut self, rule: Rule, what: String) {
        self.found.push(Violation { rule, what });
    }

    fn line(&mut self) {
        let story = self.story;
        let (mut before, mut files) = (&story.start, &story.files);
        for commit in &story.commits {
            if commit.parents != [before.clone()] || commit.before != *files {
                self.report(
                    Rule::OneLine,
                    format!("{} is made on {:?}", commit.id, commit.parents),
                );
            }
            (before, files) = (&commit.id, &commit.after);
        }
    }

    fn numbers(&mut self) {
        let mut last = 0;
        let story = self.story;
        for commit in story
            .commits
            .iter()
            .filter(|commit| commit.request.is_some())
        {
            let number = commit.number.unwrap_or_default();
            if number <= last {
                let what = format!("{} has {:?} after {last}", commit.id, commit.number);
                self.report(Rule::Growing, what);
            }
            last = number.max(last);
        }
    }

    fn messages(&mut self) {
        let story = self.story;
        let mut requests = BTreeSet::new();
        for commit in &story.commits {
            let changed: BTreeMap<&String, (Option<&String>, Option<&String>)> = commit
                .before
                .keys()
                .chain(commit.after.keys())
                .map(|path| (path, (commit.before.get(path), commit.after.get(path))))
                .filter(|(_, (before, after))| before != after)
                .collect();
            let Some(said) = &commit.said else {
                if !changed.is_empty() {
                    self.report(
                        Rule::AsSaid,
                        format!("{} says nothing and changes {changed:?}", commit.id),
                    );
                }
                continue;
            };
            let (held, free) = (claimed(&said.lock), unclaimed(&said.lock));
            let at = |path: &String| changed.get(path).map(|(before, after)| (*before, *after));
            let as_said = match (at(&held), at(&free), changed.len()) {
                (Some((None, Some(new))), Some((Some(old), None)), 2) => {
                    said.verb == Verb::Claiming && old == new
                }
                (Some((Some(old), None)), Some((None, Some(new))), 2) => {
                    said.verb == Verb::Unclaiming && old == new
                }
                (None, None, 0) => said.verb == Verb::Renewing,
                (None, Some((None, Some(_))), 1) => said.verb == Verb::AddingUnclaimed,
                (Some((None, Some(_))), None, 1) => said.verb == Verb::AddingClaimed,
                (Some((Some(_), None)), None, 1) => said.verb == Verb::Removing,
                (Some((Some(_), Some(_))), None, 1) | (None, Some((Some(_), Some(_))), 1) => {
                    said.verb == Verb::Updating
                }
                _ => false,
            };
            if !as_said {
                self.report(
                    Rule::AsSaid,
                    format!("{} says {said:?} and changes {changed:?}", commit.id),
                );
            }
            if commit
                .request
                .as_ref()
                .is_none_or(|request| !requests.insert(request))
            {
                self.report(
                    Rule::AsSaid,
                    format!("{} has the request {:?}", commit.id, commit.request),
                );
            }
        }
    }

    fn locks(&mut self) {
        let story = self.story;
        for commit in &story.commits {
            let (before, after) = (locks(&commit.before), locks(&commit.after));
            for lock in &after {
                if commit.after.contains_key(&claimed(lock))
                    && commit.after.contains_key(&unclaimed(lock))
                {
                    self.report(
                        Rule::NoneLost,
                        format!("{} leaves `{lock}` in both folders", commit.id),
                    );
                }
            }
            let says = |verbs: &[Verb], lock: &str| {
                commit
                    .said
                    .as_ref()
                    .is_some_and(|said| said.lock == lock && verbs.contains(&said.verb))
            };
            for lock in before.difference(&after) {
                if !says(&[Verb::Removing], lock) {
                    self.report(Rule::NoneLost, format!("{} loses `{lock}`", commit.id));
                }
            }
            for lock in after.difference(&before) {
                if !says(&[Verb::AddingClaimed, Verb::AddingUnclaimed], lock) {
                    self.report(
                        Rule::NoneLost,
                        format!("{} has `{lock}` from nowhere", commit.id),
                    );
                }
            }
        }
    }

    /// The claim of a lock that stands after the commit with this index.
    fn standing(&self, lock: &str, at: usize) -> Option<&Claim<'a>> {
        self.claims.iter().find(|claim| {
            claim.lock == lock && claim.made <= at && claim.ended.is_none_or(|ended| ended > at)
        })
    }

    fn holders(&mut self) {
        let story = self.story;
        for (n, commit) in story.commits.iter().enumerate() {
            let Some(said) = &commit.said else { continue };
            let held = commit.before.contains_key(&claimed(&said.lock));
            let wants_held = match said.verb {
                Verb::Claiming | Verb::AddingClaimed | Verb::AddingUnclaimed => false,
                Verb::Unclaiming | Verb::Removing | Verb::Renewing => true,
                Verb::Updating => commit.claim.is_some(),
            };
            if held != wants_held {
                self.report(
                    Rule::OneHolder,
                    format!("{} says {said:?} while it is held: {held}", commit.id),
                );
            }
            let standing = n
                .checked_sub(1)
                .and_then(|before| self.standing(&said.lock, before))
                .map(|claim| story.commits[claim.made].id.clone());
            if commit.claim.is_some() && commit.claim != standing {
                self.report(
                    Rule::OneHolder,
                    format!(
                        "{} shows the claim {:?} while {standing:?} stands",
                        commit.id, commit.claim
                    ),
                );
            }
        }
    }

    fn work(&mut self) {
        let story = self.story;
        let mut commits: BTreeMap<&str, Vec<&Commit>> = BTreeMap::new();
        for commit in &story.commits {
            let Some(said) = &commit.said else { continue };
            commits.entry(&said.actor).or_default().push(commit);
            let asked = self.runs.get(said.actor.as_str()).map(|run| &run.asked);
            if !asked.is_some_and(|asked| asked.allows(said.verb, &said.lock)) {
                self.report(
                    Rule::AsAsked,
                    format!("{} says {said:?}, and asked was {asked:?}", commit.id),
                );
            }
        }
        for (actor, made) in commits {
            // A reaping frees all that is stale, each lock by a commit.
            let once = self
                .runs
                .get(actor)
                .is_some_and(|run| !run.asked.claims() && run.asked != Asked::Reap);
            if once && made.len() > 1 {
                let made: Vec<&String> = made.iter().map(|commit| &commit.id).collect();
                self.report(Rule::AsAsked, format!("{actor} has made {made:?}"));
            }
        }
    }

    fn run_of(&self, commit: usize) -> Option<&'a Run> {
        let said = self.story.commits[commit].said.as_ref()?;
        self.runs.get(said.actor.as_str()).copied()
    }

    fn claim_made_at(&self, commit: usize) -> Option<&Claim<'a>> {
        self.claims.iter().find(|claim| claim.made == commit)
    }

    fn told(&mut self) {
        let story = self.story;
        let mut grants: BTreeMap<&str, &str> = BTreeMap::new();
        for run in &story.runs {
            let Ending::Told(lock, id) = &run.ending else {
                continue;
            };
            if let Err(why) = self.is_true(run, lock, id) {
                let actor = &run.actor;
                self.report(
                    Rule::Told,
                    format!("{actor} was told `{lock}` and {id}: {why}"),
                );
            }
            if run.asked.claims()
                && let Some(other) = grants.insert(id, &run.actor)
            {
                self.report(
                    Rule::Told,
                    format!("{} and {other} were told {id}", run.actor),
                );
            }
        }
    }

    fn is_true(&self, run: &Run, lock: &str, id: &str) -> Result<(), String> {
        let n = *self.index.get(id).ok_or("it is not in the history")?;
        let commit = &self.story.commits[n];
        let sure = |truth: bool, what: &str| {
            truth
                .then_some(())
                .ok_or_else(|| format!("{what}: {:?}", commit.said))
        };
        let by = self.run_of(n);
        let same_step = by.is_some_and(|by| by.container == run.container);
        let is_claim = self
            .claim_made_at(n)
            .is_some_and(|claim| claim.lock == lock);
        let ends = |claim: &str| {
            let claim = self
                .index
                .get(claim)
                .and_then(|made| self.claim_made_at(*made));
            claim.is_some_and(|claim| claim.lock == lock && claim.ended == Some(n))
        };
        match &run.asked {
            Asked::Acquire => {
                sure(is_claim, "it is no claim of it")?;
                sure(same_step, "it was made by another step")
            }
            Asked::Claim(asked) => {
                sure(is_claim && asked == lock, "it is no claim of it")?;
                sure(same_step, "it was made by another step")
            }
            Asked::Run(asked) => {
                let asked = asked.as_ref().is_none_or(|asked| asked == lock);
                sure(is_claim && asked, "it is no claim of it")?;
                sure(same_step, "it was made by another step")
            }
            Asked::Reap => Err("a reaping is told of no claim".to_owned()),
            Asked::AddClaimed(asked, content) => {
                sure(is_claim && asked == lock, "it is no claim of it")?;
                sure(same_step, "it was made by another step")?;
                let there = commit.after.get(&claimed(lock)) == Some(content);
                sure(there, "that is not its content")
            }
            Asked::Add(asked, content) | Asked::Update(asked, content, None) => {
                let there = commit.after.get(&unclaimed(lock)) == Some(content);
                sure(
                    asked == lock && there,
                    "it is not free with that content there",
                )
            }
            Asked::Update(asked, content, Some(claim)) => {
                let there = commit.after.get(&claimed(lock)) == Some(content);
                let standing = self
                    .standing(lock, n)
                    .is_some_and(|standing| self.story.commits[standing.made].id == *claim);
                sure(
                    asked == lock && there && standing,
                    "it is not held with that content there",
                )
            }
            Asked::Release(asked, claim) => {
                let free = commit.after.contains_key(&unclaimed(lock));
                sure(
                    asked == lock && ends(claim) && free,
                    "it did not release it",
                )
            }
            Asked::Remove(asked, claim) => {
                let gone = !commit.after.contains_key(&unclaimed(lock));
                sure(asked == lock && ends(claim) && gone, "it did not remove it")
            }
        }
    }

    fn holds(&mut self) {
        let story = self.story;
        for hold in &story.holds {
            if let Err(why) = self.was_held(hold) {
                self.report(Rule::Held, format!("{hold:?}: {why}"));
            }
        }
    }

    fn was_held(&self, hold: &Hold) -> Result<(), String> {
        let claim = self
            .index
            .get(hold.claim.as_str())
            .and_then(|made| self.claim_made_at(*made));
        let claim = claim
            .filter(|claim| claim.lock == hold.lock)
            .ok_or("there is no such claim")?;
        for head in &hold.seen {
            let at = *self
                .index
                .get(head.as_str())
                .ok_or_else(|| format!("the branch has lost {head}"))?;
            if at < claim.made || claim.ended.is_some_and(|ended| ended <= at) {
                return Err(format!("it did not stand at {head}"));
            }
        }
        let Some(ended) = claim.ended else {
            return Err("it was never given back".to_owned());
        };
        let by = self.run_of(ended);
        let by_himself = by.is_some_and(|by| {
            let as_told = by.asked.ends() == Some((hold.lock.as_str(), hold.claim.as_str()));
            let after_its_command = self
                .run_of(claim.made)
                .is_some_and(|maker| maker.actor == by.actor);
            by.worker == hold.worker && (as_told || after_its_command)
        });
        // Whether that was right, the lease tells.
        let reaped = by.is_some_and(|by| by.asked == Asked::Reap);
        if by_himself || reaped || hold.left {
            Ok(())
        } else {
            let id = &self.story.commits[ended].id;
            Err(format!("{id} ended it, by {by:?}"))
        }
    }

    fn reaped(&mut self) {
        let story = self.story;
        for claim in &self.claims {
            let Some(ended) = claim.ended else { continue };
            if self.run_of(ended).is_none_or(|by| by.asked != Asked::Reap) {
                continue;
            }
            let is_sign = |n: &usize| {
                let commit = &story.commits[*n];
                let renews = commit
                    .said
                    .as_ref()
                    .is_some_and(|said| said.verb == Verb::Renewing && said.lock == claim.lock);
                *n == claim.made || renews
            };
            let sign = (claim.made..ended).rev().find(is_sign);
            let lease = sign.and_then(|sign| story.commits[sign].lease);
            let end = &story.commits[ended];
            if lease.is_none_or(|lease| end.time < lease) {
                self.found.push(Violation {
                    rule: Rule::InTime,
                    what: format!(
                        "{} reaps `{}` at {}, whose lease is until {lease:?}",
                        end.id, claim.lock, end.time
                    ),
                });
            }
        }
    }

    fn left(&mut self) {
        let told: BTreeSet<&str> = self
            .story
            .runs
            .iter()
            .filter_map(|run| match &run.ending {
                Ending::Told(_, id) if run.asked.claims() => Some(id.as_str()),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        for claim in &self.claims {
            let id = self.story.commits[claim.made].id.as_str();
            let result = match (claim.ended, told.contains(id)) {
                (None, _) => Err("it still stands".to_owned()),
                (Some(_), true) => Ok(()),
                (Some(ended), false) => self.was_given_back(claim, id, ended),
            };
            if let Err(why) = result {
                found.push(format!("{id} claimed `{}`: {why}", claim.lock));
            }
        }
        for what in found {
            self.report(Rule::NoneLeft, what);
        }
    }

    /// Whether a claim that nobody was told of was ended by those who had to.
    fn was_given_back(&self, claim: &Claim<'_>, id: &str, ended: usize) -> Result<(), String> {
        let maker = self.run_of(claim.made).ok_or("nobody knows who made it")?;
        let step: Vec<&Run> = self
            .story
            .runs
            .iter()
            .filter(|run| run.container == maker.container && run.asked.claims())
            .collect();
        let by = self.run_of(ended);
        let reaped = by.is_some_and(|by| by.asked == Asked::Reap);
        if reaped || by.is_some_and(|by| by.container == maker.container && by.asked.claims()) {
            return Ok(());
        }
        let vanished = step
            .last()
            .is_some_and(|last| last.ending == Ending::Vanished);
        let admitted = step
            .iter()
            .any(|run| matches!(&run.ending, Ending::Failed(named) if named.contains(id)));
        if vanished || admitted {
            return Ok(());
        }
        let end = &self.story.commits[ended].id;
        Err(format!(
            "its step was told nothing of it and did not give it back, {end} did; it ran: {step:?}"
        ))
    }
}
