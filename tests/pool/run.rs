//! `pool run`: commands that run while locks are held.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use support::path_of;
use support::server::gate::{Gate, Place, Request};
use support::server::http::HttpServer;
use support::step::Running;
use support::{Answer, Pool, TestRemote, wait_until};

/// A pool with a lock, and a command that runs until it is told to end.
struct Scene {
    remote: TestRemote,
    pool: Pool,
    done: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
        let pool = Pool::on(&remote, "aws");
        let done = pool.home().join("done");
        let pool = pool.env("DONE", &done);
        Scene { remote, pool, done }
    }

    /// Runs `pool run` with these arguments and a command that ends with 3 once it is told to, or left alone.
    fn start(&self, args: &[&str]) -> Running {
        let script = "echo begun >&2; while [ ! -e \"$DONE\" ] && [ -d \"${DONE%/*}\" ]; do sleep 0.02; done; exit 3";
        let running = self
            .pool
            .start(&[&["run"], args, &["--", "sh", "-c", script]].concat());
        running.wait_for_stderr("begun");
        running
    }

    /// Tells the command to end.
    fn end(&self) {
        fs::write(&self.done, "").unwrap();
    }

    fn server_goes(&self) {
        fs::rename(self.remote.path(), self.elsewhere()).unwrap();
    }

    fn server_comes_back(&self) {
        fs::rename(self.elsewhere(), self.remote.path()).unwrap();
    }

    fn elsewhere(&self) -> PathBuf {
        self.remote.root().join("away")
    }

    fn free(&self) -> Vec<String> {
        self.remote.list("aws/unclaimed")
    }

    fn tickets(&self) -> String {
        self.remote.git(&["for-each-ref", "refs/pool-queue"])
    }
}

#[test]
fn a_command_has_its_lock_in_its_environment_and_its_exit_code_is_passed_on() {
    let scene = Scene::new();
    let script = r#"echo "$POOL_LOCK_NAME $POOL_CLAIM"; cat "$POOL_METADATA_FILE"; exit 7"#;

    let answer = scene.pool.run(&["run", "env-1", "--", "sh", "-c", script]);

    assert_eq!(answer.code, Some(7), "{}", answer.stderr);
    let metadata = String::from_utf8(scene.remote.content("aws/unclaimed/env-1")).unwrap();
    let claim = scene.remote.back(1);
    assert_eq!(answer.stdout, format!("env-1 {claim}\n{metadata}"));
    assert_eq!(
        scene.remote.subjects()[..2],
        ["anna unclaiming: env-1", "anna claiming: env-1"]
    );
    assert!(scene.remote.message(&claim).contains("Pool-Lease: "));
}

/// Runs `pool run` with a command that tells the branch's last subject. `meanwhile` happens when the claim has landed and
/// the command has not begun, for whoever looks at the claim waits for the server's word; whether it gets that, it says.
fn run_with_a_pause(
    args: &[&str],
    meanwhile: impl FnOnce(&TestRemote, &Running) -> bool,
) -> (TestRemote, Answer) {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let gate = Gate::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", gate.port());
    let pool = Pool::on(&remote, "aws")
        .env("POOL_URI", uri)
        .env("REPOSITORY", remote.path());
    let script = "exec git -C \"$REPOSITORY\" log -1 --format=%s main";

    let claiming = gate.stop(Request::Push, Place::BeforeClient);
    let mut running = pool.start(&[&["run"], args, &["--", "sh", "-c", script]].concat());
    claiming.wait(|| running.is_running());
    let looking = gate.stop(Request::ListToFetch, Place::BeforeServer);
    claiming.go_on();
    looking.wait(|| running.is_running());
    let answer = if meanwhile(&remote, &running) {
        looking.go_on();
        running.finish()
    } else {
        let answer = running.finish();
        drop(looking);
        answer
    };
    (remote, answer)
}

