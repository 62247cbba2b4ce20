//! `pool serve` against real Git servers: what its pages say, what they never say, and what happens when a server goes away.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::pages::Pages;
use support::{Cli, DEADLINE, Step, TestRemote, wait_until};

const TOKEN: &str = "a token of some length";

/// A page that is open: what it is told of.
struct Open(BufReader<TcpStream>);

impl Open {
    fn at(pages: &Pages) -> Open {
        let mut stream = TcpStream::connect(("127.0.0.1", pages.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut open = Open(BufReader::new(stream));
        open.hears("event: changed");
        open
    }

    /// Reads on until this is said.
    fn hears(&mut self, text: &str) {
        let mut line = String::new();
        while !line.starts_with(text) {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it has ended");
        }
    }
}

fn claimed(remote: &TestRemote, pool: &str, lock: &str, message: &str) -> String {
    let (from, to) = (
        format!("{pool}/unclaimed/{lock}"),
        format!("{pool}/claimed/{lock}"),
    );
    remote.commit(message, &[Hand::Move(&from, &to)])
}

fn released(remote: &TestRemote, pool: &str, lock: &str, message: &str) -> String {
    let (from, to) = (
        format!("{pool}/claimed/{lock}"),
        format!("{pool}/unclaimed/{lock}"),
    );
    remote.commit(message, &[Hand::Move(&from, &to)])
}

#[test]
fn the_pages_show_who_holds_what_who_waits_and_what_was_before() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.add_pool("team/g cp", &["a"]);
    let server = HttpServer::start(remote.root());
    let build = Step::on(&remote, "aws").in_build();
    for _ in 0..5 {
        build.put(json!({"claim": "env-1"}));
        build.put(json!({"release_mine": true}));
    }
    build.put(json!({"claim": "env-1"}));
    let claim = remote.head();
    let cli = Cli::on(&server.uri());
    let other = Cli::on(&server.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_HOLDER", "ann");
    let _waits = other.watch(&["claim", "env-1"]);
    let pages = Pages::start(&cli, &[]);

    let overview = pages.wait_for("/", "13 commits since");
    let pool = pages.wait_for("/pool?name=aws", ">ann<");
    let lock = pages.get("/lock?pool=aws&name=env-1").body;
    let other = pages.get("/lock?pool=team%2Fg%20cp&name=a").body;

    assert!(overview.contains("<a href=\"/pool?name=team%2Fg%20cp\">team/g cp</a>"));
    assert!(overview.contains("1 of 2"), "{overview}");
    let link = "href=\"https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12\"";
    for page in [&pool, &lock] {
        assert!(page.contains(link), "{page}");
        assert!(page.contains("ops/web/deploy build 12"), "{page}");
    }
    // Five holds tell what is usual, and so how long ann may wait.
    assert!(pool.contains("nine of ten up to"), "{pool}");
    assert!(
        pool.contains("data-name=\"Waits for\"><div class=\"cell\">env-1<"),
        "{pool}"
    );
    assert!(pool.contains("data-name=\"Expected\""), "{pool}");
    assert!(pool.contains("class=\"lane\""), "{pool}");
    assert!(lock.contains(&claim), "{lock}");
    assert_eq!(lock.matches("</span>released</span>").count(), 5, "{lock}");
    assert!(other.contains("It was never held"), "{other}");
    for missing in ["/pool?name=gcp", "/lock?pool=aws&name=env-9", "/x"] {
        assert_eq!(pages.get(missing).status, 404, "{missing}");
    }
    assert_eq!(pages.get("/healthz").body, "ok\n");
}

#[test]
fn what_strangers_wrote_is_text_and_no_link_but_to_the_web() {
    let evil = "<script>alert(1)</script>";
    let lock_name = "x\"onmouseover=\"alert(1)";
    let remote = TestRemote::with_pool("a<b>&\"'", &[lock_name, "plain"]);
    claimed(
        &remote,
        "a<b>&\"'",
        lock_name,
        &format!(
            "{evil} claiming: {lock_name}\n\nBuild URL: javascript:alert(1)\n\nPool-Reason: {evil}\u{202e}"
        ),
    );
    let cli = Cli::on(&remote.uri());
    let pages = Pages::start(&cli, &["--show-metadata"]);
    pages.wait_for("/", " since <time");

    let pool = format!("/pool?name={}", "a%3Cb%3E%26%22%27");
    let lock = format!(
        "/lock?pool={}&name={}",
        "a%3Cb%3E%26%22%27", "x%22onmouseover%3D%22alert%281%29"
    );
    for path in ["/", &pool, &lock] {
        let answer = pages.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let page = &answer.body;
        for wrong in [
            "<script>alert",
            "javascript:",
            "x\"onmouse",
            "a<b>",
            "\u{202e}",
        ] {
            assert!(!page.contains(wrong), "{path} has {wrong}: {page}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
    assert!(pages.get(&lock).body.contains("&lt;script&gt;"));
}

#[test]
fn what_locks_say_is_shown_only_where_that_was_asked_for() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let hostile = b"<b>secret</b> of env-2";
    remote.commit(
        "add",
        &[
            Hand::Put("aws/unclaimed/env-2", "100644", hostile),
            Hand::Put("aws/unclaimed/env-3", "100644", b"\xff\xfe"),
            Hand::Put("aws/unclaimed/env-4", "100644", &[b'x'; 20_000]),
        ],
    );
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let closed = Pages::start(&cli, &[]);
    let open = Pages::start(&cli, &["--show-metadata"]);
    let of = |name: &str| format!("/lock?pool=aws&name={name}");

    let shown = open.wait_for(&of("env-2"), "&lt;b&gt;secret");
    closed.wait_for(&of("env-2"), "It was never held");

    assert!(!shown.contains("<b>secret"), "{shown}");
    for name in ["env-1", "env-2"] {
        let page = closed.get(&of(name)).body;
        assert!(
            !page.contains("Metadata") && !page.contains("secret"),
            "{page}"
        );
    }
    assert!(open.get(&of("env-1")).body.contains("metadata of env-1"));
    for unreadable in ["env-3", "env-4"] {
        assert!(!open.get(&of(unreadable)).body.contains("Metadata"));
    }
    remote.commit(
        "change",
        &[Hand::Put(
            "aws/unclaimed/env-1",
            "100644",
            b"something else",
        )],
    );
    open.wait_for(&of("env-1"), "something else");
}

#[test]
fn an_open_page_hears_of_a_change_and_of_nothing_else() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let mut open = Open::at(&pages);

    claimed(&remote, "aws", "env-1", "ann claiming: env-1");
    open.hears("event: changed");

    pages.wait_for("/pool?name=aws", ">ann<");
    pages.wait_for_metric("pool_locks{pool=\"aws\",state=\"claimed\"}", 1.0);
}

#[test]
fn a_server_that_is_away_is_shown_as_such_and_comes_back_by_itself() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let mut server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let mut open = Open::at(&pages);
    pages.wait_for_metric("pool_repository_up", 1.0);

    server.stop("TERM");
    open.hears("event: changed");
    let page = pages.wait_for("/", "The repository cannot be read");
    assert!(page.contains("What is below is old"), "{page}");
    assert!(page.contains("<title>✖ Pools"), "{page}");
    pages.wait_for_metric("pool_repository_up", 0.0);
    let locks = "pool_locks{pool=\"aws\",state=\"free\"}";
    assert_eq!(pages.metric(locks), None);
    // What was counted is as right as before.
    assert_eq!(pages.metric("pool_claims_total{pool=\"aws\"}"), Some(0.0));
    assert!(pages.get("/healthz").body.contains("cannot be read"));

    claimed(&remote, "aws", "env-1", "ann claiming: env-1");
    server.start_again_there();
    let locks = "pool_locks{pool=\"aws\",state=\"claimed\"}";
    pages.wait_for_metric(locks, 1.0);
    let page = pages.wait_for("/pool?name=aws", ">ann<");
    assert!(!page.contains("cannot be read"), "{page}");
    let said = pages.said();
    assert_eq!(
        said.matches("the repository can be read again").count(),
        1,
        "{said}"
    );
}

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let mut server = HttpServer::start(remote.root());
    server.stop("TERM");
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);

