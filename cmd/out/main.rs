//! `/opt/resource/out SOURCES`: one operation on the pool.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use pool_resource::concourse::PutRequest;
use pool_resource::step;

#[path = "../resource.rs"]
mod resource;

fn main() -> ExitCode {
    resource::run(async {
        let sources = resource::folder("out")?;
        let request = PutRequest::read(io::stdin().lock())?;
        let response = step::put(
            &request,
            &sources,
            &resource::surroundings(),
            &mut io::stderr(),
        )
        .await?;
        response
            .write(io::stdout().lock())
            .context("cannot write the answer")
    })
}
