//! A put that gives back the claims which nobody will give back any more, against a web node of Concourse.

use serde_json::{Value, json};

use support::remote::Hand;
use support::server::atc::{Job, SimulatedAtc, Trouble, USER};
use support::server::free_port;
use support::server::gate::{Gate, Place, Request};
use support::server::http::HttpServer;
use support::{Answer, Step, TestRemote, wait_until};

/// When claims are made, unless a test says otherwise: after the builds of the simulation began, and long ago.
const MADE: u64 = 1_750_000_000;

const OVER: &str = "2025-07-01T00:00:00Z";
const LASTING: &str = "2999-01-01T00:00:00Z";

/// A pool, and the Concourse whose builds claim its locks.
struct Site {
    remote: TestRemote,
    atc: SimulatedAtc,
}

impl Site {
    fn new(locks: &[&str]) -> Site {
        Site {
            remote: TestRemote::with_pool("aws", locks),
            atc: SimulatedAtc::start(),
        }
    }

    /// Claims a lock as somebody who says this, and gives the claim.
    fn claim(&self, lock: &str, message: &str) -> String {
        let path = |folder: &str| format!("aws/{folder}/{lock}");
        let moved = [Hand::Move(&path("unclaimed"), &path("claimed"))];
        self.remote.commit_at(MADE, message, &moved);
        self.remote.head()
    }

    /// What a build of `ops/web/deploy` says that claims a lock by the tool in use today.
    fn message(&self, lock: &str, number: &str) -> String {
        format!(
            "ops/web/deploy build {number} claiming: {lock}\n\n\
             Build URL: {}/teams/ops/pipelines/web/jobs/deploy/builds/{number}",
            self.atc.url()
        )
    }

    /// Claims a lock as a build of which this has become.
    fn claim_of_build(&self, lock: &str, number: &str, status: &str) -> String {
        self.atc.build(&deploy(), number, status);
        self.claim(lock, &self.message(lock, number))
    }

    fn concourse(&self) -> Value {
        json!({"url": self.atc.url(), "username": USER.0, "password": USER.1})
    }

    fn step(&self) -> Step {
        Step::on(&self.remote, "aws")
    }

    /// The params of a put that reaps with the Concourse and these settings.
    fn params(&self, more: Value) -> Value {
        let mut reap = json!({"concourse": self.concourse()});
        for (key, value) in more.as_object().unwrap() {
            reap[key] = value.clone();
        }
        json!({ "reap": reap })
    }

    fn reap(&self, more: Value) -> Answer {
        self.step().put(self.params(more))
    }

    fn claimed(&self) -> Vec<String> {
        self.remote.list("aws/claimed")
    }
}

fn deploy() -> Job<'static> {
    Job::new("ops/web/deploy")
}

/// A value of the answer's metadata; none that is empty is there.
#[track_caller]
fn told(answer: &Answer, name: &str) -> String {
    let told = answer.told(name).unwrap_or_default();
    assert!(answer.told(name).is_none_or(|told| !told.is_empty()));
    told
}

/// Asserts that one line of the log has all of these words.
#[track_caller]
fn assert_line(answer: &Answer, words: &[&str]) {
    let mut lines = answer.stderr.lines();
    assert!(
        lines.any(|line| words.iter().all(|word| line.contains(word))),
        "no line with {words:?}: {}",
        answer.stderr
    );
}

#[test]
fn a_lock_is_never_taken_from_a_living_build() {
    for status in ["pending", "started"] {
        let site = Site::new(&["a"]);
        site.atc.build(&deploy(), "12", status);
        let said = format!("{}\n\nPool-Lease: {OVER}", site.message("a", "12"));
        let claim = site.claim("a", &said);

        let answer = site.reap(json!({"stale_after": "1h"}));

        assert_eq!(
            (told(&answer, "freed"), told(&answer, "kept")),
            ("".into(), "1".into())
        );
        let alive = format!("`ops/web/deploy build 12` is alive ({status})");
        assert_line(
            &answer,
            &[
                "kept `a`, claimed 2025-06-15T15:06:40Z by ops/web/deploy build 12: ",
                &alive,
            ],
        );
        assert_eq!(site.remote.head(), claim);
    }
}