    let page = pages.wait_for("/", "The repository cannot be read");
    assert_eq!(pages.get("/pool?name=aws").status, 503, "{page}");
    pages.wait_for_metric("pool_repository_up", 0.0);
    server.start_again_there();

    pages.wait_for("/", " since <time");
}

#[test]
fn a_branch_that_was_rewritten_is_counted_anew() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let start = remote.head();
    let server = HttpServer::start(remote.root());
    for _ in 0..3 {
        claimed(&remote, "aws", "env-1", "ann claiming: env-1");
        released(&remote, "aws", "env-1", "ann unclaiming: env-1");
    }
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    let claims = "pool_claims_total{pool=\"aws\"}";
    pages.wait_for_metric(claims, 3.0);

    remote.move_branch(&start);
    claimed(&remote, "aws", "env-1", "bob claiming: env-1");

    pages.wait_for_metric(claims, 1.0);
    pages.wait_for("/lock?pool=aws&name=env-1", "bob");
    let page = pages.get("/lock?pool=aws&name=env-1").body;
    assert!(!page.contains("ann"), "{page}");
}

#[test]
fn figures_are_the_same_after_a_kill_as_before_and_go_on() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    for _ in 0..40 {
        claimed(&remote, "aws", "env-1", "ann claiming: env-1");
        released(&remote, "aws", "env-1", "ann unclaiming: env-1");
    }
    claimed(&remote, "aws", "env-2", "bob claiming: env-2");
    released(
        &remote,
        "aws",
        "env-2",
        "eve unclaiming: env-2\n\nPool-Unlocked: x\nPool-Reason: it hangs",
    );
    let series = [
        ("pool_claims_total{pool=\"aws\"}", 41.0),
        (
            "pool_claims_ended_total{how=\"released\",pool=\"aws\"}",
            40.0,
        ),
        (
            "pool_claims_ended_total{how=\"unlocked\",pool=\"aws\"}",
            1.0,
        ),
        ("pool_hold_seconds_count{pool=\"aws\"}", 41.0),
        ("pool_commits_total", 83.0),
    ];
    let mut pages = Pages::start(&cli, &[]);
    pages.wait_for_metric(series[0].0, 41.0);
    pages.end("KILL");
    drop(pages);

    let pages = Pages::start(&cli, &[]);
    pages.wait_for_metric(series[0].0, 41.0);
    for (name, value) in series {
        assert_eq!(pages.metric(name), Some(value), "{name}");
    }
    // Far more than a look fetches.
    for _ in 0..40 {
        claimed(&remote, "aws", "env-1", "ann claiming: env-1");
        released(&remote, "aws", "env-1", "ann unclaiming: env-1");
    }
    pages.wait_for_metric("pool_commits_total", 163.0);
    assert_eq!(pages.metric(series[0].0), Some(81.0));
    assert!(!pages.said().contains("rewritten"), "{}", pages.said());
}

