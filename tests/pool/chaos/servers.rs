//! Every kind of server, and everything that can be asked of it: how old what it shows is, whether its answers arrive, what
//! it lets be done with tickets, and in which words it refuses.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::checker::violations;
use super::story::{Asked, POOL};
use super::worker::{Stage, Worker};
use super::{close, reading, told};
use support::server::havoc::{Havoc, Mischief};
use support::server::replica::Replica;
use support::{TestRemote, wait_until};

/// How long any of it may take.
const LONG: Duration = Duration::from_secs(240);

/// What a server lets be done with the refs of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    All,
    NoDelete,
    NoMove,
    NoDeleteNorMove,
    NoList,
    None,
}

/// What a server says of a lost race, where git says `failed to update ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Git,
    Jgit,
    JgitOfOld,
    Unknown,
}

impl Words {
    fn instead(self) -> Option<&'static str> {
        match self {
            Words::Git => None,
            Words::Jgit => Some("invalid old id sent "),
            Words::JgitOfOld => Some("LOCK_FAILURE        "),
            Words::Unknown => Some("not with us, not now"),
        }
    }
}

/// One kind of server.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// How old what it shows is.
    lag: Duration,
    /// Whether the answer of every other push is lost.
    loses_answers: bool,
    line: Line,
    words: Words,
}

/// A hook that refuses some changes of the refs of the line.
fn set_up(remote: &TestRemote, replica: &Replica, line: Line) {
    let zero = "0000000000000000000000000000000000000000";
    let delete = format!("[ $3 = {zero} ] && exit 1");
    let move_ = format!("[ $2 != {zero} ] && [ $3 != {zero} ] && exit 1");
    let refused = match line {
        Line::All => return,
        Line::NoList => return replica.hide("refs/pool-queue"),
        Line::NoDelete => delete,
        Line::NoMove => move_,
        Line::NoDeleteNorMove => format!("{delete}\n{move_}"),
        Line::None => "exit 1".to_owned(),
    };
    remote.hook(
        "update",
        &format!("case $1 in refs/heads/*) exit 0;; esac\n{refused}\nexit 0"),
    );
}

/// What a relay does to the requests of one worker.
fn mischief(kind: Kind) -> impl FnMut(&str) -> Mischief + Send + 'static {
    let mut pushes = 0;
    move |request| {
        if !(request.contains("POST") && request.contains("git-receive-pack")) {
            return Mischief::None;
        }
        pushes += 1;
        match kind.words.instead() {
            _ if kind.loses_answers && pushes % 2 == 1 => Mischief::LoseReply,
            Some(words) => Mischief::Reword("failed to update ref", words),
            None => Mischief::None,
        }
    }
}

