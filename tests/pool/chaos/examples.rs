//! Histories made by hand: a good one, and for each rule some that break it.

use std::collections::BTreeSet;

use super::checker::{Rule, violations};
use super::story::{Asked, Commit, Ending, Files, Hold, POOL, Run, Said, Story, Verb};

/// The content of every lock at the beginning.
const OLD: &str = "100644 old";
const NEW: &str = "100644 new";

fn claimed(lock: &str) -> String {
    format!("{POOL}/claimed/{lock}")
}

fn unclaimed(lock: &str) -> String {
    format!("{POOL}/unclaimed/{lock}")
}

/// A free pool with two locks.
fn beginning() -> Story {
    let files = [
        (claimed(".gitkeep"), "100644 empty"),
        (unclaimed(".gitkeep"), "100644 empty"),
        (unclaimed("a"), OLD),
        (unclaimed("b"), OLD),
    ];
    Story {
        start: "c0".to_owned(),
        files: files.map(|(path, what)| (path, what.to_owned())).into(),
        ..Story::default()
    }
}

impl Story {
    fn files_now(&self) -> Files {
        let last = self.commits.last();
        last.map_or(&self.files, |commit| &commit.after).clone()
    }

    /// Adds a commit that says one thing and does what `change` does; gives its id.
    fn commit(
        &mut self,
        actor: &str,
        verb: Verb,
        lock: &str,
        claim: Option<&str>,
        change: impl FnOnce(&mut Files),
    ) -> String {
        let before = self.files_now();
        let mut after = before.clone();
        change(&mut after);
        let id = format!("c{}", self.commits.len() + 1);
        let parent = self.commits.last().map_or(&self.start, |commit| &commit.id);
        self.commits.push(Commit {
            id: id.clone(),
            parents: vec![parent.clone()],
            said: Some(Said {
                actor: actor.to_owned(),
                verb,
                lock: lock.to_owned(),
            }),
            request: Some(format!("request {id}")),
            claim: claim.map(str::to_owned),
            number: Some(100 + self.commits.len() as u64),
            time: 10 * self.commits.len() as u64,
            lease: None,
            before,
            after,
        });
        id
    }

    fn claims(&mut self, actor: &str, lock: &str) -> String {
        self.commit(actor, Verb::Claiming, lock, None, |files| {
            let what = files.remove(&unclaimed(lock)).unwrap_or_default();
            files.insert(claimed(lock), what);
        })
    }

    fn releases(&mut self, actor: &str, lock: &str, claim: &str) -> String {
        self.commit(actor, Verb::Unclaiming, lock, Some(claim), |files| {
            let what = files.remove(&claimed(lock)).unwrap_or_default();
            files.insert(unclaimed(lock), what);
        })
    }

    /// Takes down a run. Its actor is `WORKER STEP.RUN`.
    fn ran(&mut self, actor: &str, asked: Asked, ending: Ending) {
        let (worker, number) = actor.split_once(' ').unwrap();
        let (step, _) = number.split_once('.').unwrap();
        self.runs.push(Run {
            actor: actor.to_owned(),
            worker: worker.to_owned(),
            container: format!("{worker} {step}"),
            asked,
            ending,
        });
    }

    fn held(&mut self, worker: &str, lock: &str, claim: &str, seen: &[&str]) {
        self.holds.push(Hold {
            worker: worker.to_owned(),
            lock: lock.to_owned(),
            claim: claim.to_owned(),
            seen: seen.iter().map(|head| (*head).to_owned()).collect(),
            left: false,
        });
    }

    /// The run of this actor.
    fn run_of(&mut self, actor: &str) -> &mut Run {
        let run = self.runs.iter_mut().find(|run| run.actor == actor);
        run.unwrap()
    }
}

fn told(lock: &str, commit: &str) -> Ending {
    Ending::Told(lock.to_owned(), commit.to_owned())
}

fn failed() -> Ending {
    Ending::Failed(BTreeSet::new())
}

fn release(lock: &str, claim: &str) -> Asked {
    Asked::Release(lock.to_owned(), claim.to_owned())
}

/// One worker has a lock and gives it back, while another one waits for the other.
fn plain() -> Story {
    let mut story = beginning();
    let claim = story.claims("w1 1.1", "a");
    story.ran("w1 1.1", Asked::Acquire, told("a", &claim));
    let other = story.claims("w2 1.1", "b");
    story.ran("w2 1.1", Asked::Claim("b".to_owned()), told("b", &other));
    story.held("w1", "a", &claim, &[&claim, &other]);
    story.held("w2", "b", &other, &[&other]);
    let end = story.releases("w1 2.1", "a", &claim);
    story.ran("w1 2.1", release("a", &claim), told("a", &end));
    let end = story.releases("w2 2.1", "b", &other);
    story.ran("w2 2.1", release("b", &other), told("b", &end));
    story
}