#[test]
fn a_command_does_not_begin_without_its_claim() {
    let (remote, answer) = run_with_a_pause(&["env-1"], |remote, _| {
        remote.release_by_hand("aws", "env-1");
        remote.claim_by_hand("aws", "env-1");
        true
    });

    answer.assert_code(2, &["`env-1`", "taken away before the command began"]);
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn a_signal_before_the_command_begins_gives_the_lock_back_at_once() {
    let mut told = None;
    let (remote, answer) = run_with_a_pause(&["env-1"], |_, running| {
        running.signal("TERM");
        told = Some(Instant::now());
        false
    });

    // Long before the server's silence counts as a fault.
    assert!(told.unwrap().elapsed() < Duration::from_secs(15));
    answer.assert_code(143, &[]);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn a_lease_that_is_over_before_the_command_begins_is_renewed_first() {
    let (remote, answer) = run_with_a_pause(&["env-1", "--lease", "1s"], |remote, _| {
        let message = remote.message(&remote.head());
        let lease = message
            .lines()
            .find_map(|line| line.strip_prefix("Pool-Lease: "));
        let end = humantime::parse_rfc3339(lease.unwrap()).unwrap();
        wait_until("the lease is over", || SystemTime::now() > end);
        true
    });

    assert_eq!(answer.text(), "anna renewing: env-1\n");
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn a_lease_of_any_length_is_borne() {
    let scene = Scene::new();

    for lease in ["1ns", "1.5d", "36500d", "106751d"] {
        let answer = scene
            .pool
            .run(&["run", "env-1", "--lease", lease, "--", "true"]);
        assert_eq!(answer.text(), "", "{lease}");
        assert_eq!(scene.free().len(), 3, "{lease}");
    }
    // Times are written as everywhere else, and what is none says so.
    for (lease, why) in [
        ("1w", "`w` is not a unit; units are d, h, m,"),
        ("2 hours", "is not a unit"),
        ("200000d", "292 years is the most"),
        ("0s", "must be longer than nothing"),
    ] {
        let answer = scene
            .pool
            .run(&["run", "env-1", "--lease", lease, "--", "true"]);
        answer.assert_code(2, &["--lease", why]);
    }
}

#[test]
fn what_cannot_be_started_gives_its_locks_back() {
    let scene = Scene::new();
    let file = scene.pool.home().join("no-program");
    fs::write(&file, "").unwrap();

    for (program, code) in [("no-such-program", 127), (file.to_str().unwrap(), 126)] {
        let answer = scene.pool.run(&["run", "env-1", "--", program]);
        answer.assert_code(code, &["cannot start"]);
        assert_eq!(scene.free().len(), 3);
    }
}

#[test]
fn a_command_that_is_killed_ends_as_a_shell_says_it() {
    let scene = Scene::new();

    let answer = scene
        .pool
        .run(&["run", "env-1", "--", "sh", "-c", "kill -KILL $$"]);

    assert_eq!(answer.code, Some(128 + 9));
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn several_locks_are_claimed_and_given_back_in_one_commit_each() {
    let scene = Scene::new();
    let script = r#"echo "$POOL_LOCK_NAME"; ls "$POOL_METADATA_DIR""#;
    let before = scene.remote.count();

    let answer = scene
        .pool
        .run(&["run", "env-3", "env-1", "--", "sh", "-c", script]);

    assert_eq!(answer.text(), "env-1\nenv-3\nenv-1\nenv-3\n");
    assert_eq!(scene.remote.count(), before + 2);
    assert_eq!(scene.remote.subjects()[1], "anna claiming: env-1, env-3");
}

#[test]
fn who_wants_several_locks_holds_none_while_one_of_them_is_missing() {
    let scene = Scene::new();
    let held = scene.start(&["env-2"]);

    let waiting = scene.pool.start(&["run", "env-1", "env-2", "--", "true"]);
    waiting.wait_for_stderr("env-2 is held since");
    assert_eq!(scene.remote.list("aws/claimed"), ["env-2"]);
    scene.end();

    assert_eq!(held.finish().code, Some(3));
    assert_eq!(waiting.finish().code, Some(0));
    scene
        .pool
        .run(&["run", "env-1", "env-9", "--", "true"])
        .assert_code(2, &["no lock `env-9`"]);
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn without_a_name_any_lock_that_fits_will_do() {
    let scene = Scene::new();
    let metadata = b"size: big\n";
    scene
        .pool
        .run_with(&["update", "env-2", "--metadata", "-"], metadata)
        .text();
    let args = [
        "run",
        "--match",
        "size=big",
        "--",
        "sh",
        "-c",
        "echo $POOL_LOCK_NAME",
    ];

    assert_eq!(scene.pool.run(&args).text(), "env-2\n");
    let answer = scene.pool.run(&[
        "run",
        "--count",
        "2",
        "--",
        "sh",
        "-c",
        "ls $POOL_METADATA_DIR | wc -l",
    ]);
    assert_eq!(answer.text().trim(), "2");
    scene
        .pool
        .run(&["run", "env-1", "--count", "2", "--", "true"])
        .assert_code(2, &["cannot be used with"]);
}

#[test]
fn one_that_waits_is_told_who_holds_the_lock_and_leaves_nothing_behind_when_it_is_stopped() {
    let scene = Scene::new();
    let holder = scene.start(&["env-1"]);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let waiting = scene.pool.start(&["run", "env-1", "--", "true"]);
        waiting.wait_for_stderr("env-1 is held since");
        waiting.signal(signal);

        waiting
            .finish()
            .assert_code(code, &["nothing is claimed", "anna"]);
        assert_eq!(scene.tickets(), "");
    }
    scene
        .pool
        .run(&["run", "env-1", "--try", "--", "true"])
        .assert_code(1, &["gave up at once"]);
    scene.end();
    assert_eq!(holder.finish().code, Some(3));
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn a_signal_reaches_the_command_once() {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let scene = Scene::new();
        let heard = scene.pool.home().join("heard");
        let script = format!(
            "trap 'echo x >> {}' {signal}; echo begun >&2; while [ ! -e \"$DONE\" ]; do sleep 0.02; done; exit 0",
            heard.display()
        );
        let running = scene
            .pool
            .start(&["run", "env-1", "--", "sh", "-c", &script]);
        running.wait_for_stderr("begun");

        running.signal(signal);
        wait_until("the command hears the signal", || heard.exists());
        scene.end();

        assert_eq!(running.finish().code, Some(0));
        assert_eq!(fs::read_to_string(&heard).unwrap(), "x\n", "{signal}");
        assert_eq!(scene.free().len(), 3);
    }
}

#[test]
fn a_signal_that_is_for_the_command_ends_neither_a_wait_nor_the_run() {
    for signal in ["USR1", "USR2", "ALRM", "WINCH", "CONT"] {
        let scene = Scene::new();
        let heard = scene.pool.home().join("heard");
        let script = format!(
            "trap 'echo x >> {}' {signal}; echo begun >&2; while [ ! -e \"$DONE\" ]; do sleep 0.02; done; exit 0",
            heard.display()
        );
        scene.remote.claim_by_hand("aws", "env-1");
        let running = scene
            .pool
            .start(&["run", "env-1", "--", "sh", "-c", &script]);
        running.wait_for_stderr("env-1 is held since");

        running.signal(signal);
        scene.remote.release_by_hand("aws", "env-1");
        running.wait_for_stderr("begun");
        assert!(!heard.exists(), "{signal}");
        running.signal(signal);
        wait_until("the command hears the signal", || heard.exists());
        scene.end();

        assert_eq!(running.finish().code, Some(0), "{signal}");
        assert_eq!(fs::read_to_string(&heard).unwrap(), "x\n", "{signal}");
        assert_eq!(scene.free().len(), 3);
    }
}

#[test]
fn a_signal_that_was_ignored_before_goes_on_to_be() {
    let scene = Scene::new();
    let holder = scene.start(&["env-1"]);
    let waiting = scene.pool.start_under(
        &["env", "--default-signal", "--ignore-signal=INT"],
        &["run", "env-1", "--", "true"],
    );
    waiting.wait_for_stderr("env-1 is held since");

    waiting.signal("INT");
    scene.end();

    assert_eq!(holder.finish().code, Some(3));
    assert_eq!(waiting.finish().code, Some(0));
}

#[test]
fn a_command_that_a_signal_ends_gives_its_lock_back() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let scene = Scene::new();
        let running = scene.start(&["env-1"]);

        running.signal(signal);

        assert_eq!(running.finish().code, Some(code));
        assert_eq!(scene.free().len(), 3);
        assert_eq!(scene.tickets(), "");
    }
}

#[test]
fn the_lease_is_renewed_while_the_command_runs() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "--lease", "1s"]);
    let renewals = || {
        let subjects = scene.remote.subjects();
        subjects
            .iter()
            .filter(|subject| *subject == "anna renewing: env-1")
            .count()
    };

    wait_until("it is renewed again and again", || renewals() >= 3);
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
    scene.end();

    let answer = running.finish();
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(3), "begun\n"));
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn a_claim_that_is_taken_away_is_told_of_and_is_an_error_in_the_end() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "--lease", "1s"]);
    let bob = Pool::on(&scene.remote, "aws").called("bob");

    bob.run(&["unlock", "env-1", "--reason", "an emergency"])
        .text();
    running.wait_for_stderr("taken away while the command runs");
    // Nobody's lock but bob's own is given back in the end.
    bob.run(&["claim", "env-1"]).text();
    scene.end();

    let answer = running.finish();
    answer.assert_code(2, &["by bob with ", "an emergency", "ended with 3"]);
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn a_claim_that_was_taken_away_and_is_nobody_s_by_now_is_an_error_in_the_end() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "env-2"]);
    let bob = Pool::on(&scene.remote, "aws").called("bob");

    // Between two looks of the first.
    bob.run(&["unlock", "env-1", "--reason", "he sleeps"])
        .text();
    bob.run(&["run", "env-1", "--", "true"]).text();
    scene.end();

    let answer = running.finish();
    answer.assert_code(2, &["ended with 3, but did not hold env-1 all the time"]);
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn who_is_not_heard_any_more_gives_the_lock_back_and_ends_the_command_all_the_same() {
    for (args, ends) in [
        (&["--on-lost", "tell"][..], "TERM"),
        (&["--on-lost", "kill", "--lease", "1s"], "unlock"),
    ] {
        let scene = Scene::new();
        let mark = scene.pool.home().join("mark");
        // All that is said goes to a disk that is full.
        let script = "exec \"$POOL\" run env-1 env-2 \"$@\" -- sh -c 'echo $$ > \"$MARK\"; exec sleep 1000' 2>/dev/full";
        let pool = Pool::on(&scene.remote, "aws")
            .env("POOL", path_of("pool"))
            .env("MARK", &mark);
        let args = [&["-c", script, "sh"], args].concat();
        let mut running = pool.start_program("sh", &args);
        wait_until("the command has begun", || {
            fs::read_to_string(&mark).is_ok_and(|text| text.ends_with('\n'))
        });

        let code = match ends {
            "TERM" => {
                running.signal("TERM");
                143
            }
            _ => {
                let bob = Pool::on(&scene.remote, "aws").called("bob");
                bob.run(&["unlock", "env-1", "--reason", "x"]).text();
                2
            }
        };

        wait_until("it has ended", || !running.is_running());
        assert_eq!(running.finish().code, Some(code), "{ends}");
        let command = fs::read_to_string(&mark).unwrap();
        assert!(!PathBuf::from(format!("/proc/{}", command.trim())).exists());
        assert_eq!(scene.free().len(), 3, "{ends}");
    }
}

