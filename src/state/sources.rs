//! The data sources together: one is primary, the others are copies.
//!
//! A change is a list of operations on the newest document of the primary, written by compare-and-swap. Overtaken, the
//! same list is applied to the newer document. Copies are written after the primary; one that fails is told and no error.

mod copies;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pace::{FaultError, Faults, pauses_after_lost_races};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Source};
use crate::document::id_of;
use crate::log::{Level, Log};
use crate::operation::{Operation, OperationError, apply_all};
use crate::store::{
    Before, Entry, FileStore, GitStore, LockError, Locks, Reading, Store, StoreError, Write,
    Written,
};
use crate::value::{Map, Value};
use copies::{Copy, Kind};

/// The data sources of a configuration.
pub struct Sources {
    primary: Store,
    copies: Vec<Copy>,
    /// The files whose folders are locked for a change.
    files: BTreeSet<PathBuf>,
}

/// What is to become of a document.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// It becomes this, whatever is there.
    Create(&'a Value),
    /// It is changed in this way.
    Apply(&'a [Operation]),
    /// It is taken away.
    Delete,
}

/// What has become of a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changed {
    /// The document as it was written.
    pub document: Option<Value>,
    /// The new number, where one was to grow.
    pub number: Option<Value>,
}

/// Why a document was not changed, or not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is none of this id.
    #[error("load() {} cicdContextData is NULL: there is no document of this id in the primary data source", terminal::one_line(.0))]
    NoDocument(String),
    /// A change cannot be made.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// A data source.
    #[error("the data source `{name}`")]
    Store {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The primary data source, for too long.
    #[error(transparent)]
    Fault(#[from] FaultError<StoreError>),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An answer was lost, and nobody can tell any more what became of the change.
    #[error(
        "the answer to a change was lost, and so much was written since that nobody can tell whether it was made; look at the document before trying again"
    )]
    Uncertain,
}

impl Sources {
    /// Gets ready to use the data sources of a configuration. `git` makes a store of the settings of a repository.
    ///
    /// # Errors
    /// [`SourceError`] of the first that cannot be used.
    pub fn open(
        config: &Config,
        git: &mut dyn FnMut(&Map) -> Result<GitStore, StoreError>,
    ) -> Result<Sources, SourceError> {
        let mut files = BTreeSet::new();
        let mut open = |source: &Source| {
            let kind = copies::open(source, git).map_err(|err| SourceError::Store {
                name: source.name.clone(),
                source: err,
            })?;
            match &kind {
                Kind::Shell(path, _) | Kind::Id(path) => drop(files.insert(path.clone())),
                Kind::Document(store) => files.extend(store.file().map(Path::to_owned)),
            }
            Ok::<_, SourceError>(kind)
        };
        let primary = match open(&config.primary)? {
            Kind::Document(store) => *store,
            Kind::Shell(path, _) | Kind::Id(path) => {
                let words = format!("`{}` cannot be primary", path.display());
                return Err(FaultError::Permanent(StoreError::Unsupported(words)).into());
            }
        };
        let copies = config.copies.iter().map(|source| {
            Ok(Copy {
                name: source.name.clone(),
                kind: open(source)?,
            })
        });
        let copies = copies.collect::<Result<_, SourceError>>()?;
        Ok(Sources {
            primary,
            copies,
            files,
        })
    }

