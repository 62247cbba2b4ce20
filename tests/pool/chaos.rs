//! Many workers on a few locks; a network that loses and delays, views that are behind, a server that is restarted;
//! processes that are killed, leases that are renewed or not, and somebody who reaps. Afterwards a checker reads in the
//! history what has become of it.
//!
//! `POOL_CHAOS_SECONDS` says how long it goes on, `POOL_CHAOS_SEED` with which dice. The dice decide what is done to
//! whom; which of two processes is faster they do not, so that the same seed makes a similar run and not the same.

/// What must be true, as a function of what was said and done.
mod checker;
/// Histories made by hand, each of which breaks a rule.
mod examples;
/// The history as the checker takes it.
mod reading;
/// Every kind of server, and everything that can be asked of it.
mod servers;
/// What was said and done, as plain data.
mod story;
/// Those who want locks.
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use checker::violations;
use story::{Ending, POOL, Said, Story, Verb};
use support::git::run;
use support::server::havoc::{Havoc, Mischief};
use support::server::http::HttpServer;
use support::server::replica::Replica;
use support::{TestRemote, wait_until};
use worker::{Diary, Stage, Worker};

const LOCKS: [&str; 3] = ["env-1", "env-2", "env-3"];

/// One more, for which commands ask.
const FOR_COMMANDS: &str = "env-4";

/// The number in a variable of the environment.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value:?}, which is no number")),
    )
}

/// What happens to a worker's requests. A push in danger is one whose process is about to be struck, for which it is
/// worth most that the push goes astray.
pub fn mischief(
    seed: u64,
    danger: Arc<AtomicBool>,
) -> impl FnMut(&str) -> Mischief + Send + 'static {
    let mut dice = StdRng::seed_from_u64(seed);
    move |request| {
        let is_push = request.contains("POST") && request.contains("git-receive-pack");
        let in_danger = is_push && danger.swap(false, Ordering::SeqCst);
        let happens = dice.random_bool(match (is_push, in_danger) {
            (_, true) => 0.8,
            (true, _) => 0.4,
            (false, _) => 0.06,
        });
        let kind = dice.random_range(0..if in_danger { 22 } else { 11 });
        let short = Duration::from_millis(dice.random_range(50..300));
        let long = Duration::from_millis(dice.random_range(100..1500));
        // Before many others have moved the branch.
        let at_once = Duration::from_millis(dice.random_range(30..200));
        match kind {
            _ if !happens => Mischief::None,
            0 => Mischief::Delay(short),
            1 => Mischief::DelayReply(short),
            2 => Mischief::LoseRequest,
            3 => Mischief::CutRequest,
            4 => Mischief::Busy,
            5 | 6 => Mischief::LoseReply,
            7 => Mischief::CutReply,
            // Longer than `silence_timeout`.
            8 => Mischief::Silence(Duration::from_millis(2200)),
            9 => Mischief::Straggle(long),
            10 => Mischief::Twice,
            _ => Mischief::Straggle(at_once),
        }
    }
}