#[test]
fn the_lock_of_a_build_that_has_ended_is_freed_and_the_commit_says_why() {
    for status in ["succeeded", "failed", "errored", "aborted"] {
        let site = Site::new(&["a", "b"]);
        site.claim_of_build("b", "11", "started");
        let said = format!("{}\n\nPool-Lease: {LASTING}", site.message("a", "12"));
        site.atc.build(&deploy(), "12", status);
        let claim = site.claim("a", &said);

        let answer = site.reap(json!({}));

        assert_eq!(site.claimed(), ["b"]);
        assert_eq!(answer.version(), site.remote.head());
        assert_eq!(
            (told(&answer, "freed"), told(&answer, "kept")),
            ("a".into(), "1".into())
        );
        assert_eq!(
            site.remote.said(&answer.version()),
            format!(
                "unclaiming: a\n\nPool-Request: ID\nPool-Reaped: {claim}\n\
                 Pool-Reason: `ops/web/deploy build 12` has ended ({status})"
            )
        );
        let by = site.remote.head();
        assert_line(
            &answer,
            &[
                &format!("freed `a` with the commit {by}, claimed "),
                "has ended",
            ],
        );
        assert_eq!(site.remote.content("aws/unclaimed/a"), b"metadata of a");
        site.remote.fsck();
    }
}

#[test]
fn each_lock_is_freed_by_a_commit_of_its_own_that_names_the_reaper() {
    let site = Site::new(&["a", "b", "c"]);
    for (lock, number) in [("a", "1"), ("b", "2"), ("c", "3")] {
        site.claim_of_build(lock, number, "failed");
    }

    let answer = site.step().in_build().put(site.params(json!({})));

    let build = "ops/web/deploy build 12";
    assert_eq!(
        site.remote.subjects()[..3],
        ["c", "b", "a"].map(|lock| format!("{build} unclaiming: {lock}"))
    );
    assert_eq!(told(&answer, "freed"), "a, b, c");
    assert_eq!(site.atc.targets("token").len(), 1);
}

#[test]
fn without_anybody_to_ask_the_lease_decides_and_then_the_age() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    let site = Site::new(&["by-hand", "lasting", "new", "old", "over"]);
    let leased = |lock: &str, end: &str| format!("claiming: {lock}\n\nPool-Lease: {end}");
    site.claim("over", &leased("over", OVER));
    site.claim("lasting", &leased("lasting", LASTING));
    site.claim("old", "claiming: old");
    site.claim("by-hand", "moved a file, sorry\n\nPool-Lease: never");
    let new = [Hand::Move("aws/unclaimed/new", "aws/claimed/new")];
    site.remote.commit_at(now, "claiming: new", &new);

    // Without an age set there is only the lease.
    let first = site.step().put(json!({"reap": {}}));
    let second = site.step().put(json!({"reap": {"stale_after": "24h"}}));

    assert_eq!(told(&first, "freed"), "over");
    assert_line(
        &first,
        &["freed `over`", "its lease ended at 2025-07-01T00:00:00Z"],
    );
    assert_line(
        &first,
        &[
            "kept `lasting`",
            "its lease lasts until 2999-01-01T00:00:00Z",
        ],
    );
    assert_line(&first, &["kept `old`", "no `stale_after` is set"]);
    assert_eq!(told(&second, "freed"), "by-hand, old");
    assert_line(
        &second,
        &[
            "freed `by-hand`",
            "by moved a file, sorry",
            "which is more than 24h",
        ],
    );
    assert_line(&second, &["kept `new`", "not more than 24h"]);
    assert_eq!(site.claimed(), ["lasting", "new"]);
}

#[test]
fn a_renewal_makes_the_lease_last() {
    let site = Site::new(&["a"]);
    let claim = site.claim("a", &format!("claiming: a\n\nPool-Lease: {OVER}"));
    let renewal = format!("renewing: a\n\nPool-Claim: {claim}\nPool-Lease: {LASTING}");
    site.remote.commit(&renewal, &[]);

    let answer = site.reap(json!({"stale_after": "1h"}));

    assert_line(
        &answer,
        &["kept `a`", "its lease lasts until 2999-01-01T00:00:00Z"],
    );
    assert_eq!(site.claimed(), ["a"]);
}

