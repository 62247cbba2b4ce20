//! What was made for a job, as state files name it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was made for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resource {
    /// An app at Clever Cloud. There are no credentials in it.
    App {
        /// Its id.
        id: String,
        /// The group whose organisation it is in; `None` where there is one for all.
        gitlab_namespace: Option<String>,
        /// Where its source is pushed to.
        deploy_url: String,
    },
    /// What a provider of the user's made.
    Made {
        /// Its id.
        id: String,
        /// What else the provider wants to know of it.
        #[serde(default)]
        data: Map<String, Value>,
    },
    /// An image of the local Docker.
    Tag(String),
}

impl Resource {
    /// What messages call it.
    pub fn id(&self) -> &str {
        match self {
            Resource::App { id, .. } | Resource::Made { id, .. } | Resource::Tag(id) => id,
        }
    }
}
