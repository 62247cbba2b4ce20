//! What GitLab says of the job that made a claim, and what `pool reap` makes of it.

use serde_json::json;
use support::server::gitlab::{JobTokens, PRIVATE, SimulatedGitlab, Trouble};
use support::server::{free_port, gitlab};
use support::{Answer, Pool, Step, TestRemote};

/// A lock, and a GitLab where the job `deploy` of pipeline 99 runs.
struct Scene {
    remote: TestRemote,
    gitlab: SimulatedGitlab,
    job: u64,
}

impl Scene {
    fn new() -> Scene {
        let gitlab = SimulatedGitlab::start();
        gitlab.pipeline(99, "master", "running");
        let job = gitlab.job(99, "deploy", "running");
        Scene {
            remote: TestRemote::with_pool("aws", &["env-1"]),
            gitlab,
            job,
        }
    }

    /// A shell in that job.
    fn in_job(&self) -> Pool {
        Pool::on(&self.remote, "aws")
            .called("")
            .env("CI_PROJECT_PATH", gitlab::PROJECT.1)
            .env("CI_PROJECT_ID", gitlab::PROJECT.0.to_string())
            .env("CI_PIPELINE_ID", "99")
            .env("CI_JOB_ID", self.job.to_string())
            .env("CI_JOB_NAME", "deploy")
            .env("CI_JOB_URL", self.gitlab.page(self.job))
    }

    /// The lock, claimed in that job.
    fn claimed() -> Scene {
        let scene = Scene::new();
        scene.in_job().run(&["claim", "env-1"]).text();
        scene
    }

    /// A shell of somebody who reaps.
    fn reaper(&self) -> Pool {
        Pool::on(&self.remote, "aws").env("POOL_GITLAB_TOKEN", PRIVATE)
    }

    /// Reaps, and gives what was said; no secret is in it.
    #[track_caller]
    fn reap_as(&self, reaper: &Pool, url: &str) -> Answer {
        let answer = reaper.run(&["reap", "--gitlab-url", url]);
        // It fails where it could learn of no job at all.
        let is_in_vain = answer
            .stderr
            .contains("error: nothing could be learnt of any build");
        let code = if is_in_vain { 2 } else { 0 };
        assert_eq!(answer.code, Some(code), "{}", answer.stderr);
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
        answer
    }

    /// Asserts that a reaping keeps the lock, or frees it, for this reason.
    #[track_caller]
    fn assert_reaped(&self, is_freed: bool, why: &str) {
        let answer = self.reap_as(&self.reaper(), &self.gitlab.home());
        self.assert_said(&answer, is_freed, why);
    }

    #[track_caller]
    fn assert_said(&self, answer: &Answer, is_freed: bool, why: &str) {
        let word = if is_freed {
            "freed `env-1`"
        } else {
            "kept `env-1`"
        };
        assert!(answer.stderr.contains(word), "{}", answer.stderr);
        assert!(answer.stderr.contains(why), "{why}: {}", answer.stderr);
        assert_eq!(self.remote.list("aws/claimed").is_empty(), is_freed);
    }
}

#[test]
fn a_claim_carries_the_page_the_project_the_pipeline_and_the_job() {
    let scene = Scene::claimed();

    let message = scene.remote.git(&["log", "-1", "--format=%B", "main"]);

    let job = scene.job;
    let page = scene.gitlab.page(job);
    for line in [
        format!("GitLab ops/web deploy #{job} claiming: env-1"),
        format!("Build URL: {page}"),
        format!("Pool-Build: gitlab:42/99/{job}"),
    ] {
        assert!(
            message.lines().any(|found| found == line),
            "{line}\n{message}"
        );
    }
}

#[test]
fn a_job_is_alive_or_has_ended() {
    for status in ["running", "pending", "canceling", "waiting_for_resource"] {
        let scene = Scene::claimed();
        scene.gitlab.set_job(scene.job, status);
        let why = format!("`GitLab ops/web job #{}` is alive ({status})", scene.job);
        scene.assert_reaped(false, &why);
    }
    for status in ["success", "failed", "canceled", "skipped"] {
        let scene = Scene::claimed();
        scene.gitlab.set_job(scene.job, status);
        let why = format!("`GitLab ops/web job #{}` has ended ({status})", scene.job);
        scene.assert_reaped(true, &why);
        // The evidence is in the history.
        let message = scene.remote.git(&["log", "-1", "--format=%B", "main"]);
        assert!(message.contains(&why), "{message}");
    }
    let scene = Scene::claimed();
    scene.gitlab.set_job(scene.job, "something new");
    scene.assert_reaped(false, "it is of a status that is not known here");
}

