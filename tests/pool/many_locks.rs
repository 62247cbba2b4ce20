//! Pools with very many locks: a move sends what it changes, and not the folders.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Step, TestRemote};

/// A pool of 2,000 locks, each with metadata of its own.
fn repository() -> TestRemote {
    let names: Vec<String> = (0..2000).map(|n| format!("env-{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    TestRemote::with_pool("aws", &names)
}

#[test]
fn a_move_of_one_lock_of_very_many_sends_what_it_changes_alone() {
    // Few objects are taken in one by one by Git's server, and many as a pack.
    for most_unpacked in ["100", "1"] {
        let remote = repository();
        remote.git(&["config", "uploadpack.allowFilter", "true"]);
        remote.git(&["config", "receive.unpackLimit", most_unpacked]);
        remote.git(&["config", "receive.fsckObjects", "true"]);
        let server = HttpServer::start(remote.root());
        let relay = Relay::start(server.port());
        let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
        let step = Step::on(&remote, "aws").set("uri", uri);
        let before = relay.bytes();
        step.check(None).versions();
        let fetched = relay.bytes() - before;

        let before = relay.bytes();
        let claimed = step.put(json!({"acquire": true}));
        let took = relay.bytes() - before;

        // It fetches the same, and 2,000 ids do not become smaller.
        assert!(fetched > 40_000, "{fetched}");
        assert!(took < fetched + 10_000, "{took} of {fetched}");
        let (_, folder) = step.get(&claimed.version());
        let metadata = fs::read_to_string(folder.join("metadata")).unwrap();
        assert_eq!(metadata, format!("metadata of {}", claimed.lock()));
        step.put_folder("release", &folder).version();
        assert_eq!(remote.list("aws/unclaimed").len(), 2000);
        remote.fsck();
    }
}

#[test]
fn a_server_that_knows_nothing_of_changes_gets_the_folders() {
    let remote = repository().served();
    let broken = remote.copy();
    let folder = remote.git(&["rev-parse", "main:aws/unclaimed"]);
    let (start, rest) = folder.split_at(2);
    fs::remove_file(broken.path().join("objects").join(start).join(rest)).unwrap();
    let bin = remote.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let before = std::env::var("PATH").unwrap();
    let once = remote.root().join("once");
    let script = format!(
        "#!/bin/sh\nPATH='{before}'\nif test \"$1\" = receive-pack && ! test -e '{0}'; then touch '{0}'; exec git receive-pack -- '{1}'; fi\nexec git \"$@\"\n",
        once.display(),
        broken.path().display()
    );
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{before}", bin.display());
    let step = Step::on(&remote, "aws").env("PATH", path);

    let claimed = step.put(json!({"acquire": true}));

    assert_eq!(remote.head(), claimed.version());
    assert!(once.exists());
    remote.fsck();
}