#[test]
fn a_wait_is_measured_from_its_beginning_to_the_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    claimed(&remote, "aws", "env-1", "ann claiming: env-1");
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    let _open = Open::at(&pages);
    let named = |name: &str| {
        Cli::on(&server.uri())
            .env("POOL_NAME", "aws")
            .env("POOL_HOLDER", name)
    };
    let (bob, carl) = (named("bob"), named("carl"));
    let waits = bob.watch(&["claim", "env-1"]);
    let queue = "pool_queue_length{pool=\"aws\"}";
    pages.wait_for_metric(queue, 1.0);
    let mut gives_up = carl.command(&[], &["claim", "env-1"]).spawn().unwrap();
    pages.wait_for_metric(queue, 2.0);
    let term = std::process::Command::new("kill")
        .args(["-TERM", &gives_up.id().to_string()])
        .status();
    assert!(term.unwrap().success());
    gives_up.wait().unwrap();
    pages.wait_for_metric("pool_waits_left_total{pool=\"aws\"}", 1.0);

    released(&remote, "aws", "env-1", "ann unclaiming: env-1");
    waits.wait_for("env-1");

    pages.wait_for_metric("pool_wait_seconds_count{pool=\"aws\"}", 1.0);
    let sum = pages.metric("pool_wait_seconds_sum{pool=\"aws\"}").unwrap();
    assert!((1.0..DEADLINE.as_secs_f64()).contains(&sum), "{sum}");
    assert_eq!(pages.metric(queue), Some(0.0));
}

