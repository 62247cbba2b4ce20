//! The state file: what an orderly end leaves for the next start, of this program or of the original.
//!
//! Its keys are those of 0.5.0: `launched`, `to_decommission` and `pending`. What these cannot say stands under a key of our
//! own beside them, which the original does not look at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Runner;
use crate::ledger::Tenant;
use crate::life::{Event, Job, Key, Machine, Verdict};
use crate::resource::Resource;

/// The key of our own.
const OWN: &str = "heptapod_paas_runner";

/// The three lists of 0.5.0.
const LISTS: [&str; 3] = ["launched", "to_decommission", "pending"];

/// Why a state file cannot be read. It shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is no JSON.
    #[error(
        "it is not JSON (line {0}); repair it, or move it away: the jobs in it are not watched then"
    )]
    Syntax(usize),
    /// It is not what the programs write.
    #[error("`{list}` has an entry {n} that is no job of a runner; repair it, or move it away")]
    Entry {
        /// In which list.
        list: &'static str,
        /// Which one, from 1.
        n: usize,
    },
}

/// What a state file says.
#[derive(Default)]
pub struct State {
    /// Jobs of runners that there are, by what has happened to them.
    pub jobs: BTreeMap<Key, Vec<Event>>,
    /// Jobs of runners that there are not, as they were written.
    pub strangers: Vec<Stranger>,
    /// Whose machines were made.
    pub tenants: BTreeSet<Tenant>,
}

/// A job of a runner that is not there.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Stranger {
    /// In which list it stood.
    pub list: String,
    /// What stood there.
    pub entry: Value,
}

impl Stranger {
    /// Which job it is, for people.
    pub fn name(&self) -> String {
        let handle = match &self.entry {
            Value::Array(pair) => pair.first().unwrap_or(&Value::Null),
            entry => entry,
        };
        let runner = handle.get("runner_name").and_then(Value::as_str);
        let job = handle.get("job_id").unwrap_or(&Value::Null);
        let runner = terminal::one_line(runner.unwrap_or("?"));
        format!("job {job} of the runner '{runner}'")
    }
}

/// What has become of a job, under the key of our own.
#[derive(Serialize, Deserialize)]
struct Own {
    jobs: Vec<(Key, Vec<Event>)>,
    #[serde(default)]
    tenants: BTreeSet<Tenant>,
}

#[derive(Deserialize)]
struct Handle {
    runner_name: String,
    job_id: u64,
    token: String,
    #[serde(default)]
    paas_resource: Option<Resource>,
}

