//! A table: every operation of a put × every step of its transaction × what can go wrong there. The process is killed,
//! what is on its way is lost, or a signal says to stop. After each cell the pool is looked at with plain git, and the
//! same step is run again in the same container.
//!
//! A cell's outcome is derived from the rules, not listed:
//!
//! - What the server never got did not happen. What it got happened exactly once, whoever was killed or told to stop.
//! - As long as the process lives, what was lost is ridden out: it succeeds, and tells the commit that is on the branch.
//! - Told to stop, or unable to answer, it fails within 8 s; a claim of which nobody was told is given back. What gives a
//!   lock back is carried out all the same if it can be.
//! - Run again, a claim that stands is taken over, and what has been done already is done, or refused as the rules say.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use support::server::gate::{Gate, Place, Request, Stopped};
use support::server::http::HttpServer;
use support::step::full_stdout;
use support::{Answer, Step, TestRemote};

/// How long an abort may take; Concourse kills what is still there after 10 s.
const LIMIT: Duration = Duration::from_secs(8);

/// Where in a transaction something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// On the way of a request.
    On(Request, Way),
    /// All is done, and the answer is being written.
    Answer,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The server never hears of it.
    RequestLost,
    /// The server hears of it when everything else is over.
    RequestLate,
    /// The server does it, and its reply is lost.
    ReplyLost,
    /// Nothing: the server does it, and its reply arrives.
    ReplyArrives,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process is killed outright.
    Killed,
    /// The connection breaks, or nobody takes the answer.
    Lost,
    /// The process is told to stop.
    Told,
}

use Fault::{Killed, Lost, Told};
use Point::{Answer as Answering, On};
use Request::{Fetch, ListToFetch, ListToPush, Push};
use Way::{ReplyArrives, ReplyLost, RequestLate, RequestLost};

/// The steps of a transaction, in order (the list for the push is asked for while the fetch is under way), and what goes
/// wrong at each.
const STEPS: &[(Point, &[Fault])] = &[
    (On(ListToFetch, RequestLost), &[Killed, Lost, Told]),
    (On(ListToFetch, ReplyLost), &[Killed, Lost, Told]),
    (On(Fetch, RequestLost), &[Killed, Lost, Told]),
    (On(Fetch, ReplyLost), &[Killed, Lost, Told]),
    (On(ListToPush, RequestLost), &[Killed, Lost, Told]),
    (On(ListToPush, ReplyLost), &[Killed, Lost, Told]),
    (On(Push, RequestLost), &[Killed, Lost, Told]),
    (On(Push, RequestLate), &[Killed, Lost, Told]),
    (On(Push, ReplyLost), &[Killed, Lost, Told]),
    (On(Push, ReplyArrives), &[Told]),
    (Answering, &[Killed, Lost, Told]),
];

/// What follows when the reply to a push was lost: the branch is looked at, where pushes are taken.
const AFTER_A_LOST_REPLY: &[(Point, &[Fault])] = &[
    (On(ListToPush, RequestLost), &[Killed, Lost, Told]),
    (On(ListToPush, ReplyLost), &[Killed, Lost, Told]),
    (Answering, &[Killed, Lost, Told]),
];

/// What follows when a push never arrived: the branch is looked at, and the push is made again.
const AFTER_A_LOST_PUSH: &[(Point, &[Fault])] = &[
    (On(ListToPush, RequestLost), &[Killed, Lost, Told]),
    (On(Push, RequestLost), &[Killed, Lost, Told]),
    (On(Push, RequestLate), &[Killed, Lost]),
    (On(Push, ReplyLost), &[Killed, Lost, Told]),
];

/// What follows when a claim landed, and the process was told to stop before it knew: the claim is given back.
const WHILE_GIVING_BACK: &[(Point, &[Fault])] = &[
    (On(ListToPush, RequestLost), &[Killed, Lost]),
    (On(ListToPush, ReplyLost), &[Killed, Lost]),
    (On(ListToFetch, RequestLost), &[Killed, Lost]),
    (On(ListToFetch, ReplyLost), &[Killed, Lost]),
    (On(Fetch, RequestLost), &[Killed, Lost]),
    (On(Fetch, ReplyLost), &[Killed, Lost]),
    (On(Push, RequestLost), &[Killed, Lost]),
    (On(Push, RequestLate), &[Killed, Lost]),
    (On(Push, ReplyLost), &[Killed, Lost]),
];

