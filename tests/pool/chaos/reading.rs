//! The history of a lock repository as the checker takes it.

use std::time::UNIX_EPOCH;

use git2::{ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};

use super::story::{Commit, Files, Said, Story};
use support::TestRemote;

/// Reads everything on the branch since `start`.
pub fn read(remote: &TestRemote, start: &str) -> Story {
    let repository = Repository::open_bare(remote.path()).unwrap();
    let mut commits = Vec::new();
    let mut id = Oid::from_str(&remote.head()).unwrap();
    let start_id = Oid::from_str(start).unwrap();
    while id != start_id {
        let commit = repository.find_commit(id).unwrap();
        let parents: Vec<Oid> = commit.parent_ids().collect();
        let first = *parents.first().expect("the branch goes back to its start");
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        commits.push(Commit {
            id: id.to_string(),
            parents: parents.iter().map(Oid::to_string).collect(),
            said: Said::parse(message.lines().next().unwrap_or_default()),
            request: trailer(&message, "Pool-Request"),
            claim: trailer(&message, "Pool-Claim"),
            number: trailer(&message, "Pool-Number").and_then(|number| number.parse().ok()),
            time: commit.time().seconds().try_into().unwrap(),
            lease: trailer(&message, "Pool-Lease").map(|end| {
                let end = humantime::parse_rfc3339(&end).unwrap();
                end.duration_since(UNIX_EPOCH).unwrap().as_secs()
            }),
            before: Files::new(),
            after: files(&repository, id),
        });
        id = first;
    }
    commits.reverse();
    for commit in &mut commits {
        let parent = Oid::from_str(&commit.parents[0]).unwrap();
        commit.before = files(&repository, parent);
    }
    Story {
        start: start.to_owned(),
        files: files(&repository, start_id),
        commits,
        ..Story::default()
    }
}

/// A file with this content, as [`Files`] have it.
pub fn blob(content: &[u8]) -> String {
    let id = Oid::hash_object(ObjectType::Blob, content).unwrap();
    format!("100644 {id}")
}

fn files(repository: &Repository, commit: Oid) -> Files {
    let tree = repository.find_commit(commit).unwrap().tree().unwrap();
    let mut files = Files::new();
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        if entry.kind() != Some(ObjectType::Tree) {
            let name = String::from_utf8_lossy(entry.name_bytes());
            let what = format!("{:o} {}", entry.filemode_raw(), entry.id());
            files.insert(format!("{folder}{name}"), what);
        }
        TreeWalkResult::Ok
    })
    .unwrap();
    files
}

/// The value of the only trailer of this name; two are none.
fn trailer(message: &str, name: &str) -> Option<String> {
    let mut values = message
        .lines()
        .skip(1)
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = values.next()?.to_owned();
    values.next().is_none().then_some(value)
}