/// One worker makes a lock that is held from the first, changes it, and takes it away again.
fn with_a_lock_of_its_own() -> Story {
    let mut story = beginning();
    let (own, content) = ("own".to_owned(), OLD.to_owned());
    let claim = story.commit("w1 1.1", Verb::AddingClaimed, "own", None, |files| {
        files.insert(claimed("own"), OLD.to_owned());
    });
    let asked = Asked::AddClaimed(own.clone(), content);
    story.ran("w1 1.1", asked, told("own", &claim));
    let update = story.commit("w1 2.1", Verb::Updating, "own", Some(&claim), |files| {
        files.insert(claimed("own"), NEW.to_owned());
    });
    let asked = Asked::Update(own.clone(), NEW.to_owned(), Some(claim.clone()));
    story.ran("w1 2.1", asked, told("own", &update));
    story.held("w1", "own", &claim, &[&claim, &update]);
    let end = story.commit("w1 3.1", Verb::Removing, "own", Some(&claim), |files| {
        files.remove(&claimed("own"));
    });
    story.ran("w1 3.1", Asked::Remove(own, claim), told("own", &end));
    story
}

/// A step that is killed after its claim has landed, and what `then` makes of it.
fn killed(then: impl FnOnce(&mut Story, &str)) -> Story {
    let mut story = beginning();
    let claim = story.claims("w1 1.1", "a");
    story.ran("w1 1.1", Asked::Acquire, Ending::Vanished);
    then(&mut story, &claim);
    story
}

/// Asserts that the story breaks this rule.
#[track_caller]
fn breaks(rule: Rule, story: &Story) {
    let found = violations(story);
    assert!(
        found.iter().any(|violation| violation.rule == rule),
        "{found:#?}"
    );
}

#[track_caller]
fn breaks_nothing(story: &Story) {
    assert_eq!(violations(story), []);
}

#[test]
fn a_good_history_breaks_no_rule() {
    breaks_nothing(&plain());
    breaks_nothing(&with_a_lock_of_its_own());
    // The step runs again and takes over; or gives back; or nobody runs it again, and somebody else cleans up.
    breaks_nothing(&killed(|story, claim| {
        story.ran("w1 1.2", Asked::Acquire, told("a", claim));
        story.held("w1", "a", claim, &[claim]);
        let end = story.releases("w1 2.1", "a", claim);
        story.ran("w1 2.1", release("a", claim), Ending::Vanished);
        story.ran("w1 2.2", release("a", claim), told("a", &end));
    }));
    breaks_nothing(&killed(|story, claim| {
        story.releases("w1 1.2", "a", claim);
        story.ran("w1 1.2", Asked::Acquire, failed());
    }));
    breaks_nothing(&killed(|story, claim| {
        let end = story.releases("operator 1.1", "a", claim);
        story.ran("operator 1.1", release("a", claim), told("a", &end));
    }));
}

#[test]
fn a_commit_with_two_parents_or_on_another_one_is_found() {
    let mut story = plain();
    story.commits[2].parents.push("elsewhere".to_owned());
    breaks(Rule::OneLine, &story);

    let mut story = plain();
    story.commits[2].parents = vec!["c1".to_owned()];
    breaks(Rule::OneLine, &story);

    let mut story = plain();
    story.commits[2].before.clear();
    breaks(Rule::OneLine, &story);
}

#[test]
fn a_commit_that_does_something_else_than_it_says_is_found() {
    for other in [Verb::Unclaiming, Verb::AddingClaimed, Verb::Updating] {
        let mut story = plain();
        story.commits[0].said.as_mut().unwrap().verb = other;
        breaks(Rule::AsSaid, &story);
    }

    let mut story = beginning();
    story.commit("w1 1.1", Verb::Claiming, "a", None, |files| {
        files.remove(&unclaimed("a"));
        files.insert(claimed("a"), NEW.to_owned());
    });
    breaks(Rule::AsSaid, &story);

    let mut story = plain();
    let file = ("README".to_owned(), OLD.to_owned());
    story.commits[3].after.extend([file]);
    breaks(Rule::AsSaid, &story);

    let mut story = plain();
    story.commits[3].said = None;
    breaks(Rule::AsSaid, &story);
}

#[test]
fn a_request_that_is_there_twice_or_not_at_all_is_found() {
    for request in [None, Some("request c1".to_owned())] {
        let mut story = plain();
        story.commits[1].request = request;
        breaks(Rule::AsSaid, &story);
    }
}