/// An operation on a pool in which `env-1` and `env-2` are free and `env-3` is held.
#[derive(Clone, Copy)]
struct Operation {
    /// The param of the put.
    param: &'static str,
    /// Which lock it is about: `None` for whatever is free.
    lock: Option<&'static str>,
    /// The metadata in the folder that is put, if there is any.
    metadata: Option<&'static str>,
    /// Whether the folder has the claim of the lock's holder.
    proves: bool,
    /// What its commit says it does; `None` when it makes none.
    verb: Option<&'static str>,
    /// Whether the lock is held after it that was not before.
    claims: bool,
    /// Where the lock is after it.
    leads_to: Leads,
    /// Why it is refused when it is run again after it has been done; `None` when it then succeeds.
    refused_again: Option<&'static str>,
}

/// Where a lock is after an operation.
#[derive(Clone, Copy)]
enum Leads {
    /// In this folder, with the metadata of the operation if it has any.
    To(&'static str),
    /// In neither folder.
    Away,
    /// Where it was.
    Nowhere,
}

use Leads::{Away, Nowhere, To};

/// What an operation is where it does not say otherwise.
const PLAIN: Operation = Operation {
    param: "",
    lock: None,
    metadata: None,
    proves: false,
    verb: None,
    claims: false,
    leads_to: Nowhere,
    refused_again: None,
};

#[test]
fn an_acquire_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "acquire",
        verb: Some("claiming"),
        claims: true,
        leads_to: To("claimed"),
        ..PLAIN
    });
}

#[test]
fn a_claim_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "claim",
        lock: Some("env-2"),
        verb: Some("claiming"),
        claims: true,
        leads_to: To("claimed"),
        ..PLAIN
    });
}

#[test]
fn a_release_by_the_holder_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "release",
        lock: Some("env-3"),
        proves: true,
        verb: Some("unclaiming"),
        leads_to: To("unclaimed"),
        ..PLAIN
    });
}

#[test]
fn a_release_on_trust_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "release",
        lock: Some("env-3"),
        verb: Some("unclaiming"),
        leads_to: To("unclaimed"),
        refused_again: Some("is not claimed"),
        ..PLAIN
    });
}

#[test]
fn an_add_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "add",
        lock: Some("new"),
        metadata: Some("of a new one"),
        verb: Some("adding unclaimed"),
        leads_to: To("unclaimed"),
        ..PLAIN
    });
}

#[test]
fn an_add_claimed_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "add_claimed",
        lock: Some("new"),
        metadata: Some("of a new one"),
        verb: Some("adding claimed"),
        claims: true,
        leads_to: To("claimed"),
        ..PLAIN
    });
}

#[test]
fn a_remove_by_the_holder_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "remove",
        lock: Some("env-3"),
        proves: true,
        verb: Some("removing"),
        leads_to: Away,
        ..PLAIN
    });
}

#[test]
fn a_remove_on_trust_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "remove",
        lock: Some("env-3"),
        verb: Some("removing"),
        leads_to: Away,
        refused_again: Some("there is no lock"),
        ..PLAIN
    });
}

#[test]
fn an_update_of_a_free_lock_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "update",
        lock: Some("env-1"),
        metadata: Some("of another kind"),
        verb: Some("updating"),
        leads_to: To("unclaimed"),
        ..PLAIN
    });
}

#[test]
fn an_update_of_an_absent_lock_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "update",
        lock: Some("new"),
        metadata: Some("of a new one"),
        verb: Some("adding unclaimed"),
        leads_to: To("unclaimed"),
        ..PLAIN
    });
}

#[test]
fn an_update_by_the_holder_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "update",
        lock: Some("env-3"),
        metadata: Some("of another kind"),
        proves: true,
        verb: Some("updating"),
        leads_to: To("claimed"),
        ..PLAIN
    });
}

#[test]
fn a_check_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "check",
        lock: Some("env-1"),
        ..PLAIN
    });
}