/// A command whose first process ends when it is told to, and whose second one, which it has started, takes its time.
const SLOW: &str = "echo begun >&2; sh -c 'trap \"\" TERM; touch \"$DONE.slow\"; while [ ! -e \"$DONE\" ] && [ -d \"${DONE%/*}\" ]; do echo . >> \"$DONE.ticks\"; sleep 0.02; done'; true";

impl Scene {
    /// Runs `pool run` with [`SLOW`].
    fn start_slow(&self, args: &[&str]) -> Running {
        let running = self
            .pool
            .start(&[&["run"], args, &["--", "sh", "-c", SLOW]].concat());
        let begun = self.done.with_extension("slow");
        wait_until("the second process is there", || begun.exists());
        running
    }

    fn ticks(&self) -> usize {
        fs::read(self.done.with_extension("ticks")).map_or(0, |ticks| ticks.len())
    }
}

#[test]
fn a_command_that_is_told_to_end_has_ended_with_the_last_of_its_processes() {
    let scene = Scene::new();
    let running = scene.start_slow(&["env-1"]);

    running.signal("TERM");
    let before = scene.ticks();
    wait_until("it goes on for a while", || scene.ticks() > before + 50);
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
    scene.end();

    assert_eq!(running.finish().code, Some(143));
    assert_eq!(scene.free().len(), 3);
}

