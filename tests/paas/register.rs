//! Registering.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;
use support::Answer;
use support::server::coordinator::REGISTRATION;
use support::server::free_port;
use support::server::served::Fault;

use crate::machine::{RUNNER, World};

struct Registering {
    world: World,
}

impl Registering {
    /// Nothing is there but a GitLab.
    fn new() -> Registering {
        let world = World::new();
        std::fs::remove_file(world.config()).unwrap();
        Registering { world }
    }

    fn run(&self, args: &[&str], input: &str) -> Answer {
        let config = self.world.config();
        let all: Vec<&str> = args
            .iter()
            .copied()
            .chain([config.to_str().unwrap()])
            .collect();
        let mut command = self.world.command("heptapod-paas-runner-register", &all);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it with everything said, and more.
    fn register(&self, more: &[&str]) -> Answer {
        let (state, url) = (self.world.state_file(), self.world.gitlab.url());
        let all = [
            "--name",
            "one",
            "-c",
            &url,
            "-t",
            REGISTRATION,
            "-e",
            "clever-docker",
            "--max-concurrency",
            "5",
            "--state-file-path",
            state.to_str().unwrap(),
        ];
        // The last of two counts for nobody: what is said otherwise is said alone.
        let mut args: Vec<&str> = Vec::new();
        for pair in all.chunks(2) {
            if !more.contains(&pair[0]) {
                args.extend(pair);
            }
        }
        args.extend(more);
        self.run(&args, "")
    }

    fn config(&self) -> toml::Table {
        self.text().parse().unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.world.config()).unwrap()
    }
}

