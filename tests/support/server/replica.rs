//! A web server whose reading side is a replica: it shows the branch, and all other refs, as they were some time ago.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use git2::Repository;
use tempfile::TempDir;

use super::http::{HttpServer, Options};
use crate::TestRemote;

/// Refs and where they are.
type Refs = Vec<(String, git2::Oid)>;

/// What is pushed goes to a repository; what is read comes from a replica of it that has all objects, and old refs.
pub struct Replica {
    server: HttpServer,
    primary: PathBuf,
    /// Has the replica in it.
    root: TempDir,
}

/// A replica that follows by itself, until it is dropped.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    /// A replica that is as the repository is now, and stays so until it is told to catch up.
    pub fn of(remote: &TestRemote) -> Replica {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("locks.git");
        let replica = Repository::init_bare(&path).unwrap();
        replica.set_head("refs/heads/main").unwrap();
        let objects = remote.path().join("objects");
        std::fs::create_dir_all(path.join("objects/info")).unwrap();
        std::fs::write(
            path.join("objects/info/alternates"),
            format!("{}\n", objects.display()),
        )
        .unwrap();
        let other = format!(
            "$HTTP[\"url\"] =~ \"git-upload-pack\" {{ {} }}\n$HTTP[\"querystring\"] =~ \"git-upload-pack\" {{ {} }}",
            environment(root.path()),
            environment(root.path())
        );
        let options = Options {
            more: &other,
            ..Options::default()
        };
        let replica = Replica {
            server: HttpServer::with(remote.root(), &options),
            primary: remote.path().to_owned(),
            root,
        };
        replica.catch_up();
        replica
    }

    /// The `uri` of both.
    pub fn uri(&self) -> String {
        self.server.uri()
    }

    /// The port of both.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The server of both, to be ended and started again.
    pub fn server(&mut self) -> &mut HttpServer {
        &mut self.server
    }

    /// Makes the replica what the repository is now.
    pub fn catch_up(&self) {
        set_refs(&self.path(), &refs(&self.primary));
    }

    /// Lists no refs below this from now on.
    pub fn hide(&self, refs: &str) {
        let mut config = Repository::open_bare(self.path())
            .unwrap()
            .config()
            .unwrap();
        config.set_str("uploadpack.hideRefs", refs).unwrap();
    }

    /// Shows this commit as the branch `main`.
    pub fn show(&self, commit: &str) {
        let commit = commit.parse().unwrap();
        let mut shown = refs(&self.path());
        shown.retain(|(name, _)| name != "refs/heads/main");
        shown.push(("refs/heads/main".to_owned(), commit));
        set_refs(&self.path(), &shown);
    }

    /// Has the replica follow the repository, as much later as `lag` says.
    pub fn follow(&self, lag: Duration) -> Following {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, primary, replica) = (stop.clone(), self.primary.clone(), self.path());
        let thread = std::thread::spawn(move || {
            let mut seen: std::collections::VecDeque<(Instant, Refs)> = Default::default();
            while !told.load(Ordering::SeqCst) {
                let now = refs(&primary);
                if seen.back().is_none_or(|(_, last)| *last != now) {
                    seen.push_back((Instant::now(), now));
                }
                while seen.front().is_some_and(|(at, _)| at.elapsed() >= lag) {
                    if let Some((_, due)) = seen.pop_front() {
                        set_refs(&replica, &due);
                        if seen.is_empty() {
                            seen.push_back((Instant::now(), due));
                            break;
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Following {
            stop,
            thread: Some(thread),
        }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("locks.git")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn environment(root: &Path) -> String {
    format!(
        "setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\", \
         \"GIT_CONFIG_GLOBAL\" => \"/dev/null\", \"GIT_CONFIG_SYSTEM\" => \"/dev/null\")",
        root.display()
    )
}

fn refs(path: &Path) -> Refs {
    let repository = Repository::open_bare(path).unwrap();
    let Ok(found) = repository.references() else {
        return Vec::new();
    };
    let mut refs: Refs = found
        .filter_map(Result::ok)
        .filter_map(|found| Some((found.name().ok()?.to_owned(), found.target()?)))
        .collect();
    refs.sort();
    refs
}

fn set_refs(path: &Path, wanted: &Refs) {
    let repository = Repository::open_bare(path).unwrap();
    for (name, id) in wanted {
        // A server that lists them at this moment has some locked; the next round does it.
        let _ = repository.reference(name, *id, true, "");
    }
    for (name, _) in refs(path) {
        if !wanted.iter().any(|(known, _)| *known == name)
            && let Ok(mut gone) = repository.find_reference(&name)
        {
            let _ = gone.delete();
        }
    }
}
