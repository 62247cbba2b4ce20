//! Repositories on a path of this machine: Git's own server programs, on a pipe.
//!
//! libgit2 could read and write the folder itself, but its push to a path is not a compare-and-swap, and it runs no
//! hooks. Where that does not matter, [`crate::plain`] goes without them.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use child::{Environment, Piped};
use tokio::io::AsyncReadExt;

use super::super::RemoteError;
use super::super::packet::PacketReader;
use super::aside::Aside;
use super::{Link, Service, Talk, To};

/// Variables that would make the server program work on another repository than the one on the path; they are there
/// when we are started by a hook. Source: `git rev-parse --local-env-vars`.
const OTHER_REPOSITORY: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_PROTOCOL",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What Git's own programs find around them.
pub(crate) fn environment() -> Environment<'static> {
    Environment {
        // Their last words are matched, in the parent module.
        set: &[("LC_ALL", "C")],
        removed: &OTHER_REPOSITORY,
    }
}

pub(super) fn open(link: &Arc<Link>, path: &Path, service: Service) -> Result<Talk, RemoteError> {
    let service = OsStr::new(service.name().trim_start_matches("git-"));
    // Killed in the middle of a push it could leave a lock file behind that blocks everybody.
    let Piped {
        mut child,
        stdin,
        stdout,
        mut stderr,
    } = child::piped(
        "git",
        &[service, OsStr::new("--"), path.as_os_str()],
        environment(),
    )
    .map_err(RemoteError::NoGit)?;
    let aside = Aside::default();
    let heard = aside.clone();
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut bytes).await {
            heard.hear(&bytes[..n]);
        }
        heard.end();
        // Reaps it; how it ended shows in the conversation.
        let _ = child.wait().await;
    });
    Ok(Talk {
        link: link.clone(),
        reader: PacketReader::new(Box::new(stdout), link.access.route.limits.silence),
        to: To::Pipe {
            writer: Box::new(stdin),
            aside: Some(aside),
            session: None,
            is_sending: false,
        },
    })
}
