//! The library's metrics against a real Pushgateway, and against what only looks like one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use net::{Credentials, Proxy, Secret, Trust};
use pool::lock::PoolName;
use pool::metrics::push::{Gateway, LIMIT, PushError};
use pool::metrics::{
    Change, Ending, Line, Operation, Place, PoolState, Push, Reporter, Since, Waiter, Waiting,
};
use terminal::chain;
use tokio::time::Instant;

use support::DEADLINE;
use support::server::authority::Authority;
use support::server::faulty::Faulty;
use support::server::pushgateway::{Groups, Pushgateway};
use support::server::squid::Squid;

const PASSWORD: &str = "MARKER p%w:@/ü";

/// As above, in a URL.
const IN_URL: &str = "MARKER%20p%25w%3A%40%2F%C3%BC";

/// As a request carries it with the user `alice`, without the end, which depends on what follows.
const IN_HEADER: &str = "YWxpY2U6TUFSS0VSIHAldzpAL";

/// What a gateway's configuration has of it.
const HASHED: &str = "$2b$04$abcdefghijklmnopqrstuucIrKJBPwUJ9B1IauaR.XyafVWlMUtYS";

pub fn place(pool: &str, branch: &str) -> Place {
    Place {
        pool: PoolName::new(pool).unwrap(),
        branch: branch.to_owned(),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn pool(free: usize, claimed: usize) -> PoolState {
    PoolState {
        free,
        claimed,
        damaged: 0,
        oldest_claim: Since::Unknown,
    }
}

fn line(length: usize) -> Line {
    Line {
        length,
        oldest: Since::Unknown,
    }
}

fn waiter(id: &str) -> Waiter {
    Waiter {
        circle: 0,
        id: id.to_owned(),
        since: at(1_700_000_000),
        place: 1,
    }
}

fn waiting(id: &str, length: usize) -> Waiting {
    Waiting {
        pool: pool(0, 1),
        line: Some(line(length)),
        waiter: waiter(id),
    }
}

fn done(name: &'static str) -> Operation {
    Operation {
        name,
        succeeded: true,
        ended: at(1_700_000_100),
        took: Duration::from_millis(1500),
        waited: None,
        held: None,
        lost_races: 0,
        retried_faults: 0,
    }
}

pub fn gateway_at(url: &str) -> Gateway {
    gateway_through(url, None)
}

fn gateway_through(url: &str, proxy: Option<Proxy>) -> Gateway {
    let url = Secret::new(url.parse().unwrap());
    Gateway::new(&url, &Trust::default(), proxy).unwrap()
}

async fn push(gateway: &Gateway, pushes: impl IntoIterator<Item = Push>) {
    for push in pushes {
        gateway.push(&push, LIMIT).await.unwrap();
    }
}

/// Waits for a condition, and lets tasks run meanwhile.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let comes_true = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(DEADLINE, comes_true).await;
    assert!(came.is_ok(), "waited in vain until {what}");
}

fn group<'a>(groups: &'a Groups, name: &str) -> &'a BTreeMap<String, String> {
    groups
        .get(name)
        .unwrap_or_else(|| panic!("no group {name} in {groups:#?}"))
}