/// Has everything done at a server of this kind, by several at once; gives what was wrong.
fn play(kind: Kind) -> Vec<String> {
    let remote = TestRemote::with_pool(POOL, &["env-1", "env-2", "held", "env-4"]);
    let start = remote.head();
    let replica = Replica::of(&remote);
    set_up(&remote, &replica, kind.line);
    let following = replica.follow(kind.lag);
    let port = Arc::new(AtomicU16::new(replica.port()));
    let stage = Stage {
        remote: &remote,
        over: AtomicBool::new(false),
        all_left: AtomicBool::new(false),
        abandoned: Mutex::default(),
        admitted: Mutex::default(),
        head: Mutex::new((start.clone(), Instant::now())),
    };
    let relays: Vec<Havoc> = (0..8)
        .map(|_| Havoc::start(port.clone(), mischief(kind)))
        .collect();
    let worker = |n: usize| {
        let name = format!("w{n}");
        Worker::new(&name, &stage, &relays[n], Arc::default(), n as u64).planned()
    };
    let claim = |lock: &str| Asked::Claim(lock.to_owned());
    let began = Instant::now();
    let mut wrong = Vec::new();
    let diaries = std::thread::scope(|scope| {
        let mut workers = Vec::new();
        // Three for one lock and another one, in turns.
        for n in [1, 2, 3] {
            let mut worker = worker(n);
            workers.push(scope.spawn(move || {
                worker.take_turn(&claim("env-1"));
                worker.take_turn(&Asked::Acquire);
                (worker.into_diary(), Vec::new())
            }));
        }
        let mut own = worker(4);
        workers.push(scope.spawn(move || {
            own.use_a_lock_of_its_own("own");
            (own.into_diary(), Vec::new())
        }));
        // While it waits, and at its push.
        let mut aborted = worker(5);
        workers.push(scope.spawn(move || {
            for (at_push, after) in [
                (false, 1500),
                (true, 0),
                (true, 15),
                (true, 40),
                (false, 300),
            ] {
                let asked = if at_push {
                    Asked::Acquire
                } else {
                    claim("env-1")
                };
                aborted.be_aborted(&asked, Duration::from_millis(after), at_push);
            }
            (aborted.into_diary(), Vec::new())
        }));
        let mut has = worker(6);
        workers.push(scope.spawn(move || {
            let times = has.keep_from("held", [json!({"try": true}), json!({"timeout": "3s"})]);
            (has.into_diary(), times)
        }));
        let mut runs = worker(7);
        workers.push(scope.spawn(move || {
            runs.run_one_command("env-4", None);
            runs.run_one_command("env-4", Some(Duration::from_secs(3)));
            (runs.into_diary(), Vec::new())
        }));
        let mut operator = Worker::operator(&stage);
        let reaper = worker(0);
        let reaper = scope.spawn(move || reaper.reap_again_and_again());
        while !workers.iter().all(|worker| worker.is_finished()) {
            if began.elapsed() > LONG {
                stage.over.store(true, Ordering::SeqCst);
            }
            // What a step says that it could not give back before it had to end.
            operator.clean_up();
            stage.look();
            std::thread::sleep(Duration::from_millis(200));
        }
        let took = began.elapsed();
        let a_second = |count: fn(&Havoc) -> usize| {
            relays.iter().map(count).sum::<usize>() as f64 / took.as_secs_f64()
        };
        let (requests, pushes) = (a_second(Havoc::requests), a_second(Havoc::pushes));
        let load = format!("{requests:.1} requests and {pushes:.1} pushes a second");
        eprintln!("{kind:?}: {took:.1?}, {load}");
        // Nine who look three times a second at the most; whoever does not wait at all is hundreds of times faster.
        if requests > 100.0 || pushes > 20.0 {
            wrong.push(load);
        }
        close(&remote);
        operator.clean_up();
        stage.all_left.store(true, Ordering::SeqCst);
        let mut diaries = vec![reaper.join().unwrap(), operator.into_diary()];
        for worker in workers {
            let (diary, times) = worker.join().unwrap();
            diaries.push(diary);
            // As long as was said, two seconds more or eight in all, four to give back; and a loaded machine.
            let late = times
                .into_iter()
                .filter(|time| *time > Duration::from_secs(30));
            wrong.extend(late.map(|time| format!("a step that might wait for 3 s took {time:?}")));
        }
        wait_until("no request is on its way", || {
            relays.iter().all(Havoc::is_idle)
        });
        close(&remote);
        diaries
    });
    drop(following);

    let mut story = reading::read(&remote, &start);
    for mut diary in diaries {
        story.runs.append(&mut diary.runs);
        story.holds.append(&mut diary.holds);
        wrong.append(&mut diary.oddities);
    }
    wrong.extend(violations(&story).iter().map(ToString::to_string));
    if !wrong.is_empty() {
        eprintln!("{kind:?}: {wrong:#?}\n{}", told(&story, &remote));
    }
    wrong
}

/// How many kinds are played at once: many wait most of the time.
const AT_ONCE: usize = 6;

/// Every kind there is.
fn all_kinds() -> Vec<Kind> {
    let lines = [
        Line::All,
        Line::NoDelete,
        Line::NoMove,
        Line::NoDeleteNorMove,
        Line::NoList,
        Line::None,
    ];
    let words = [Words::Jgit, Words::JgitOfOld, Words::Unknown];
    let rules = lines.map(|line| (line, Words::Git)).into_iter();
    let rules: Vec<_> = rules.chain(words.map(|words| (Line::All, words))).collect();
    let mut kinds = Vec::new();
    for lag in [0, 2, 5].map(Duration::from_secs) {
        for loses_answers in [false, true] {
            kinds.extend(rules.iter().map(|&(line, words)| Kind {
                lag,
                loses_answers,
                line,
                words,
            }));
        }
    }
    kinds
}

/// By default as many of them as have every property at least once. With `POOL_SERVERS=all` all of them, which takes some
/// minutes; with numbers, such as `POOL_SERVERS=9,10`, these.
#[test]
fn at_every_kind_of_server_nothing_is_leaked_nor_doubled_and_limits_are_kept() {
    let mut kinds: Vec<(usize, Kind)> = all_kinds().into_iter().enumerate().collect();
    match std::env::var("POOL_SERVERS").as_deref() {
        // Nine rules in a row, six times; each time one of the six.
        Err(_) => kinds = (0..9).map(|n| kinds[((n + 2) % 6) * 9 + n]).collect(),
        Ok("all") => {}
        Ok(numbers) => {
            let numbers: Vec<usize> = numbers.split(',').map(|n| n.parse().unwrap()).collect();
            kinds.retain(|(n, _)| numbers.contains(n));
        }
    }
    let kinds = Mutex::new(kinds.into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((n, kind)) = { kinds.lock().unwrap().next() } {
                    let found = play(kind);
                    if !found.is_empty() {
                        wrong.lock().unwrap().push((n, kind, found));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
