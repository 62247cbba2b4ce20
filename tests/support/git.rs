//! Plain git, cut off from the settings of the machine and its user.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The environment that a test's programs get, and nothing else.
pub fn hermetic(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("NO_COLOR", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Hand")
        .env("GIT_AUTHOR_EMAIL", "hand@example.com")
        .env("GIT_COMMITTER_NAME", "Hand")
        .env("GIT_COMMITTER_EMAIL", "hand@example.com")
}

/// Runs git in `folder` with `input` on stdin, and gives all of its output.
pub fn run(folder: &Path, args: &[&str], input: &[u8], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new("git");
    hermetic(&mut command).args(args).current_dir(folder);
    let mut child = command
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Runs git, which must succeed, and gives what it printed without the last newline.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args, b"", &[]);
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end_matches('\n')
        .to_owned()
}
