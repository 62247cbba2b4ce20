//! What nobody reads is not fetched, where the server can leave it out; and what is read is there, whatever the server can.

use serde_json::json;

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Step, TestRemote, wait_until};

/// What a server can do for those who do not want everything.
#[derive(Debug, Clone, Copy)]
enum Can {
    /// Nothing, as plain git if nobody says otherwise.
    Nothing,
    /// Leave files out, and not give single ones.
    Filter,
    /// Leave files out, and give whatever it has, as the large hosts do.
    Everything,
}

impl Can {
    const ALL: [Can; 3] = [Can::Nothing, Can::Filter, Can::Everything];

    fn set(self, remote: &TestRemote) {
        let (filter, any) = match self {
            Can::Nothing => ("false", "false"),
            Can::Filter => ("true", "false"),
            Can::Everything => ("true", "true"),
        };
        remote.git(&["config", "uploadpack.allowFilter", filter]);
        remote.git(&["config", "uploadpack.allowAnySHA1InWant", any]);
    }
}

/// Bytes that cannot be made smaller, others for each `seed`.
fn noise(seed: u32, n: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(n)
    .collect()
}

/// A pool of as many locks, each with 10 KB of metadata.
fn laden(locks: u32) -> TestRemote {
    let remote = TestRemote::with_pool("aws", &[]);
    let files: Vec<(String, Vec<u8>)> = (0..locks)
        .map(|n| (format!("aws/unclaimed/env-{n:04}"), noise(n, 10_000)))
        .collect();
    let hands: Vec<Hand<'_>> = files
        .iter()
        .map(|(path, content)| Hand::Put(path, "100644", content))
        .collect();
    remote.commit("laden", &hands);
    remote
}

/// A step through a relay, and the relay, which counts.
fn counted(remote: &TestRemote, server: &HttpServer) -> (Step, Relay) {
    let relay = Relay::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    (Step::on(remote, "aws").set("uri", uri), relay)
}

#[test]
fn no_step_fetches_the_metadata_of_locks_that_it_is_not_about() {
    let remote = laden(200);
    Can::Everything.set(&remote);
    let server = HttpServer::start(remote.root());

    let (step, relay) = counted(&remote, &server);
    let claimed = step.put(json!({"claim": "env-0007"}));
    assert!(relay.bytes() < 100_000, "claim: {}", relay.bytes());

    let (step, relay) = counted(&remote, &server);
    step.check(None).versions();
    assert!(relay.bytes() < 100_000, "check: {}", relay.bytes());

    let (step, relay) = counted(&remote, &server);
    let (_, folder) = step.get(&claimed.version());
    assert!(relay.bytes() < 100_000, "get: {}", relay.bytes());
    assert_eq!(
        std::fs::read(folder.join("metadata")).unwrap(),
        noise(7, 10_000)
    );

    let (step, relay) = counted(&remote, &server);
    step.put_folder("release", &folder).version();
    assert!(relay.bytes() < 100_000, "release: {}", relay.bytes());
    remote.fsck();
}

#[test]
fn a_get_has_its_metadata_whatever_the_server_can_leave_out() {
    for can in Can::ALL {
        for size in [0, 1, 1024, 1025, 10_000] {
            let remote = TestRemote::with_pool("aws", &["env-1"]);
            let content = noise(1, size);
            remote.commit(
                "metadata",
                &[Hand::Put("aws/unclaimed/env-1", "100644", &content)],
            );
            can.set(&remote);
            let server = HttpServer::start(remote.root());
            for uri in [server.uri(), remote.uri()] {
                let step = Step::on(&remote, "aws").set("uri", uri);

                let (_, folder) = step.get(&remote.head());

                let metadata = std::fs::read(folder.join("metadata")).unwrap();
                assert!(metadata == content, "{can:?} {size}");
            }
        }
    }
}

/// Two locks, told apart by metadata that is not small.
fn described() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &[]);
    let text = |size: &str| format!("size: {size}\nnotes: {}\n", "x".repeat(3000)).into_bytes();
    remote.commit(
        "described",
        &[
            Hand::Put("aws/unclaimed/a", "100644", &text("large")),
            Hand::Put("aws/unclaimed/b", "100644", &text("small")),
        ],
    );
    remote
}

#[test]
fn an_acquire_by_metadata_finds_its_lock_whatever_the_server_can_leave_out() {
    for can in Can::ALL {
        for (size, lock) in [("large", "a"), ("small", "b")] {
            let remote = described();
            can.set(&remote);
            let step = Step::on(&remote, "aws");

            let claimed = step.put(json!({"acquire": true, "match": {"size": size}}));

            assert_eq!(claimed.lock(), lock, "{can:?}");
        }
    }
}

#[test]
fn who_wants_any_lock_leaves_to_one_before_him_what_only_its_metadata_tells_is_for_him() {
    for can in Can::ALL {
        let remote = described();
        can.set(&remote);
        for lock in ["a", "b"] {
            remote.claim_by_hand("aws", lock);
        }
        let step = Step::on(&remote, "aws").set("retry_delay", "10s");
        let waiting = step.start_put(json!({"acquire": true, "match": {"size": "large"}}));
        wait_until("one waits in line", || {
            let tickets = remote.git(&["for-each-ref", "refs/pool-queue"]);
            !tickets.is_empty()
        });

        remote.release_by_hand("aws", "a");
        let newcomer = Step::on(&remote, "aws").put(json!({"acquire": true, "try": true}));

        assert_ne!(newcomer.code, Some(0), "{can:?}: {}", newcomer.stdout);
        assert_eq!(waiting.finish().lock(), "a", "{can:?}");
    }
}

#[test]
fn a_server_that_lists_filters_and_has_none_is_asked_without() {
    let remote = laden(3);
    Can::Everything.set(&remote);
    remote.git(&["config", "uploadpackfilter.allow", "false"]);

    let step = Step::on(&remote, "aws");
    let claimed = step.put(json!({"claim": "env-0001"}));
    let (_, folder) = step.get(&claimed.version());

    assert_eq!(claimed.stderr.matches("warning").count(), 0);
    assert_eq!(
        std::fs::read(folder.join("metadata")).unwrap(),
        noise(1, 10_000)
    );
}
