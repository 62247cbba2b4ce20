//! Apps of Clever Cloud: one for each job, whose source is pushed by Git, which starts it.
//!
//! A machine counts as started when its repository has the branch: only we know where that is, and nothing is ever pushed
//! there but once.

mod api;
mod flavors;
mod push;
mod tenants;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use gitlab::runner::Coordinator;
use net::http::Method;
use net::{Limits, NetError, Proxies, Route, Secret};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::{Doing, Found, Kind, Launch, Order, Provider, ProviderError};
use crate::config;
use crate::context::Context;
use crate::naming::Naming;
use crate::resource::Resource;
use api::Api;
use flavors::Flavors;
use tenants::{Organisation, Tenants};

/// Clever Cloud, for one runner.
pub struct Clever {
    settings: config::Clever,
    naming: Naming,
    api: Api,
    flavors: Flavors,
    tenants: Tenants,
    proxies: Proxies,
    temporary: PathBuf,
}

impl Clever {
    /// Makes it ready; asks nobody yet. What is pushed is in the folder `temporary` for a moment.
    ///
    /// # Errors
    /// [`NetError`] when the API cannot be reached by these settings.
    pub fn new(
        settings: &config::Clever,
        naming: Naming,
        coordinator: Rc<Coordinator>,
        proxies: &Proxies,
        temporary: &Path,
    ) -> Result<Clever, NetError> {
        let route = route(proxies, &settings.api)?;
        Ok(Clever {
            api: Api::new(&settings.api, &route)?,
            flavors: Flavors::new(settings),
            tenants: Tenants::new(settings.tenancy.clone(), coordinator),
            settings: settings.clone(),
            naming,
            proxies: proxies.clone(),
            temporary: temporary.to_owned(),
        })
    }

    async fn version(&self) -> Result<Value, ProviderError> {
        const ACTION: &str = "find-instance-version";
        let path = ["products", "instances"];
        let products = self.api.get(ACTION, &path, &[]).await?;
        let docker = products.as_array().into_iter().flatten();
        let mut docker =
            docker.filter(|one| one.get("name").and_then(Value::as_str) == Some("Docker"));
        match docker.next().and_then(|one| one.get("version")) {
            Some(version) => Ok(version.clone()),
            None => Err(ProviderError::new(
                ACTION,
                Kind::Refused,
                "there is no instance type with the name Docker",
            )),
        }
    }

    async fn ask_before(&self, order: &Order) -> Result<Value, ProviderError> {
        let version = self.version().await?;
        let flavor = order.flavor.as_deref();
        let flavors = self.flavors.of_job(&self.api, flavor).await?;
        self.tenants.of(order.namespace.as_deref()).await?;
        Ok(json!({"version": version, "flavors": flavors}))
    }

    async fn make(&self, order: &Order, prepared: &Value) -> Result<Resource, ProviderError> {
        let version = &prepared["version"];
        let flavors = prepared["flavors"].as_array();
        // Asked for a moment ago, and known still; where not, nothing was made yet.
        let owner = self.tenants.of(order.namespace.as_deref()).await;
        let owner = owner.map_err(|err| ProviderError {
            kind: match err.kind {
                Kind::Unknown => Kind::Passing,
                kind => kind,
            },
            ..err
        })?;
        let path = ["organisations", owner.id(), "applications"];
        let mut full = None;
        for flavor in flavors.into_iter().flatten() {
            for zone in &self.settings.zones {
                let app = json!({
                    "zone": zone,
                    "instanceLifetime": "TASK",
                    "instanceType": "docker",
                    "deploy": "git",
                    "instanceVariant": self.settings.variant,
                    "maxInstances": 1,
                    "minInstances": 1,
                    "instanceVersion": version,
                    "minFlavor": flavor,
                    "maxFlavor": flavor,
                    "name": order.name,
                });
                let made = self
                    .api
                    .change("create-app", Method::POST, &path, &owner, Some(&app))
                    .await;
                match made {
                    Ok(app) => return self.resource(&app, order.namespace.clone()),
                    Err(err) if err.kind == Kind::NoRoom => full = Some(err),
                    Err(err) => return Err(err),
                }
            }
        }
        Err(full.unwrap_or_else(|| {
            ProviderError::new("create-app", Kind::Refused, "there is no zone to try")
        }))
    }

    fn resource(&self, app: &Value, namespace: Option<String>) -> Result<Resource, ProviderError> {
        let id = app.get("id").and_then(Value::as_str);
        let url = app.pointer("/deployment/httpUrl").and_then(Value::as_str);
        let (Some(id), Some(url)) = (id, url) else {
            let details = "the answer has no id, or no address to push to";
            return Err(ProviderError::new("create-app", Kind::Unknown, details));
        };
        Ok(Resource::App {
            id: id.to_owned(),
            gitlab_namespace: namespace.filter(|_| self.tenants.are_many()),
            deploy_url: url.to_owned(),
        })
    }

    async fn set_environment(&self, id: &str, owner: &Organisation) -> Result<(), ProviderError> {
        let mut env = Map::new();
        env.insert("CC_MOUNT_DOCKER_SOCKET".to_owned(), "true".into());
        for (name, value) in &self.settings.extra_env {
            env.insert(name.clone(), value.clone().into());
        }
        let path = ["organisations", owner.id(), "applications", id, "env"];
        let env = Value::Object(env);
        self.api
            .change("set-env", Method::PUT, &path, owner, Some(&env))
            .await
            .map(drop)
    }

