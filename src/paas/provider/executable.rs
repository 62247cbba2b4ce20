//! A program of the user's, which is called for each step: `PROGRAM create|launch|delete|list`, with a request as JSON
//! on its standard input, and an answer as JSON on its standard output.
//!
//! Exit codes: 0 done, 75 not done and to be tried again, anything else not done. The last line of what it says on its
//! error stream is told to people.

use std::ffi::OsStr;
use std::time::Duration;

use child::Environment;
use serde_json::{Map, Value, json};

use super::docker::of_run;
use super::process;
use super::{Code, Doing, Found, Kind, Launch, Order, Provider, ProviderError};
use crate::context::Context;
use crate::naming::Naming;
use crate::resource::Resource;

/// `EX_TEMPFAIL` of `sysexits.h`.
const LATER: i32 = 75;

/// A program that makes machines.
pub struct Executable {
    program: String,
    limit: Duration,
    settings: Value,
    naming: Naming,
}

impl Executable {
    /// Calls `program`, each time for so long at most; it is told `settings` each time.
    pub fn new(program: &str, limit: Duration, settings: &Value, naming: Naming) -> Executable {
        Executable {
            program: program.to_owned(),
            limit,
            settings: settings.clone(),
            naming,
        }
    }

    async fn call(&self, action: &'static str, mut request: Value) -> Result<Value, ProviderError> {
        request["settings"] = self.settings.clone();
        let nothing = Environment {
            set: &[],
            removed: &[],
        };
        let (args, input) = ([OsStr::new(action)], request.to_string());
        let ended = process::run(&self.program, &args, nothing, input.as_bytes(), self.limit).await;
        let ended = ended.map_err(|err| of_run(action, &self.program, &err))?;
        match ended.code {
            Some(0) if ended.stdout.iter().all(u8::is_ascii_whitespace) => Ok(json!({})),
            Some(0) => serde_json::from_slice(&ended.stdout).map_err(|_| {
                ProviderError::new(action, Kind::Unknown, "what it answers is not JSON")
            }),
            code => Err(ProviderError {
                transport: Code(code.map(|code| code.to_string())),
                ..ProviderError::new(
                    action,
                    match code {
                        Some(LATER) => Kind::Passing,
                        Some(_) => Kind::Refused,
                        // It was killed in the midst of it.
                        None => Kind::Unknown,
                    },
                    ended.words(),
                )
            }),
        }
    }

    /// What is there, as an answer names it.
    fn made(answer: &Value) -> Option<Resource> {
        let id = answer.get("id")?;
        let id = match id {
            Value::String(id) if !id.is_empty() => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        let data = answer.get("data").and_then(Value::as_object);
        Some(Resource::Made {
            id,
            data: data.cloned().unwrap_or_default(),
        })
    }

    async fn make(&self, order: &Order) -> Result<Resource, ProviderError> {
        let request = json!({
            "name": order.name,
            "job": order.job,
            "namespace": order.namespace,
            "flavor": order.flavor,
        });
        let answer = self.call("create", request).await?;
        Executable::made(&answer)
            .ok_or_else(|| ProviderError::new("create", Kind::Unknown, "its answer has no `id`"))
    }

    async fn all(&self) -> Result<Vec<Found>, ProviderError> {
        let answer = self.call("list", json!({})).await?;
        let Some(list) = answer.as_array() else {
            // Who has nothing to list may say nothing.
            return match answer.as_object().is_some_and(Map::is_empty) {
                true => Ok(Vec::new()),
                false => Err(ProviderError::new(
                    "list",
                    Kind::Refused,
                    "its answer is no list",
                )),
            };
        };
        Ok(list
            .iter()
            .filter_map(|one| {
                Some(Found {
                    name: one.get("name")?.as_str()?.to_owned(),
                    resource: Executable::made(one)?,
                })
            })
            .filter(|found| self.naming.is_own(&found.name))
            .collect())
    }
}

impl Provider for Executable {
    fn name_of(&self, job: u64) -> String {
        self.naming.of(job)
    }

    fn create<'a>(&'a self, order: &'a Order, _: &'a Value) -> Doing<'a, Resource> {
        Box::pin(self.make(order))
    }

    fn find<'a>(&'a self, name: &'a str, _: Option<&'a str>) -> Doing<'a, Option<Resource>> {
        Box::pin(async move {
            let all = self.all().await?;
            let mut named = all.into_iter().filter(|found| found.name == name);
            Ok(named.next().map(|found| found.resource))
        })
    }

    fn launch<'a>(
        &'a self,
        resource: &'a Resource,
        context: &'a Context,
        again: bool,
    ) -> Doing<'a, Launch> {
        Box::pin(async move {
            let mut request = about(resource)?;
            request["again"] = again.into();
            request["files"] = json!({
                "Dockerfile": context.dockerfile,
                "runner.toml": context.runner_toml,
                "job.json": context.job_json,
            });
            self.call("launch", request).await?;
            Ok(Launch::Started)
        })
    }

    fn delete<'a>(&'a self, resource: &'a Resource) -> Doing<'a, ()> {
        Box::pin(async move {
            let request = about(resource)?;
            self.call("delete", request).await.map(drop)
        })
    }

    fn list<'a>(&'a self, _: &'a [String]) -> Doing<'a, Vec<Found>> {
        Box::pin(self.all())
    }
}

fn about(resource: &Resource) -> Result<Value, ProviderError> {
    match resource {
        Resource::Made { id, data } => Ok(json!({"id": id, "data": data})),
        Resource::App { .. } | Resource::Tag(_) => Err(ProviderError::new(
            "find",
            Kind::Refused,
            "it was made by another executor than this runner has now",
        )),
    }
}