impl State {
    /// Reads a state file of this program, of 0.5.0 or of 0.7.2. `now` is when the jobs of the original are taken over.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(text: &str, runners: &[Runner], now: u64) -> Result<State, StateError> {
        let whole: Value =
            serde_json::from_str(text).map_err(|err| StateError::Syntax(err.line()))?;
        let mut state = State::default();
        let mut told = BTreeSet::new();
        if let Some(own) = whole.get(OWN) {
            let own: Own = serde_json::from_value(own.clone())
                .map_err(|_| StateError::Entry { list: OWN, n: 0 })?;
            for (key, events) in own.jobs {
                told.insert((key.job, token_of(&events).to_owned()));
                state.jobs.insert(key, events);
            }
            state.tenants = own.tenants;
        }
        for list in LISTS {
            let entries = whole.get(list).and_then(Value::as_array);
            for (n, entry) in entries.into_iter().flatten().enumerate() {
                let wrong = || StateError::Entry { list, n: n + 1 };
                let (handle, payload) = match (list, entry) {
                    ("pending", Value::Array(pair)) if pair.len() == 2 => (&pair[0], &pair[1]),
                    ("pending", _) => return Err(wrong()),
                    _ => (entry, &Value::Null),
                };
                let read: Handle = serde_json::from_value(handle.clone()).map_err(|_| wrong())?;
                if told.contains(&(read.job_id, read.token.clone())) {
                    continue;
                }
                let Some(runner) = runner_of(&read, runners) else {
                    state.strangers.push(Stranger {
                        list: list.to_owned(),
                        entry: entry.clone(),
                    });
                    continue;
                };
                let key = Key {
                    runner: runner.id.clone(),
                    job: read.job_id,
                };
                let events = history(list, read, payload, now).ok_or_else(wrong)?;
                state.jobs.insert(key, events);
            }
        }
        Ok(state)
    }

    /// Writes a state file.
    pub fn write(
        jobs: &BTreeMap<Key, Job>,
        strangers: &[Stranger],
        tenants: &BTreeSet<Tenant>,
        runners: &[Runner],
    ) -> String {
        let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (key, job) in jobs {
            let runner = runners.iter().find(|runner| runner.id == key.runner);
            if let Some(runner) = runner
                && let Some((list, entry)) = entry(&runner.short, key.job, job)
            {
                lists.entry(list).or_default().push(entry);
            }
        }
        for stranger in strangers {
            if let Some(list) = LISTS.into_iter().find(|list| *list == stranger.list) {
                lists.entry(list).or_default().push(stranger.entry.clone());
            }
        }
        let mut whole: Map<String, Value> = LISTS
            .into_iter()
            .map(|list| {
                (
                    list.to_owned(),
                    lists.remove(list).unwrap_or_default().into(),
                )
            })
            .collect();
        if !jobs.is_empty() || !tenants.is_empty() {
            let jobs: Vec<(&Key, Vec<Event>)> =
                jobs.iter().map(|(key, job)| (key, job.history())).collect();
            whole.insert(OWN.to_owned(), json!({"jobs": jobs, "tenants": tenants}));
        }
        Value::Object(whole).to_string()
    }
}

fn token_of(events: &[Event]) -> &str {
    match events.first() {
        Some(Event::Granted { token, .. }) => token,
        _ => "",
    }
}

/// The runner of a handle: 0.5.0 takes the first eight characters of its token, whatever they are.
fn runner_of<'a>(handle: &Handle, runners: &'a [Runner]) -> Option<&'a Runner> {
    let name = &handle.runner_name[..];
    let is_meant =
        |runner: &&Runner| runner.short == name || runner.token.expose().get(..8) == Some(name);
    runners.iter().find(is_meant)
}

/// What must have happened to a job of the original.
fn history(list: &str, handle: Handle, payload: &Value, now: u64) -> Option<Vec<Event>> {
    let payload = match payload {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        job => job.to_string(),
    };
    let mut events = vec![Event::Granted {
        timeout: crate::payload::Payload::read(&payload)
            .ok()
            .and_then(|payload| payload.timeout()),
        token: handle.token,
        payload,
        at: now,
    }];
    let namespace = match &handle.paas_resource {
        Some(Resource::App {
            gitlab_namespace, ..
        }) => gitlab_namespace.clone(),
        _ => None,
    };
    if let Some(resource) = handle.paas_resource {
        let name = format!("hpd-job-{}-{}", handle.runner_name, handle.job_id);
        events.push(Event::Creating { name, namespace });
        events.push(Event::Created { resource });
    } else if list != "pending" {
        return None;
    }
    match list {
        "launched" => events.extend([Event::Launching, Event::Launched { at: now }]),
        "to_decommission" => events.extend([Event::Over, Event::Leaving]),
        _ => {}
    }
    Some(events)
}

/// How a job stands in the lists of 0.5.0, if it can.
fn entry(runner: &str, id: u64, job: &Job) -> Option<(&'static str, Value)> {
    let mut handle = json!({"runner_name": runner, "job_id": id, "token": job.token});
    if let Some(resource) = job.resource() {
        handle["paas_resource"] = json!(resource);
    }
    match (&job.verdict, &job.machine) {
        (Verdict::Open, Machine::Launched(..)) => Some(("launched", handle)),
        (Verdict::Open, _) => {
            // As the coordinator said it; it was read once already.
            let payload = serde_json::from_str(&job.payload).unwrap_or(Value::Null);
            Some(("pending", json!([handle, payload])))
        }
        _ => job.resource().map(|_| ("to_decommission", handle)),
    }
}

#[cfg(test)]
mod tests;