#[test]
fn the_repository_is_asked_as_often_whoever_looks() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let started = Instant::now();

    let open: Vec<Open> = (0..30).map(|_| Open::at(&pages)).collect();
    while started.elapsed() < Duration::from_secs(7) {
        for path in [
            "/",
            "/pool?name=aws",
            "/lock?pool=aws&name=env-1",
            "/metrics",
        ] {
            assert_eq!(pages.get(path).status, 200);
        }
    }
    drop(open);
    drop(pages);
    let looked = started.elapsed().as_secs_f64() / 2.0;

    let log = server.log();
    let requests = log
        .lines()
        .filter(|line| line.contains("info/refs"))
        .count();
    // The look and the history at the start, and one look that may have been due.
    assert!(
        requests as f64 <= looked + 6.0,
        "{requests} in {looked}: {log}"
    );
    assert!(requests > 3, "{log}");
}

#[test]
fn a_button_does_what_it_says_with_the_reason_in_the_history() {
    let remote = TestRemote::with_pool("team/aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let build = Step::on(&remote, "team/aws").in_build();
    let claim = build.put(json!({"claim": "env-1"})).version();
    let cli = Cli::on(&server.uri())
        .env("POOL_HOLDER", "the pages")
        .env("POOL_SERVE_TOKEN", TOKEN);
    let pages = Pages::start(&cli, &["--allow", "unlock,claim", "--allow", "release"]);
    let lock = "/lock?pool=team%2Faws&name=env-1";
    let page = pages.wait_for(lock, "ops/web/deploy build 12");
    assert!(page.contains("/sign-in?next=%2Flock"), "{page}");
    assert!(!page.contains("name=\"reason\""), "{page}");
    let cookie = pages.sign_in(TOKEN);
    let seen = || pages.ask("GET", lock, &[("Cookie", &cookie)], "").body;
    let hidden = |page: &str, name: &str| {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = page
            .split_once(&start)
            .unwrap_or_else(|| panic!("{name}: {page}"));
        rest.split('"').next().unwrap().to_owned()
    };
    let act = |page: &str, reason: &str| {
        let claim = match page.contains("name=\"claim\"") {
            true => hidden(page, "claim"),
            false => String::new(),
        };
        let (csrf, deed) = (hidden(page, "csrf"), hidden(page, "deed"));
        let form = [
            ("csrf", &csrf[..]),
            ("deed", &deed),
            ("pool", "team/aws"),
            ("lock", "env-1"),
            ("claim", &claim),
            ("reason", reason),
        ];
        (deed.clone(), pages.send("/act", &cookie, &form))
    };

    let held = seen();
    assert_eq!(hidden(&held, "claim"), claim);
    let (_, answer) = act(&held, "  ");
    assert_eq!(answer.status, 409, "{answer:?}");
    let why = "it <b>hangs</b>\nPool-Forged: yes";
    let (deed, answer) = act(&held, why);
    assert_eq!(
        (deed.as_str(), answer.status),
        ("unlock", 303),
        "{answer:?}"
    );
    let page = pages.ask("GET", answer.header("location"), &[("Cookie", &cookie)], "");
    assert!(page.body.contains("It was unlocked."), "{}", page.body);
    assert!(page.body.contains("it &lt;b&gt;hangs"), "{}", page.body);
    let message = remote.message(&remote.head());
    assert!(
        message.contains("Pool-Reason: it <b>hangs</b> Pool-Forged: yes"),
        "{message}"
    );
    assert!(
        message.starts_with("the pages unclaiming: env-1"),
        "{message}"
    );
    assert!(
        message.contains(&format!("Pool-Unlocked: {claim}")),
        "{message}"
    );

    // The claim that was meant has ended.
    let (_, answer) = act(&held, "again");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(
        answer.body.contains("It was not unlocked"),
        "{}",
        answer.body
    );

    let (deed, answer) = act(&seen(), "for a demo");
    assert_eq!((deed.as_str(), answer.status), ("claim", 303), "{answer:?}");
    assert!(
        remote
            .message(&remote.head())
            .contains("Pool-Reason: for a demo")
    );
    let (deed, answer) = act(&seen(), "done");
    assert_eq!(
        (deed.as_str(), answer.status),
        ("release", 303),
        "{answer:?}"
    );
    assert_eq!(remote.list("team/aws/unclaimed"), ["env-1"]);
}

#[test]
fn the_page_after_a_button_shows_what_it_has_done_however_long_it_took() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = claimed(&remote, "aws", "env-1", "ann claiming: env-1");
    let server = HttpServer::start(remote.root());
    let folder = remote.root().display().to_string();
    remote.hook(
        "pre-receive",
        &format!("touch '{folder}/pushing'\nwhile [ ! -e '{folder}/go-on' ]; do sleep 0.05; done"),
    );
    let cli = Cli::on(&server.uri()).env("POOL_SERVE_TOKEN", TOKEN);
    let pages = Pages::start(&cli, &["--allow", "unlock"]);
    pages.wait_for("/", " since <time");
    let cookie = pages.sign_in(TOKEN);
    let lock = "/lock?pool=aws&name=env-1";
    let page = pages.ask("GET", lock, &[("Cookie", &cookie)], "").body;
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap();
    let form = [
        ("csrf", csrf),
        ("deed", "unlock"),
        ("pool", "aws"),
        ("lock", "env-1"),
        ("claim", &claim),
        ("reason", "it hangs"),
    ];
    let looked = || pages.metric("pool_last_look_timestamp_seconds").unwrap();

    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| pages.send("/act", &cookie, &form));
        wait_until("the change is being pushed", || {
            remote.root().join("pushing").exists()
        });
        // A look begins after the button was pressed, and before anything has changed.
        for _ in 0..2 {
            let before = looked();
            wait_until("it was looked at once more", || looked() > before);
        }
        std::fs::write(remote.root().join("go-on"), "").unwrap();
        answer.join().unwrap()
    });

    assert_eq!(answer.status, 303, "{answer:?}");
    let page = pages.ask("GET", answer.header("location"), &[("Cookie", &cookie)], "");
    assert!(page.body.contains("It was unlocked."), "{}", page.body);
    assert!(!page.body.contains("name=\"deed\""), "{}", page.body);
}