#[test]
fn a_check_unclaimed_survives_every_fault_at_every_step() {
    run_every_cell(Operation {
        param: "check_unclaimed",
        lock: Some("env-3"),
        ..PLAIN
    });
}

/// One thing after the other that goes wrong in one run.
#[derive(Clone)]
struct Cell(Vec<(Point, Fault)>);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (point, fault)) in self.0.iter().enumerate() {
            let then = if n == 0 { "" } else { ", then " };
            write!(f, "{then}{fault:?} at {point:?}")?;
        }
        Ok(())
    }
}

impl Operation {
    /// Everything that can go wrong with it. Two things in a row only where it shows that something was done twice.
    fn cells(&self) -> Vec<Cell> {
        let after = |first: &[(Point, Fault)], steps: &[(Point, &[Fault])]| {
            let mut cells = Vec::new();
            for (point, faults) in steps {
                for fault in *faults {
                    cells.push(Cell([first, &[(*point, *fault)]].concat()));
                }
            }
            cells
        };
        let mut cells = after(&[], STEPS);
        if self.claims || self.refused_again.is_some() {
            cells.extend(after(&[(On(Push, ReplyLost), Lost)], AFTER_A_LOST_REPLY));
            cells.extend(after(&[(On(Push, RequestLost), Lost)], AFTER_A_LOST_PUSH));
        }
        if self.claims {
            cells.extend(after(&[(On(Push, ReplyLost), Told)], WHILE_GIVING_BACK));
        }
        cells.retain(|Cell(blows)| blows.iter().all(|(point, fault)| self.has(*point, *fault)));
        cells
    }

    /// Whether it comes by this point, and something can go wrong there.
    fn has(&self, point: Point, fault: Fault) -> bool {
        match point {
            On(ListToPush | Push, _) if self.verb.is_none() => false,
            On(Push, ReplyLost | ReplyArrives) | Answering => true,
            // What has nothing to do with giving back is, told to stop, as good as killed.
            On(..) => fault != Told || self.claims || self.gives_back(),
        }
    }

    /// Whether a lock is free after it that was held.
    fn gives_back(&self) -> bool {
        ["release", "remove"].contains(&self.param)
    }

    fn params(&self) -> Value {
        match self.param {
            "acquire" => json!({"acquire": true}),
            "claim" => json!({"claim": self.lock}),
            param => json!({ param: "folder" }),
        }
    }

    /// What is in the pool after it was carried out on `lock`.
    fn carried_out(&self, bench: &Bench, lock: &str) -> Locks {
        let mut locks = bench.locks.clone();
        let old = locks.remove(lock);
        let place = match self.leads_to {
            To(folder) => folder.to_owned(),
            Away => return locks,
            Nowhere => return bench.locks.clone(),
        };
        let metadata = bench.metadata.clone();
        let blob = metadata.or_else(|| Some(old?.1)).unwrap();
        locks.insert(lock.to_owned(), (place, blob));
        locks
    }
}

/// The locks of a pool: the folder and the blob of each.
type Locks = BTreeMap<String, (String, String)>;

/// What all cells of an operation share.
struct Bench {
    operation: Operation,
    /// What each cell gets a copy of.
    remote: TestRemote,
    /// The locks in it.
    locks: Locks,
    /// The commits in it.
    commits: Vec<Commit>,
    /// The blob of the operation's metadata, if it has any.
    metadata: Option<String>,
    /// What the server serves.
    root: TempDir,
    server: HttpServer,
}

/// A commit on the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Commit {
    id: String,
    message: String,
}

/// What plain git finds in a repository.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    locks: Locks,
    /// Newest first.
    commits: Vec<Commit>,
}

impl Found {
    fn in_repository(remote: &TestRemote) -> Found {
        let mut locks = Locks::new();
        for line in remote
            .git(&["ls-tree", "-r", "-z", "main", "aws/"])
            .split_terminator('\0')
        {
            let (entry, path) = line.split_once('\t').unwrap();
            let blob = entry.rsplit(' ').next().unwrap();
            let (folder, lock) = path["aws/".len()..].split_once('/').unwrap();
            if lock == ".gitkeep" {
                continue;
            }
            let before = locks.insert(lock.to_owned(), (folder.to_owned(), blob.to_owned()));
            assert_eq!(before, None, "`{lock}` is in both folders");
        }
        let log = remote.git(&["log", "-z", "--format=%H%n%B", "main", "--"]);
        let commits = log
            .split_terminator('\0')
            .map(|commit| {
                let (id, message) = commit.split_once('\n').unwrap();
                Commit {
                    id: id.to_owned(),
                    message: message.to_owned(),
                }
            })
            .collect();
        Found { locks, commits }
    }

