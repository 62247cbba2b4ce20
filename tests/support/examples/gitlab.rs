//! The simulated GitLab as a program, for demonstrations and measurements: says the URL of its API, then reads a command on
//! each line of its standard input and answers with a line.
//!
//! ```text
//! pipeline ID REF STATUS    adds a pipeline
//! history ID N              adds N pipelines that are over, from this id on
//! plan PIPELINE NAME        adds a job of this name that no runner has taken yet; answers with its id
//! start PIPELINE NAME       a runner takes a job of this name; answers with the job's id
//! job ID STATUS             makes something else become of a job
//! end PIPELINE STATUS       makes something else become of a pipeline
//! requests                  answers with how many requests there were
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;

use support::server::gitlab::SimulatedGitlab;

fn main() {
    let gitlab = SimulatedGitlab::start();
    println!("{}", gitlab.api());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        match words[..] {
            ["pipeline", _, ref_name, status] => gitlab.pipeline(number(1), ref_name, status),
            ["history", _, _] => {
                for id in number(1)..number(1) + number(2) {
                    gitlab.pipeline(id, "main", "success");
                }
            }
            ["plan", _, name] => {
                println!("{}", gitlab.job(number(1), name, "created"));
                continue;
            }
            ["start", _, name] => {
                println!("{}", gitlab.start_job(number(1), name));
                continue;
            }
            ["job", _, status] => gitlab.set_job(number(1), status),
            ["end", _, status] => gitlab.set_pipeline(number(1), status),
            ["requests"] => {
                println!("{}", gitlab.asked().len());
                continue;
            }
            _ => {
                println!("there is no such command");
                continue;
            }
        }
        println!("ok");
    }
}