#[test]
fn a_job_that_is_alive_keeps_its_lock_whatever_its_lease_is() {
    let scene = Scene::new();
    scene
        .in_job()
        .run(&["claim", "env-1", "--lease", "1s"])
        .text();
    support::wait_until("the lease is over", || {
        let answer = scene.reaper().run(&["reap", "--dry-run"]);
        answer.stderr.contains("would free `env-1`")
    });

    scene.assert_reaped(false, "is alive (running)");
    scene.gitlab.delete(99);
    scene.assert_reaped(true, "is gone: GitLab has it no more");
}

#[test]
fn a_job_that_the_token_may_not_see_is_not_gone() {
    let scene = Scene::claimed();
    scene.gitlab.delete(99);
    // The other jobs of the project are not shown either.
    scene
        .gitlab
        .trouble("/projects/", Trouble::Status(404, None), 100);
    scene.assert_reaped(false, "may be alive, which GitLab cannot tell now");
    scene.gitlab.recover();
    scene.assert_reaped(true, "is gone");
}

#[test]
fn a_gitlab_that_is_away_slow_or_refuses_keeps_the_lock() {
    let scene = Scene::claimed();
    scene.gitlab.set_job(scene.job, "failed");
    for (trouble, why) in [
        (
            Trouble::Status(401, None),
            "refuses the private token (status 401)",
        ),
        (Trouble::Status(403, None), "status 403"),
        (Trouble::Status(500, None), "answers with status 500"),
        (Trouble::Status(429, None), "answers with status 429"),
        (
            Trouble::Status(
                302,
                Some(("Location", "http://MARKER@localhost:1/".to_owned())),
            ),
            "where the token is not sent",
        ),
        (
            Trouble::Text("{}".to_owned()),
            "other than JSON of the kind",
        ),
        (
            Trouble::Text("<html>".to_owned()),
            "other than JSON of the kind",
        ),
        (Trouble::Close, "cannot talk to"),
        (Trouble::Silence, "no answer from"),
        (Trouble::Flood, "sends more than"),
    ] {
        scene.gitlab.recover();
        scene.gitlab.trouble("/jobs/", trouble, 100);
        let reaper = scene.reaper().env("POOL_SILENCE_TIMEOUT", "300ms");
        let answer = scene.reap_as(&reaper, &scene.gitlab.home());
        scene.assert_said(&answer, false, why);
    }
    let away = format!("http://127.0.0.1:{}", free_port());
    let answer = scene.reap_as(&scene.reaper(), &away);
    scene.assert_said(&answer, false, "may be alive, which GitLab cannot tell now");
    // One that fails once is asked again.
    scene.gitlab.recover();
    scene
        .gitlab
        .trouble("/jobs/", Trouble::Status(502, None), 1);
    scene.assert_reaped(true, "has ended (failed)");
}

#[test]
fn a_job_of_another_gitlab_is_not_asked_about_here() {
    let scene = Scene::claimed();
    let other = SimulatedGitlab::start();
    other.pipeline(99, "master", "running");

    // The number is not there, or is that of another job.
    let answer = scene.reap_as(&scene.reaper(), &other.home());
    scene.assert_said(&answer, false, "it is a job of another GitLab");
    while other.job(99, "deploy", "failed") < scene.job {}
    let answer = scene.reap_as(&scene.reaper(), &other.home());
    scene.assert_said(&answer, false, "is another");
    // Then time decides.
    let answer = scene.reaper().run(&[
        "reap",
        "--gitlab-url",
        &other.home(),
        "--stale-after",
        "1ms",
    ]);
    scene.assert_said(&answer, true, "which is more than 1ms");
}

