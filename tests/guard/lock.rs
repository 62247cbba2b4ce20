//! Turns by a lock in a Git repository: GitLab then only says whether holders are alive.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::TestRemote;
use support::server::gitlab::{JobTokens, SimulatedGitlab, Trouble};
use support::wait_until;

use crate::machine::Machine;

const LOCK: &str = "ops%2Fweb+deploy";

/// A GitLab and a lock repository.
struct Scene {
    gitlab: SimulatedGitlab,
    remote: TestRemote,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            gitlab: SimulatedGitlab::start(),
            remote: TestRemote::empty("main"),
        }
    }

    /// The job `deploy` of a new pipeline, which has nothing but its own token.
    fn job(&self, pipeline: u64) -> (u64, Machine) {
        self.gitlab.pipeline(pipeline, "master", "running");
        let job = self.gitlab.start_job(pipeline, "deploy");
        let machine = Machine::of(&self.gitlab, pipeline, job)
            .without("PRIVATE_TOKEN")
            .env("CI_JOB_TOKEN", self.gitlab.job_token(job))
            .env("CI_PROJECT_PATH", "ops/web")
            .env("CI_JOB_URL", self.gitlab.page(job))
            .env("CI_SERVER_URL", self.gitlab.home())
            .env("GUARD_LOCK_URI", self.remote.uri())
            .env("POOL_RETRY_DELAY", "50ms");
        (job, machine)
    }

    fn held(&self) -> Vec<String> {
        self.remote.list("guards/claimed")
    }
}

#[test]
fn the_lock_is_made_claimed_for_the_command_and_given_back() {
    let scene = Scene::new();
    let (job, machine) = scene.job(10);

    let answer = machine.expect(&["--", "sh", "-c", "echo $POOL_LOCK_NAME; exit 9"], 9);

    assert_eq!(answer.stdout, format!("{LOCK}\n"));
    let subjects = scene.remote.subjects();
    assert_eq!(
        subjects[..2],
        [
            format!("GitLab ops/web deploy #{job} unclaiming: {LOCK}"),
            format!("GitLab ops/web deploy #{job} claiming: {LOCK}")
        ]
    );
    assert_eq!(scene.held(), Vec::<String>::new());
    // No list of pipelines was asked for.
    assert!(
        !scene
            .gitlab
            .targets()
            .iter()
            .any(|target| target.contains("/pipelines"))
    );
}

#[test]
fn without_a_command_the_job_holds_the_lock_until_it_is_over_and_the_next_guard_frees_it() {
    let scene = Scene::new();
    let (first, one) = scene.job(10);
    let (_, two) = scene.job(11);

    let answer = one.expect(&[], 0);
    assert_eq!(answer.stdout, "");
    assert_eq!(scene.held(), [LOCK]);
    let mut waiting = two.start(&[]);
    wait_until("the holder has been asked about", || {
        let about = format!("/jobs/{first}");
        scene
            .gitlab
            .targets()
            .iter()
            .filter(|target| target.ends_with(&about))
            .count()
            > 2
    });
    assert!(!waiting.has_ended());
    scene.gitlab.set_job(first, "failed");

    assert_eq!(waiting.finish().code, Some(0));
    let subjects = scene.remote.subjects();
    assert!(
        subjects[0].contains("GitLab ops/web deploy #")
            && subjects[0].ends_with(&format!(" claiming: {LOCK}"))
    );
    assert!(
        scene
            .remote
            .message("main~1")
            .contains("has ended (failed)"),
        "{}",
        scene.remote.message("main~1")
    );
}

#[test]
fn whoever_does_not_want_to_wait_or_no_longer_leaves_with_its_code() {
    let scene = Scene::new();
    let (_, one) = scene.job(10);
    let (_, two) = scene.job(11);
    one.expect(&[], 0);

    two.expect(&["-x"], 7);
    two.expect(&["-w", "1"], 11);
    two.expect(&["-x", "--", "echo"], 7);
    // Another guard is another lock.
    two.expect(&["-x", "--lock-name", "other", "--", "true"], 0);
    two.clone()
        .env("CI_PROJECT_PATH", "ops/other")
        .expect(&["-x", "--", "true"], 0);
    let waiting = two.start(&[]);
    wait_until("it waits in line", || {
        scene.remote.git(&["for-each-ref"]).contains("pool-queue")
    });
    waiting.signal("TERM");
    assert_eq!(waiting.finish().code, Some(143));
    assert_eq!(scene.held(), [LOCK]);
}

#[test]
fn a_gitlab_that_cannot_say_keeps_the_holder() {
    let scene = Scene::new();
    let (first, one) = scene.job(10);
    let (_, two) = scene.job(11);
    one.expect(&[], 0);
    scene.gitlab.set_job(first, "failed");
    scene.gitlab.set_job_tokens(JobTokens::OwnJob);
    two.expect(&["-w", "1"], 11);
    scene.gitlab.set_job_tokens(JobTokens::AllJobs);
    scene
        .gitlab
        .trouble("/jobs/", Trouble::Status(500, None), 10_000);
    two.expect(&["-w", "1"], 11);
    // Nobody to ask: the lease decides, and it lasts.
    let answer = two.without("CI_JOB_TOKEN").expect(&["-w", "1"], 11);
    assert!(
        answer.stdout.contains("GitLab cannot be asked"),
        "{}",
        answer.stdout
    );
    assert_eq!(scene.held(), [LOCK]);
}

#[test]
fn what_is_missing_or_refused_is_told() {
    let scene = Scene::new();
    let (_, machine) = scene.job(10);

    let answer = machine.clone().without("CI_JOB_NAME").expect(&[], 2);
    assert!(answer.stderr.contains("--lock-name"), "{}", answer.stderr);
    machine
        .clone()
        .env("GUARD_LOCK_URI", "/nonexistent")
        .expect(&[], 3);
    machine.clone().env("GUARD_LOCK_URI", "git@").run(&[]);
    let away = format!("http://127.0.0.1:{}/x.git", support::server::free_port());
    let machine = machine
        .env("GUARD_LOCK_URI", away)
        .env("POOL_FAULT_TIMEOUT", "1s");
    machine.expect(&[], 4);
}

/// Eight at once: one at a time, without any look at pipelines.
#[test]
fn many_jobs_hold_the_lock_one_at_a_time() {
    let scene = Scene::new();
    let inside = AtomicUsize::new(0);
    let machines: Vec<_> = (10..18).map(|pipeline| scene.job(pipeline)).collect();

    std::thread::scope(|scope| {
        for (job, machine) in machines {
            let (scene, inside) = (&scene, &inside);
            scope.spawn(move || {
                let answer = machine.run(&["-w", "300"]);
                let others = inside.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(30));
                inside.fetch_sub(1, Ordering::SeqCst);
                // Half of them are killed, with their guards long gone.
                scene
                    .gitlab
                    .set_job(job, if job % 2 == 0 { "success" } else { "failed" });
                assert_eq!((answer.code, others), (Some(0), 0), "{}", answer.stderr);
            });
        }
    });

    let subjects = scene.remote.subjects();
    let claims = subjects
        .iter()
        .filter(|subject| subject.contains(" claiming: "));
    assert_eq!(claims.count(), 8);
}
