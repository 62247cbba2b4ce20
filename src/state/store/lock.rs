//! Locks of folders: who writes files in one waits for the others.
//!
//! A lock is a lock of the kernel on a file in the folder, so that it ends with its process, however that ends.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::time::{Instant, sleep};

/// The file that is locked.
const NAME: &str = ".cicdstatemgr.lock";

/// How long others are waited for: as long as they may wait for a server while they have the lock, and some more.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest pause between two tries. Others have the lock for some milliseconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The folders of files, locked as long as the value lives.
#[derive(Debug)]
pub struct Locks {
    _held: Vec<File>,
}

/// Why a folder cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Its file cannot be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody has it for too long.
    #[error("another process has held the lock `{}` for {}", path.display(), humantime(PATIENCE))]
    Held {
        /// The file.
        path: PathBuf,
    },
}

fn humantime(duration: Duration) -> String {
    format!("{} minutes", duration.as_secs() / 60)
}

impl Locks {
    /// Locks the folders of these files, always in the same order.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn of(files: impl IntoIterator<Item = &Path>) -> Result<Locks, LockError> {
        let folders: BTreeSet<&Path> = files.into_iter().filter_map(Path::parent).collect();
        let mut held = Vec::new();
        for folder in folders {
            held.push(lock(folder.join(NAME)).await?);
        }
        Ok(Locks { _held: held })
    }
}

async fn lock(path: PathBuf) -> Result<File, LockError> {
    let failed = |source| LockError::Failed {
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // In a folder of many, it may be a link to anything, or a pipe whose opening waits for somebody else.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    let file = options.open(&path).map_err(failed)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                return Err(LockError::Held { path });
            }
            Err(TryLockError::WouldBlock) => {}
        }
        sleep(LONGEST_PAUSE.mul_f64(rand::random_range(0.05..=1.0))).await;
    }
}
