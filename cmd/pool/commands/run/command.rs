//! The command of `pool run`: what it finds in its environment, and how it is started.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use child::{Environment, Heirs, Recipient, Scratch};
use git::object::full_id;
use pool::lock::{ClaimId, LockName, PoolName};
use pool::step::Watch;
use tokio::process::Child;

use super::Context;
use crate::pool::settings;

/// `ENOEXEC`: the file is no program of a known format.
const NOT_A_PROGRAM: i32 = rustix::io::Errno::NOEXEC.raw_os_error();

/// A command that is to run while a claim stands.
pub struct Planned<'a> {
    /// The program and its arguments.
    pub words: &'a [OsString],
    /// Whether the end of the command is enough, though processes that it has started go on.
    pub close: bool,
    /// Whether it finds our credentials in its environment.
    pub pass_credentials: bool,
    /// The claim.
    pub claim: ClaimId,
    /// Its number, if it has one.
    pub number: Option<u64>,
    /// The pool that is spoken of.
    pub pool: &'a PoolName,
    /// What is held by it.
    pub locks: &'a [LockName],
    /// The claims of the commands in which we run ourselves.
    pub within: &'a [ClaimId],
}

/// The variable with the claims of all commands in which one runs, from the outermost on, with spaces between them.
pub const WITHIN: &str = "POOL_WITHIN";

/// The claims in a value of [`WITHIN`].
pub fn within(value: Option<String>) -> Vec<ClaimId> {
    let value = value.unwrap_or_default();
    let claims = value.split_whitespace().filter_map(full_id);
    claims.map(ClaimId).collect()
}

/// Those in which a command runs that is planned.
fn claims_around(planned: &Planned<'_>) -> String {
    let claims = planned.within.iter().chain([&planned.claim]);
    let claims: Vec<String> = claims.map(ClaimId::to_string).collect();
    claims.join(" ")
}

/// The folder with the metadata of the locks, a file for each. Only we can read it.
pub fn metadata(context: &Context, watch: &Watch, locks: &[LockName]) -> Result<Scratch> {
    let folder = Scratch::new(&context.around.temporary, "pool-metadata-")
        .context("cannot make a folder for the metadata")?;
    for lock in locks {
        let file = folder
            .path()
            .join(file_of(&context.source.pool, lock, locks));
        let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let metadata = watch.metadata(lock)?;
        made.and_then(|()| std::fs::write(&file, metadata))
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(folder)
}

/// Where in that folder the metadata of a lock is: by its name. But those of the pool that is spoken of are by their full names
/// where one of them is called like the folder of another pool.
fn file_of(pool: &PoolName, lock: &LockName, locks: &[LockName]) -> PathBuf {
    let folders = locks.iter().filter(|lock| lock.pool().is_some());
    let folders = folders.filter_map(|lock| Some(lock.as_str().split_once('/')?.0));
    let is_folder = |name: &LockName| folders.clone().any(|folder| folder == name.as_str());
    match locks.iter().any(is_folder) {
        true => lock.full(pool).as_str().into(),
        false => lock.as_str().into(),
    }
}

/// Starts the command, which finds in its environment what is held, and no credentials unless they are to be passed on. Its
/// descendants are known, unless they are not to be waited for.
pub fn start(
    planned: &Planned<'_>,
    metadata: &Scratch,
) -> io::Result<(Child, Recipient, Option<Heirs>)> {
    let (program, rest) = planned
        .words
        .split_first()
        .ok_or_else(|| io::Error::other("there is no command"))?;
    let names: Vec<&str> = planned.locks.iter().map(LockName::as_str).collect();
    let first: PathBuf = match planned.locks.first() {
        Some(lock) => metadata
            .path()
            .join(file_of(planned.pool, lock, planned.locks)),
        None => metadata.path().to_owned(),
    };
    let variables = [
        ("POOL_LOCK_NAME", names.join("\n").into()),
        ("POOL_METADATA_FILE", first.into()),
        ("POOL_METADATA_DIR", metadata.path().into()),
        ("POOL_CLAIM", planned.claim.to_string().into()),
        (WITHIN, claims_around(planned).into()),
    ];
    let (mut removed, changed) = match planned.pass_credentials {
        true => (Vec::new(), Vec::new()),
        false => settings::Environment::of_process().withheld(),
    };
    // That of a claim around this one is not its own.
    const NUMBER: &str = "POOL_CLAIM_NUMBER";
    removed.push(NUMBER);
    let number = planned.number.map(|n| (NUMBER, n.to_string().into()));
    let set: Vec<_> = variables.into_iter().chain(number).chain(changed).collect();
    let environment = Environment {
        set: &set,
        removed: &removed,
    };
    let start = |program: &OsStr, words: &[OsString]| match planned.close {
        true => child::start(program, words, &environment)
            .map(|(child, recipient)| (child, recipient, None)),
        false => child::start_with_heirs(program, words, &environment)
            .map(|(child, recipient, heirs)| (child, recipient, Some(heirs))),
    };
    match start(program, rest) {
        // A shell runs a script that does not say by what it is run, and so do we.
        Err(err) if err.raw_os_error() == Some(NOT_A_PROGRAM) => {
            let Some(script) = script(program) else {
                return Err(err);
            };
            let words: Vec<_> = [script.into_os_string()]
                .into_iter()
                .chain(rest.iter().cloned())
                .collect();
            start("sh".as_ref(), &words)
        }
        started => started,
    }
}

/// The file that a name without a known format stands for, if it is a text: not what only looks like a program to another
/// machine.
fn script(program: &OsStr) -> Option<PathBuf> {
    let name = Path::new(program);
    let file = if name.components().count() > 1 || program.as_bytes().contains(&b'/') {
        Some(name.to_owned())
    } else {
        let path = std::env::var_os("PATH")?;
        let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
        files.find(|file| file.is_file())
    };
    let file = file?;
    let mut start = Vec::new();
    let looked_at = 512;
    std::fs::File::open(&file)
        .ok()?
        .take(looked_at)
        .read_to_end(&mut start)
        .ok()?;
    let first_line = start.split(|byte| *byte == b'\n').next()?;
    (!first_line.contains(&0)).then_some(file)
}