#[tokio::test]
async fn each_pool_and_branch_is_told_apart_whatever_its_name() {
    let gateway = Pushgateway::start();
    let names = [
        ("aws", "main"),
        ("team/aws", "main"),
        ("team", "feature/x/y"),
        ("two words", "main"),
        ("ünï/çødé", "zwölf"),
        ("100%+a&b?c#d", "a=b;c"),
        ("it's \"quoted\" \\n {x}", "main"),
        ("a...", "main"),
    ];

    for (n, (pool_name, branch)) in names.into_iter().enumerate() {
        let place = place(pool_name, branch);
        push(
            &gateway_at(&gateway.url()),
            [
                place.state(Some(&pool(n, 1)), Some(&line(2))).unwrap(),
                place.operation(&done("claim_lock")),
                place.waiter(&waiter("x-1")),
            ],
        )
        .await;
    }

    let groups = gateway.groups();
    assert_eq!(groups.len(), 3 * names.len(), "{groups:#?}");
    for (n, (pool, branch)) in names.into_iter().enumerate() {
        let name = format!("pool={pool},branch={branch}");
        let state = group(&groups, &name);
        assert_eq!(state["resource_pool_num_available_locks"], n.to_string());
        assert_eq!(state["resource_pool_locks{state=free}"], n.to_string());
        assert_eq!(state["resource_pool_queue_length"], "2");
        let operation = group(&groups, &format!("{name},operation=claim_lock"));
        assert_eq!(operation["resource_pool_execution_time"], "1");
        let waiter = group(&groups, &format!("{name},waiter=x-1"));
        assert_eq!(waiter["resource_pool_waiter_place"], "1");
    }
    for (pool, branch) in names {
        let delete = place(pool, branch).no_waiter("x-1");
        push(&gateway_at(&gateway.url()), [delete]).await;
    }
    assert_eq!(gateway.groups().len(), 2 * names.len());
}

#[tokio::test]
async fn a_later_push_leaves_alone_what_it_says_nothing_of() {
    let server = Pushgateway::start();
    let gateway = gateway_at(&server.url());
    let place = place("aws", "main");
    let mut released = done("release_lock");
    released.held = Some(Duration::from_secs(90));
    push(
        &gateway,
        [
            place.state(Some(&pool(1, 2)), Some(&line(2))).unwrap(),
            place.operation(&done("acquire_lock")),
            place.operation(&released),
            place.waiter(&waiter("x")),
            place.waiter(&waiter("y")),
        ],
    )
    .await;
    let before = server.groups();
    assert_eq!(before.len(), 5);

    let mut failed = done("release_lock");
    failed.succeeded = false;
    push(
        &gateway,
        [
            place.state(None, Some(&line(1))).unwrap(),
            place.operation(&failed),
            place.no_waiter("x"),
            place.no_waiter("who-never-was"),
        ],
    )
    .await;

    let mut expected = before;
    expected.remove("pool=aws,branch=main,waiter=x");
    let state = expected.get_mut("pool=aws,branch=main").unwrap();
    state.insert("resource_pool_queue_length".into(), "1".into());
    let release = expected.get_mut("pool=aws,branch=main,operation=release_lock");
    let failure = "resource_pool_last_failure_timestamp_seconds";
    release
        .unwrap()
        .insert(failure.into(), "1.7000001e+09".into());
    assert_eq!(server.groups(), expected);
}

#[tokio::test]
async fn the_resource_with_metrics_in_use_today_may_push_to_the_same_groups() {
    let server = Pushgateway::start();
    let place = place("aws", "main");
    let ours = [
        place.state(Some(&pool(1, 2)), Some(&line(2))).unwrap(),
        place.operation(&done("acquire_lock")),
    ];
    let theirs = |server: &Pushgateway| {
        let group = "job/concourse_resource_pool/branch/main/pool/aws";
        server.push_by_hand(
            "PUT",
            &format!("{group}/operation/acquire_lock"),
            "# HELP resource_pool_execution_time Execution time of the current operation\n\
             # TYPE resource_pool_execution_time histogram\n\
             resource_pool_execution_time_bucket{le=\"+Inf\"} 1\n\
             resource_pool_execution_time_sum 2\nresource_pool_execution_time_count 1\n",
        );
        server.push_by_hand(
            "PUT",
            group,
            "# HELP resource_pool_num_available_locks The number of unclaimed locks in the current pool\n\
             # TYPE resource_pool_num_available_locks gauge\nresource_pool_num_available_locks 7\n\
             # HELP resource_pool_num_claimed_locks The number of claimed locks in the current pool\n\
             # TYPE resource_pool_num_claimed_locks gauge\nresource_pool_num_claimed_locks 8\n",
        );
    };

    theirs(&server);
    push(&gateway_at(&server.url()), ours).await;
    let groups = server.groups();
    assert_eq!(groups.len(), 2, "{groups:#?}");
    let available = "resource_pool_num_available_locks";
    assert_eq!(group(&groups, "pool=aws,branch=main")[available], "1");

    theirs(&server);
    assert_eq!(
        group(&server.groups(), "pool=aws,branch=main")[available],
        "7"
    );
}