#[test]
fn nobody_changes_anything_without_the_token_or_from_elsewhere() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let cli = Cli::on(&remote.uri());
    let claim = claimed(&remote, "aws", "env-1", "ann claiming: env-1");
    let cli = cli.env("POOL_SERVE_TOKEN", TOKEN);
    let pages = Pages::start(&cli, &["--allow", "claim"]);
    let closed = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let head = remote.head();
    let cookie = pages.sign_in(TOKEN);
    let page = pages.ask(
        "GET",
        "/lock?pool=aws&name=env-2",
        &[("Cookie", &cookie)],
        "",
    );
    let (_, rest) = page.body.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap();
    let form = |deed, lock, csrf| {
        [
            ("deed", deed),
            ("pool", "aws"),
            ("lock", lock),
            ("claim", &claim[..]),
            ("reason", "why not"),
            ("csrf", csrf),
        ]
    };
    let right = form("claim", "env-2", csrf);

    let wrong = pages.send("/sign-in", "", &[("token", "a token of some lengtg")]);
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("set-cookie"), "");
    assert_eq!(closed.send("/sign-in", "", &[("token", TOKEN)]).status, 404);
    let other = format!("pool_session={}", "0".repeat(64));
    for (cookie, form) in [
        ("", right),
        (&other[..], right),
        (&cookie[..], form("claim", "env-2", "")),
        // It is not allowed here.
        (&cookie[..], form("unlock", "env-1", csrf)),
        (&cookie[..], form("remove", "env-1", csrf)),
    ] {
        let answer = pages.send("/act", cookie, &form);
        assert_eq!(answer.status, 403, "{cookie} {form:?}: {answer:?}");
        assert_eq!(closed.send("/act", cookie, &form).status, 403);
    }
    let pairs = "deed=claim&pool=aws&lock=env-2&reason=x&csrf=";
    let from_elsewhere = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Cookie", &cookie),
        ("Origin", "https://evil.example"),
    ];
    let answer = pages.ask("POST", "/act", &from_elsewhere, &format!("{pairs}{csrf}"));
    assert_eq!(answer.status, 403);
    assert_eq!(pages.get("/act").status, 405);
    assert_eq!(remote.head(), head);
    let said = pages.said();
    assert!(!said.contains(TOKEN), "{said}");
    assert!(!page.body.contains(TOKEN) && !cookie.contains(TOKEN));
}

