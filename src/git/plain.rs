//! A repository on a path of this machine that has nothing unusual about it: read here, and written to with one process,
//! instead of the eighteen that Git's server programs make of a lock that is taken and given back.
//!
//! Whatever is not known to be usual is left to `git upload-pack` and `git receive-pack`. That is decided anew with each look
//! and each push, by a list of what is harmless, so that a setting which is not known makes it slower, and never wrong.
//!
//! # What `git receive-pack` promises, and how it is kept
//!
//! - *Compare-and-swap, and several refs as one.* `git update-ref` changes the refs, in one transaction, with the same locks
//!   and the same code. Not this process: one that is killed between the lock file and its end would leave the lock file to
//!   everybody. `git` has a process group of its own, and lives on, as `receive-pack` does.
//! - *Hooks.* Where there is one that a push runs, the push is `receive-pack`'s.
//! - *Settings* (`receive.*`, `transfer.*`, `core.fsync`, `core.sharedRepository`, …). The files with them are read. What may
//!   matter to a push is `receive-pack`'s business; see [`settings`].
//! - *Objects are whole before a ref names them.* Each is written under a name for the moment and then moved to its own, as
//!   Git does it. There is no quarantine, which keeps from the repository what a hook declines; and what loses a race is found
//!   out before anything is written, but for a moment.
//! - *All that a commit needs is there.* Nothing but what differs from the commit before it is written, and what does not
//!   differ is reached from the branch.
//! - *The owner.* Another user's repository is read by Git's programs, which know `safe.directory`.
//! - *Reflogs, work trees, shallow histories, grafts*: `receive-pack`'s business where there are any.
//! - *Tidying up.* Where `git gc --auto` would find something to do, the push is `receive-pack`'s, which starts it.
//!
//! Other processes may repack and prune at the same time: libgit2 looks again for packs when an object is not where it was,
//! and what is reached from a branch is pruned by nobody who leaves what is new alone, as `git gc` does. A file system of the network may let nobody go on for as long as it
//! hangs; there it is better to wait for another process, and no file system counts as one of this machine that is not known.

mod refs;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use child::Piped;
use git2::Repository;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::RemoteError;
use crate::link::local;
use crate::object::Oid;
use crate::refusal;
use crate::remote::RefUpdate;
use crate::store::Store;
use settings::Said;

/// The hooks that a push runs, or that may forbid it.
const HOOKS: [&str; 7] = [
    "pre-receive",
    "update",
    "proc-receive",
    "reference-transaction",
    "push-to-checkout",
    "post-receive",
    "post-update",
];

/// What a repository may have in it that makes it an unusual one.
const UNUSUAL: [&str; 6] = [
    ".git",
    "commondir",
    "shallow",
    "info/grafts",
    // libgit2 does not find all that Git finds by these.
    "objects/info/alternates",
    "objects/info/http-alternates",
];

/// What a repository may have in it that matters to a push.
const UNUSUAL_FOR_PUSHES: [&str; 3] = ["logs", "worktrees", "config.worktree"];

/// With more objects in the folder `17` than this, `git gc --auto` takes the repository to have too many: 6700 among 256.
const MANY: usize = 27;

/// One that is read here.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    folder: PathBuf,
    said: Said,
}

/// What became of a push.
pub(crate) enum Became {
    /// The refs are where they were to be.
    Done,
    /// None of them has been changed. The words of Git.
    Declined(String),
}

impl Plain {
    /// The repository in `folder`, if it is a plain one. `files` have the settings that hold for all repositories.
    pub fn at(folder: &Path, files: &[PathBuf]) -> Option<Plain> {
        let parts = ["", "objects", "refs"].map(|part| folder.join(part));
        if !parts.iter().all(|part| is_of_this_machine(part)) || !is_ours(folder) {
            return None;
        }
        if UNUSUAL.iter().any(|name| is_there(&folder.join(name))) {
            return None;
        }
        let head = fs::read(folder.join("HEAD")).ok()?;
        let is_usual = head.starts_with(b"ref: refs/heads/") && !head.ends_with(b"/.invalid\n");
        if !is_usual || !folder.join("objects").is_dir() || !folder.join("refs").is_dir() {
            return None;
        }
        let mut said = Said::default();
        for file in files {
            said.take(file, false)?;
        }
        said.take(&folder.join("config"), true)?;
        said.bare.then(|| Plain {
            folder: folder.to_owned(),
            said,
        })
    }