#[tokio::test]
async fn a_waiter_shows_while_it_waits_and_leaves_nothing() {
    let server = Pushgateway::start();
    let mut reporter = Reporter::new(Some(gateway_at(&server.url())), place("aws", "main"));
    let (state, own) = ("pool=aws,branch=main", "pool=aws,branch=main,waiter=x");

    reporter.waiting(&waiting("x", 4));
    until("it shows", || server.groups().len() == 2).await;
    let groups = server.groups();
    assert_eq!(group(&groups, state)["resource_pool_queue_length"], "4");
    assert_eq!(group(&groups, own)["resource_pool_waiter_place"], "1");

    let ending = Ending {
        operation: Some(done("acquire_lock")),
        pool: Some(pool(0, 1)),
        line: Some(line(3)),
    };
    let failure = reporter.finish(ending).await;
    assert!(failure.is_none(), "{failure:?}");
    let groups = server.groups();
    assert_eq!(group(&groups, state)["resource_pool_queue_length"], "3");
    let names: Vec<&String> = groups.keys().collect();
    assert_eq!(
        names,
        [state, "pool=aws,branch=main,operation=acquire_lock"]
    );
}

#[tokio::test]
async fn the_group_of_a_waiter_that_was_killed_is_taken_away_by_another() {
    let server = Pushgateway::start();
    let gateway = gateway_at(&server.url());
    let place = place("aws", "main");
    push(&gateway, [place.waiter(&waiter("killed"))]).await;
    let mut reporter = Reporter::new(Some(gateway), place);

    reporter.waiting(&waiting("x", 2));
    // A ticket that was lost and taken anew has another name.
    reporter.waiting(&waiting("y", 2));
    reporter.forget("killed");
    let ending = Ending {
        line: Some(line(0)),
        ..Ending::default()
    };
    assert!(reporter.finish(ending).await.is_none());

    let groups = server.groups();
    let names: Vec<&String> = groups.keys().collect();
    assert_eq!(names, ["pool=aws,branch=main"]);
}

#[tokio::test]
async fn however_often_a_waiter_looks_it_pushes_seldom() {
    let server = Faulty::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let url = format!("http://127.0.0.1:{}", server.port());
    let mut reporter = Reporter::new(Some(gateway_at(&url)), place("aws", "main"));

    for n in 0..1000 {
        reporter.waiting(&waiting("x", n));
        tokio::task::yield_now().await;
    }
    until("the first push is there", || server.heard().len() == 2).await;
    assert!(reporter.finish(Ending::default()).await.is_none());

    // What it saw first, to two groups, and at the end the one that goes.
    let heard = server.heard();
    assert_eq!(heard.len(), 3, "{heard:#?}");
    assert!(heard[2].starts_with("DELETE "), "{heard:#?}");
}

#[tokio::test]
async fn without_a_gateway_nothing_is_done() {
    let mut reporter = Reporter::new(None, place("aws", "main"));
    assert!(!reporter.is_on());
    reporter.waiting(&waiting("x", 4));
    reporter.forget("y");
    assert!(reporter.finish(Ending::default()).await.is_none());
}

/// Tells a whole step to a gateway that is none, and gives what is to be said of it: one line, without a secret.
async fn failure_at(url: &str) -> String {
    failure_of(gateway_at(url)).await
}

async fn failure_of(gateway: Gateway) -> String {
    let mut reporter = Reporter::new(Some(gateway), place("aws", "main"));
    reporter.waiting(&waiting("x", 4));
    tokio::task::yield_now().await;
    reporter.forget("y");
    let ending = Ending {
        operation: Some(done("acquire_lock")),
        pool: Some(pool(0, 1)),
        line: Some(line(3)),
    };
    let started = Instant::now();
    let failure = reporter.finish(ending).await.expect("a failure");
    // A machine at its limit is given some more.
    assert!(started.elapsed() < LIMIT * 3, "{:?}", started.elapsed());
    words(&failure)
}