    fn head(&self) -> &str {
        &self.commits[0].id
    }
}

/// Runs all cells, a few at a time because much of it is waiting, and says of which the outcome is not what it should be.
fn run_every_cell(operation: Operation) {
    const AT_A_TIME: usize = 3;
    let bench = Bench::new(operation);
    let cells = operation.cells();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let n = next.fetch_add(1, Ordering::SeqCst)
            && let Some(cell) = cells.get(n)
        {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| bench.run(n, cell))) else {
                continue;
            };
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let failure = format!("{cell}:\n{}", text.unwrap_or_default());
            failures.lock().unwrap().push(failure);
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));

    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} with `{}`:\n\n{}\n",
        failures.len(),
        cells.len(),
        operation.param,
        failures.join("\n\n")
    );
}

impl Bench {
    fn new(operation: Operation) -> Bench {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
        remote.claim_by_hand("aws", "env-3");
        // Nothing to clean up, and one process less for each push.
        remote.git(&["config", "receive.autogc", "false"]);
        let metadata = operation.metadata.map(|text| {
            let file = remote.root().join("metadata");
            std::fs::write(&file, text).unwrap();
            remote.git(&["hash-object", file.to_str().unwrap()])
        });
        let Found { locks, commits } = Found::in_repository(&remote);
        let root = tempfile::tempdir().unwrap();
        let server = HttpServer::start(root.path());
        Bench {
            operation,
            remote,
            locks,
            commits,
            metadata,
            root,
            server,
        }
    }

    /// Makes the folders that a put gets, and gives the one that has them in it.
    fn folders(&self, step: &Step) -> PathBuf {
        let sources = step.folder();
        let folder = sources.join("folder");
        std::fs::create_dir(&folder).unwrap();
        let put = |name, text: &str| std::fs::write(folder.join(name), text).unwrap();
        put("name", self.operation.lock.unwrap_or_default());
        if let Some(metadata) = self.operation.metadata {
            put("metadata", metadata);
        }
        if self.operation.proves {
            put("claim", &self.commits[0].id);
        }
        sources
    }

    fn run(&self, n: usize, cell: &Cell) {
        let remote = self.remote.copy();
        symlink(remote.path(), self.root.path().join(format!("{n}.git"))).unwrap();
        let gate = Gate::start(self.server.port());
        let uri = format!("http://127.0.0.1:{}/git/{n}.git", gate.port());
        let step = Step::on(&remote, "aws").set("uri", uri).in_build();
        let sources = self.folders(&step);

        let (end, late) = self.go_through(cell, &gate, &step, &sources);
        let found = Found::in_repository(&remote);
        let stands = self.look_at_first_run(cell, end.as_ref(), &found);

        if end.is_none_or(|answer| answer.code != Some(0)) {
            let again = step.start_put_in(&sources, self.operation.params());
            let (again, before) = (again.finish(), found);
            let found = Found::in_repository(&remote);
            let ending = stands && cell.0.iter().any(|(_, fault)| *fault == Told);
            if ending && self.operation.claims {
                self.look_at_run_after_giving_back(&again, &before, &found);
            } else {
                self.look_at_second_run(&again, &before, &found, stands);
            }
        }

        if !late.is_empty() {
            let found = Found::in_repository(&remote);
            for request in late {
                request.deliver();
            }
            assert_eq!(Found::in_repository(&remote), found, "after a late push");
        }
        // The one of a claim that was told of stays in the container of its step.
        let markers = std::fs::read_dir(step.temporary().join("pool-resource/markers"));
        let left = markers.map_or(0, Iterator::count);
        assert!(
            left <= usize::from(self.operation.claims),
            "a marker is left"
        );
        let refs = remote.git(&["for-each-ref", "--format=%(refname)"]);
        assert_eq!(refs, "refs/heads/main", "a ref that nobody needs");
        if cell.0.iter().any(|(point, _)| matches!(point, On(Push, _))) {
            remote.fsck();
        }
    }

