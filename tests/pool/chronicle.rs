//! The past of a branch, as those have it who go on looking: the same whichever way it is read.

use pool::concourse::{Build, Source};
use pool::lock::PoolName;
use pool::past::chronicle::Chronicle;
use pool::step::{Surroundings, Which, whole_past};
use serde_json::json;

use support::TestRemote;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;

fn around(folder: &std::path::Path) -> Surroundings {
    Surroundings {
        temporary: folder.to_owned(),
        build: Build::from_env(|_| None),
        home: None,
        met_hosts: None,
        ssh_agent: None,
        paint: terminal::Paint::Plain,
        proxies: net::Proxies::default(),
        links: git::Links::default(),
        git_settings: None,
    }
}

async fn past(uri: &str, which: Which) -> Chronicle {
    let folder = tempfile::tempdir().unwrap();
    let source = json!({"uri": uri, "branch": "main", "pool": "team-0/pool-00"});
    let source = Source::from_json(&source).unwrap();
    let mut log = Vec::new();
    let around = around(folder.path());
    let read = whole_past(&source, which, &around, &mut log);
    let read = read.await.unwrap();
    assert!(log.is_empty(), "{}", String::from_utf8_lossy(&log));
    read
}

fn told(chronicle: &Chronicle) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {:?} {} {} {:?}",
        chronicle.head, chronicle.first, chronicle.commits, chronicle.newest, chronicle.whole_since
    )];
    for (name, pool) in chronicle.pools() {
        lines.push(format!("{name:?} {:?} {:?}", pool.counts, pool.holds));
        for (name, lock) in pool.locks() {
            lines.push(format!("{name:?} {} {:?}", lock.claims, lock.holds));
        }
    }
    lines
}

#[tokio::test]
async fn commits_alone_tell_the_same_as_all_folders() {
    let remote = TestRemote::with_many_pools(2000);
    // What no message says, and what one says that is not so.
    let at = |folder: &str, lock: &str| format!("team-1/pool-01/{folder}/{lock}");
    let (free, held) = (at("unclaimed", "x"), at("claimed", "x"));
    remote.commit("something", &[Hand::Put(&free, "100644", b"x")]);
    remote.commit("ann takes it", &[Hand::Move(&free, &held)]);
    remote.commit(
        "ann unclaiming: env-00",
        &[Hand::Delete(&held), Hand::Put("docs/x", "100644", b"")],
    );
    remote.commit("nothing", &[]);
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let uri = server
        .uri()
        .replace(&server.port().to_string(), &relay.port().to_string());

    let by_commits = past(&uri, Which::All).await;
    let few = relay.bytes();
    let one = past(&uri, Which::One).await;
    remote.git(&["config", "uploadpack.allowFilter", "false"]);
    let before = relay.bytes();
    let by_folders = past(&uri, Which::All).await;
    let many = relay.bytes() - before;

    assert_eq!(told(&by_commits), told(&by_folders));
    assert_eq!(by_commits.commits, 2004);
    assert!(few * 3 < many * 2, "{few} {many}");
    let name = PoolName::new("team-0/pool-00").unwrap();
    let names: Vec<&PoolName> = one.pools().map(|(name, _)| name).collect();
    assert_eq!(names, [&name]);
    let counts = |chronicle: &Chronicle| chronicle.pool(&name).unwrap().counts;
    assert_eq!(counts(&one), counts(&by_commits));
    let log = remote.subjects();
    let said = log.iter().filter(|subject| subject.contains(" claiming: "));
    let claims: u64 = by_commits.pools().map(|(_, pool)| pool.counts.claims).sum();
    assert_eq!(claims, said.count() as u64 + 1);
}