fn words(failure: &PushError) -> String {
    let shown = format!("{} {failure:?}", chain(failure));
    for secret in ["MARKER", "p%w", "%C3%BC", IN_HEADER] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let words = chain(failure);
    assert_eq!(words.lines().count(), 1, "{words}");
    words
}

fn with_password(port: u16) -> String {
    format!("http://alice:{IN_URL}@127.0.0.1:{port}")
}

fn answer(status: &str, header: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_gateway_that_is_away_or_fails_is_tried_twice_and_said_in_one_line() {
    let port = Pushgateway::nowhere();
    let failure = failure_at(&with_password(port)).await;
    assert!(
        failure.starts_with(&format!(
            "metrics cannot be pushed to `http://127.0.0.1:{port}`: "
        )),
        "{failure}"
    );
    assert!(failure.contains("refused"), "{failure}");

    // What repeats the request, password and all, is not repeated in turn.
    for (status, times) in [
        ("400 Bad Request", 1),
        ("401 Unauthorized", 1),
        ("403 Forbidden", 1),
        ("404 Not Found", 1),
        ("500 Internal Server Error", 2),
        ("503 Service Unavailable", 2),
    ] {
        let server = Faulty::start(move |head| Some(answer(status, "", head)));
        let gateway = gateway_at(&with_password(server.port()));

        let push = place("aws", "main").no_waiter("x");
        let failure = words(&gateway.push(&push, LIMIT).await.unwrap_err());

        assert!(
            failure.ends_with(&format!("it answers {status}")),
            "{failure}"
        );
        assert_eq!(server.heard().len(), times, "{status}");
        let failure = failure_at(&with_password(server.port())).await;
        assert!(failure.contains(status), "{failure}");
    }
}

#[tokio::test]
async fn a_second_try_makes_good_for_a_first_that_failed() {
    let first = AtomicUsize::new(0);
    let server = Faulty::start(move |_| {
        Some(match first.fetch_add(1, Ordering::SeqCst) {
            0 => answer("502 Bad Gateway", "", ""),
            _ => answer("200 OK", "", ""),
        })
    });
    let gateway = gateway_at(&with_password(server.port()));

    push(&gateway, [place("aws", "main").no_waiter("x")]).await;

    let heard = server.heard();
    assert_eq!(heard.len(), 2);
    assert!(heard.iter().all(|head| head.contains(IN_HEADER)));
}

#[tokio::test]
async fn what_the_gateway_finds_wrong_with_metrics_is_passed_on() {
    let server = Pushgateway::start();
    let group = "job/concourse_resource_pool/pool/aws/branch/main";
    server.push_by_hand(
        "PUT",
        group,
        "# TYPE resource_pool_queue_length counter\nresource_pool_queue_length 1\n",
    );
    let push = place("aws", "other").state(None, Some(&line(1))).unwrap();

    let result = gateway_at(&server.url()).push(&push, LIMIT).await;

    let failure = words(&result.unwrap_err());
    assert!(
        failure.contains("it answers 400 Bad Request: ") && failure.contains("inconsistent"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_hangs_costs_three_seconds() {
    let server = Faulty::silent();
    let gateway = gateway_at(&with_password(server.port()));
    let started = Instant::now();
    let push = place("aws", "main").no_waiter("x");
    let failure = words(&gateway.push(&push, LIMIT).await.unwrap_err());
    assert!(failure.ends_with("no answer for 3s"), "{failure}");
    assert!(started.elapsed() <= LIMIT, "{:?}", started.elapsed());

    // With a push under way from before, and several at once at the end.
    let started = Instant::now();
    let failure = failure_at(&with_password(server.port())).await;
    assert!(failure.contains("no answer for"), "{failure}");
    assert!(started.elapsed() <= LIMIT, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_gateway_that_hangs_is_left_within_a_moment_by_the_clock_on_the_wall() {
    let server = Faulty::silent();
    let failure = failure_at(&with_password(server.port())).await;
    assert!(failure.contains("no answer for"), "{failure}");
    assert!(!server.heard().is_empty());
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_waited_for() {
    let server = Faulty::start(|_| {
        Some(format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 100000000\r\n\r\n{}",
            "x\u{1b}[2J".repeat(1000)
        ))
    });
    let url = format!("http://127.0.0.1:{}", server.port());

    let failure = failure_at(&url).await;

    assert!(failure.len() < 1000, "{failure}");
    assert!(!failure.contains('\u{1b}'), "{failure}");
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_host_and_credentials_go_nowhere_else() {
    let server = Pushgateway::start();
    let real = server.port();
    let elsewhere = Faulty::answering(&answer("200 OK", "", ""));
    let other = elsewhere.port();
    let push = place("aws", "main").state(None, Some(&line(1))).unwrap();
    let redirecting = |status: &'static str, to: String| {
        Faulty::start(move |head| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let location = format!("Location: {}\r\n", to.replace("PATH", path));
            Some(answer(status, &location, ""))
        })
    };

    // Without credentials, anywhere: the request stays what it was.
    for status in ["301 x", "302 x", "307 x", "308 x"] {
        let redirect = redirecting(status, format!("http://localhost:{real}PATH"));
        let gateway = gateway_at(&format!("http://127.0.0.1:{}", redirect.port()));
        gateway.push(&push, LIMIT).await.unwrap();
        let groups = server.groups();
        let state = group(&groups, "pool=aws,branch=main");
        assert_eq!(state["resource_pool_queue_length"], "1");
        let delete = Push {
            path: push.path.clone(),
            change: Change::Delete,
        };
        gateway.push(&delete, LIMIT).await.unwrap();
        assert_eq!(server.groups().len(), 0, "{status}");
    }

    // With credentials, within the same server; the port is another server's.
    let there = AtomicUsize::new(0);
    let same = Faulty::start(move |_| {
        Some(match there.fetch_add(1, Ordering::SeqCst) {
            0 => answer("307 x", "Location: /other/place\r\n", ""),
            _ => answer("200 OK", "", ""),
        })
    });
    gateway_at(&with_password(same.port()))
        .push(&push, LIMIT)
        .await
        .unwrap();
    let heard = same.heard();
    assert!(heard[1].starts_with("POST /other/place "), "{heard:?}");
    assert!(heard[1].contains(IN_HEADER));
    for to in [
        format!("http://localhost:{other}PATH"),
        format!("http://127.0.0.1:{other}PATH?token=MARKER"),
        format!("http://alice:{IN_URL}@127.0.0.1:{other}/MARKER"),
    ] {
        let redirect = redirecting("307 x", to);
        let failure = failure_at(&with_password(redirect.port())).await;
        assert!(
            failure.contains("it redirects to `http://")
                && failure.ends_with("put it into `source.prometheus_push_gateway`"),
            "{failure}"
        );
    }
    assert_eq!(elsewhere.heard().len(), 0);

    // In a circle, and to what is none.
    for to in ["PATH", "ftp://127.0.0.1/", "http://", ""] {
        let redirect = redirecting("307 x", to.to_owned());
        let failure = failure_at(&with_password(redirect.port())).await;
        assert!(failure.contains("307"), "{failure}");
    }
}

#[tokio::test]
async fn a_gateway_that_wants_a_password_gets_the_one_in_the_url() {
    let server = Pushgateway::with_config(&format!("basic_auth_users:\n  alice: {HASHED}\n"));
    let push = place("team/ü", "main").no_waiter("x");
    let url = |user: &str| format!("http://{user}127.0.0.1:{}/", server.port());

    let result = gateway_at(&url(&format!("alice:{IN_URL}@")))
        .push(&push, LIMIT)
        .await;
    result.unwrap();
    for user in ["alice:MARKER@", "alice@", ""] {
        let failure = failure_at(&url(user)).await;
        assert!(
            failure.ends_with("it answers 401 Unauthorized"),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn https_trusts_what_the_source_trusts() {
    let authority = Authority::new();
    let both = authority.certify("IP:127.0.0.1");
    let both = both.display();
    let server = Pushgateway::with_config(&format!(
        "tls_server_config: {{cert_file: {both}, key_file: {both}}}\n"
    ));
    let url = format!("https://alice:{IN_URL}@127.0.0.1:{}", server.port());
    let url = Secret::new(url.parse().unwrap());
    let push = place("aws", "main").no_waiter("x");
    let trusting = |certificates: Option<String>, anyone: bool| Trust {
        certificates,
        anyone,
    };

    for trust in [trusting(Some(authority.pem()), false), trusting(None, true)] {
        let gateway = Gateway::new(&url, &trust, None).unwrap();
        gateway.push(&push, LIMIT).await.unwrap();
    }
    for trust in [
        trusting(None, false),
        trusting(Some(Authority::new().pem()), false),
    ] {
        let failure = failure_of(Gateway::new(&url, &trust, None).unwrap()).await;
        assert!(failure.contains("certificate"), "{failure}");
    }
    let none = trusting(Some("none".to_owned()), false);
    let Err(failure) = Gateway::new(&url, &none, None) else {
        panic!("a certificate that is none");
    };
    assert!(words(&failure).contains("`source.ca_cert`"));
}

#[tokio::test]
async fn proxies_are_gone_through() {
    let server = Pushgateway::start();
    let authority = Authority::new();
    let both = authority.certify("IP:127.0.0.1");
    let both = both.display();
    let over_tls = Pushgateway::with_config(&format!(
        "tls_server_config: {{cert_file: {both}, key_file: {both}}}\n"
    ));
    let https = format!("https://127.0.0.1:{}", over_tls.port());
    let squid = Squid::with_user("alice", PASSWORD);
    let proxy = |password: &str| Proxy {
        host: "127.0.0.1".to_owned(),
        port: squid.port(),
        credentials: Some(Credentials {
            username: "alice".to_owned(),
            password: Some(password.to_owned()),
        }),
    };
    let push = place("team/ü", "main").state(None, Some(&line(7))).unwrap();

    let gateway = gateway_through(&server.url(), Some(proxy(PASSWORD)));
    gateway.push(&push, LIMIT).await.unwrap();
    let groups = server.groups();
    let state = group(&groups, "pool=team/ü,branch=main");
    assert_eq!(state["resource_pool_queue_length"], "7");
    let trust = Trust {
        certificates: Some(authority.pem()),
        anyone: false,
    };
    let url = Secret::new(https.parse().unwrap());
    let gateway = Gateway::new(&url, &trust, Some(proxy(PASSWORD))).unwrap();
    gateway.push(&push, LIMIT).await.unwrap();
    drop(gateway);
    until("the proxy has told of both", || {
        let log = squid.log();
        log.contains("POST http://127.0.0.1") && log.contains("CONNECT 127.0.0.1")
    })
    .await;

    let gateway = gateway_through(&server.url(), Some(proxy("MARKER")));
    let failure = failure_of(gateway).await;
    assert!(
        failure.contains("407") && failure.contains(&format!("proxy `127.0.0.1:{}`", squid.port())),
        "{failure}"
    );
    let gateway = Gateway::new(&url, &trust, Some(proxy("MARKER"))).unwrap();
    let failure = failure_of(gateway).await;
    assert!(failure.contains("tunnel"), "{failure}");
}

#[tokio::test]
async fn a_gateway_that_was_away_has_everything_again_with_the_next_push() {
    let mut server = Pushgateway::start();
    let gateway = gateway_at(&server.url());
    let push = place("aws", "main").state(None, Some(&line(7))).unwrap();
    gateway.push(&push, LIMIT).await.unwrap();

    server.stop();
    gateway.push(&push, LIMIT).await.unwrap_err();
    server.restart();
    assert_eq!(server.groups().len(), 0);
    gateway.push(&push, LIMIT).await.unwrap();

    assert_eq!(server.groups().len(), 1);
}