/// Ends the server and starts it again, again and again until it is over; gives how often.
fn restart(server: &mut HttpServer, port: &AtomicU16, stage: &Stage<'_>, seed: u64) -> usize {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut restarts = 0;
    let pause = |time: Duration| {
        let started = Instant::now();
        while started.elapsed() < time && !stage.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    while !stage.over.load(Ordering::SeqCst) {
        pause(Duration::from_millis(dice.random_range(2000..6000)));
        let signal = if dice.random_bool(0.5) {
            "TERM"
        } else {
            "KILL"
        };
        port.store(0, Ordering::SeqCst);
        server.stop(signal);
        pause(Duration::from_millis(dice.random_range(0..800)));
        server.start_again();
        port.store(server.port(), Ordering::SeqCst);
        restarts += 1;
    }
    restarts
}

/// Moves the branch by a commit that changes nothing, so that no push that was begun before can land any more.
fn close(remote: &TestRemote) {
    loop {
        let head = remote.head();
        let end = remote.commit_on(&[&head], "that was all", &[]);
        let moved = run(
            remote.path(),
            &["update-ref", "refs/heads/main", &end, &head],
            b"",
            &[],
        );
        if moved.status.success() {
            return;
        }
    }
}

#[test]
fn whatever_happens_on_the_way_every_lock_has_one_holder_and_none_is_left_behind() {
    let seed = number("POOL_CHAOS_SEED").unwrap_or_else(rand::random);
    let time = Duration::from_secs(number("POOL_CHAOS_SECONDS").unwrap_or(40));
    eprintln!("the seed is {seed}: run it again with POOL_CHAOS_SEED={seed}");
    let remote = TestRemote::with_pool(POOL, &[&LOCKS[..], &[FOR_COMMANDS]].concat());
    let start = remote.head();
    let mut seeds = StdRng::seed_from_u64(seed);
    // What is read comes from a replica, which is behind by some time.
    let mut replica = Replica::of(&remote);
    let lag = Duration::from_millis([0, 100, 400, 1200][seeds.random_range(0..4)]);
    let following = replica.follow(lag);
    let server = replica.server();
    let port = Arc::new(AtomicU16::new(server.port()));
    let stage = Stage {
        remote: &remote,
        over: AtomicBool::new(false),
        all_left: AtomicBool::new(false),
        abandoned: Mutex::default(),
        admitted: Mutex::default(),
        head: Mutex::new((start.clone(), Instant::now())),
    };
    let dangers: [Arc<AtomicBool>; 12] = Default::default();
    let relays: Vec<Havoc> = dangers
        .iter()
        .map(|danger| Havoc::start(port.clone(), mischief(seeds.random(), danger.clone())))
        .collect();

    let restart_seed = seeds.random();
    let (mut diaries, restarts) = std::thread::scope(|scope| {
        let mut workers: Vec<_> = relays
            .iter()
            .zip(dangers)
            .enumerate()
            .map(|(n, (relay, danger))| {
                let name = format!("w{n}");
                let worker = Worker::new(&name, &stage, relay, danger, seeds.random());
                scope.spawn(move || match n {
                    0 => worker.reap_again_and_again(),
                    1 => worker.keep_a_lock("own"),
                    2 | 3 => worker.run_commands(FOR_COMMANDS),
                    _ => worker.acquire_again_and_again(&LOCKS),
                })
            })
            .collect();
        let reaper = workers.remove(0);
        let restarting = scope.spawn(|| restart(server, &port, &stage, restart_seed));
        let mut operator = Worker::operator(&stage);
        let started = Instant::now();
        while !workers.iter().all(|worker| worker.is_finished()) {
            if started.elapsed() >= time {
                stage.over.store(true, Ordering::SeqCst);
                relays.iter().for_each(Havoc::calm_down);
            }
            operator.clean_up();
            stage.look();
            std::thread::sleep(Duration::from_millis(200));
        }
        stage.over.store(true, Ordering::SeqCst);
        wait_until("no request of theirs is on its way", || {
            relays[1..].iter().all(Havoc::is_idle)
        });
        // What they left without a lease, the operator ends; whatever has one, the reaper.
        close(&remote);
        operator.clean_up();
        stage.all_left.store(true, Ordering::SeqCst);
        let reaped = reaper.join().unwrap();
        wait_until("no request is on its way", || {
            relays.iter().all(Havoc::is_idle)
        });
        close(&remote);
        let mut diaries = vec![operator.into_diary(), reaped];
        diaries.extend(workers.into_iter().map(|worker| worker.join().unwrap()));
        (diaries, restarting.join().unwrap())
    });

    let mut story = reading::read(&remote, &start);
    for diary in &mut diaries {
        story.runs.append(&mut diary.runs);
        story.holds.append(&mut diary.holds);
    }
    drop(following);
    eprintln!(
        "lag {lag:?}; {}",
        summary(&story, &diaries, &relays, restarts)
    );
    let oddities: Vec<&String> = diaries.iter().flat_map(|diary| &diary.oddities).collect();
    let broken = violations(&story);
    if !broken.is_empty() || !oddities.is_empty() {
        eprintln!("{}", told(&story, &remote));
        for what in &broken {
            eprintln!("BROKEN {what}");
        }
        for what in &oddities {
            eprintln!("ODD {what}");
        }
        panic!(
            "seed {seed}: {} rules broken, {} oddities",
            broken.len(),
            oddities.len()
        );
    }
    remote.fsck();
    // A test that harms nobody, or grants nothing, shows nothing.
    assert!(
        story.holds.len() > 5 && restarts > 0,
        "hardly anything happened"
    );
}

/// What happened, in numbers.
fn summary(story: &Story, diaries: &[Diary], relays: &[Havoc], restarts: usize) -> String {
    let mut mischief: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, n) in relays.iter().flat_map(Havoc::done) {
        *mischief.entry(kind).or_default() += n;
    }
    let mut signals: BTreeMap<&str, usize> = BTreeMap::new();
    for (signal, n) in diaries.iter().flat_map(|diary| &diary.signals) {
        *signals.entry(signal).or_default() += n;
    }
    let count = |is: &dyn Fn(&Ending) -> bool| {
        let runs = story.runs.iter();
        runs.filter(|run| is(&run.ending)).count()
    };
    let commits = |is: &dyn Fn(&Said) -> bool| {
        let said = story
            .commits
            .iter()
            .filter_map(|commit| commit.said.as_ref());
        said.filter(|said| is(said)).count()
    };
    let renewals = commits(&|said| said.verb == Verb::Renewing);
    let reaped = commits(&|said| said.actor.starts_with("chaos/pool/w0 "));
    let by_operator = story.runs.iter().filter(|run| run.worker == "operator");
    format!(
        "{} commits ({renewals} renewals, {reaped} reaped), {} holds; {} runs: {} told, {} killed, {} failed, {} of them without knowing; {} left to the operator; {restarts} restarts; signals {signals:?}; requests {mischief:?}",
        story.commits.len(),
        story.holds.len(),
        story.runs.len(),
        count(&|ending| matches!(ending, Ending::Told(..))),
        count(&|ending| matches!(ending, Ending::Vanished)),
        count(&|ending| matches!(ending, Ending::Failed(_))),
        count(&|ending| matches!(ending, Ending::Failed(named) if !named.is_empty())),
        by_operator.count(),
    )
}

/// The whole story, for whoever has to find out what went wrong.
fn told(story: &Story, remote: &TestRemote) -> String {
    let mut text = String::new();
    text += &remote.git(&[
        "log",
        "--reverse",
        "--format=%H %s%n    %(trailers:separator=%x2C )",
        "main",
    ]);
    for run in &story.runs {
        text += &format!("\n{}: {:?} -> {:?}", run.actor, run.asked, run.ending);
    }
    text
}
