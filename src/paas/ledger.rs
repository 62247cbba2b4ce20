//! What is known of all jobs: in memory, and on the disk before anybody hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use journal::{Journal, JournalError};
use serde::{Deserialize, Serialize};

use crate::config::Runner;
use crate::life::{Event, Job, Key, OutOfTurn};
use crate::state::{State, StateError, Stranger};

/// Whose machines a runner has made: there it is looked for what was left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant {
    /// The runner.
    pub runner: String,
    /// The group.
    pub namespace: String,
}

/// One line of the journal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Job { key: Key, event: Event },
    Tenant(Tenant),
    Stranger(Box<Stranger>),
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state file says nothing that could be used.
    #[error("the state file `{path}`: {source}")]
    State {
        /// Which.
        path: String,
        /// Why.
        source: StateError,
    },
    /// The system says no.
    #[error("cannot {what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What it says.
        source: io::Error,
    },
}

/// What is known of all jobs, and the sole right to change it.
pub struct Ledger {
    journal: Journal<Record>,
    jobs: BTreeMap<Key, Job>,
    strangers: Vec<Stranger>,
    tenants: BTreeSet<Tenant>,
    state_file: PathBuf,
}

/// The path of a file beside the state file.
pub fn beside(state_file: &Path, end: &str) -> PathBuf {
    let mut name = state_file.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

impl Ledger {
    /// Takes what the last run has left, be it in order or not. Tells people of it with `tell`.
    ///
    /// # Errors
    /// [`LedgerError`]; the files are as they were.
    pub fn open(
        state_file: &Path,
        runners: &[Runner],
        now: u64,
        tell: &mut dyn FnMut(String),
    ) -> Result<Ledger, LedgerError> {
        let mut jobs: BTreeMap<Key, Job> = BTreeMap::new();
        let mut tenants = BTreeSet::new();
        let mut strangers = Vec::new();
        let mut apply = |record| {
            match record {
                Record::Job { key, event } => {
                    note(&mut jobs, &key, event).map_err(|err| format!("job {}: {err}", key.job))?
                }
                Record::Tenant(tenant) => {
                    tenants.insert(tenant);
                }
                Record::Stranger(stranger) => strangers.push(*stranger),
            }
            Ok(())
        };
        let (journal, dropped) = Journal::open(
            &beside(state_file, ".journal"),
            &beside(state_file, ".lock"),
            &mut apply,
        )?;
        if dropped > 0 {
            tell(format!(
                "{dropped} bytes of a step that was never finished are dropped from the journal"
            ));
        }
        jobs.retain(|_, job| !job.is_done());
        if !jobs.is_empty() {
            tell(format!(
                "the last run did not end in order: {} jobs are taken over from the journal",
                jobs.len()
            ));
        }
        let mut ledger = Ledger {
            journal,
            jobs,
            strangers,
            tenants,
            state_file: state_file.to_owned(),
        };
        ledger.take_over_state(runners, now, tell)?;
        Ok(ledger)
    }

    /// Adds what the state file says, and then removes it: from then on the journal says how it is.
    fn take_over_state(
        &mut self,
        runners: &[Runner],
        now: u64,
        tell: &mut dyn FnMut(String),
    ) -> Result<(), LedgerError> {
        let path = self.state_file.display().to_string();
        let failed = |what| {
            let path = path.clone();
            move |source| LedgerError::Io { what, path, source }
        };
        let text = match fs::read_to_string(&self.state_file) {
            Ok(text) => Some(text),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                if self.jobs.is_empty() {
                    tell(format!("there is no state file `{path}`: no job is known"));
                }
                None
            }
            Err(err) => return Err(failed("read")(err)),
        };
        if let Some(text) = &text {
            let wrong = |source| LedgerError::State {
                path: path.clone(),
                source,
            };
            let state = State::read(text, runners, now).map_err(wrong)?;
            for (key, events) in state.jobs {
                // The journal knows better.
                if self.jobs.contains_key(&key) {
                    continue;
                }
                for event in events {
                    // Who writes odd things by hand loses the job's later steps, and not the job.
                    if note(&mut self.jobs, &key, event).is_err() {
                        break;
                    }
                }
            }
            for stranger in state.strangers {
                if !self.strangers.contains(&stranger) {
                    self.strangers.push(stranger);
                }
            }
            self.tenants.extend(state.tenants);
            self.jobs.retain(|_, job| !job.is_done());
        }
        // What was there before may be read by nobody else, whatever made it.
        self.rewrite().map_err(failed("write the journal of"))?;
        if text.is_some() {
            fs::remove_file(&self.state_file).map_err(failed("remove"))?;
            journal::sync_folder_of(&self.state_file).map_err(failed("remove"))?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let records = self.records();
        self.journal.rewrite(records.into_iter())
    }

    fn records(&self) -> Vec<Record> {
        let tenants = self.tenants.iter().cloned().map(Record::Tenant);
        let strangers = self.strangers.iter().cloned();
        let strangers = strangers.map(|stranger| Record::Stranger(Box::new(stranger)));
        let jobs = self.jobs.iter().flat_map(|(key, job)| {
            let events = job.history().into_iter();
            events.map(|event| {
                let key = key.clone();
                Record::Job { key, event }
            })
        });
        tenants.chain(strangers).chain(jobs).collect()
    }

    /// Notes what happens to a job: on the disk first. A job that is done is forgotten.
    ///
    /// # Errors
    /// Those of the system: nothing is noted then. A step out of turn is one of ours, and of the kind `InvalidInput`.
    pub fn note(&mut self, key: &Key, event: Event) -> io::Result<()> {
        let mut changed = self.jobs.get(key).cloned();
        match &mut changed {
            Some(job) => job.apply(event.clone()),
            None => Job::begin(event.clone()).map(|job| changed = Some(job)),
        }
        .map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))?;
        let record = Record::Job {
            key: key.clone(),
            event,
        };
        self.journal.add(&[record], true)?;
        match changed {
            Some(job) if !job.is_done() => self.jobs.insert(key.clone(), job),
            _ => self.jobs.remove(key),
        };
        if self.journal.is_long() {
            // On a full disk the old file is still good.
            let _ = self.rewrite();
        }
        Ok(())
    }

    /// Notes whose machines a runner makes.
    ///
    /// # Errors
    /// Those of the system.
    pub fn note_tenant(&mut self, tenant: Tenant) -> io::Result<()> {
        if !self.tenants.contains(&tenant) {
            self.journal.add(&[Record::Tenant(tenant.clone())], true)?;
            self.tenants.insert(tenant);
        }
        Ok(())
    }

    /// The groups whose machines a runner has made.
    pub fn tenants_of(&self, runner: &str) -> Vec<String> {
        let own = self.tenants.iter().filter(|one| one.runner == runner);
        own.map(|one| one.namespace.clone()).collect()
    }

    /// A job.
    pub fn get(&self, key: &Key) -> Option<&Job> {
        self.jobs.get(key)
    }

    /// All jobs.
    pub fn jobs(&self) -> &BTreeMap<Key, Job> {
        &self.jobs
    }

    /// Jobs of runners that are not in the configuration.
    pub fn strangers(&self) -> &[Stranger] {
        &self.strangers
    }

    /// Leaves the state file for the next start, and with that an empty journal.
    ///
    /// # Errors
    /// [`LedgerError::Io`]: then the journal says what there is.
    pub fn close(mut self, runners: &[Runner]) -> Result<(), LedgerError> {
        let text = State::write(&self.jobs, &self.strangers, &self.tenants, runners);
        let path = self.state_file.display().to_string();
        let failed = |source| LedgerError::Io {
            what: "write",
            path: path.clone(),
            source,
        };
        journal::replace(&self.state_file, text.as_bytes()).map_err(failed)?;
        self.journal.rewrite(std::iter::empty()).map_err(failed)
    }
}

fn note(jobs: &mut BTreeMap<Key, Job>, key: &Key, event: Event) -> Result<(), OutOfTurn> {
    match (jobs.get_mut(key), &event) {
        // The number was given again, after the first one was done.
        (Some(job), Event::Granted { .. }) if job.is_done() => {
            *job = Job::begin(event)?;
            Ok(())
        }
        (Some(job), _) => job.apply(event),
        (None, _) => {
            jobs.insert(key.clone(), Job::begin(event)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
