//! `/opt/resource/out SOURCES`: one operation on the pool.

use std::io;
use std::process::ExitCode;

use pool::concourse::PutRequest;
use pool::step;

use crate::resource;

/// Runs it.
pub fn main() -> ExitCode {
    resource::run(async {
        let sources = resource::folder("out")?;
        let request = PutRequest::read(io::stdin().lock())?;
        // From here on a signal is an abort that leaves nothing behind; before, nothing has been done.
        let stop = resource::stop_on_signals()?;
        let around = resource::surroundings();
        step::put(
            &request,
            &sources,
            &around,
            stop,
            tokio::io::stdout(),
            &mut io::stderr(),
        )
        .await?;
        Ok(())
    })
}