#[test]
fn a_run_that_does_what_it_was_not_asked_for_or_does_it_twice_is_found() {
    let mut story = plain();
    story.run_of("w2 1.1").asked = Asked::Claim("a".to_owned());
    breaks(Rule::AsAsked, &story);

    let mut story = plain();
    story.runs.retain(|run| run.actor != "w2 1.1");
    breaks(Rule::AsAsked, &story);

    let mut story = plain();
    let claim = story.claims("w3 1.1", "a");
    story.ran("w3 1.1", Asked::Acquire, told("a", &claim));
    story.held("w3", "a", &claim, &[&claim]);
    story.releases("w1 2.1", "a", &claim);
    breaks(Rule::AsAsked, &story);
}

#[test]
fn a_claim_of_a_lock_that_is_held_is_found() {
    let mut story = beginning();
    let first = story.claims("w1 1.1", "a");
    story.ran("w1 1.1", Asked::Acquire, told("a", &first));
    let second = story.claims("w2 1.1", "a");
    story.ran("w2 1.1", Asked::Acquire, told("a", &second));
    breaks(Rule::OneHolder, &story);
    breaks(Rule::Told, &story);
}

#[test]
fn a_release_of_a_lock_that_is_free_or_of_a_claim_that_has_ended_is_found() {
    let mut story = plain();
    story.releases("w3 1.1", "a", "c1");
    breaks(Rule::OneHolder, &story);

    let mut story = plain();
    let again = story.claims("w2 3.1", "a");
    story.ran("w2 3.1", Asked::Acquire, told("a", &again));
    story.held("w2", "a", &again, &[&again]);
    let end = story.releases("w1 3.1", "a", "c1");
    story.ran("w1 3.1", release("a", "c1"), told("a", &end));
    breaks(Rule::OneHolder, &story);
    breaks(Rule::Held, &story);
}

#[test]
fn a_lock_that_is_in_both_folders_is_found() {
    let mut story = beginning();
    story.commit("w1 1.1", Verb::Claiming, "a", None, |files| {
        files.insert(claimed("a"), OLD.to_owned());
    });
    breaks(Rule::NoneLost, &story);
}

#[test]
fn a_lock_that_vanishes_or_comes_from_nowhere_is_found() {
    let mut story = beginning();
    story.commit("w1 1.1", Verb::Claiming, "a", None, |files| {
        files.remove(&unclaimed("a"));
    });
    breaks(Rule::NoneLost, &story);

    let mut story = beginning();
    story.commit("w1 1.1", Verb::Updating, "new", None, |files| {
        files.insert(unclaimed("new"), OLD.to_owned());
    });
    breaks(Rule::NoneLost, &story);
}

#[test]
fn a_success_that_is_not_in_the_history_is_found() {
    let mut story = plain();
    story.run_of("w1 1.1").ending = told("a", "lost");
    breaks(Rule::Told, &story);
    let mut story = plain();
    story.run_of("w1 2.1").ending = told("a", "lost");
    breaks(Rule::Told, &story);
}

#[test]
fn a_success_that_is_another_ones_or_of_something_else_is_found() {
    let mut story = plain();
    story.run_of("w1 1.1").ending = told("b", "c2");
    breaks(Rule::Told, &story);

    let mut story = plain();
    story.run_of("w1 1.1").ending = told("b", "c1");
    breaks(Rule::Told, &story);

    let mut story = plain();
    story.run_of("w1 2.1").ending = told("a", "c1");
    breaks(Rule::Told, &story);

    for (actor, commit) in [("w1 1.1", "c2"), ("w1 2.1", "c3"), ("w1 3.1", "c1")] {
        let mut story = with_a_lock_of_its_own();
        story.run_of(actor).ending = told("own", commit);
        breaks(Rule::Told, &story);
    }
}

#[test]
fn a_claim_that_two_are_told_of_is_found() {
    let mut story = plain();
    story.ran("w1 1.2", Asked::Acquire, told("a", "c1"));
    breaks(Rule::Told, &story);
}

#[test]
fn a_hold_that_is_ended_by_another_one_or_never_is_found() {
    let mut story = plain();
    story.run_of("w1 2.1").worker = "w2".to_owned();
    breaks(Rule::Held, &story);

    let mut story = plain();
    story.commits.truncate(3);
    breaks(Rule::Held, &story);
    breaks(Rule::NoneLeft, &story);

    let mut story = plain();
    story.run_of("w1 1.1").asked = Asked::Remove("a".to_owned(), "other".to_owned());
    story.run_of("w1 2.1").asked = Asked::Acquire;
    breaks(Rule::Held, &story);
}