#[test]
fn what_the_tool_in_use_today_says_of_a_build_is_enough_to_ask() {
    let site = Site::new(&["linked", "only-link", "only-names", "alive"]);
    for (lock, number) in [("linked", "1"), ("only-link", "2"), ("only-names", "3")] {
        site.atc.build(&deploy(), number, "succeeded");
        let message = site.message(lock, number);
        let (subject, link) = message.split_once("\n\n").unwrap();
        match lock {
            "linked" => site.claim(lock, &message),
            "only-link" => site.claim(lock, &format!("claiming: {lock}\n\n{link}")),
            _ => site.claim(lock, subject),
        };
    }
    site.atc.build(&deploy(), "4", "started");
    site.claim("alive", "ops/web/deploy build 4 claiming: alive");

    let answer = site.reap(json!({}));

    assert_eq!(told(&answer, "freed"), "linked, only-link, only-names");
    assert_eq!(site.claimed(), ["alive"]);
}

#[test]
fn a_claim_of_ours_is_known_by_its_build_s_id_whatever_its_pipeline_is_called_now() {
    let site = Site::new(&["a", "b"]);
    let claim = |lock: &str, number: &str, status: &str| {
        let id = site.atc.build(&deploy(), number, status).to_string();
        let step = site.step().in_build();
        let step = step.env("BUILD_ID", id).env("BUILD_NAME", number);
        let step = step.env("ATC_EXTERNAL_URL", site.atc.url());
        step.put(json!({"claim": lock})).version();
    };
    claim("a", "1", "started");
    claim("b", "2", "failed");
    site.atc.rename(&deploy(), "website");

    let answer = site.reap(json!({"stale_after": "1ns"}));

    assert_eq!(told(&answer, "freed"), "b");
    assert_line(&answer, &["kept `a`", "is alive (started)"]);
    assert_eq!(site.atc.targets("/api/v1/teams"), [""; 0]);
}

#[test]
fn the_lock_of_a_destroyed_pipeline_is_freed_and_that_of_a_renamed_one_kept() {
    let site = Site::new(&["a", "b"]);
    let old = Job::new("ops/old/deploy");
    site.atc.build(&old, "7", "started");
    let gone = site
        .message("a", "7")
        .replace("/web/", "/old/")
        .replace("pipelines/web", "pipelines/old");
    site.claim("a", &gone);
    site.claim_of_build("b", "12", "started");
    site.atc.destroy(&old);
    site.atc.rename(&deploy(), "website");

    let answer = site.reap(json!({"stale_after": "1h"}));

    assert_line(&answer, &["freed `a`", "`ops/old/deploy build 7` is gone"]);
    assert_line(
        &answer,
        &[
            "kept `b`",
            "may be alive under another name: `ops/website/deploy build 12`",
        ],
    );
    assert_eq!(site.claimed(), ["b"]);
}

#[test]
fn a_concourse_that_cannot_be_heard_keeps_every_lock_that_it_ought_to_know_of() {
    let troubles: [(&str, Option<Trouble>); 7] = [
        ("status 500", Some(Trouble::Status(500))),
        ("status 503", Some(Trouble::Status(503))),
        ("status 403", Some(Trouble::Status(403))),
        ("status 401", Some(Trouble::Status(401))),
        ("status 404", Some(Trouble::Status(404))),
        ("no answer within", Some(Trouble::Silence)),
        ("cannot talk to", None),
    ];
    for (words, trouble) in troubles {
        let site = Site::new(&["a", "b", "c"]);
        site.claim_of_build("a", "1", "failed");
        site.claim_of_build("b", "2", "started");
        site.claim("c", &format!("claiming: c\n\nPool-Lease: {OVER}"));
        let step = site.step().set("silence_timeout", "200ms");
        let mut params = site.params(json!({"stale_after": "1h"}));
        match trouble {
            Some(trouble) => site.atc.trouble("/", trouble, usize::MAX),
            None => {
                let nobody = format!("http://127.0.0.1:{}", free_port());
                params["reap"]["concourse"]["url"] = json!(nobody);
                site.atc.set_external_url(&nobody);
            }
        }

        let answer = step.put(params);

        // Nobody is to be asked about the third. Of the others nothing is known, which must not go unnoticed for ever.
        answer.assert_failed(&[
            "nothing could be learnt of any build that holds a lock, so that 2 claims were kept, the oldest since 2025-06-15T15:06:40Z: ",
            words,
        ]);
        for lock in ["a", "b"] {
            assert_line(
                &answer,
                &[
                    &format!("kept `{lock}`"),
                    "may be alive, which Concourse cannot tell now",
                    words,
                ],
            );
        }
        assert_eq!(site.claimed(), ["a", "b"], "{words}");
    }
}