/// Whoever writes a commit can write any numbers into it, and frees nobody else's lock by that, nor keeps his own.
#[test]
fn numbers_that_do_not_fit_name_no_job() {
    let scene = Scene::new();
    let ended = scene.gitlab.job(99, "test", "failed");
    let page = scene.gitlab.page(scene.job);
    for (job, project, pipeline, page, why) in [
        (
            ended,
            42,
            99,
            page.clone(),
            "names one job of GitLab and links to another",
        ),
        (scene.job, 42, 98, page.clone(), "is another"),
        (scene.job, 7, 99, page.clone(), "may be alive"),
        (
            ended,
            42,
            99,
            format!("https://gitlab.example/ops/web/-/jobs/{ended}"),
            "is another",
        ),
    ] {
        let claim = scene
            .in_job()
            .env("CI_JOB_ID", job.to_string())
            .env("CI_PROJECT_ID", project.to_string())
            .env("CI_PIPELINE_ID", pipeline.to_string())
            .env("CI_JOB_URL", page);
        claim.run(&["claim", "env-1"]).text();
        scene.assert_reaped(false, why);
        claim.run(&["release", "env-1"]).text();
    }
}

/// Claims of before there were numbers in them.
#[test]
fn a_link_alone_is_enough_where_it_leads_to_this_gitlab() {
    let scene = Scene::new();
    for root in ["", "/git"] {
        scene.gitlab.set_root(root);
        scene.gitlab.set_job(scene.job, "running");
        let job = scene.in_job().env("CI_PROJECT_ID", "");
        job.run(&["claim", "env-1"]).text();
        scene.assert_reaped(false, "is alive");
        scene.gitlab.set_job(scene.job, "canceled");
        let answer = scene.reap_as(&scene.reaper(), &scene.gitlab.api());
        scene.assert_said(&answer, true, "has ended (canceled)");
    }
}

#[test]
fn a_job_token_is_enough_on_a_server_that_lets_it_read_jobs() {
    let scene = Scene::claimed();
    let own = scene.gitlab.job(99, "reap", "running");
    scene.gitlab.set_job(scene.job, "failed");
    let reaper =
        Pool::on(&scene.remote, "aws").env("POOL_GITLAB_JOB_TOKEN", scene.gitlab.job_token(own));
    scene.gitlab.set_job_tokens(JobTokens::OwnJob);
    let answer = scene.reap_as(&reaper, &scene.gitlab.home());
    scene.assert_said(&answer, false, "refuses the job token (status 403)");
    scene.gitlab.set_job_tokens(JobTokens::ProjectJobs);
    let answer = scene.reap_as(&reaper, &scene.gitlab.home());
    scene.assert_said(&answer, true, "has ended (failed)");
    let asked = scene.gitlab.asked().pop().unwrap();
    assert!(asked.headers.contains_key("job-token"));
}

#[test]
fn without_a_gitlab_to_ask_time_decides() {
    let scene = Scene::claimed();

    let answer = scene.reaper().run(&["reap"]);
    scene.assert_said(&answer, false, "there is no GitLab to ask");
    let answer = scene.reaper().run(&["reap", "--stale-after", "1ms"]);
    scene.assert_said(&answer, true, "there is no GitLab to ask");
}

#[test]
fn a_put_reaps_by_gitlab_too_and_wrong_settings_end_it_at_once() {
    let scene = Scene::claimed();
    scene.gitlab.set_job(scene.job, "failed");
    let step = Step::on(&scene.remote, "aws").in_build();
    let with = |gitlab| step.put(json!({"reap": {"gitlab": gitlab}}));

    let answer = with(json!({"url": scene.gitlab.home()}));
    assert_eq!(answer.code, Some(1));
    assert!(
        answer
            .stderr
            .contains("missing params.reap.gitlab.token, or job_token"),
        "{}",
        answer.stderr
    );
    let answer = with(json!({"url": scene.gitlab.home(), "token": PRIVATE}));
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    scene.assert_said(&answer, true, "has ended (failed)");
    for (name, expected) in [
        ("POOL_GITLAB_JOB_TOKEN", "one is enough"),
        ("POOL_GITLAB_TOKEN", "POOL_GITLAB_TOKEN is no token"),
    ] {
        let reaper = scene.reaper().env(name, "MARKER MARKER");
        let answer = reaper.run(&["reap", "--gitlab-url", &scene.gitlab.home()]);
        assert_eq!(answer.code, Some(2));
        assert!(
            answer.stderr.contains(expected) && !answer.stderr.contains("MARKER"),
            "{}",
            answer.stderr
        );
    }
}
