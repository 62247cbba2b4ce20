//! The pipelines of the pages and of `ci/`, read as they stand there and played as Concourse would: whatever happens to a
//! build around the grant, nothing stays claimed.

mod concourse;

use std::time::Duration;

use serde_json::Value;

use super::pipelines;
use concourse::{Concourse, Fate, Played, Status};
use support::server::atc::{Trouble, USER};

/// From the moment that the lock is free until some time after the build has it, fetches it, works with it and gives it
/// back.
const AROUND_THE_GRANT: Duration = Duration::from_millis(900);

/// The pipelines that take a lock and give it back.
fn pipelines() -> Vec<(&'static str, Value)> {
    let mut all: Vec<(&str, Value)> = pipelines::PAGES
        .iter()
        .map(|path| (*path, pipelines::of_page(path)))
        .collect();
    all.push(("ci/example.yml", pipelines::read(pipelines::EXAMPLE)));
    all
}

/// So many moments are tried; 200 by `POOL_ABORTS=200`.
fn moments() -> u32 {
    let set = std::env::var("POOL_ABORTS").ok();
    set.map_or(25, |n| n.parse().unwrap())
}

/// Plays the job `deploy` of each pipeline in turn, once for each moment.
fn at_each_moment(fate: impl Fn(Duration) -> Fate, judge: impl Fn(&Played)) {
    let worlds: Vec<(&str, Concourse)> = pipelines()
        .into_iter()
        .map(|(path, pipeline)| (path, Concourse::with(pipeline)))
        .collect();
    let n = moments();
    for moment in 0..n {
        let number = usize::try_from(moment).unwrap();
        let (path, world) = &worlds[number % worlds.len()];
        let after = AROUND_THE_GRANT * moment / n;

        let played = world.play("deploy", number + 1, fate(after));

        judge(&played);
        assert_eq!(
            world.claimed(),
            [""; 0],
            "{path}, {after:?} after the release: {:?}\n{:?}\n{}",
            played.status,
            world.remote.subjects(),
            played.log
        );
        let tickets = world.remote.git(&["for-each-ref", "refs/pool-queue"]);
        assert_eq!(tickets, "", "{path}, {after:?}: {}", played.log);
    }
    for (_, world) in &worlds {
        world.remote.fsck();
    }
}

#[test]
fn a_build_that_is_left_alone_holds_its_lock_while_it_works_and_gives_it_back() {
    for (path, pipeline) in pipelines() {
        let world = Concourse::with(pipeline);

        let played = world.play("deploy", 1, Fate::Spared);

        assert_eq!(played.status, Status::Succeeded, "{path}: {}", played.log);
        assert_eq!(world.claimed(), [""; 0], "{path}");
        let said: Vec<String> = world.remote.subjects();
        let moves = said
            .iter()
            .filter(|subject| subject.contains("claiming: env-1"));
        assert_eq!(moves.count(), 2, "{path}: {said:?}");
    }
}

#[test]
fn an_abort_at_any_moment_around_the_grant_leaves_nothing_claimed() {
    at_each_moment(Fate::Aborted, |played| {
        // A build that had ended by then was not aborted.
        let possible = [Status::Aborted, Status::Succeeded];
        assert!(possible.contains(&played.status), "{}", played.log);
    });
}

#[test]
fn a_machine_that_is_lost_at_any_moment_around_the_grant_leaves_nothing_claimed() {
    at_each_moment(Fate::MachineLost, |played| {
        // A step with a name goes on where it was. One without waits for its own lock until somebody aborts the build.
        let possible = [Status::Succeeded, Status::Aborted, Status::Failed];
        assert!(possible.contains(&played.status), "{}", played.log);
    });
}

#[test]
fn a_web_node_that_is_away_at_the_grant_leaves_nothing_claimed() {
    for (path, pipeline) in pipelines() {
        let world = Concourse::with(pipeline);

        let played = world.play("deploy", 1, Fate::Unheard);

        assert_eq!(played.status, Status::Errored, "{path}: {}", played.log);
        assert_eq!(world.claimed(), [""; 0], "{path}: {}", played.log);
        // The build is run again, as another one.
        let again = world.play("deploy", 2, Fate::Spared);
        assert_eq!(again.status, Status::Succeeded, "{path}: {}", again.log);
        assert_eq!(world.claimed(), [""; 0], "{path}");
    }
}

#[test]
fn what_a_build_held_whose_web_node_never_came_back_is_freed_by_the_example_s_other_job() {
    let mut example = pipelines::read(pipelines::EXAMPLE);
    let world = Concourse::with(example.clone());
    let reap = |example: &mut Value, url: String| {
        let jobs = example["jobs"].as_array_mut().unwrap();
        let job = jobs
            .iter_mut()
            .find(|job| job["name"] == "free-what-is-left-behind");
        let steps = job.unwrap()["plan"].as_array_mut().unwrap();
        let put = steps.iter_mut().find(|step| step.get("put").is_some());
        let server = &mut put.unwrap()["params"]["reap"]["concourse"];
        server["url"] = url.into();
        server["username"] = USER.0.into();
        server["password"] = USER.1.into();
    };
    let played = world.play("deploy", 1, Fate::Abandoned);
    assert_eq!(played.status, Status::Errored);
    assert_eq!(world.claimed(), ["env-1"]);

    reap(&mut example, world.atc.url());
    let world = world.with_pipeline(example);
    for trouble in [Trouble::Close, Trouble::Status(503)] {
        world.atc.trouble("/", trouble, usize::MAX);
        let reaped = world.play("free-what-is-left-behind", 1, Fate::Spared);
        assert_eq!(reaped.status, Status::Failed, "{}", reaped.log);
        assert!(
            reaped.log.contains("nothing could be learnt"),
            "{}",
            reaped.log
        );
        assert_eq!(world.claimed(), ["env-1"]);
        world.atc.recover();
    }
    let reaped = world.play("free-what-is-left-behind", 2, Fate::Spared);

    assert_eq!(reaped.status, Status::Succeeded, "{}", reaped.log);
    assert_eq!(world.claimed(), [""; 0], "{}", reaped.log);
}