#[test]
fn a_reaping_that_learnt_of_one_build_at_least_is_none_in_vain() {
    let site = Site::new(&["a", "b"]);
    site.claim_of_build("a", "1", "failed");
    site.claim_of_build("b", "2", "failed");
    site.atc
        .trouble("builds/2", Trouble::Status(500), usize::MAX);

    let answer = site.reap(json!({}));

    assert_eq!(told(&answer, "freed"), "a");
    assert_eq!(site.claimed(), ["b"]);
}

#[test]
fn a_concourse_that_is_back_is_asked_again_the_next_time() {
    let site = Site::new(&["a"]);
    site.claim_of_build("a", "1", "failed");
    site.atc.trouble("/", Trouble::Status(502), usize::MAX);
    site.reap(json!({}))
        .assert_failed(&["so that one claim was kept"]);
    assert_eq!(site.claimed(), ["a"]);

    site.atc.recover();
    site.reap(json!({})).version();

    assert_eq!(site.claimed(), [""; 0]);
}

#[test]
fn a_dry_run_explains_every_decision_and_changes_nothing() {
    let site = Site::new(&["a", "b", "c"]);
    site.claim_of_build("a", "1", "failed");
    site.claim_of_build("b", "2", "started");
    site.claim("c", "claiming: c");
    let refs = site.remote.git(&["for-each-ref"]);

    let answer = site.reap(json!({"dry_run": true, "stale_after": "1h"}));

    assert_eq!(site.remote.git(&["for-each-ref"]), refs);
    assert_line(
        &answer,
        &[
            "would free `a`, claimed 2025-06-15T15:06:40Z by ops/web/deploy build 1: ",
            "has ended",
        ],
    );
    assert_line(&answer, &["kept `b`", "is alive"]);
    assert_line(&answer, &["would free `c`", "which is more than 1h"]);
    assert_eq!(told(&answer, "would_be_freed"), "a, c");
    assert_eq!(
        (told(&answer, "freed"), told(&answer, "kept")),
        ("".into(), "1".into())
    );
    assert_eq!(answer.stderr.lines().count(), 3, "{}", answer.stderr);
}

#[test]
fn the_get_after_a_put_succeeds_whether_something_was_freed_or_not() {
    let site = Site::new(&["a", "b"]);
    let claim = site.claim_of_build("a", "1", "started");
    let idle = site.reap(json!({})).version();
    assert_ne!(idle, claim);
    // Between the put and its get.
    site.remote.release_by_hand("aws", "a");
    let (got, folder) = site.step().get(&idle);
    assert_eq!(got.version(), idle);
    assert!(!folder.join("claim").exists());

    site.claim_of_build("a", "2", "failed");
    let busy = site.reap(json!({})).version();
    site.remote.claim_by_hand("aws", "a");
    let (got, folder) = site.step().get(&busy);

    assert_eq!((got.version(), got.lock()), (busy, "a".to_owned()));
    assert!(!folder.join("claim").exists());
}

