//! Those who want locks: each a thread that starts one process after another, as a pipeline would, and does harm to some.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::reading::blob;
use super::story::{Asked, Ending, Hold, POOL, Run};
use support::server::havoc::Havoc;
use support::step::Running;
use support::{Answer, Step, TestRemote};

/// How long a step may go on once nothing disturbs it any more and nobody gets anything done: much longer than it ever
/// does.
const PATIENCE: Duration = Duration::from_secs(45);

/// For how long a command's claim is good without a renewal.
const LEASE: &str = "9s";

/// How long each of them bears with the server.
const LIMITS: [(&str, &str); 6] = [
    ("retry_delay", "300ms"),
    ("connect_timeout", "2s"),
    ("silence_timeout", "2s"),
    ("attempt_timeout", "8s"),
    ("fault_timeout", "20s"),
    // Those who are killed leave their tickets, for three times as long: much shorter than `PATIENCE`.
    ("ticket_renewal", "3s"),
];

/// What all workers share.
pub struct Stage<'a> {
    /// The repository.
    pub remote: &'a TestRemote,
    /// Set when nothing is to be disturbed any more, and no new round begun.
    pub over: AtomicBool,
    /// Set when all who make claims are gone.
    pub all_left: AtomicBool,
    /// The containers that nobody runs a step in any more, though a claim may have been left there.
    pub abandoned: Mutex<BTreeSet<String>>,
    /// Commits of which a run said that they may be on the branch.
    pub admitted: Mutex<BTreeSet<String>>,
    /// Where the branch was when it was last looked at, and since when.
    pub head: Mutex<(String, Instant)>,
}

impl Stage<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Looks where the branch is.
    pub fn look(&self) {
        let head = self.remote.head();
        let mut known = self.head.lock().unwrap();
        if known.0 != head {
            *known = (head, Instant::now());
        }
    }
}

/// A lock in our hands.
struct Held {
    lock: String,
    claim: String,
    /// The files that prove it.
    files: Vec<(String, Vec<u8>)>,
}

/// What one worker has seen.
#[derive(Default)]
pub struct Diary {
    /// Its processes.
    pub runs: Vec<Run>,
    /// Its locks.
    pub holds: Vec<Hold>,
    /// What should not be, and is nothing that the history could tell.
    pub oddities: Vec<String>,
    /// How often each signal was sent.
    pub signals: BTreeMap<&'static str, usize>,
}

/// Where a worker has its steps run.
struct Container {
    name: String,
    step: Option<Step>,
    runs: usize,
}

/// Harm that is about to be done to a process.
struct Blow {
    signal: &'static str,
    /// From its start, or from when its push comes by.
    after: Duration,
    at_push: bool,
}

/// How a worker goes about it.
enum Manner {
    /// Patience, harm and pauses are a matter of dice.
    Wild,
    /// The next step has this patience (params of its own), and comes to this harm.
    Planned(Value, Option<Blow>),
}

/// One of them.
pub struct Worker<'a> {
    name: String,
    manner: Manner,
    stage: &'a Stage<'a>,
    relay: Option<&'a Havoc>,
    /// Tells the relay that a push of ours is going to be struck.
    danger: Arc<AtomicBool>,
    uri: String,
    dice: StdRng,
    containers: usize,
    contents: usize,
    diary: Diary,
}

