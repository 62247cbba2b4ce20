//! People at their terminals: one holds a lock by `pool run`, others wait for it, and Ctrl-C leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use support::git::hermetic;
use support::path_of;
use support::server::program;
use support::{TestRemote, wait_until};

/// A tmux of our own, in which each window is somebody's terminal.
struct Tmux {
    folder: TempDir,
    uri: String,
}

impl Tmux {
    fn new(remote: &TestRemote) -> Tmux {
        let tmux = Tmux {
            folder: tempfile::tempdir().unwrap(),
            uri: remote.uri(),
        };
        tmux.run(&[
            "new-session",
            "-d",
            "-s",
            "anna",
            "-x",
            "100",
            "-y",
            "40",
            "sh",
        ]);
        for name in ["bob", "carol"] {
            tmux.run(&[
                "new-session",
                "-d",
                "-s",
                name,
                "-x",
                "100",
                "-y",
                "40",
                "sh",
            ]);
        }
        tmux
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new(program("tmux"));
        hermetic(&mut command)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("TMUX_TMPDIR", self.folder.path())
            .env("POOL", path_of("pool"))
            .env("POOL_URI", &self.uri)
            .env("POOL_NAME", "aws")
            .env("POOL_RETRY_DELAY", "200ms")
            .current_dir(self.folder.path())
            .args(["-f", "/dev/null"])
            .args(args);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "tmux {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Has somebody run a command while holding the lock, and then show its exit code.
    fn types(&self, who: &str, command: &str) {
        let line = format!(
            "\"$POOL\" --holder {who} run env-1 -- sh -c '{command}'; echo \"it ended with $?\"\n"
        );
        fs::write(self.folder.path().join(who), line).unwrap();
        self.run(&["send-keys", "-t", who, &format!(". ./{who}"), "Enter"]);
    }

    fn presses_ctrl_c(&self, who: &str) {
        self.presses(who, "C-c");
    }

    fn presses(&self, who: &str, key: &str) {
        self.run(&["send-keys", "-t", who, key]);
    }

    /// Types a line into somebody's shell.
    fn types_line(&self, who: &str, line: &str) {
        self.run(&["send-keys", "-t", who, "-l", line]);
        self.presses(who, "Enter");
    }

    /// Waits until somebody's screen shows all of this.
    fn sees(&self, who: &str, words: &[&str]) {
        let mut screen = String::new();
        wait_until(&format!("{who} sees {words:?}"), || {
            screen = self.run(&["capture-pane", "-p", "-J", "-t", who]);
            words.iter().all(|word| screen.contains(word))
        });
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The server of this folder's socket, which has no other sessions than ours.
        let _ = Command::new("tmux")
            .env("TMUX_TMPDIR", self.folder.path())
            .arg("kill-server")
            .output();
    }
}

#[test]
fn one_holds_others_wait_and_see_who_it_is_and_ctrl_c_leaves_nothing_behind() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let tmux = Tmux::new(&remote);
    let tickets = || remote.git(&["for-each-ref", "refs/pool-queue"]);
    let holds =
        "trap \"echo x >> heard\" INT; echo at work; while [ ! -e done ]; do sleep 0.05; done";

    tmux.types("anna", holds);
    tmux.sees("anna", &["at work"]);
    tmux.types("bob", "echo now it is mine; sleep 1000");
    tmux.sees("bob", &["env-1 is held since", "anna", "Ctrl-C gives up"]);
    wait_until("bob is in line", || !tickets().is_empty());
    tmux.types("carol", "echo never");
    tmux.sees("carol", &["place 2 of 2 in line", "anna"]);

    tmux.presses_ctrl_c("carol");
    tmux.sees("carol", &["nothing is claimed", "it ended with 130"]);
    assert_eq!(tickets().lines().count(), 1, "{}", tickets());