    /// Where its objects are.
    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// The ref `name`, and those whose names start with one of `starts`; `None` where one of them is an unusual one.
    pub fn refs(&self, name: &str, starts: &[&str]) -> Option<BTreeMap<String, Oid>> {
        refs::read(&self.folder, name, starts)
    }

    /// Whether a push can be made here too, by what is there now.
    pub fn takes_pushes(&self) -> bool {
        let is_there = |name: &str| is_there(&self.folder.join(name));
        let has_hooks = HOOKS.iter().any(|hook| is_there(&format!("hooks/{hook}")));
        !has_hooks && !UNUSUAL_FOR_PUSHES.iter().any(|name| is_there(name)) && !self.is_untidy()
    }

    /// Whether `git gc --auto` would find something to do.
    fn is_untidy(&self) -> bool {
        let count = |folder: &str, most: usize| {
            let entries = fs::read_dir(self.objects().join(folder));
            entries.is_ok_and(|entries| entries.take(most + 1).count() > most)
        };
        // Packs have two files or three, and 50 of them are too many.
        self.said.tidies && (count("17", MANY) || count("pack", 100))
    }

    /// Writes the objects that these changes need, out of `store`. `None` where that cannot be done here, and nothing but
    /// objects has been written.
    pub fn write_objects(&self, store: &Store, updates: &[RefUpdate]) -> Option<()> {
        let deletes = updates.iter().any(|update| update.new.is_none());
        if deletes && self.said.keeps_refs {
            return None;
        }
        let mut needed = Vec::new();
        for update in updates {
            if let Some(new) = update.new {
                needed.extend(store.needed_for(new, update.old)?.objects);
            }
        }
        if needed.is_empty() {
            return Some(());
        }
        let (to, from) = (Repository::open_bare(&self.folder).ok()?, store.odb().ok()?);
        let to = to.odb().ok()?;
        for id in needed {
            let object = from.read(id).ok()?;
            to.write(object.kind(), object.data()).ok()?;
            // One that was there before is not written again, and may be a broken one: Git's programs find the words for that.
            let there = to.read(id).ok()?;
            if there.data() != object.data() {
                return None;
            }
        }
        Some(())
    }

    /// Changes the refs, all or none of them.
    ///
    /// # Errors
    /// [`RemoteError::NoGit`]; nothing has been changed then.
    pub async fn change_refs(&self, updates: &[RefUpdate]) -> Result<Became, RemoteError> {
        let mut folder = std::ffi::OsString::from("--git-dir=");
        folder.push(&self.folder);
        let words = ["update-ref", "-z", "--stdin"].map(OsStr::new);
        let arguments = [&[folder.as_os_str()], &words[..]].concat();
        let Piped {
            mut child,
            mut stdin,
            mut stderr,
            ..
        } = child::piped("git", &arguments, local::environment()).map_err(RemoteError::NoGit)?;
        let mut commands = Vec::new();
        for update in updates {
            let id = |id: Option<Oid>| id.unwrap_or(Oid::ZERO_SHA1);
            let (old, new, name) = (id(update.old), id(update.new), &update.name);
            commands.extend_from_slice(format!("update {name}\0{new}\0{old}\0").as_bytes());
        }
        // One that reads nothing has ended, and says why.
        let _ = stdin.write_all(&commands).await;
        drop(stdin);
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said).await;
        match child.wait().await {
            Ok(end) if end.success() => Ok(Became::Done),
            Ok(_) | Err(_) => Ok(Became::Declined(refusal::words(&said))),
        }
    }
}

/// Whether there is anything, or nobody can tell.
fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(err) => err.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Whether a folder is ours, by all names that it has: Git's own rule, before it heeds the settings in there.
fn is_ours(folder: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |found: std::io::Result<fs::Metadata>| found.is_ok_and(|it| it.uid() == us);
    is_ours(fs::symlink_metadata(folder)) && is_ours(fs::metadata(folder))
}

/// Whether a folder is on a file system that needs nobody else.
#[cfg(target_os = "linux")]
fn is_of_this_machine(folder: &Path) -> bool {
    // ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs. Source: `statfs(2)`.
    const KNOWN: [u32; 8] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x0102_1994,
        0x794c_7630,
        0xf2f5_2010,
        0x2fc1_2fc1,
        0xca45_1a4e,
    ];
    // The number has no sign, and 32 bits, on whatever machine.
    rustix::fs::statfs(folder).is_ok_and(|found| KNOWN.contains(&(found.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_of_this_machine(_folder: &Path) -> bool {
    false
}
