//! The copies: written after the primary data source, each as it is there.

use std::path::{Path, PathBuf};

use pace::pauses_after_lost_races;
use tokio::time::sleep;

use super::Sources;
use crate::config::{Place, Source};
use crate::document::id_of;
use crate::log::{Level, Log};
use crate::shell;
use crate::store::{
    FileStore, GitStore, RedisStore, Store, StoreError, Write, Written, write_file,
};
use crate::value::{Map, Value};

/// A copy.
pub(super) struct Copy {
    pub name: String,
    pub kind: Kind,
}

/// What kind of data source it is.
pub(super) enum Kind {
    /// Anything that could be primary.
    Document(Box<Store>),
    Shell(PathBuf, Vec<String>),
    Id(PathBuf),
}

impl Sources {
    /// Writes the copies as the primary is, or takes them away. One that fails is told.
    pub(super) async fn write_copies(
        &mut self,
        id: &str,
        document: Option<&Value>,
        is_locked: bool,
        log: &mut dyn Log,
    ) {
        // What has another document is left alone when this one goes.
        let is_ours = document.is_some() || self.copies.iter().any(|copy| copy.has(id));
        for copy in &mut self.copies {
            let written = match (&mut copy.kind, document) {
                (Kind::Document(store), document) => match &**store {
                    Store::File(file) => match document {
                        Some(document) => write_file(
                            file.path(),
                            &file.format().write(document),
                            false,
                            is_locked,
                        ),
                        None => remove(file.path(), is_ours),
                    },
                    Store::Redis(_) | Store::Git(_) => copy_to(store, id, document).await,
                },
                (Kind::Shell(path, excluded), Some(document)) => {
                    let file = shell::write(document, excluded);
                    for name in &file.collisions {
                        let text = format!(
                            "`{name}` stands for several values in `{}`: the last counts",
                            path.display()
                        );
                        log.tell(Level::Warning, &text);
                    }
                    write_file(path, &file.text, false, is_locked)
                }
                (Kind::Id(path), Some(_)) => write_file(path, id, false, is_locked),
                (Kind::Shell(path, _) | Kind::Id(path), None) => remove(path, is_ours),
            };
            if let Err(err) = written {
                let name = &copy.name;
                let why = terminal::chain(&err);
                log.tell(
                    Level::Warning,
                    &format!("the data source `{name}` is not up to date: {why}"),
                );
            }
        }
    }
}

impl Copy {
    /// Whether it says that its document has this id.
    fn has(&self, id: &str) -> bool {
        match &self.kind {
            Kind::Document(store) => match &**store {
                Store::File(file) => {
                    let document = file.any().ok().flatten();
                    document.as_ref().and_then(id_of) == Some(id)
                }
                Store::Redis(_) | Store::Git(_) => false,
            },
            Kind::Id(path) => std::fs::read_to_string(path).is_ok_and(|found| found == id),
            Kind::Shell(..) => false,
        }
    }
}

/// Gets ready to use a data source.
pub(super) fn open(
    source: &Source,
    git: &mut dyn FnMut(&Map) -> Result<GitStore, StoreError>,
) -> Result<Kind, StoreError> {
    let document = |store| Kind::Document(Box::new(store));
    Ok(match &source.place {
        Place::Redis(place) => document(Store::Redis(Box::new(RedisStore::new(place.clone())))),
        Place::File(format, path) => {
            document(Store::File(FileStore::new(&resolved(path)?, *format)))
        }
        Place::Git(settings) => document(Store::Git(Box::new(git(settings)?))),
        Place::Shell(path, excluded) => Kind::Shell(resolved(path)?, excluded.clone()),
        Place::Id(path) => Kind::Id(resolved(path)?),
    })
}

/// The most links that lead to one another, as the system has it.
const MOST_LINKS: usize = 40;

/// The path of a file from the root, its folder made if need be, without symbolic links: what they lead to is written.
fn resolved(path: &str) -> Result<PathBuf, StoreError> {
    let given = PathBuf::from(path);
    let failed = |source| StoreError::File {
        doing: "use",
        path: given.clone(),
        source,
    };
    if let Ok(found) = given.canonicalize() {
        return Ok(found);
    }
    let mut absolute = std::path::absolute(&given).map_err(failed)?;
    // A link to what is not there yet.
    for _ in 0..MOST_LINKS {
        let Ok(target) = absolute.read_link() else {
            break;
        };
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        absolute = folder.join(target);
    }
    let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(failed(std::io::ErrorKind::InvalidFilename.into()));
    };
    if absolute.is_symlink() {
        return Err(failed(std::io::Error::other("its links lead in a circle")));
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    Ok(folder.canonicalize().map_err(failed)?.join(name))
}

fn remove(path: &Path, is_ours: bool) -> Result<(), StoreError> {
    if !is_ours {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StoreError::File {
            doing: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Makes a copy on a server what the primary is, with some tries: others may write it too.
async fn copy_to(store: &mut Store, id: &str, document: Option<&Value>) -> Result<(), StoreError> {
    const TRIES: usize = 5;
    let mut pauses = pauses_after_lost_races();
    for attempt in 0..TRIES {
        let reading = store.read(id).await?;
        if reading.document.as_ref() == document {
            break;
        }
        let does = format!("copy {id}");
        let write = Write {
            id,
            document,
            does: &does,
            attempt,
        };
        match store.write(&write).await? {
            Written::Done => break,
            Written::Unknown(err) => return Err(err),
            Written::Overtaken => sleep(pauses.next().unwrap_or_default()).await,
        }
    }
    store.close().await;
    Ok(())
}
