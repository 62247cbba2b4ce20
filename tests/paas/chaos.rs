//! Many jobs, faults by chance, and kills: each job ends once, and no app stays.
//!
//! `PAAS_JOBS`, `PAAS_KILLS` and `PAAS_SEED` make it larger, or another one.

use std::collections::BTreeMap;
use std::time::Duration;

use support::server::clever::Inner;
use support::wait_until;

use crate::machine::{RUNNER, SHORT, World};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// E2, S8: jobs on a bad day, with a dispatcher that is killed again and again.
#[test]
fn on_a_bad_day_with_many_kills_each_job_ends_once_and_no_app_stays() {
    let (n_jobs, n_kills) = (setting("PAAS_JOBS", 60), setting("PAAS_KILLS", 8));
    let seed = setting("PAAS_SEED", 7);
    let world = World::new();
    let inner = Inner::Runs(Duration::from_millis(100));
    world.clever.set_inner(inner);
    for (n, served) in [
        &world.gitlab.served,
        &world.clever.served,
        &world.clever.git,
    ]
    .into_iter()
    .enumerate()
    {
        served.fail_by_chance(100, seed.wrapping_mul(7919) + n as u64 * 104_729);
    }
    let jobs: Vec<u64> = (0..n_jobs).map(|_| world.gitlab.add_job(RUNNER)).collect();
    let given = || {
        let all = world.gitlab.jobs();
        all.iter().filter(|job| job.n_given > 0).count() as u64
    };
    // A kill each time that so many more were given.
    let mut log = String::new();
    for kill in 1..=n_kills {
        let dispatcher = world.start();
        let so_many = n_jobs * kill / (n_kills + 1);
        wait_until("more jobs were given", || given() >= so_many);
        // In the midst of something, another thing each time.
        let calls = world.clever.served.calls().len() + (kill as usize * 7919) % 5;
        wait_until("something happens", || {
            world.clever.served.calls().len() > calls || given() == n_jobs
        });
        log += &dispatcher.kill();
    }
    let dispatcher = world.start_with(&["--sweep-interval", "0.5"]);
    wait_until("all were given", || given() == n_jobs);
    for served in [
        &world.gitlab.served,
        &world.clever.served,
        &world.clever.git,
    ] {
        served.mend();
    }

    // A job that was given in an answer that got lost is nobody's: only the coordinator's own time-out ends it.
    let unheard = |log: &str| -> Vec<u64> {
        let is_heard = |job: &u64| {
            ["acquired job", "goes on with job"]
                .iter()
                .any(|said| log.contains(&format!("{said} {job} for")))
        };
        jobs.iter().copied().filter(|job| !is_heard(job)).collect()
    };
    wait_until("all that were heard of are over", || {
        let unheard = unheard(&(log.clone() + &dispatcher.log()));
        let all = world.gitlab.jobs();
        all.iter()
            .all(|job| job.is_over() || unheard.contains(&job.id))
    });
    world.until_no_app();
    log += &dispatcher.end();
    // What was being told when it was asked to end is told by the next start.
    let nothing = serde_json::json!({"launched": [], "to_decommission": [], "pending": []});
    wait_until("nothing is left to be done", || {
        let is_done = world.state() == nothing;
        if !is_done {
            log += &world.start().end();
        }
        is_done
    });

    let unheard = unheard(&log);
    let mut made: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    for app in world.clever.apps() {
        assert!(app.is_deleted);
        let (apps, pushes) = made.entry(app.job()).or_default();
        *apps += 1;
        *pushes += app.n_pushes;
    }
    let all = world.gitlab.jobs();
    for job in &all {
        assert_eq!(job.n_given, 1);
        let (apps, pushes) = made.get(&job.id).copied().unwrap_or_default();
        assert!(apps <= 1 && pushes <= 1, "{}: {apps} {pushes}", job.id);
        let ends = u32::from(!unheard.contains(&job.id));
        assert_eq!(job.n_ends, ends, "{}", job.id);
    }
    let of = |status: &str| all.iter().filter(|job| job.status == status).count();
    eprintln!(
        "{n_jobs} jobs, {n_kills} kills: {} succeeded, {} failed, {} were given in an answer that got lost; {} apps",
        of("success"),
        of("failed"),
        unheard.len(),
        world.clever.apps().len(),
    );
    assert!(of("success") as u64 > n_jobs / 2);
    let log = log.replace(SHORT, "short");
    assert!(!log.contains("MARKER"), "{log}");
}