#[test]
fn what_does_not_hold_together_is_said_at_the_start() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let run = |cli: Cli, args: &[&str]| {
        let answer = cli.run(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
        assert_eq!(answer.code, Some(2), "{}", answer.stderr);
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
        answer.stderr
    };
    let cli = || Cli::on(&remote.uri());

    let said = run(cli(), &["--allow", "unlock"]);
    assert!(said.contains("POOL_SERVE_TOKEN_FILE"), "{said}");
    let said = run(
        cli().env("POOL_SERVE_TOKEN", "MARKER"),
        &["--allow", "unlock"],
    );
    assert!(said.contains("at least 16 characters"), "{said}");
    let both = cli()
        .env("POOL_SERVE_TOKEN", "MARKER MARKER MARKER")
        .env("POOL_SERVE_TOKEN_FILE", "/nowhere");
    let said = run(both, &["--allow", "unlock"]);
    assert!(said.contains("one is enough"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let answer = cli().run(&["serve", "--listen", &address]);
    assert!(
        answer
            .stderr
            .contains(&format!("cannot listen on `{address}`"))
    );
    assert_eq!(cli().run(&["serve", "--allow", "everything"]).code, Some(2));
}

#[test]
fn it_ends_politely_while_pages_are_open() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for signal in ["TERM", "INT"] {
        let cli = Cli::on(&remote.uri());
        let token = std::env::temp_dir().join(format!("token-{}-{signal}", std::process::id()));
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let cli = cli.env("POOL_SERVE_TOKEN_FILE", &token);
        let mut pages = Pages::start(&cli, &["--allow", "claim"]);
        std::fs::remove_file(&token).unwrap();
        pages.wait_for("/", " since <time");
        pages.sign_in(TOKEN);
        let _open = Open::at(&pages);

        assert_eq!(pages.end(signal), Some(0), "{}", pages.said());
    }
}

#[test]
fn one_pool_is_shown_alone_where_it_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("gcp", &["env-2"]);
    let cli = || Cli::on(&remote.uri()).env("POOL_NAME", "aws");
    let homes = [cli(), cli()];
    let one = Pages::start(&homes[0], &[]);
    let all = Pages::start(&homes[1], &["--all"]);

    one.wait_for("/", ">aws<");
    all.wait_for("/", ">gcp<");
    assert!(!one.get("/").body.contains("gcp"));
    wait_until("the history is read", || {
        one.metric("pool_commits_total").is_some()
    });
    assert!(!one.get("/metrics").body.contains("gcp"));
}

#[test]
fn holders_who_wait_for_each_other_are_shown_and_counted_until_one_of_them_leaves() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    remote.add_pool("db", &["b"]);
    let server = HttpServer::start(remote.root());
    let called = |name: &str, pool: &str| {
        Cli::on(&server.uri())
            .env("POOL_NAME", pool)
            .env("POOL_HOLDER", name)
    };
    called("ann", "aws").text(&["claim", "a"]);
    called("bob", "db").text(&["claim", "b"]);
    let (ann, bob) = (called("ann", "db"), called("bob", "aws"));
    let mut waits = [(&ann, "b"), (&bob, "a")].map(|(who, lock)| {
        let mut command = who.command(&[], &["claim", lock]);
        command.stderr(Stdio::null()).spawn().unwrap()
    });
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    let _open = Open::at(&pages);

    pages.wait_for_metric("pool_circles", 1.0);
    let page = pages.wait_for("/", "wait for each other");
    assert!(page.contains("held by bob"), "{page}");

    for one in &mut waits {
        let term = std::process::Command::new("kill")
            .args(["-TERM", &one.id().to_string()])
            .status();
        assert!(term.unwrap().success());
        one.wait().unwrap();
    }
    pages.wait_for_metric("pool_circles", 0.0);
    assert!(!pages.get("/").body.contains("wait for each other"));
}
