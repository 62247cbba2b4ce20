//! `/opt/resource/in DESTINATION`: the lock that a version is about.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use pool::concourse::GetRequest;
use pool::step;

use crate::resource;

/// Runs it.
pub fn main() -> ExitCode {
    resource::run(async {
        let destination = resource::folder("in")?;
        let request = GetRequest::read(io::stdin().lock())?;
        let response = step::get(
            &request,
            &destination,
            &resource::surroundings(),
            &mut io::stderr(),
        )
        .await?;
        response
            .write(io::stdout().lock())
            .context("cannot write the answer")
    })
}
