//! Whose apps they are: one organisation for all, or one for each group, which the group's attributes say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use gitlab::GitlabError;
use gitlab::runner::Coordinator;
use net::Secret;
use pace::Fault;
use tokio::time::Instant;

use super::super::{Kind, ProviderError};
use crate::config::Tenancy;

/// How long what a group's attributes say is taken for true: as long as the launch of one job takes.
const KEPT: Duration = Duration::from_secs(60);

/// The look-up, as errors name it.
const ACTION: &str = "find-orga";

/// An organisation, and what may act for it.
#[derive(Debug, Clone)]
pub(super) struct Organisation {
    id: String,
    token: Secret,
}

impl Organisation {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn token(&self) -> &Secret {
        &self.token
    }
}

pub(super) struct Tenants {
    tenancy: Tenancy,
    coordinator: Rc<Coordinator>,
    known: RefCell<HashMap<String, (Instant, Organisation)>>,
}

impl Tenants {
    pub fn new(tenancy: Tenancy, coordinator: Rc<Coordinator>) -> Tenants {
        Tenants {
            tenancy,
            coordinator,
            known: RefCell::default(),
        }
    }

    /// Whether each group has its own.
    pub fn are_many(&self) -> bool {
        matches!(self.tenancy, Tenancy::Many { .. })
    }

    /// Asks anew the next time.
    pub fn forget(&self, namespace: Option<&str>) {
        if let Some(namespace) = namespace {
            self.known.borrow_mut().remove(namespace);
        }
    }

    /// The organisation of a group.
    pub async fn of(&self, namespace: Option<&str>) -> Result<Organisation, ProviderError> {
        let (token, id_attribute, token_attribute) = match &self.tenancy {
            Tenancy::One {
                organisation,
                token,
            } => {
                return Ok(Organisation {
                    id: organisation.clone(),
                    token: token.clone(),
                });
            }
            Tenancy::Many {
                token,
                id_attribute,
                token_attribute,
            } => (token, id_attribute, token_attribute),
        };
        let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
            let details = "the job has no variable CI_PROJECT_ROOT_NAMESPACE, by which its organisation is found";
            return Err(ProviderError::new(ACTION, Kind::Refused, details));
        };
        if let Some((at, known)) = self.known.borrow().get(namespace)
            && at.elapsed() < KEPT
        {
            return Ok(known.clone());
        }
        let attributes = self
            .coordinator
            .attributes_of_group(namespace, token.expose())
            .await
            .map_err(|err| failed(namespace, &err))?;
        let of = |wanted: &str| {
            let found = attributes.iter().find(|(key, _)| key == wanted);
            found.map(|(_, value)| value.clone()).ok_or_else(|| {
                let details = format!(
                    "the group '{}' has no custom attribute '{wanted}'",
                    terminal::one_line(namespace)
                );
                ProviderError::new(ACTION, Kind::Refused, details)
            })
        };
        let organisation = Organisation {
            id: of(id_attribute)?.expose().to_owned(),
            token: of(token_attribute)?,
        };
        let known = (Instant::now(), organisation.clone());
        self.known.borrow_mut().insert(namespace.to_owned(), known);
        Ok(organisation)
    }
}

fn failed(namespace: &str, err: &GitlabError) -> ProviderError {
    let namespace = terminal::one_line(namespace);
    let details = match err {
        GitlabError::Refused { status: 404, .. } => format!(
            "there is no group '{namespace}' (a user's own namespace is none), or the token may not see it"
        ),
        err => format!(
            "the attributes of the group '{namespace}' cannot be read: {}",
            terminal::chain(err)
        ),
    };
    let kind = match err.is_transient() {
        true => Kind::Passing,
        false => Kind::Refused,
    };
    ProviderError {
        wait: err.retry_after(),
        ..ProviderError::new(ACTION, kind, details)
    }
}