/// R1, R2: what is asked, and what is written.
#[test]
fn a_runner_is_registered_and_a_new_file_has_it() {
    let all = Registering::new();
    let url = all.world.gitlab.url() + "/";

    let answer = all.register(&["-c", &url]);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(answer.stdout, "This is a brand new configuration file!\n\n");
    let asked = all.world.gitlab.served.calls_of("register");
    assert_eq!(asked[0].target, "/api/v4/runners");
    assert_eq!(
        asked[0].json(),
        json!({"info": {"name": "one"}, "description": "one", "active": false, "token": REGISTRATION})
    );
    let config = all.config();
    assert_eq!(config["concurrent"].as_integer(), Some(5));
    assert_eq!(
        config["state_file"].as_str(),
        all.world.state_file().to_str()
    );
    let runner = config["runners"][0].as_table().unwrap();
    let keys: Vec<&str> = all
        .text()
        .lines()
        .skip_while(|line| *line != "[[runners]]")
        .filter_map(|line| line.split(" = ").next().filter(|_| line.contains(" = ")))
        .map(|key| key.to_owned().leak() as &str)
        .collect();
    assert_eq!(keys, ["name", "url", "token", "executor"]);
    assert_eq!(runner["url"].as_str(), Some(&url[..]));
    assert!(runner["token"].as_str().unwrap().starts_with("glrt-"));
    // R9
    let mode = std::fs::metadata(all.world.config())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// R3: a file that is there is added to, and keeps what it has.
#[test]
fn a_second_runner_is_added_and_what_is_there_stays() {
    let all = Registering::new();
    all.register(&[]);
    let before = "# ours\n".to_owned() + &all.text();
    std::fs::write(all.world.config(), &before).unwrap();
    std::fs::set_permissions(all.world.config(), std::fs::Permissions::from_mode(0o644)).unwrap();

    let answer = all.register(&[
        "--name",
        "two",
        "--max-concurrency",
        "9",
        "-e",
        "local-docker",
    ]);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
    assert!(all.text().starts_with(&before), "{}", all.text());
    let config = all.config();
    assert_eq!(config["concurrent"].as_integer(), Some(5));
    assert_eq!(config["runners"].as_array().unwrap().len(), 2);
    assert_eq!(
        config["runners"][1]["executor"].as_str(),
        Some("local-docker")
    );
    let mode = std::fs::metadata(all.world.config())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// R4: what is not said is asked for, in this order, until it can be used.
#[test]
fn what_is_not_said_is_asked_for_until_it_can_be_used() {
    let all = Registering::new();
    let (state, url) = (all.world.state_file(), all.world.gitlab.url());
    let state = state.display();
    let input =
        format!("\n{state}\n0\nmany\n3\n\n{url}\n\none\n\n{REGISTRATION}\nbad\nlocal-docker\n");

    let answer = all.run(&[], &input);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let mut rest = &answer.stdout[..];
    for prompt in [
        "This is a brand new configuration file!\n\n",
        "State file path: ",
        "State file path: ",
        "Concurrency: ",
        "Concurrency: ",
        "Concurrency: ",
        "URL: ",
        "URL: ",
        "Please enter runner name: ",
        "Please enter registration token: ",
        "clever-docker: Clever Cloud Docker",
        "local-docker: Local Docker, for testing purposes only",
        "Executor: ",
        "Executor: ",
    ] {
        let at = rest
            .find(prompt)
            .unwrap_or_else(|| panic!("{prompt}: {}", answer.stdout));
        rest = &rest[at + prompt.len()..];
    }
    for warning in [
        "WARNING Empty string (or not a string) is not allowed: ''",
        "WARNING Not a positive integer: '0'",
        "WARNING Not a positive integer: 'many'",
        "WARNING Not an available executor: 'bad'",
    ] {
        assert!(answer.stderr.contains(warning), "{}", answer.stderr);
    }
    assert_eq!(all.config()["concurrent"].as_integer(), Some(3));
    assert!(!answer.stderr.contains("MARKER") && !answer.stdout.contains("MARKER"));

    // What is said and cannot be used is asked for too.
    let answer = all.run(
        &[
            "--name",
            "",
            "-c",
            &url,
            "-t",
            REGISTRATION,
            "-e",
            "local-docker",
        ],
        "two\n",
    );
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(all.config()["runners"][1]["name"].as_str(), Some("two"));
    // Nobody answers.
    let answer = all.run(&[], "");
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("the standard input has ended"),
        "{}",
        answer.stderr
    );
}

/// R5, R6: a No and a server that is not there.
#[test]
fn a_refusal_is_told_with_its_status_and_nothing_is_added() {
    let all = Registering::new();
    let answer = all.register(&["-t", "wrong"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains(
            "Failed to register runner: HTTP status code 403, Body: '{\"message\":\"403 Forbidden\"}'"
        ),
        "{}",
        answer.stderr
    );
    assert!(all.config().get("runners").is_none());

    let fault = Fault::Status(410, "Gone".to_owned());
    all.world.gitlab.served.fail("register", fault, 1);
    let answer = all.register(&[]);
    assert!(
        answer
            .stderr
            .contains("takes no registration tokens any more"),
        "{}",
        answer.stderr
    );

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let answer = all.register(&["-c", &nobody]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer
            .stderr
            .contains("Failed to register runner: cannot talk to"),
        "{}",
        answer.stderr
    );
    for text in ["{}", "<html>"] {
        all.world
            .gitlab
            .served
            .fail("register", Fault::Status(201, text.to_owned()), 1);
        assert_eq!(all.register(&[]).code, Some(1));
    }
    assert!(all.config().get("runners").is_none());
}

/// R7: wrong options.
#[test]
fn wrong_options_are_told_of() {
    let all = Registering::new();
    for args in [
        ["-e", "bad"],
        ["--max-concurrency", "many"],
        ["-l", "loud"],
        ["--nonsense", "x"],
    ] {
        assert_eq!(all.register(&args).code, Some(2), "{args:?}");
    }
    assert!(!all.world.config().exists());
}

/// R8: whatever is in a name or a token, the file says it right.
#[test]
fn values_are_written_so_that_they_are_read_again_as_they_were() {
    let all = Registering::new();
    for (n, name) in ["Clever \"J\"", "a\\b'c\"\"\"", "tab\there", "日本 #x = 1"]
        .into_iter()
        .enumerate()
    {
        let answer = all.register(&["--name", name]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        assert_eq!(all.config()["runners"][n]["name"].as_str(), Some(name));
    }
    let fault = Fault::Status(201, r#"{"token": "runt\u00f8k\"\\"}"#.to_owned());
    all.world.gitlab.served.fail("register", fault, 1);
    all.register(&[]);
    assert_eq!(
        all.config()["runners"][4]["token"].as_str(),
        Some("runtøk\"\\")
    );
}

/// R9: a token of a runner that was made before is checked, and no other is made.
#[test]
fn a_token_of_a_runner_that_was_made_before_is_checked() {
    let all = Registering::new();

    let answer = all.register(&["-t", RUNNER]);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(all.world.gitlab.served.count("register"), 0);
    let asked = all.world.gitlab.served.calls_of("verify").remove(0).json();
    assert_eq!(asked["token"], RUNNER);
    assert_eq!(all.config()["runners"][0]["token"].as_str(), Some(RUNNER));
    // It is the same machine that will ask for jobs.
    let dispatcher = all.world.run(&["--poll-cycles", "1", "-l", "error"]);
    assert_eq!(
        dispatcher.code,
        Some(1),
        "there are no keys of Clever Cloud yet"
    );
    let kept = std::fs::read_to_string(all.world.home().join("state.json.system-id")).unwrap();
    assert_eq!(asked["system_id"], kept.trim());

    let answer = all.register(&["-t", "glrt-unknown"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("HTTP status code 403"),
        "{}",
        answer.stderr
    );
}

/// R9: whoever wants a runner to take jobs at once says so.
#[test]
fn a_runner_may_be_active_at_once() {
    let all = Registering::new();
    let answer = all.register(&["--active"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(
        all.world.gitlab.served.calls_of("register")[0].json()["active"],
        true
    );
}

/// R9: on a terminal the token is not shown while it is typed.
#[test]
fn a_token_is_not_shown_while_it_is_typed() {
    let all = Registering::new();
    let url = all.world.gitlab.url();
    let config = all.world.config();
    let state = all.world.state_file();
    let program = support::path_of("heptapod-paas-runner-register");
    // `script` gives it a terminal, and what that shows.
    let line = format!(
        "{program} --name one -c {url} -e local-docker --max-concurrency 1 --state-file-path {} {}",
        state.display(),
        config.display()
    );
    let mut command = std::process::Command::new("script");
    support::git::hermetic(&mut command)
        .args(["-qec", &line, "/dev/null"])
        .current_dir(all.world.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    // It is typed when it is asked for.
    while !String::from_utf8_lossy(&shown).contains("registration token: ") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stdout, &mut byte).unwrap();
        shown.push(byte[0]);
    }
    stdin
        .write_all(format!("{REGISTRATION}\n").as_bytes())
        .unwrap();
    std::io::Read::read_to_end(&mut stdout, &mut shown).unwrap();
    assert!(child.wait().unwrap().success());

    assert!(!String::from_utf8_lossy(&shown).contains("MARKER"));
    assert_eq!(
        all.world.gitlab.served.calls_of("register")[0].json()["token"],
        REGISTRATION
    );
}