/// A command that ends at once, and leaves a process behind that goes on until it is told to end.
const LEAVES: &str =
    "sh -c 'while [ ! -e \"$DONE\" ] && [ -d \"${DONE%/*}\" ]; do sleep 0.02; done' & exit 3";

#[test]
fn a_lock_is_held_until_the_last_process_that_the_command_has_started_is_gone() {
    // In the command's group, and in a session of its own.
    for left in [
        LEAVES.to_owned(),
        LEAVES.replacen("sh -c", "setsid sh -c", 1),
    ] {
        let scene = Scene::new();
        let running = scene.pool.start(&["run", "env-1", "--", "sh", "-c", &left]);

        running.wait_for_stderr("the command has ended, but what it has started goes on: `sh` (");
        assert!(
            running.stderr().contains("env-1 stays held"),
            "{}",
            running.stderr()
        );
        assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
        scene.end();

        assert_eq!(running.finish().code, Some(3), "{left}");
        assert_eq!(scene.free().len(), 3);
    }
}

#[test]
fn a_daemon_and_with_close_everything_may_go_on_without_the_lock() {
    let daemon = LEAVES.replacen("& exit", "<&- >&- 2>&- & exit", 1);
    let daemon = daemon.replacen("sh -c '", "sh -c 'for f in /proc/self/fd/*; do f=${f##*/}; [ $f -lt 3 ] || eval \"exec $f>&-\"; done; ", 1);
    for (args, script) in [(&["env-1", "--close"][..], LEAVES), (&["env-1"], &daemon)] {
        let scene = Scene::new();
        let args = [&["run"], args, &["--", "bash", "-c", script]].concat();
        let running = scene.pool.start(&args);
        wait_until("the lock has been given back", || {
            scene.remote.subjects()[0] == "anna unclaiming: env-1"
        });
        // It has our error stream, which is read to its end.
        scene.end();

        let answer = running.finish();
        assert_eq!(answer.code, Some(3), "{}", answer.stderr);
        assert!(!answer.stderr.contains("goes on"), "{}", answer.stderr);
    }
}