    // From the terminal, and not from `pool` as well.
    let heard = tmux.path().join("heard");
    tmux.presses_ctrl_c("anna");
    wait_until("her command hears it", || heard.exists());
    fs::write(tmux.path().join("done"), "").unwrap();
    tmux.sees("anna", &["it ended with 0"]);
    assert_eq!(fs::read_to_string(&heard).unwrap(), "x\n");

    tmux.sees("bob", &["now it is mine"]);
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    tmux.presses_ctrl_c("bob");
    tmux.sees("bob", &["it ended with 130"]);
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
    assert_eq!(tickets(), "");
    assert_eq!(remote.subjects()[0], "bob unclaiming: env-1");
}

/// The states of the processes whose command lines have this in them, and are not those of who starts them.
fn states(of: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let folders = processes.map(|entry| entry.path());
    let those = folders.filter(|folder| {
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(of) && !line.contains("tmux")
    });
    let stats = those.filter_map(|folder| fs::read_to_string(folder.join("stat")).ok());
    let state = |stat: String| Some(stat.rsplit(") ").next()?.split(' ').next()?.to_owned());
    stats.filter_map(state).collect()
}

#[test]
fn a_shell_stops_a_run_with_its_command_and_lets_both_go_on() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let tmux = Tmux::new(&remote);
    let mark = "sleep 1234.5";
    let all_are = |wanted: &str| {
        let states = states(mark);
        states.len() >= 2 && states.iter().all(|state| state == wanted)
    };

    tmux.types("anna", &format!("echo at work; {mark}"));
    tmux.sees("anna", &["at work"]);
    tmux.presses("anna", "C-z");
    wait_until("the run and its command are stopped", || all_are("T"));
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    tmux.types_line("anna", "fg");
    wait_until("both go on", || all_are("S"));

    // In the background as well, from where it can be brought back.
    tmux.presses("anna", "C-z");
    wait_until("the run and its command are stopped", || all_are("T"));
    tmux.types_line("anna", "bg");
    wait_until("both go on", || all_are("S"));
    tmux.types_line("anna", "fg");
    tmux.presses_ctrl_c("anna");
    tmux.types_line("anna", "echo its code is $?");
    tmux.sees("anna", &["its code is 130"]);
    wait_until("the lock is free", || {
        remote.list("aws/unclaimed") == ["env-1"]
    });
}

#[test]
fn a_run_in_the_background_whose_command_wants_the_terminal_is_stopped_and_gets_it_with_fg() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let tmux = Tmux::new(&remote);
    let command = "read word; echo the word is $word";
    tmux.types_line(
        "anna",
        &format!("\"$POOL\" --holder anna run env-1 -- sh -c '{command}' &"),
    );
    wait_until("the command wants to read and is stopped", || {
        let states = states("the word is");
        states.len() >= 2 && states.iter().all(|state| state == "T")
    });
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);

    tmux.types_line("anna", "fg");
    wait_until("it goes on", || {
        states("the word is").iter().all(|state| state == "S")
    });
    tmux.types_line("anna", "swordfish");

    tmux.sees("anna", &["the word is swordfish"]);
    wait_until("the lock is free", || {
        remote.list("aws/unclaimed") == ["env-1"]
    });
}

#[test]
fn ctrl_c_at_a_terminal_gives_the_lock_back_once_the_last_process_is_gone() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let tmux = Tmux::new(&remote);
    let file = tmux.path().join("go-on");
    // A shell has what it starts in the background ignore Ctrl-C.
    let command = format!(
        "(while [ ! -e {} ]; do sleep 0.05; done) & echo at work; wait",
        file.display()
    );

    tmux.types("anna", &command);
    tmux.sees("anna", &["at work"]);
    tmux.presses_ctrl_c("anna");
    tmux.sees(
        "anna",
        &["the command has ended, but what it has started goes on"],
    );
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    fs::write(file, "").unwrap();

    tmux.sees("anna", &["it ended with 130"]);
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
}
