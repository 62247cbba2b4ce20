//! What a runner says of itself.

use serde_json::{Map, Value, json};

/// The machine that asks for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// By what it is told from others with the same token.
    pub system_id: String,
    /// The name of the program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, or what stands for that.
    pub revision: String,
    /// Such as `linux`.
    pub platform: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// How jobs are run in the end, such as `docker`.
    pub executor: String,
    /// With what shell.
    pub shell: String,
    /// What jobs may ask for.
    pub features: Features,
}

/// What jobs may ask for, by GitLab's names. GitLab fails a job that needs another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// What there is.
    pub offered: &'static [&'static str],
    /// What there is not, where that is said.
    pub lacking: &'static [&'static str],
}

impl Machine {
    /// It, as it is sent.
    pub(super) fn info(&self) -> Value {
        let features = |names: &[&str], there: bool| {
            let all = names.iter().map(|name| ((*name).to_owned(), there.into()));
            all.collect::<Map<String, Value>>()
        };
        let mut all = features(self.features.offered, true);
        all.extend(features(self.features.lacking, false));
        json!({
            "name": self.name,
            "version": self.version,
            "revision": self.revision,
            "platform": self.platform,
            "architecture": self.architecture,
            "executor": self.executor,
            "shell": self.shell,
            "features": all,
        })
    }
}