    /// Waits until the Git server has the app's repository, where it says that it has not.
    async fn wait_for_repository(
        &self,
        id: &str,
        owner: &Organisation,
    ) -> Result<(), ProviderError> {
        let began = Instant::now();
        let path = ["organisations", owner.id(), "applications", id];
        loop {
            let app = self.api.get_of("find-app", &path, owner).await?;
            let state = app.pointer("/deployment/repoState").and_then(Value::as_str);
            if state.is_none_or(|state| state == "CREATED") {
                return Ok(());
            }
            if began.elapsed() >= self.settings.repository_timeout {
                let details = format!(
                    "the repository of the app is not there after {}",
                    humantime::format_duration(self.settings.repository_timeout)
                );
                return Err(ProviderError::new("wait-for-repo", Kind::Passing, details));
            }
            sleep(self.settings.repository_step).await;
        }
    }

    async fn start(
        &self,
        resource: &Resource,
        context: &Context,
        again: bool,
    ) -> Result<Launch, ProviderError> {
        let (id, namespace, url) = app(resource)?;
        let owner = self.tenants.of(namespace).await?;
        let target = push::Target::new(
            url,
            &self.settings.auth_user,
            owner.token(),
            &self.proxies,
            &self.temporary,
        )?;
        if again && target.has_branch().await? {
            return Ok(Launch::Started);
        }
        self.set_environment(id, &owner).await?;
        self.wait_for_repository(id, &owner).await?;
        target.push(context).await?;
        Ok(Launch::Started)
    }

    async fn remove(&self, resource: &Resource) -> Result<(), ProviderError> {
        let (id, namespace, _) = app(resource)?;
        let owner = self.tenants.of(namespace).await?;
        let path = ["organisations", owner.id(), "applications", id];
        let gone = self
            .api
            .change("delete-app", Method::DELETE, &path, &owner, None)
            .await;
        match gone {
            Err(err) if err.transport.0.as_deref() == Some("404") => Ok(()),
            Err(err) => {
                // A token may have been replaced.
                self.tenants.forget(namespace);
                Err(err)
            }
            Ok(_) => Ok(()),
        }
    }

    async fn apps_of(&self, namespace: Option<&str>) -> Result<Vec<Found>, ProviderError> {
        let owner = self.tenants.of(namespace).await?;
        let path = ["organisations", owner.id(), "applications"];
        let apps = self.api.get_of("list-apps", &path, &owner).await?;
        let apps = apps.as_array().into_iter().flatten();
        Ok(apps
            .filter_map(|app| {
                let name = app.get("name").and_then(Value::as_str)?;
                let resource = self.resource(app, namespace.map(str::to_owned));
                self.naming.is_own(name).then_some(Found {
                    name: name.to_owned(),
                    resource: resource.ok()?,
                })
            })
            .collect())
    }

    async fn all(&self, namespaces: &[String]) -> Result<Vec<Found>, ProviderError> {
        if !self.tenants.are_many() {
            return self.apps_of(None).await;
        }
        let mut all = Vec::new();
        let mut failed = None;
        for namespace in namespaces {
            match self.apps_of(Some(namespace)).await {
                Ok(found) => all.extend(found),
                Err(err) => failed = Some(err),
            }
        }
        match failed {
            // What one group's settings lack is no reason to leave what another one has.
            Some(err) if all.is_empty() => Err(err),
            _ => Ok(all),
        }
    }
}

impl Provider for Clever {
    fn name_of(&self, job: u64) -> String {
        self.naming.of(job)
    }

    fn prepare<'a>(&'a self, order: &'a Order) -> Doing<'a, Value> {
        Box::pin(self.ask_before(order))
    }

    fn create<'a>(&'a self, order: &'a Order, prepared: &'a Value) -> Doing<'a, Resource> {
        Box::pin(self.make(order, prepared))
    }

    fn find<'a>(
        &'a self,
        name: &'a str,
        namespace: Option<&'a str>,
    ) -> Doing<'a, Option<Resource>> {
        Box::pin(async move {
            let apps = self.apps_of(namespace).await?;
            let mut named = apps.into_iter().filter(|app| app.name == name);
            Ok(named.next().map(|app| app.resource))
        })
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

    fn list<'a>(&'a self, namespaces: &'a [String]) -> Doing<'a, Vec<Found>> {
        Box::pin(self.all(namespaces))
    }
}

fn app(resource: &Resource) -> Result<(&str, Option<&str>, &str), ProviderError> {
    match resource {
        Resource::App {
            id,
            gitlab_namespace,
            deploy_url,
        } => Ok((id, gitlab_namespace.as_deref(), deploy_url)),
        Resource::Made { .. } | Resource::Tag(_) => Err(ProviderError::new(
            "find-app",
            Kind::Refused,
            "it was made by another executor than this runner has now",
        )),
    }
}

/// How a URL is reached: no step takes more than two minutes, whatever it waits for.
fn route(proxies: &Proxies, url: &url::Url) -> Result<Route, NetError> {
    let proxy = proxies
        .proxy_for(url)
        .map_err(|err| NetError::Setting(format!("the proxy of the environment {err}")))?;
    Ok(Route {
        limits: Limits {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            attempt: Duration::from_secs(40),
        },
        proxy,
        ..Route::default()
    })
}

/// A token as a part of a header's value.
fn bearer(token: &Secret) -> String {
    format!("token {}", token.expose())
}