#[test]
fn a_pool_in_which_nothing_is_claimed_is_left_as_it_is() {
    let site = Site::new(&["a"]);
    let head = site.remote.head();

    let answer = site.reap(json!({"stale_after": "1ns"}));

    assert_eq!((answer.version(), site.remote.head()), (head.clone(), head));
    assert_eq!(
        (told(&answer, "freed"), told(&answer, "kept")),
        ("".into(), "0".into())
    );
    assert_eq!(site.atc.asked().len(), 0);
}

/// Runs a reaping of `a` and `z`, both of ended builds, and does something at a certain moment on the way of the release
/// of `a`.
fn meanwhile(request: Request, does: impl Fn(&Site)) -> (Site, Answer) {
    let site = Site::new(&["a", "z"]);
    site.claim_of_build("a", "1", "failed");
    site.claim_of_build("z", "2", "failed");
    let server = HttpServer::start(site.remote.root());
    let gate = Gate::start(server.port());
    let step = site.step().set(
        "uri",
        format!("http://127.0.0.1:{}/git/locks.git", gate.port()),
    );
    let stopped = gate.stop(request, Place::BeforeServer);

    let mut reaping = step.start_put(site.params(json!({})));
    stopped.wait(|| reaping.is_running());
    does(&site);
    stopped.go_on();

    let answer = reaping.finish();
    (site, answer)
}

#[test]
fn a_race_with_the_holder_or_with_others_is_lost_gracefully() {
    for request in [Request::ListToPush, Request::Push] {
        let (site, answer) = meanwhile(request, |site| {
            site.remote.release_by_hand("aws", "a");
        });
        assert_line(&answer, &["left `a` alone", "has ended with the commit"]);
        assert_eq!(
            (told(&answer, "freed"), told(&answer, "kept")),
            ("z".into(), "1".into())
        );
        assert_eq!(site.claimed(), [""; 0]);

        let (site, answer) = meanwhile(request, |site| {
            // At once: a push that is begun meanwhile must not see the lock free.
            let remote = &site.remote;
            let (free, held) = ("aws/unclaimed/a", "aws/claimed/a");
            let head = remote.head();
            let freed = remote.commit_on(&[&head], "unclaiming: a", &[Hand::Move(held, free)]);
            let claim = remote.commit_on(&[&freed], "claiming: a", &[Hand::Move(free, held)]);
            remote.git(&["update-ref", "refs/heads/main", &claim]);
        });
        assert_line(&answer, &["left `a` alone", "someone else holds it now"]);
        assert_eq!(told(&answer, "freed"), "z");
        assert_eq!(site.claimed(), ["a"]);

        let (site, answer) = meanwhile(request, |site| {
            let log = site
                .remote
                .git(&["log", "--format=%H", "main", "--", "aws/claimed/a"]);
            let claim = log.lines().next().unwrap();
            let renewal = format!("renewing: a\n\nPool-Claim: {claim}\nPool-Lease: {LASTING}");
            site.remote.commit(&renewal, &[]);
        });
        assert_line(
            &answer,
            &["left `a` alone", "has been renewed with the commit"],
        );
        assert_eq!(told(&answer, "freed"), "z");
        assert_eq!(site.claimed(), ["a"]);

        // What has nothing to do with the lock costs another try and no more.
        let (site, answer) = meanwhile(request, |site| {
            site.remote
                .commit("a note", &[Hand::Put("note", "100644", b"1")]);
        });
        assert_eq!(told(&answer, "freed"), "a, z");
        assert_eq!(site.claimed(), [""; 0]);
    }
}

#[test]
fn a_lock_that_cannot_be_judged_or_is_damaged_keeps_no_other_from_being_freed() {
    let site = Site::new(&["a", "b", "z"]);
    site.claim(
        "a",
        "\u{1b}[31m: \n\nBuild URL: http://[\n\nPool-Lease: x\nPool-Build: -1",
    );
    let both = [Hand::Put("aws/claimed/b", "100644", b"1")];
    site.remote.commit_at(MADE, "claiming: b", &both);
    site.claim_of_build("z", "1", "failed");

    let answer = site.reap(json!({}));

    assert_eq!(
        (told(&answer, "freed"), told(&answer, "kept")),
        ("z".into(), "2".into())
    );
    assert_line(&answer, &["kept `a`", "its commit names no build"]);
    assert_line(&answer, &["kept `b`", "it is damaged: it is in both"]);
    assert!(!answer.stderr.contains('\u{1b}'), "{}", answer.stderr);
}