    /// The document of this id in the primary data source, if there is one.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn read(
        &mut self,
        id: &str,
        log: &mut dyn Log,
    ) -> Result<Option<Value>, SourceError> {
        let mut faults = Faults::new(self.primary.fault_limit());
        loop {
            match self.primary.read(id).await {
                Ok(reading) => {
                    self.primary.close().await;
                    return Ok(reading.document);
                }
                Err(err) => bear(&mut faults, err, log).await?,
            }
        }
    }

    /// The document of this id in the primary data source.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn load(&mut self, id: &str, log: &mut dyn Log) -> Result<Value, SourceError> {
        let document = self.read(id, log).await?;
        document.ok_or_else(|| SourceError::NoDocument(id.to_owned()))
    }

    /// The document of this id in the first copy on this machine that has it; a primary on this machine needs none.
    pub fn local(&self, id: &str) -> Option<Value> {
        if let Store::File(_) = self.primary {
            return None;
        }
        self.local_files().find_map(|file| {
            let document = file.any().ok().flatten()?;
            (id_of(&document) == Some(id)).then_some(document)
        })
    }

    /// The copies on this machine that a document can be read from.
    fn local_files(&self) -> impl Iterator<Item = &FileStore> {
        self.copies.iter().filter_map(|copy| match &copy.kind {
            Kind::Document(store) => match &**store {
                Store::File(file) => Some(file),
                Store::Redis(_) | Store::Git(_) => None,
            },
            Kind::Shell(..) | Kind::Id(_) => None,
        })
    }

    /// Changes a document in the primary data source, and then the copies. `does` is what a history says of it.
    ///
    /// # Errors
    /// [`SourceError`]: nothing was changed, but for [`SourceError::Uncertain`].
    pub async fn change(
        &mut self,
        id: &str,
        request: Request<'_>,
        does: &str,
        log: &mut dyn Log,
    ) -> Result<Changed, SourceError> {
        // From here on, so that no copy goes back to an older document than another process has written.
        let locks = self.lock(log).await?;
        let changed = self.change_primary(id, request, does, log).await;
        self.primary.close().await;
        let changed = changed?;
        self.write_copies(id, changed.document.as_ref(), locks.is_some(), log)
            .await;
        Ok(changed)
    }

    /// Locks the folders of all files. Where only copies are in them, it is told and no error if they cannot be locked.
    async fn lock(&self, log: &mut dyn Log) -> Result<Option<Locks>, LockError> {
        match Locks::of(self.files.iter().map(PathBuf::as_path)).await {
            Ok(locks) => Ok(Some(locks)),
            Err(err) if self.primary.file().is_some() => Err(err),
            Err(err) => {
                log.tell(Level::Warning, &terminal::chain(&err));
                Ok(None)
            }
        }
    }

    async fn change_primary(
        &mut self,
        id: &str,
        request: Request<'_>,
        does: &str,
        log: &mut dyn Log,
    ) -> Result<Changed, SourceError> {
        let mut faults = Faults::new(self.primary.fault_limit());
        let mut lost_races = pauses_after_lost_races();
        // Those that may have been made.
        let mut attempts: Vec<Changed> = Vec::new();
        let mut was_sent = false;
        loop {
            let reading = match (self.primary.read(id).await, request) {
                (Ok(reading), _) => reading,
                (Err(StoreError::OtherDocument { .. }), Request::Create(_)) => Reading {
                    document: None,
                    before: Before::NotMade,
                },
                (Err(err), _) => {
                    bear(&mut faults, err, log).await?;
                    continue;
                }
            };
            match reading.before {
                Before::Made(attempt) => {
                    let number = attempts.get(attempt).and_then(|made| made.number.clone());
                    return Ok(Changed {
                        document: reading.document,
                        number,
                    });
                }
                Before::Unknown if !request.is_repeatable() => return Err(SourceError::Uncertain),
                Before::Unknown | Before::NotMade => {}
            }
            let changed = match request.made_of(id, reading.document.as_ref()) {
                // What was sent before may have been that.
                Err(SourceError::NoDocument(_))
                    if was_sent && matches!(request, Request::Delete) =>
                {
                    return Ok(Changed::default());
                }
                changed => changed?,
            };
            if changed.document == reading.document {
                return Ok(changed);
            }
            let write = Write {
                id,
                document: changed.document.as_ref(),
                does,
                attempt: attempts.len(),
            };
            let written = self.primary.write(&write).await;
            attempts.push(changed);
            was_sent = true;
            match written {
                Ok(Written::Done) => return Ok(attempts.pop().unwrap_or_default()),
                Ok(Written::Overtaken) => {
                    attempts.pop();
                    sleep(lost_races.next().unwrap_or_default()).await;
                }
                Ok(Written::Unknown(err)) | Err(err) => bear(&mut faults, err, log).await?,
            }
        }
    }

    /// Reads a document from the primary data source, and writes the copies anew if there is one among them that could have
    /// been read instead.
    ///
    /// # Errors
    /// [`SourceError`] when their folders cannot be locked, or the primary cannot be read.
    pub async fn refresh(&mut self, id: &str, log: &mut dyn Log) -> Result<Value, SourceError> {
        let is_local = matches!(self.primary, Store::File(_));
        if is_local || self.local_files().next().is_none() {
            return self.load(id, log).await;
        }
        let locks = self.lock(log).await?;
        let document = self.load(id, log).await?;
        self.write_copies(id, Some(&document), locks.is_some(), log)
            .await;
        Ok(document)
    }

    /// The ids of all documents in the primary data source.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn list(&mut self, log: &mut dyn Log) -> Result<Vec<String>, SourceError> {
        let mut faults = Faults::new(self.primary.fault_limit());
        loop {
            match self.primary.list().await {
                Ok(ids) => return Ok(ids),
                Err(err) => bear(&mut faults, err, log).await?,
            }
        }
    }

    /// What was done to a document, the newest first.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn history(
        &mut self,
        id: &str,
        log: &mut dyn Log,
    ) -> Result<Vec<Entry>, SourceError> {
        let mut faults = Faults::new(self.primary.fault_limit());
        loop {
            match self.primary.history(id).await {
                Ok(entries) => return Ok(entries),
                Err(err) => bear(&mut faults, err, log).await?,
            }
        }
    }
}

impl Request<'_> {
    fn is_repeatable(&self) -> bool {
        match self {
            Request::Create(_) | Request::Delete => true,
            Request::Apply(operations) => operations.iter().all(Operation::is_repeatable),
        }
    }

    /// What it makes of a document.
    fn made_of(&self, id: &str, document: Option<&Value>) -> Result<Changed, SourceError> {
        let missing = || SourceError::NoDocument(id.to_owned());
        match self {
            Request::Create(new) => Ok(Changed {
                document: Some((*new).clone()),
                number: None,
            }),
            Request::Apply(operations) => {
                let mut document = document.ok_or_else(missing)?.clone();
                let number = apply_all(operations, &mut document)?;
                Ok(Changed {
                    document: Some(document),
                    number,
                })
            }
            Request::Delete => document.map(|_| Changed::default()).ok_or_else(missing),
        }
    }
}

async fn bear(
    faults: &mut Faults,
    err: StoreError,
    log: &mut dyn Log,
) -> Result<(), FaultError<StoreError>> {
    let mut tell = |err: &StoreError, pause: std::time::Duration| {
        let why = terminal::chain(err);
        let pause = pause.as_millis();
        log.tell(Level::Warning, &format!("{why}; trying again in {pause}ms"));
    };
    faults.bear(err, &CancellationToken::new(), &mut tell).await
}