#[test]
fn what_a_command_has_left_behind_gets_the_signals_and_is_not_waited_for_for_ever() {
    let scene = Scene::new();
    let stubborn = LEAVES.replacen("sh -c '", "setsid sh -c 'trap \"\" TERM; ", 1);
    let running = scene
        .pool
        .start(&["run", "env-1", "--", "sh", "-c", &stubborn]);
    running.wait_for_stderr("what it has started goes on");

    running.signal("TERM");
    running.wait_for_stderr("once more to give env-1 back though it goes on");
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
    running.signal("TERM");
    running.wait_for_stderr("goes on without env-1");
    wait_until("the lock has been given back", || scene.free().len() == 3);
    // It has our error stream, which is read to its end.
    scene.end();
    assert_eq!(running.finish().code, Some(3));

    // One that listens ends by the first.
    let scene = Scene::new();
    let left = LEAVES.replacen("sh -c", "setsid sh -c", 1);
    let running = scene.pool.start(&["run", "env-1", "--", "sh", "-c", &left]);
    running.wait_for_stderr("what it has started goes on");
    running.signal("TERM");
    assert_eq!(running.finish().code, Some(3));
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn a_command_that_is_killed_for_its_claim_is_killed_with_all_its_processes() {
    let scene = Scene::new();
    let running = scene.start_slow(&["env-1", "--lease", "2s", "--on-lost", "kill"]);

    scene.server_goes();
    running.wait_for_stderr("ending the command");
    scene.server_comes_back();

    running
        .finish()
        .assert_code(2, &["the lease could not be renewed in time"]);
    let before = scene.ticks();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(scene.ticks(), before, "nothing is left of it");
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn with_on_lost_kill_a_command_ends_with_its_claim() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "env-2", "--lease", "1s", "--on-lost", "kill"]);
    let bob = Pool::on(&scene.remote, "aws").called("bob");

    bob.run(&["unlock", "env-2", "--reason", "x"]).text();

    running.finish().assert_code(
        2,
        &[
            "ending the command",
            "ended with 143, but did not hold env-2",
        ],
    );
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn what_was_taken_away_unseen_shows_in_the_end() {
    let scene = Scene::new();
    let running = scene.start(&["env-1"]);
    let bob = Pool::on(&scene.remote, "aws").called("bob");
    bob.run(&["unlock", "env-1", "--reason", "x"]).text();
    bob.run(&["claim", "env-1"]).text();
    scene.end();

    running
        .finish()
        .assert_code(2, &["did not hold env-1 all the time"]);
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn a_release_that_is_refused_says_what_to_do() {
    let scene = Scene::new();
    let running = scene.start(&["env-1"]);
    let claim = scene.remote.head();
    scene
        .remote
        .hook("pre-receive", "echo closed for today >&2; exit 1");
    scene.end();

    let answer = running.finish();

    let way_out = format!("pool release --claim {claim}");
    answer.assert_code(2, &["closed for today", "ended with 3", &way_out]);
}

#[test]
fn what_a_killed_run_held_is_freed_when_its_lease_is_over_and_not_before() {
    let scene = Scene::new();
    scene.start(&["env-1", "--lease", "1h"]).kill();
    scene.start(&["env-2", "--lease", "1s"]).kill();

    wait_until("the lease is over", || {
        let reaped = scene.pool.run(&["reap"]);
        assert!(reaped.stderr.contains("kept `env-1`"), "{}", reaped.stderr);
        reaped.text() == "freed env-2\n"
    });

    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
    scene.end();
}

#[test]
fn a_script_is_guarded_with_no_set_up_at_all() {
    let pool = Pool::bare();
    let args = ["run", "deploy", "--", "sh", "-c", "echo deployed"];

    assert_eq!(pool.run(&args).text(), "deployed\n");
    let again = pool.run(&args);
    assert_eq!(again.text(), "deployed\n");
    assert_eq!(again.stderr.lines().count(), 1, "{}", again.stderr);
}

#[test]
fn a_server_that_is_away_for_a_while_is_no_loss() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "--lease", "2s", "--on-lost", "tell"]);
    scene.server_goes();

    running.wait_for_stderr("cannot renew the lease");
    scene.server_comes_back();
    let renewals = |subjects: Vec<String>| {
        let renewing = subjects
            .iter()
            .filter(|subject| subject.contains("renewing"));
        renewing.count()
    };
    let before = renewals(scene.remote.subjects());
    wait_until("it is renewed again", || {
        renewals(scene.remote.subjects()) > before
    });
    scene.end();

    assert_eq!(running.finish().code, Some(3));
    assert_eq!(scene.free().len(), 3);
}