    /// Runs the operation into what goes wrong; gives its answer if it was not killed, and what is still on its way.
    fn go_through(
        &self,
        Cell(blows): &Cell,
        gate: &Gate,
        step: &Step,
        sources: &Path,
    ) -> (Option<Answer>, Vec<Stopped>) {
        let arm = |blow: Option<&(Point, Fault)>| match blow {
            Some((On(request, RequestLost | RequestLate), _)) => {
                Some(gate.stop(*request, Place::BeforeServer))
            }
            Some((On(request, ReplyLost | ReplyArrives), _)) => {
                Some(gate.stop(*request, Place::BeforeClient))
            }
            Some((Answering, _)) | None => None,
        };
        let mut armed = arm(blows.first());
        let answering = blows.iter().find(|(point, _)| *point == Answering);
        let (stdout, reader) = match answering {
            Some((_, Lost)) => (full_stdout().0, None),
            Some(_) => {
                let (stdout, reader) = full_stdout();
                (stdout, Some(reader))
            }
            None => (Stdio::piped(), None),
        };
        let mut running = step.start_put_to(stdout, sources, self.operation.params());
        let mut late = Vec::new();
        let mut told = None;
        for (n, (point, fault)) in blows.iter().enumerate() {
            let request = armed.take();
            match &request {
                Some(request) => request.wait(|| running.is_running()),
                None if *fault != Lost => running.wait_for_blocked_answer(),
                None => {}
            }
            // Before anything goes on, so that it cannot be missed.
            armed = arm(blows.get(n + 1));
            if *fault == Told {
                running.signal("TERM");
                told = Some(Instant::now());
            }
            if *fault == Killed {
                running.kill();
                late.extend(request.filter(|_| *point == On(Push, RequestLate)));
                return (None, late);
            }
            match (request, point) {
                (Some(request), On(_, RequestLate)) => {
                    if *fault == Lost {
                        request.cut();
                    }
                    late.push(request);
                }
                (Some(request), On(_, ReplyArrives)) => request.go_on(),
                // Lost with its value.
                _ => {}
            }
        }
        let answer = running.finish();
        if let Some(told) = told {
            assert!(told.elapsed() < LIMIT, "{:?}", told.elapsed());
        }
        if let Some(mut reader) = reader {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).unwrap();
            assert!(heard.iter().all(|byte| *byte == 0), "it has answered");
        }
        if self.operation.verb.is_none() {
            assert_eq!(gate.seen(Push), 0, "it pushes");
        }
        (Some(answer), late)
    }

    /// Looks at how a run ended that met with faults, and at what it left behind; whether what it did stands.
    fn look_at_first_run(&self, Cell(blows): &Cell, end: Option<&Answer>, found: &Found) -> bool {
        let Operation { verb, claims, .. } = self.operation;
        let landed = |(point, _): &&(Point, Fault)| {
            matches!(point, On(Push, ReplyLost | ReplyArrives) | Answering)
        };
        let landings = if verb.is_some() {
            blows.iter().filter(landed).count()
        } else {
            0
        };
        let was_told = blows.iter().any(|(_, fault)| *fault == Told);
        let unanswered = blows.contains(&(Answering, Lost));
        // Nothing keeps it from coming to its end, if it wants to.
        let goes_on = self.operation.gives_back()
            && !blows.iter().any(|(point, fault)| {
                *fault == Told && matches!(point, Answering | On(_, RequestLate))
            });
        let stderr = end.map(|answer| answer.stderr.as_str()).unwrap_or_default();
        let commits = self.new_commits(found);

        let stands = match end {
            // Killed while it gave back what it had claimed, unless that was done.
            None if was_told => landings == 1,
            None => landings > 0,
            Some(answer) if (was_told && !goes_on) || unanswered => {
                match unanswered {
                    true => answer.assert_failed(&["cannot write the answer"]),
                    false => answer.assert_stopped(),
                }
                landings > 0 && !claims
            }
            Some(answer) => {
                let version = answer.version();
                match verb {
                    Some(_) => assert_eq!(version, found.head(), "{stderr}"),
                    None => assert_eq!(version, self.last_touch()),
                }
                verb.is_some()
            }
        };
        let pushes = blows.iter().any(|(point, _)| matches!(point, On(Push, _)));
        let given_back = claims && !stands && (landings > 0 || (pushes && was_told));
        match (stands, given_back) {
            (true, _) => self.has_done(&commits[..1], found, stderr),
            (false, true) => {
                assert_eq!(found.locks, self.locks, "{stderr}");
                if let [end, claim] = commits {
                    let proof = format!("Pool-Claim: {}", claim.id);
                    assert!(end.message.contains(&proof), "{}", end.message);
                } else {
                    // What was never on the branch needs no giving back.
                    assert!(commits.is_empty() && landings == 0, "{commits:?} {stderr}");
                }
                return false;
            }
            (false, false) => assert_eq!(found.locks, self.locks, "{stderr}"),
        }
        assert_eq!(commits.len(), usize::from(stands), "{commits:?} {stderr}");
        stands
    }

    /// Looks at a run of the same step in the same container, after one that failed and left the pool as in `before`.
    fn look_at_second_run(&self, again: &Answer, before: &Found, found: &Found, stands: bool) {
        let stderr = &again.stderr;
        match (self.operation.verb, stands, self.operation.refused_again) {
            (Some(_), false, _) => {
                assert_eq!(again.version(), found.head(), "{stderr}");
                assert_eq!(found.commits[1..], before.commits[..], "{stderr}");
                self.has_done(&found.commits[..1], found, stderr);
            }
            (Some(_), true, Some(words)) => {
                again.assert_failed(&[words]);
                assert_eq!(found, before, "{stderr}");
            }
            (Some(_), true, None) => {
                assert_eq!(again.version(), before.head(), "{stderr}");
                assert_eq!(found, before, "{stderr}");
            }
            (None, ..) => {
                assert_eq!(again.version(), self.last_touch());
                assert_eq!(found, before, "{stderr}");
            }
        }
        if self.operation.refused_again.is_none() || !stands {
            let lock = again.lock();
            assert!(self.operation.lock.is_none_or(|asked| asked == lock));
        }
    }

    /// Looks at a run of the same step after one that was killed while it gave back what stands in `before`. A push that
    /// ends it may be on its way: it is ended for good, and there is a claim of its own. If the old run had not begun to
    /// give it back, it is taken over instead.
    fn look_at_run_after_giving_back(&self, again: &Answer, before: &Found, found: &Found) {
        let stderr = &again.stderr;
        assert_eq!(again.version(), found.head(), "{stderr}");
        self.has_done(&found.commits[..1], found, stderr);
        let new = found.commits.len() - before.commits.len();
        assert_eq!(found.commits[new..], before.commits[..], "{stderr}");
        if let [_, end] = &found.commits[..new] {
            let proof = format!("Pool-Claim: {}", before.head());
            assert!(end.message.contains(&proof), "{}", end.message);
        } else {
            assert_eq!(new, 0, "{stderr}");
        }
    }

    /// The commits that are new since the beginning, newest first.
    fn new_commits<'a>(&self, found: &'a Found) -> &'a [Commit] {
        let new = found.commits.len() - self.commits.len();
        assert_eq!(found.commits[new..], self.commits[..]);
        &found.commits[..new]
    }

    /// Asserts that this one commit carried out the operation, and that nothing else is different from the beginning.
    fn has_done(&self, commit: &[Commit], found: &Found, stderr: &str) {
        let verb = self.operation.verb.unwrap();
        let subject = commit[0].message.lines().next().unwrap();
        let start = format!("ops/web/deploy build 12 {verb}: ");
        let lock = subject.strip_prefix(&start);
        let lock = lock.unwrap_or_else(|| panic!("{subject}; {stderr}"));
        let expected = self.operation.carried_out(self, lock);
        assert_eq!(found.locks, expected, "{stderr}");
    }

    /// The last commit that touched the lock before the beginning.
    fn last_touch(&self) -> &str {
        let lock = self.operation.lock.unwrap();
        let claimed_by_hand = self.locks[lock].0 == "claimed";
        &self.commits[usize::from(!claimed_by_hand)].id
    }
}
