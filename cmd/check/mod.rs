//! `/opt/resource/check`: which versions the pool has.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use pool::concourse::{CheckRequest, write_versions};
use pool::step;

use crate::resource;

/// Runs it.
pub fn main() -> ExitCode {
    resource::run(async {
        let request = CheckRequest::read(io::stdin().lock())?;
        let versions = step::check(&request, &resource::surroundings(), &mut io::stderr()).await?;
        write_versions(io::stdout().lock(), &versions).context("cannot write the answer")
    })
}
