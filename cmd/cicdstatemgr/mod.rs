//! `cicdstatemgr`: a document for each run of a pipeline, kept without a lost update.
//!
//! Exit codes: 0 done, 1 an error, 2 wrong arguments, 3 a condition does not hold.

mod errors;
mod files;
mod flags;
mod news;
mod run;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::resource;

use errors::Failure;
use flags::Flags;

/// The most memory for data, in bytes, and the most time of the processor, in seconds. A document of ten megabytes takes a
/// twentieth of it. A template could take whatever there is.
const LIMITS: [(Resource, u64); 2] = [
    (Resource::Data, 2 * 1024 * 1024 * 1024),
    (Resource::Cpu, 300),
];

/// Runs it.
pub fn main() -> ExitCode {
    limit();
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (flags, changes) = match Flags::read(std::env::args_os(), &env) {
        Ok(read) => read,
        Err(err) => err.exit(),
    };
    let mut news = match news::News::new(&flags.log_level) {
        Ok(news) => news,
        Err(err) => return end(&mut news::News::default(), &err),
    };
    let done = resource::block_on(async { Ok(run::run(&flags, &changes, &mut news).await) });
    match done.map_err(Failure::from).and_then(|done| done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => end(&mut news, &err),
    }
}

fn end(news: &mut news::News, err: &Failure) -> ExitCode {
    news.fail(&err.to_string());
    ExitCode::from(err.code())
}

/// Bounds what this process can take, if it is not bounded more already.
fn limit() {
    for (resource, most) in LIMITS {
        let now = getrlimit(resource);
        let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        // Without it there is no bound, and nothing else is different.
        let _ = setrlimit(
            resource,
            Rlimit {
                current: least(now.current),
                maximum: now.maximum,
            },
        );
    }
}