#[test]
fn a_lease_that_could_not_be_renewed_in_time_ends_the_command_if_that_is_wanted() {
    let scene = Scene::new();
    let running = scene.start(&["env-1", "--lease", "1s", "--on-lost", "kill"]);
    scene.server_goes();

    running.wait_for_stderr("the lease could not be renewed, and ends in");
    let answer = running.finish();

    scene.server_comes_back();
    answer.assert_code(
        2,
        &[
            "ending the command",
            "ended with 143",
            "pool release --claim",
        ],
    );
    assert_eq!(scene.remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn a_command_that_is_stopped_can_be_ended() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let scene = Scene::new();
        let script = "echo $$ begun >&2; kill -STOP $$; exec sleep 1000";
        let running = scene
            .pool
            .start(&["run", "env-1", "--", "sh", "-c", script]);
        running.wait_for_stderr("begun");
        let stderr = running.stderr();
        let process = stderr.split(" begun").next().unwrap();
        let process = process.lines().last().unwrap();
        let stat = format!("/proc/{process}/stat");
        wait_until("the command is stopped", || {
            fs::read_to_string(&stat).unwrap().contains(") T ")
        });

        running.signal(signal);

        assert_eq!(running.finish().code, Some(code), "{signal}");
        assert_eq!(scene.free().len(), 3);
    }
}

