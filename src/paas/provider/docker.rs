//! The Docker on this machine, for trying things out: an image for each job, which is run here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use child::Environment;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{self, Ended, RunError};
use super::{Code, Doing, Found, Kind, Launch, Order, Provider, ProviderError};
use crate::context::Context;
use crate::resource::Resource;

/// How long a call of `docker` may take, other than the run itself.
const LIMIT: Duration = Duration::from_secs(110);

/// After how many refusals a container of a job that is over is taken away too.
const PATIENCE: u32 = 5;

/// Docker, as a runner uses it.
pub struct Docker {
    runner: String,
    socket: PathBuf,
    temporary: PathBuf,
    /// How often an image was still in use.
    in_use: RefCell<HashMap<String, u32>>,
}

impl Docker {
    /// The Docker behind a socket; `runner` is the short name of the runner. What is built is in the folder `temporary` for
    /// a moment.
    pub fn new(runner: &str, socket: &Path, temporary: &Path) -> Docker {
        Docker {
            runner: runner.to_owned(),
            socket: socket.to_owned(),
            temporary: temporary.to_owned(),
            in_use: RefCell::default(),
        }
    }

    async fn call(&self, action: &'static str, args: &[&OsStr]) -> Result<Ended, ProviderError> {
        let host = format!("unix://{}", self.socket.display());
        let set = [("DOCKER_HOST", &host[..])];
        let environment = Environment {
            set: &set,
            removed: &[],
        };
        let ended = process::run("docker", args, environment, b"", LIMIT).await;
        ended.map_err(|err| of_run(action, "docker", &err))
    }

    async fn build(&self, tag: &str, context: &Context) -> Result<(), ProviderError> {
        let folder = self.write(context).map_err(|err| {
            let details = format!("cannot write what is to be built: {err}");
            ProviderError::new("build", Kind::Refused, details)
        })?;
        let args = [
            "build".as_ref(),
            "-t".as_ref(),
            tag.as_ref(),
            folder.path().as_os_str(),
        ];
        let ended = self.call("build", &args).await?;
        succeeded("build", &ended)
    }

    fn write(&self, context: &Context) -> std::io::Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("job-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.temporary)?;
        for (name, text) in context.files() {
            let mut file = journal::private(&folder.path().join(name), true)?;
            file.write_all(text.as_bytes())?;
        }
        Ok(folder)
    }

    async fn start(
        &self,
        resource: &Resource,
        context: &Context,
        again: bool,
    ) -> Result<Launch, ProviderError> {
        let tag = tag_of(resource)?;
        if again {
            return match self.containers(tag).await?.is_empty() {
                false => Ok(Launch::Started),
                true => Err(ProviderError::new(
                    "run",
                    Kind::Refused,
                    "the dispatcher ended while the job was being started, and no job is started twice",
                )),
            };
        }
        self.build(tag, context).await?;
        let volume = format!("{}:/var/run/docker.sock", self.socket.display());
        let args = ["run", "--rm", "-t", "-v", &volume, tag].map(OsStr::new);
        let host = format!("unix://{}", self.socket.display());
        let set = [("DOCKER_HOST", &host[..])];
        let environment = Environment {
            set: &set,
            removed: &[],
        };
        let mut child = child::detached("docker", &args, environment)
            .map_err(|err| of_run("run", "docker", &RunError::Start(err)))?;
        Ok(Launch::Attended(Box::pin(async move {
            match child.wait().await.map(|status| status.code()) {
                Ok(Some(0)) => Ok(()),
                Ok(code) => Err(ended_with("run", code, String::new())),
                Err(err) => Err(ProviderError::new("run", Kind::Unknown, err.to_string())),
            }
        })))
    }

    /// The containers that run an image.
    async fn containers(&self, tag: &str) -> Result<Vec<String>, ProviderError> {
        let filter = format!("ancestor={tag}");
        let args = ["ps", "--quiet", "--filter", &filter].map(OsStr::new);
        let ended = self.call("ps", &args).await?;
        succeeded("ps", &ended)?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    async fn remove(&self, resource: &Resource) -> Result<(), ProviderError> {
        let tag = tag_of(resource)?;
        let ended = self.call("rmi", &["rmi", tag].map(OsStr::new)).await?;
        let words = String::from_utf8_lossy(&ended.stderr).to_ascii_lowercase();
        if ended.code == Some(0) || words.contains("no such image") {
            self.in_use.borrow_mut().remove(tag);
            return Ok(());
        }
        let refusals = {
            let mut in_use = self.in_use.borrow_mut();
            let n = in_use.entry(tag.to_owned()).or_default();
            *n += 1;
            *n
        };
        if refusals > PATIENCE {
            for container in self.containers(tag).await? {
                let args = ["rm", "--force", &container].map(OsStr::new);
                self.call("rm", &args).await?;
            }
        }
        Err(ProviderError {
            kind: Kind::Passing,
            ..ended_with("rmi", ended.code, ended.words())
        })
    }
}

impl Provider for Docker {
    fn name_of(&self, job: u64) -> String {
        format!("hpd-job-{}-{job}", self.runner.to_lowercase())
    }

    fn create<'a>(&'a self, order: &'a Order, _: &'a Value) -> Doing<'a, Resource> {
        // It is made when it is built.
        Box::pin(async move { Ok(Resource::Tag(order.name.clone())) })
    }

    fn find<'a>(&'a self, name: &'a str, _: Option<&'a str>) -> Doing<'a, Option<Resource>> {
        Box::pin(async move { Ok(Some(Resource::Tag(name.to_owned()))) })
    }

    fn launch<'a>(
        &'a self,
        resource: &'a Resource,
        context: &'a Context,
        again: bool,
    ) -> Doing<'a, Launch> {
        Box::pin(self.start(resource, context, again))
    }

    fn delete<'a>(&'a self, resource: &'a Resource) -> Doing<'a, ()> {
        Box::pin(self.remove(resource))
    }

    fn list<'a>(&'a self, _: &'a [String]) -> Doing<'a, Vec<Found>> {
        // Names do not say whose images they are: what others made is not ours to take away.
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn tag_of(resource: &Resource) -> Result<&str, ProviderError> {
    match resource {
        Resource::Tag(tag) => Ok(tag),
        Resource::App { .. } | Resource::Made { .. } => Err(ProviderError::new(
            "find-image",
            Kind::Refused,
            "it was made by another executor than this runner has now",
        )),
    }
}

fn succeeded(action: &'static str, ended: &Ended) -> Result<(), ProviderError> {
    match ended.code {
        Some(0) => Ok(()),
        code => Err(ended_with(action, code, ended.words())),
    }
}

fn ended_with(action: &'static str, code: Option<i32>, words: String) -> ProviderError {
    ProviderError {
        transport: Code(code.map(|code| code.to_string())),
        ..ProviderError::new(action, Kind::Refused, words)
    }
}

/// What it means that a program did not end by itself.
pub(super) fn of_run(action: &'static str, program: &str, err: &RunError) -> ProviderError {
    let kind = match err {
        RunError::Start(_) => Kind::Refused,
        RunError::Slow(_) => Kind::Unknown,
    };
    let program = terminal::one_line(program);
    ProviderError::new(
        action,
        kind,
        format!("`{program}`: {}", terminal::chain(err)),
    )
}

/// Makes the folder for what is there for a moment, and removes what a run that was killed has left in it.
///
/// # Errors
/// Those of the system.
pub fn make_temporary(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::remove_dir_all(folder) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(folder)
}