#[test]
fn a_hold_that_has_ended_while_it_was_believed_in_is_found() {
    for head in ["c3", "c4", "c0", "unknown"] {
        let mut story = plain();
        story.holds[0].seen.push(head.to_owned());
        breaks(Rule::Held, &story);
    }
}

#[test]
fn a_claim_that_nobody_was_told_of_and_that_is_not_given_back_is_found() {
    // Nobody ended it.
    breaks(Rule::NoneLeft, &killed(|_, _| {}));
    // It was told to stop, and somebody else had to clean up.
    let cleaned_up = |ending: Ending| {
        killed(|story, claim| {
            story.ran("w1 1.2", Asked::Acquire, ending);
            let end = story.releases("operator 1.1", "a", claim);
            story.ran("operator 1.1", release("a", claim), told("a", &end));
        })
    };
    breaks(Rule::NoneLeft, &cleaned_up(failed()));
    // Had it said so, or been killed as well, that would be nobody's fault.
    breaks_nothing(&cleaned_up(Ending::Failed(["c1".to_owned()].into())));
    breaks_nothing(&cleaned_up(Ending::Vanished));
    // It claimed again instead of taking over.
    let mut story = killed(|story, _| {
        let second = story.claims("w1 1.2", "b");
        story.ran("w1 1.2", Asked::Acquire, told("b", &second));
        story.held("w1", "b", &second, &[&second]);
        let end = story.releases("w1 2.1", "b", &second);
        story.ran("w1 2.1", release("b", &second), told("b", &end));
    });
    let end = story.releases("operator 1.1", "a", "c1");
    story.ran("operator 1.1", release("a", "c1"), told("a", &end));
    breaks(Rule::NoneLeft, &story);
}

#[test]
fn subjects_are_read_as_they_are_written() {
    let said = |actor: &str, verb, lock: &str| {
        Some(Said {
            actor: actor.to_owned(),
            verb,
            lock: lock.to_owned(),
        })
    };
    let build = "chaos/pool/w1 build 7.2";

    for (verb, words) in Verb::ALL {
        let subject = format!("{build} {words}: env-1");
        assert_eq!(Said::parse(&subject), said(build, verb, "env-1"));
    }
    assert_eq!(
        Said::parse("claiming: env-1"),
        said("", Verb::Claiming, "env-1")
    );
    assert_eq!(Said::parse("that was all"), None);
    assert_eq!(Said::parse("a note: well"), None);
}

/// A command that runs while it holds a lock, whose lease is renewed once; and whoever ends the claim. A commit is made every
/// ten seconds.
fn leased(until: [u64; 2], ends: impl FnOnce(&mut Story, &str)) -> Story {
    let mut story = beginning();
    let claim = story.claims("w1 1.1", "a");
    let renewal = story.commit("w1 1.1", Verb::Renewing, "a", Some(&claim), |_| {});
    for (commit, until) in story.commits.iter_mut().zip(until) {
        commit.lease = Some(until);
    }
    story.ran("w1 1.1", Asked::Run(None), told("a", &claim));
    story.held("w1", "a", &claim, &[&claim, &renewal]);
    ends(&mut story, &claim);
    story
}

#[test]
fn a_claim_is_reaped_only_when_its_lease_is_over() {
    let reaped = |story: &mut Story, claim: &str| {
        story.releases("w2 1.1", "a", claim);
        story.ran("w2 1.1", Asked::Reap, Ending::Done);
    };
    breaks_nothing(&leased([30, 40], |story, claim| {
        story.releases("w1 1.1", "a", claim);
    }));
    breaks_nothing(&leased([9, 20], reaped));

    breaks(Rule::InTime, &leased([9, 21], reaped));
    // Not what was given first.
    breaks(Rule::InTime, &leased([9, 100], reaped));
    let mut story = leased([9, 20], reaped);
    story.commits[0].lease = None;
    story.commits[1].lease = None;
    breaks(Rule::InTime, &story);
}

#[test]
fn a_number_that_does_not_grow_or_is_not_there_is_found() {
    for number in [None, Some(100), Some(99)] {
        let mut story = plain();
        story.commits[1].number = number;
        breaks(Rule::Growing, &story);
    }
}

#[test]
fn a_renewal_changes_nothing_and_is_of_the_claim_that_stands() {
    let mut story = leased([9, 20], |story, claim| {
        story.releases("w1 1.1", "a", claim);
    });
    story.commits[1].claim = Some("c0".to_owned());
    breaks(Rule::OneHolder, &story);

    let mut story = leased([9, 20], |story, claim| {
        story.releases("w1 1.1", "a", claim);
    });
    story.commits[1].after.insert(claimed("a"), NEW.to_owned());
    story.commits[2].before.insert(claimed("a"), NEW.to_owned());
    breaks(Rule::AsSaid, &story);
}