impl<'a> Worker<'a> {
    /// One who goes to the repository by a relay of its own.
    pub fn new(
        name: &str,
        stage: &'a Stage<'a>,
        relay: &'a Havoc,
        danger: Arc<AtomicBool>,
        seed: u64,
    ) -> Worker<'a> {
        Worker {
            name: name.to_owned(),
            manner: Manner::Wild,
            stage,
            relay: Some(relay),
            danger,
            uri: format!("http://127.0.0.1:{}/git/locks.git", relay.port()),
            dice: StdRng::seed_from_u64(seed),
            containers: 0,
            contents: 0,
            diary: Diary::default(),
        }
    }

    /// One who goes there directly, and whom nobody disturbs.
    pub fn operator(stage: &'a Stage<'a>) -> Worker<'a> {
        Worker {
            name: "operator".to_owned(),
            manner: Manner::Wild,
            stage,
            relay: None,
            danger: Arc::default(),
            uri: stage.remote.uri(),
            dice: StdRng::seed_from_u64(0),
            containers: 0,
            contents: 0,
            diary: Diary::default(),
        }
    }

    /// One who does what he is told, and comes to no harm by himself.
    pub fn planned(self) -> Worker<'a> {
        Worker {
            manner: Manner::Planned(json!({}), None),
            ..self
        }
    }

    /// Claims a lock, has it, and gives it back.
    pub fn take_turn(&mut self, asked: &Asked) {
        match self.get(asked) {
            Some(held) => {
                let held = self.hold(held);
                self.give_back(&held, false);
            }
            None => self.diary.oddities.push(format!(
                "{} did not get {asked:?}: {:?}",
                self.name,
                self.diary.runs.last()
            )),
        }
    }

    /// Wants a lock that somebody has, and does not wait for it for longer than these params say; gives how long it took.
    fn wait_in_vain(&mut self, asked: &Asked, patience: Value) -> Duration {
        self.manner = Manner::Planned(patience, None);
        let began = Instant::now();
        let got = self.get(asked);
        let took = began.elapsed();
        if let Some(held) = got {
            let name = &self.name;
            let oddity = format!("{name} got `{}`, which somebody has", held.lock);
            self.diary.oddities.push(oddity);
            self.give_back(&held, false);
        }
        took
    }

    /// Has a lock while others want it in vain, who have this much patience each; gives how long they took.
    pub fn keep_from<const N: usize>(&mut self, lock: &str, patience: [Value; N]) -> Vec<Duration> {
        let asked = Asked::Claim(lock.to_owned());
        let Some(held) = self.get(&asked) else {
            self.diary
                .oddities
                .push(format!("{} did not get `{lock}`", self.name));
            return Vec::new();
        };
        let held = self.hold(held);
        let times = patience.map(|patience| self.wait_in_vain(&asked, patience));
        self.give_back(&held, false);
        times.to_vec()
    }

    /// Wants a lock, and is told to stop so long after it began, or after its first push came by. What it gets all the same
    /// it gives back.
    pub fn be_aborted(&mut self, asked: &Asked, after: Duration, at_push: bool) {
        let blow = Blow {
            signal: "TERM",
            after,
            at_push,
        };
        self.manner = Manner::Planned(json!({}), Some(blow));
        if let Some(held) = self.get(asked) {
            self.give_back(&held, false);
        }
    }

    /// Does with a lock of its own what can be done with one.
    pub fn use_a_lock_of_its_own(&mut self, lock: &str) {
        let (first, second) = (self.content(), self.content());
        let add = Asked::AddClaimed(lock.to_owned(), blob(&first));
        let Some(held) = self.get_with(&add, &first) else {
            self.diary
                .oddities
                .push(format!("{} cannot {add:?}", self.name));
            return;
        };
        let held = self.hold(held);
        self.give_back(&held, true);
        self.insist(&Asked::Add(lock.to_owned(), blob(&first)), &first);
        self.insist(
            &Asked::Update(lock.to_owned(), blob(&second), None),
            &second,
        );
        if let Some(held) = self.get(&Asked::Claim(lock.to_owned())) {
            self.give_back(&held, true);
        }
    }

    /// Changes a lock, which others may have for a while; or which is still there, as far as an old view shows it.
    fn insist(&mut self, asked: &Asked, content: &[u8]) {
        for _ in 0..100 {
            if matches!(self.change(asked, content), Ending::Told(..)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        let oddity = format!("{} cannot {asked:?}", self.name);
        self.diary.oddities.push(oddity);
    }

    /// Runs a command with a lock; or is killed so long after it began.
    pub fn run_one_command(&mut self, lock: &str, killed: Option<Duration>) {
        let blow = killed.map(|after| Blow {
            signal: "KILL",
            after,
            at_push: false,
        });
        self.manner = Manner::Planned(json!({}), blow);
        self.run_a_command(&Asked::Run(Some(lock.to_owned())));
    }

    /// Acquires and releases until it is over.
    pub fn acquire_again_and_again(mut self, locks: &[&str]) -> Diary {
        while !self.stage.is_over() {
            let asked = match self.dice.random_range(0..10) {
                0..3 => Asked::Claim(locks[self.dice.random_range(0..locks.len())].to_owned()),
                _ => Asked::Acquire,
            };
            if let Some(held) = self.get(&asked) {
                let held = self.hold(held);
                self.give_back(&held, false);
            }
        }
        self.diary
    }

    /// Adds, updates, claims and removes a lock of its own, which others may acquire too, until it is over.
    pub fn keep_a_lock(mut self, lock: &str) -> Diary {
        while !self.stage.is_over() {
            let content = self.content();
            let what = (lock.to_owned(), blob(&content));
            match self.dice.random_range(0..4) {
                0 => drop(self.change(&Asked::Add(what.0, what.1), &content)),
                1 => drop(self.change(&Asked::Update(what.0, what.1, None), &content)),
                n => {
                    let asked = if n == 2 {
                        Asked::AddClaimed(what.0, what.1)
                    } else {
                        Asked::Claim(what.0)
                    };
                    let Some(held) = self.get_with(&asked, &content) else {
                        continue;
                    };
                    let held = self.hold(held);
                    let removes = self.dice.random_bool(0.7);
                    self.give_back(&held, removes);
                }
            }
        }
        self.diary
    }

    /// Runs commands while it holds a lock, with a lease, until it is over: as `pool run` does it.
    pub fn run_commands(mut self, lock: &str) -> Diary {
        while !self.stage.is_over() {
            let lock = self.dice.random_bool(0.6).then(|| lock.to_owned());
            self.run_a_command(&Asked::Run(lock));
        }
        self.diary
    }

    fn run_a_command(&mut self, asked: &Asked) {
        let Asked::Run(lock) = asked else { return };
        let container = self.container();
        // It calls itself a build only in a build.
        let actor = format!("chaos/pool/{} command {}", self.name, self.containers);
        let folder = container.step.as_ref().unwrap().folder();
        let (told, seen) = (folder.join("told"), folder.join("seen"));
        let mut step = container.step.unwrap();
        for (name, value) in [
            ("POOL_URI", self.uri.as_str()),
            ("POOL_BRANCH", "main"),
            ("POOL_NAME", POOL),
            ("POOL_HOLDER", &actor),
        ] {
            step = step.env(name, value);
        }
        for (name, value) in self.limits() {
            step = step.env(&format!("POOL_{}", name.to_uppercase()), value);
        }
        // What the branch has while the command runs, for as long as there is somebody who renews.
        let script = format!(
            r#"printf '%s\n%s\n' "$POOL_LOCK_NAME" "$POOL_CLAIM" > '{told}'
            for _ in $(seq {looks}); do
              head=$(git --git-dir '{remote}' rev-parse refs/heads/main) && kill -0 $PPID || exit
              echo "$head" >> '{seen}'
              sleep 0.2
            done"#,
            told = told.display(),
            seen = seen.display(),
            looks = self.dice.random_range(1..30),
            remote = self.stage.remote.path().display(),
        );
        let mut args: Vec<&str> = vec!["run", "--lease", LEASE, "--on-lost", "kill"];
        args.extend(lock.as_deref());
        args.extend(["--", "sh", "-c", &script]);
        let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
        let is_wild = matches!(self.manner, Manner::Wild);
        let blow = match !is_wild || self.dice.random_bool(0.5) {
            true => self.blow(true, false),
            // While the command runs, if it does by then.
            false if !self.stage.is_over() => Some(Blow {
                signal: if self.dice.random_bool(0.7) {
                    "KILL"
                } else {
                    "TERM"
                },
                after: Duration::from_millis(self.dice.random_range(500..6000)),
                at_push: false,
            }),
            false => None,
        };
        let pushes = self.relay.map_or(0, Havoc::pushes);
        let running = step.start("pool", &args, b"");
        let answer = self.watch(running, blow, pushes);

        let admitted = self.admitted(asked, &answer);
        self.stage.admitted.lock().unwrap().extend(admitted.clone());
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        let ending = match (told.split_once('\n'), answer.code) {
            (Some((lock, claim)), _) => {
                let claim = claim.trim_end().to_owned();
                let seen = std::fs::read_to_string(&seen).unwrap_or_default();
                self.diary.holds.push(Hold {
                    worker: self.name.clone(),
                    lock: lock.to_owned(),
                    left: answer.code.is_none() || admitted.contains(&claim),
                    claim: claim.clone(),
                    seen: seen.lines().map(str::to_owned).collect(),
                });
                Ending::Told(lock.to_owned(), claim)
            }
            (None, None) => Ending::Vanished,
            (None, Some(_)) => Ending::Failed(admitted),
        };
        self.diary.runs.push(Run {
            actor,
            worker: self.name.clone(),
            container: container.name,
            asked: asked.clone(),
            ending,
        });
    }

    /// Ends claims whose lease is over, until nobody is left who could make one, and none stands.
    pub fn reap_again_and_again(mut self) -> Diary {
        let mut since_all_left = None;
        loop {
            let mut container = self.container();
            self.run(&mut container, &Asked::Reap, json!({"reap": {}}), &[]);
            if self.stage.all_left.load(Ordering::SeqCst) {
                let since = *since_all_left.get_or_insert_with(Instant::now);
                let claims = self.stage.remote.list(&format!("{POOL}/claimed"));
                if claims.is_empty() || since.elapsed() > PATIENCE {
                    return self.diary;
                }
            }
            let pause = match self.manner {
                Manner::Wild => self.dice.random_range(100..1500),
                Manner::Planned(..) => 3000,
            };
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    /// Ends what steps have left behind of which nobody will take care any more.
    pub fn clean_up(&mut self) {
        let remote = self.stage.remote;
        for lock in remote.list(&format!("{POOL}/claimed")) {
            let path = format!("{POOL}/claimed/{lock}");
            let claim = remote.git(&[
                "log",
                "-1",
                "--diff-filter=A",
                "--no-renames",
                "--format=%H %s",
                "main",
                "--",
                &path,
            ]);
            let (claim, subject) = claim.split_once(' ').unwrap_or((&claim, ""));
            let left = self.stage.admitted.lock().unwrap().contains(claim)
                || container_of(subject)
                    .is_some_and(|name| self.stage.abandoned.lock().unwrap().contains(&name));
            if left {
                let files = proof(&lock, claim);
                let held = Held {
                    lock,
                    claim: claim.to_owned(),
                    files,
                };
                let asked = Asked::Release(held.lock.clone(), held.claim.clone());
                let mut container = self.container();
                self.run(
                    &mut container,
                    &asked,
                    json!({"release": "lock"}),
                    &held.files,
                );
            }
        }
    }

    /// What it has seen.
    pub fn into_diary(self) -> Diary {
        self.diary
    }

    fn content(&mut self) -> Vec<u8> {
        self.contents += 1;
        format!("{} has written this, {}\n", self.name, self.contents).into_bytes()
    }

    /// Where nothing is slow by itself, only the machine can be.
    fn limits(&self) -> [(&'static str, &'static str); 6] {
        match self.manner {
            Manner::Wild => LIMITS,
            Manner::Planned(..) => LIMITS.map(|(name, value)| match name {
                "connect_timeout" | "silence_timeout" => (name, "20s"),
                "attempt_timeout" | "fault_timeout" => (name, "2m"),
                _ => (name, value),
            }),
        }
    }

    fn container(&mut self) -> Container {
        self.containers += 1;
        let mut step = Step::with_source(json!({"uri": self.uri, "branch": "main", "pool": POOL}));
        for (name, value) in self.limits() {
            step = step.set(name, value);
        }
        let id = format!("{}-{}", self.name, self.containers);
        for (name, value) in [
            ("BUILD_ID", id.as_str()),
            ("BUILD_JOB_NAME", &self.name),
            ("BUILD_PIPELINE_NAME", "pool"),
            ("BUILD_TEAM_NAME", "chaos"),
            ("ATC_EXTERNAL_URL", "https://ci.example.com"),
        ] {
            step = step.env(name, value);
        }
        Container {
            name: format!("{} {}", self.name, self.containers),
            step: Some(step),
            runs: 0,
        }
    }

    fn get(&mut self, asked: &Asked) -> Option<Held> {
        self.get_with(asked, b"")
    }

    /// Wants a lock, and runs the step again in the same container if it is killed; or gives up, at some point.
    fn get_with(&mut self, asked: &Asked, content: &[u8]) -> Option<Held> {
        let mut params = match asked {
            Asked::Acquire => json!({"acquire": true}),
            Asked::Claim(lock) => json!({"claim": lock}),
            Asked::AddClaimed(..) => json!({"add_claimed": "lock"}),
            other => panic!("{other:?} grants nothing"),
        };
        match &mut self.manner {
            Manner::Wild => match self.dice.random_range(0..8) {
                0 => params["try"] = true.into(),
                1 => params["timeout"] = "1s".into(),
                _ => {}
            },
            Manner::Planned(patience, _) => {
                let more = std::mem::replace(patience, json!({}));
                let more = more.as_object().cloned().unwrap_or_default();
                params.as_object_mut().unwrap().extend(more);
            }
        }
        let mut files = Vec::new();
        if let Asked::AddClaimed(lock, _) = asked {
            files.push(("lock/name".to_owned(), lock.clone().into_bytes()));
            files.push(("lock/metadata".to_owned(), content.to_owned()));
        }
        let mut container = self.container();
        loop {
            let again = match self.run(&mut container, asked, params.clone(), &files) {
                Ending::Told(lock, claim) => {
                    return Some(Held {
                        files: proof(&lock, &claim),
                        lock,
                        claim,
                    });
                }
                // Told to stop, or not to be had. Nobody runs that again.
                Ending::Failed(_) | Ending::Done => false,
                Ending::Vanished => self.dice.random_bool(0.6) && !self.stage.is_over(),
            };
            if !again {
                let mut abandoned = self.stage.abandoned.lock().unwrap();
                if self
                    .diary
                    .runs
                    .last()
                    .is_some_and(|run| run.ending == Ending::Vanished)
                {
                    abandoned.insert(container.name);
                }
                return None;
            }
        }
    }

    /// Has a lock for a while, and perhaps does something with it.
    fn hold(&mut self, mut held: Held) -> Held {
        let mut seen = vec![self.stage.remote.head()];
        let is_wild = matches!(self.manner, Manner::Wild);
        if !is_wild || self.dice.random_bool(0.25) {
            self.fetch(&mut held);
            seen.push(self.stage.remote.head());
        }
        std::thread::sleep(Duration::from_millis(self.dice.random_range(0..300)));
        if (!is_wild || self.dice.random_bool(0.15)) && held.lock.starts_with("own") {
            let content = self.content();
            let asked = Asked::Update(held.lock.clone(), blob(&content), Some(held.claim.clone()));
            self.change(&asked, &content);
        }
        seen.push(self.stage.remote.head());
        self.diary.holds.push(Hold {
            worker: self.name.clone(),
            lock: held.lock.clone(),
            claim: held.claim.clone(),
            seen,
            left: false,
        });
        held
    }

    /// Fetches what the put before has answered, as Concourse does, and goes on with the files that are there then.
    fn fetch(&mut self, held: &mut Held) {
        let container = self.container();
        let Some(step) = &container.step else { return };
        let (answer, folder) = step.get(&held.claim);
        if answer.code != Some(0) {
            self.odd(&format!("cannot get {}", held.claim), &answer);
            return;
        }
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        let files: Vec<_> = held
            .files
            .iter()
            .map(|(path, _)| (path.clone(), read(path.trim_start_matches("lock/"))))
            .collect();
        if files == held.files {
            held.files = files;
        } else {
            self.odd(&format!("got {files:?} of {}", held.claim), &answer);
        }
    }

    /// Releases, or removes, until it is told that it is done: whatever happens on the way.
    fn give_back(&mut self, held: &Held, removes: bool) {
        let (lock, claim) = (held.lock.clone(), held.claim.clone());
        let (asked, params) = if removes {
            (Asked::Remove(lock, claim), json!({"remove": "lock"}))
        } else {
            (Asked::Release(lock, claim), json!({"release": "lock"}))
        };
        let mut container = self.container();
        let mut undisturbed = 0;
        while undisturbed < 3 {
            undisturbed += usize::from(self.stage.is_over());
            let ending = self.run(&mut container, &asked, params.clone(), &held.files);
            if matches!(ending, Ending::Told(..)) {
                return;
            }
        }
        let oddity = format!("{} cannot do {asked:?}", self.name);
        self.diary.oddities.push(oddity);
    }

    /// Changes a lock, or does not: others may have it, or have been faster.
    fn change(&mut self, asked: &Asked, content: &[u8]) -> Ending {
        let (lock, claim, params) = match asked {
            Asked::Add(lock, _) => (lock, None, json!({"add": "lock"})),
            Asked::Update(lock, _, claim) => (
                lock,
                claim.as_ref(),
                json!({"update": "lock", "timeout": "2s"}),
            ),
            other => panic!("{other:?} is no change"),
        };
        let mut files = match claim {
            Some(claim) => proof(lock, claim),
            None => vec![("lock/name".to_owned(), lock.clone().into_bytes())],
        };
        files.push(("lock/metadata".to_owned(), content.to_owned()));
        let mut container = self.container();
        self.run(&mut container, asked, params, &files)
    }

    fn odd(&mut self, what: &str, answer: &Answer) {
        let name = &self.name;
        let Answer {
            code,
            stdout,
            stderr,
        } = answer;
        self.diary.oddities.push(format!(
            "{name} {what}: exit {code:?}, stdout {stdout:?}, stderr:\n{stderr}"
        ));
    }

    /// Runs one process, perhaps to a bad end, and takes down what became of it.
    fn run(
        &mut self,
        container: &mut Container,
        asked: &Asked,
        params: Value,
        files: &[(String, Vec<u8>)],
    ) -> Ending {
        container.runs += 1;
        let number = container.name.split(' ').nth(1).unwrap_or_default();
        let build = format!("{number}.{}", container.runs);
        let step = container.step.take().unwrap().env("BUILD_NAME", &build);
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .collect();
        let blow = self.blow(asked.claims(), container.runs > 1);
        let pushes = self.relay.map_or(0, Havoc::pushes);
        let running = step.start_put_with(params, &files);
        container.step = Some(step);
        let answer = self.watch(running, blow, pushes);

        let ending = self.ending(asked, &answer);
        if let Ending::Failed(named) = &ending {
            let mut admitted = self.stage.admitted.lock().unwrap();
            admitted.extend(named.iter().cloned());
        }
        self.diary.runs.push(Run {
            actor: format!("chaos/pool/{} build {build}", self.name),
            worker: self.name.clone(),
            container: container.name.clone(),
            asked: asked.clone(),
            ending: ending.clone(),
        });
        ending
    }

    /// A run that comes after another one looks first for what that has left, and pushes nothing.
    fn blow(&mut self, claims: bool, again: bool) -> Option<Blow> {
        if let Manner::Planned(_, blow) = &mut self.manner {
            return blow.take();
        }
        let strikes = self.dice.random_bool(match (claims, again) {
            (true, true) => 0.6,
            (true, false) => 0.5,
            (false, _) => 0.25,
        });
        let signal = if self.dice.random_bool(0.5) {
            "KILL"
        } else {
            "TERM"
        };
        let at_push = self.dice.random_bool(if again { 0.2 } else { 0.7 });
        // From a push to the end of its process it is some 20 ms, if nothing delays it.
        let most = match self.dice.random_range(0..4) {
            0 => 200,
            _ if at_push => 25,
            _ if again => 60,
            _ => 1000,
        };
        let after = Duration::from_millis(self.dice.random_range(0..most));
        let may_strike = strikes && self.relay.is_some() && !self.stage.is_over();
        self.danger.store(may_strike && at_push, Ordering::SeqCst);
        may_strike.then_some(Blow {
            signal,
            after,
            at_push,
        })
    }

    /// Waits for the end of a process, having done to it what is to be done.
    fn watch(&mut self, mut running: Running, mut blow: Option<Blow>, pushes: usize) -> Answer {
        let started = Instant::now();
        let mut pushed = None;
        let mut over = None;
        while running.is_running() {
            if pushed.is_none() && self.relay.is_some_and(|relay| relay.pushes() > pushes) {
                pushed = Some(Instant::now());
            }
            let due = blow.take_if(|blow| {
                let from = if blow.at_push { pushed } else { Some(started) };
                from.is_some_and(|from| from.elapsed() >= blow.after)
            });
            if let Some(blow) = due {
                running.signal(blow.signal);
                *self.diary.signals.entry(blow.signal).or_default() += 1;
            }
            if self.stage.is_over() {
                let since = *over.get_or_insert_with(Instant::now);
                let (_, moved) = *self.stage.head.lock().unwrap();
                if since.max(moved).elapsed() > PATIENCE {
                    let line = self.stage.remote.git(&[
                        "for-each-ref",
                        "--format=%(refname) %(objectname:short) %(committerdate:iso) %(contents)",
                    ]);
                    let oddity = format!(
                        "{} waits in vain: {}\nthe line is\n{line}",
                        self.name,
                        running.stderr()
                    );
                    self.diary.oddities.push(oddity);
                    // It has to give back what it may have, too.
                    running.signal("TERM");
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        running.finish()
    }

    fn ending(&mut self, asked: &Asked, answer: &Answer) -> Ending {
        let told = serde_json::from_str::<Value>(&answer.stdout).ok();
        let told = told.and_then(|told| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some(Ending::Told(
                text(&told["metadata"][0]["value"])?,
                text(&told["version"]["ref"])?,
            ))
        });
        match (answer.code, told) {
            (Some(0), _) | (None, Some(_)) if *asked == Asked::Reap => return Ending::Done,
            // Whoever is killed after the last word has said it.
            (Some(0) | None, Some(told)) => return told,
            (None, None) => return Ending::Vanished,
            (Some(1), None)
                if answer.stdout.is_empty()
                    && ["error: ", "stopped by a signal"]
                        .iter()
                        .any(|end| answer.stderr.contains(end)) => {}
            // The signal came with the last byte of the answer, of which nobody takes any notice then.
            (Some(1), Some(_)) if answer.stderr.contains("stopped by a signal") => {}
            _ => self.odd(&format!("{asked:?}"), answer),
        }
        if answer.stderr.contains("panicked") {
            self.odd(&format!("{asked:?}"), answer);
        }
        Ending::Failed(self.admitted(asked, answer))
    }

    /// The claims of which a run said that they may stand.
    fn admitted(&self, asked: &Asked, answer: &Answer) -> BTreeSet<String> {
        // Whoever reaps speaks of others'.
        if *asked == Asked::Reap {
            return BTreeSet::new();
        }
        // Those who hold a lock are named too, and so is what a server says of the branch; that is no admission.
        let errors = answer.stderr.lines().filter(|line| {
            line.starts_with("error: ")
                && !line.contains(" is held")
                && !line.contains("has ended")
                && !line.contains("taken away")
                && !line.contains("refuses our commit")
        });
        let words = errors.flat_map(|line| line.split(|c: char| !c.is_ascii_hexdigit()));
        words
            .filter(|word| word.len() == 40)
            .map(str::to_owned)
            .collect()
    }
}

fn proof(lock: &str, claim: &str) -> Vec<(String, Vec<u8>)> {
    vec![
        ("lock/name".to_owned(), format!("{lock}\n").into_bytes()),
        ("lock/claim".to_owned(), format!("{claim}\n").into_bytes()),
    ]
}

/// The container of the run that made a commit with this subject.
fn container_of(subject: &str) -> Option<String> {
    let (worker, rest) = subject.strip_prefix("chaos/pool/")?.split_once(" build ")?;
    let (number, _) = rest.split_once('.')?;
    Some(format!("{worker} {number}"))
}
