//! A simulated GitLab and a simulated Clever Cloud as a program, for demonstrations and measurements: says the URLs of both
//! and a file with the certificate that is to be trusted, then reads a command on each line of its standard input and answers
//! with a line.
//!
//! ```text
//! runner TOKEN            makes a runner known
//! job TOKEN [N]           adds jobs for it; answers with the id of the last one
//! end ID STATUS           ends a job
//! inner MILLISECONDS      has apps run their jobs for so long; `inner waits` has them wait
//! open                    lets everybody push over plain HTTP
//! stall CALL              stops the next call of this name at Clever Cloud for ever, before it is done
//! stalled                 waits until it is there
//! status ID               answers with what has become of a job
//! until ID STATUS         waits until that has become of it
//! launched N              waits until so many apps have got what they run
//! gone                    waits until there is no app
//! apps                    answers with how many were made, started and deleted
//! requests                answers with how many requests there were: GitLab's, Clever Cloud's, Git's
//! times                   answers with the milliseconds from grant to push of each job
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;
use std::time::Duration;

use support::server::clever::{Clever, Inner, authority};
use support::server::coordinator::Coordinator;
use support::server::served::Place;
use support::wait_until;

fn main() {
    let (gitlab, clever) = (Coordinator::start(), Clever::start());
    println!(
        "{} {} {}",
        gitlab.url(),
        clever.api(),
        authority().file().display()
    );
    let mut stopped = Vec::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        let answer = match words[..] {
            ["runner", token] => {
                gitlab.add_runner(token);
                "ok".to_owned()
            }
            ["job", token] => gitlab.add_job(token).to_string(),
            ["job", token, _] => {
                let last = (0..number(2)).map(|_| gitlab.add_job(token)).max();
                last.unwrap_or_default().to_string()
            }
            ["end", _, status] => {
                gitlab.end(number(1), status);
                "ok".to_owned()
            }
            ["inner", "waits"] => {
                clever.set_inner(Inner::Waits);
                "ok".to_owned()
            }
            ["inner", _] => {
                clever.set_inner(Inner::Runs(Duration::from_millis(number(1))));
                "ok".to_owned()
            }
            ["open"] => {
                clever.open_git();
                "ok".to_owned()
            }
            ["stall", call] => {
                let served = match call.starts_with("git") {
                    true => &clever.git,
                    false => &clever.served,
                };
                stopped.push(served.stop(call, Place::BeforeDone));
                "ok".to_owned()
            }
            ["stalled"] => {
                stopped.last().unwrap().wait();
                "ok".to_owned()
            }
            ["status", _] => gitlab.job(number(1)).status,
            ["until", _, status] => {
                wait_until(&line, || gitlab.job(number(1)).status == status);
                "ok".to_owned()
            }
            ["launched", _] => {
                wait_until(&line, || {
                    let apps = clever.apps();
                    apps.iter().filter(|app| app.n_pushes > 0).count() as u64 >= number(1)
                });
                "ok".to_owned()
            }
            ["gone"] => {
                wait_until(&line, || clever.living().is_empty());
                "ok".to_owned()
            }
            ["apps"] => {
                let apps = clever.apps();
                let pushes: u32 = apps.iter().map(|app| app.n_pushes).sum();
                let deleted = apps.iter().filter(|app| app.is_deleted).count();
                format!("{} made, {pushes} started, {deleted} deleted", apps.len())
            }
            ["requests"] => format!(
                "{} {} {}",
                gitlab.served.calls().len(),
                clever.served.calls().len(),
                clever.git.calls().len()
            ),
            ["times"] => times(&gitlab, &clever),
            _ => "there is no such command".to_owned(),
        };
        println!("{answer}");
    }
}

/// From the grant of each job to its push.
fn times(gitlab: &Coordinator, clever: &Clever) -> String {
    let apps = clever.apps();
    let times = gitlab.jobs().into_iter().filter_map(|job| {
        let app = apps.iter().find(|app| app.job() == job.id)?;
        Some((app.pushed? - job.given?).as_millis().to_string())
    });
    times.collect::<Vec<_>>().join(" ")
}
