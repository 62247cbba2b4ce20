//! Many guards at once, on pipelines that start, end, are retried and come back: one at a time, in order, all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use rand::RngExt;
use support::server::gitlab::{SimulatedGitlab, Trouble};

use crate::machine::Machine;

fn up_to(millis: u64) -> Duration {
    Duration::from_millis(rand::rng().random_range(0..=millis))
}

/// What GitLab is like.
#[derive(Clone, Copy)]
struct World {
    lag: Duration,
    skew: Duration,
    /// From when on looks count: longer than both together.
    settle: Duration,
    /// Whether requests go wrong now and then.
    faults: bool,
}

const CALM: World = World {
    lag: Duration::ZERO,
    skew: Duration::ZERO,
    settle: Duration::from_millis(100),
    faults: false,
};

/// A twentieth of what a GitLab is allowed: answers lag by up to five seconds, and clocks differ by two.
const LAGGING: World = World {
    lag: Duration::from_millis(250),
    skew: Duration::from_millis(100),
    settle: Duration::from_millis(350),
    faults: false,
};

/// Who was inside, in this order: pipeline and job.
type Order = Arc<Mutex<Vec<(u64, u64)>>>;

/// Runs so many guards, each in a pipeline of its own; every third pipeline is one that comes back.
fn play(n: u64, world: World) {
    let gitlab = Arc::new(SimulatedGitlab::start());
    gitlab.set_lag(world.lag);
    gitlab.set_skew(world.skew);
    let inside = Arc::new(AtomicUsize::new(0));
    let order: Order = Order::default();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let n_guards = n;
    for n in 0..n {
        // Those that come back have been there before all others, and have smaller numbers.
        let id = if n % 3 == 2 { 100 - n } else { 100 + n };
        let status = if n % 3 == 2 { "failed" } else { "created" };
        gitlab.pipeline(id, "master", status);
        if n % 3 == 2 {
            gitlab.job(id, "deploy", "failed");
        }
    }
    let guards = (0..n).map(|n| {
        let id = if n % 3 == 2 { 100 - n } else { 100 + n };
        let (gitlab, inside) = (gitlab.clone(), inside.clone());
        let (order, starts) = (order.clone(), starts.clone());
        std::thread::spawn(move || {
            sleep(up_to(500));
            let job = {
                let mut starts = starts.lock().unwrap();
                let job = gitlab.start_job(id, "deploy");
                starts.push((id, job));
                job
            };
            sleep(up_to(100));
            let machine = Machine::of(&gitlab, id, job)
                .env("GUARD_SETTLE", format!("{}ms", world.settle.as_millis()))
                // The more there are, the less often each looks: the machine has other things to do.
                .env("GUARD_POLL", format!("{}ms", 20 * n_guards));
            if world.faults && n % 2 == 0 {
                gitlab.trouble(
                    &format!("pipelines/{id}/jobs"),
                    Trouble::Status(503, Some(("Retry-After", "0".to_owned()))),
                    1,
                );
            }
            let answer = machine.run(&["-w", "120"]);
            let others = inside.fetch_add(1, Ordering::SeqCst);
            order.lock().unwrap().push((id, job));
            gitlab.set_job(job, "success");
            sleep(up_to(150));
            inside.fetch_sub(1, Ordering::SeqCst);
            // Whatever is wrong, nobody is to wait for it.
            gitlab.set_pipeline(id, if n % 2 == 0 { "success" } else { "failed" });
            assert_eq!(answer.code, Some(0), "{}", answer.stdout);
            assert_eq!(others, 0, "{id} is inside with another: {}", answer.stdout);
        })
    });
    let guards: Vec<_> = guards.collect();
    for guard in guards {
        guard.join().unwrap();
    }
    let order = order.lock().unwrap();
    assert_eq!(order.len() as u64, n);
    if world.skew.is_zero() && !world.faults {
        // Jobs that start together may be told apart by a millisecond that nobody sees.
        assert_in_order(&order, &starts.lock().unwrap());
    }
}

/// Whoever started long before somebody else was inside before him; who was there alone may have been first.
#[track_caller]
fn assert_in_order(order: &[(u64, u64)], starts: &[(u64, u64)]) {
    let place = |who: &(u64, u64)| starts.iter().position(|start| start == who).unwrap();
    let places: Vec<usize> = order.iter().map(place).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!(places, sorted, "{order:?} {starts:?}");
}

#[test]
fn two_guards() {
    play(2, CALM);
}

#[test]
fn five_guards() {
    play(5, CALM);
}

#[test]
fn twenty_guards() {
    play(20, CALM);
}

#[test]
fn five_guards_on_a_gitlab_whose_answers_lag_and_whose_clocks_differ() {
    for _ in 0..3 {
        play(5, LAGGING);
    }
}

#[test]
fn twenty_guards_on_a_gitlab_whose_answers_lag_and_whose_clocks_differ() {
    play(20, LAGGING);
}

#[test]
fn five_guards_on_a_gitlab_that_fails_now_and_then() {
    play(
        5,
        World {
            faults: true,
            ..CALM
        },
    );
}

/// A guard that is killed leaves nothing behind: GitLab ends its job, and the next one goes on.
#[test]
fn a_guard_that_is_killed_keeps_nobody_waiting() {
    let gitlab = SimulatedGitlab::start();
    let jobs = [10, 11].map(|id| {
        gitlab.pipeline(id, "master", "running");
        (
            id,
            gitlab.job_since(id, "deploy", "running", Duration::from_secs(100 - id)),
        )
    });
    let [first, second] = jobs.map(|(id, job)| Machine::of(&gitlab, id, job));
    gitlab.pipeline(9, "master", "running");
    gitlab.job(9, "deploy", "success");

    let killed = first.start(&[]);
    let waiting = second.start(&[]);
    killed.wait_for("Pipeline #9");
    waiting.wait_for("2 other pipelines");
    killed.signal("KILL");
    killed.finish();
    gitlab.set_job(jobs[0].1, "failed");
    gitlab.set_pipeline(10, "failed");
    gitlab.set_pipeline(9, "success");

    assert_eq!(waiting.finish().code, Some(0));
}