#[test]
fn a_release_that_the_server_declines_keeps_no_other_from_being_made_and_fails_the_put() {
    let site = Site::new(&["a", "b", "z"]);
    for (lock, number) in [("a", "1"), ("b", "2"), ("z", "3")] {
        site.claim_of_build(lock, number, "failed");
    }
    let refuse_b = "while read old new ref; do git log -1 --format=%s $new | grep -q 'unclaiming: b$' && echo 'not b' && exit 1; done; exit 0";
    site.remote.hook("pre-receive", refuse_b);

    let answer = site.reap(json!({}));

    answer.assert_failed(&["could not free `b`, as told above; freed `a`, `z`"]);
    assert_line(
        &answer,
        &[
            "warning: could not free `b`",
            "pre-receive hook declined",
            "not b",
        ],
    );
    assert_eq!(site.claimed(), ["b"]);
}

#[test]
fn wrong_settings_fail_before_anything_is_looked_at() {
    let site = Site::new(&["a"]);
    let claim = site.claim_of_build("a", "1", "failed");
    let url = site.atc.url();

    for (reap, words) in [
        (json!(true), "`params.reap` must be an object"),
        (
            json!({"stale_after": "soon"}),
            "`params.reap.stale_after` must be a duration",
        ),
        (
            json!({"dry_run": "yes"}),
            "`params.reap.dry_run` must be true or false",
        ),
        (
            json!({"concourse": {"url": url}}),
            "missing params.reap.concourse.token",
        ),
        (
            json!({"concourse": {"url": "ftp://x", "token": "t"}}),
            "`params.reap.concourse.url`",
        ),
    ] {
        let answer = site.step().put(json!({ "reap": reap }));
        answer.assert_failed(&[words]);
    }
    let two = json!({"reap": {}, "acquire": true});
    site.step()
        .put(two)
        .assert_failed(&["a put does one thing", "`acquire` and `reap`"]);
    Step::on(&site.remote, "gcp")
        .put(site.params(json!({})))
        .assert_failed(&["there is no pool `gcp`"]);

    assert_eq!(site.remote.head(), claim);
    assert_eq!(site.atc.asked().len(), 0);
}

#[test]
fn a_reaping_that_is_aborted_while_it_asks_ends_and_has_changed_nothing() {
    let site = Site::new(&["a", "b"]);
    site.claim("a", &format!("claiming: a\n\nPool-Lease: {OVER}"));
    site.claim_of_build("b", "1", "failed");
    let head = site.remote.head();
    site.atc.trouble("/", Trouble::Silence, usize::MAX);

    let reaping = site.step().start_put(site.params(json!({})));
    wait_until("it asks", || !site.atc.asked().is_empty());
    reaping.signal("TERM");

    reaping.finish().assert_stopped();
    assert_eq!(site.remote.head(), head);
}

#[test]
fn no_secret_is_left_anywhere() {
    let site = Site::new(&["a", "b"]);
    site.claim_of_build("a", "1", "failed");
    site.claim_of_build("b", "2", "started");
    let token = site.atc.token_of(USER.0);
    let with_token = json!({"reap": {"concourse": {"url": site.atc.url(), "token": token}}});
    let wrong = json!({"reap": {"concourse": {"url": site.atc.url(), "username": USER.0, "password": "MARKER-wrong"}}});
    let step = site.step();

    for params in [
        site.params(json!({"dry_run": true})),
        wrong,
        with_token,
        site.params(json!({})),
    ] {
        let answer = step.put(params);

        assert!(!answer.stdout.contains("MARKER"), "{}", answer.stdout);
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
    }

    assert_eq!(site.claimed(), ["b"]);
    let log = site.remote.git(&["log", "--format=raw", "--all"]);
    assert!(!log.contains("MARKER"), "{log}");
    let left = std::process::Command::new("grep")
        .args(["-rl", "MARKER"])
        .arg(step.temporary())
        .output();
    assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "");
}