const CREDENTIALS: [&str; 7] = [
    "POOL_PRIVATE_KEY",
    "POOL_PRIVATE_KEY_PASSPHRASE",
    "POOL_PASSWORD",
    "POOL_CONCOURSE_TOKEN",
    "POOL_CONCOURSE_PASSWORD",
    "POOL_GITLAB_TOKEN",
    "POOL_GITLAB_JOB_TOKEN",
];

#[test]
fn a_command_finds_the_credentials_only_if_they_are_passed_on() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    // It lets everybody in, whatever they show.
    let uri = format!("http://me:MARKER@127.0.0.1:{}/git/locks.git", server.port());
    let mut pool = Pool::on(&remote, "aws").env("POOL_URI", uri);
    for name in CREDENTIALS {
        pool = pool.env(name, "MARKER");
    }

    let without = pool.run(&["run", "env-1", "--", "env"]);
    let with = pool.run(&["run", "--pass-credentials", "env-1", "--", "env"]);

    assert!(!without.text().contains("MARKER"), "{}", without.stdout);
    let place = format!(
        "POOL_URI=http://127.0.0.1:{}/git/locks.git\n",
        server.port()
    );
    assert!(without.stdout.contains(&place), "{}", without.stdout);
    assert!(without.stdout.contains("POOL_NAME=aws\n"));
    for name in CREDENTIALS {
        assert!(with.text().contains(&format!("{name}=MARKER\n")), "{name}");
    }
    assert!(with.stdout.contains("me:MARKER@"), "{}", with.stdout);
}

#[test]
fn a_lock_that_is_not_to_be_had_gives_the_exit_code_of_ones_choice_and_an_error_does_not() {
    let scene = Scene::new();
    scene.remote.claim_by_hand("aws", "env-1");

    for flag in [["-E", "75"], ["--conflict-exit-code", "75"]] {
        let args = [&["run", "--try"], &flag[..], &["env-1", "--", "true"]].concat();
        scene.pool.run(&args).assert_code(75, &["gave up at once"]);
        let args = [&["run", "--try"], &flag[..], &["no/.lock", "--", "true"]].concat();
        scene.pool.run(&args).assert_code(2, &["no/.lock"]);
    }
}

#[test]
fn a_script_that_does_not_say_by_what_it_is_run_is_run_by_a_shell() {
    let scene = Scene::new();
    let bin = scene.pool.home().join("bin");
    fs::create_dir(&bin).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let file = bin.join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let script = file("script", b"echo \"$POOL_LOCK_NAME $1\"; exit 5\n");
    let other = file("other", b"\x7fELF\0of another machine");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let pool = scene.pool.env("PATH", path);

    for program in [script.as_str(), "script"] {
        let answer = pool.run(&["run", "env-1", "--", program, "x y"]);
        assert_eq!(answer.code, Some(5), "{}", answer.stderr);
        assert_eq!(answer.stdout, "env-1 x y\n");
    }
    pool.run(&["run", "env-1", "--", &other])
        .assert_code(126, &["cannot start"]);
    assert_eq!(scene.remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn the_metadata_is_in_nobody_elses_reach() {
    let scene = Scene::new();
    let script =
        "umask 000; stat -c %a \"$POOL_METADATA_DIR\"; stat -c %a \"$TMPDIR\"/pool-resource-*";

    let answer = scene.pool.run_program(
        "sh",
        &[
            "-c",
            "umask 000; exec \"$0\" run env-1 -- sh -c \"$1\"",
            path_of("pool"),
            script,
        ],
    );

    let modes: Vec<&str> = answer.text().lines().collect();
    assert!(modes.len() >= 2, "{modes:?}");
    assert!(modes.iter().all(|mode| *mode == "700"), "{modes:?}");
}
