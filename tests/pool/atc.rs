//! What has become of a build: the client of Concourse's API against a web node, well and unwell.

use std::time::{Duration, SystemTime};

use net::Secret;
use net::http::Client;
use net::{AGENT, Route};
use pool::concourse::atc::Atc;
use pool::concourse::{Login, Server};
use pool::maker::{Heard, Maker, Running, Status};
use pool::reap::{Claim, Rules, Verdict, judge};
use serde_json::{Value, json};
use url::Url;

use support::DEADLINE;
use support::server::atc::{BEGAN, Job, SimulatedAtc, Trouble, USER};
use support::server::faulty::Faulty;
use support::server::free_port;

/// A limit that a server which answers is never near.
const LONG: Duration = DEADLINE;

/// A limit for servers that do not answer.
const SHORT: Duration = Duration::from_millis(300);

fn client(url: &str, login: Login, limit: Duration) -> Atc {
    let url = Url::parse(url).unwrap();
    let client = Client::new(&url, &Route::default(), AGENT).unwrap();
    Atc::new(client, &Server { url, login }, limit)
}

fn password(user: (&str, &str)) -> Login {
    Login::Password {
        username: user.0.to_owned(),
        password: Secret::new(user.1.to_owned()),
    }
}

fn asking(atc: &SimulatedAtc) -> Atc {
    client(&atc.url(), password(USER), LONG)
}

/// When claims are made: a minute after the builds that make them began.
fn made() -> SystemTime {
    began(BEGAN + 60).unwrap()
}

/// Asks about the build that wrote this message.
async fn ask(client: &mut Atc, message: &str) -> Heard {
    match Maker::read(message.as_bytes()) {
        Maker::Build(build) => client.ask(&build, made()).await,
        other => panic!("{message}: {other:?}"),
    }
}

/// The message of a claim that links to its build's page at this Concourse.
fn linked(url: &str, job: &Job<'_>, number: &str) -> String {
    let mut page = Url::parse(url).unwrap();
    page.path_segments_mut().unwrap().pop_if_empty().extend([
        "teams",
        job.team,
        "pipelines",
        job.pipeline,
        "jobs",
        job.job,
        "builds",
        number,
    ]);
    format!(
        "{}/{}/{} build {number} claiming: env-1\n\nBuild URL: {page}\n\nPool-Request: 7c0e\n",
        job.team, job.pipeline, job.job
    )
}

/// The same, with the pipeline's instance vars in a trailer.
fn linked_with_vars(url: &str, job: &Job<'_>, number: &str) -> String {
    format!(
        "{}Pool-Instance-Vars: {}\n",
        linked(url, job, number),
        job.vars
    )
}

fn deploy() -> Job<'static> {
    Job::new("ops/web/deploy")
}

fn began(seconds: i64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64))
}

fn found(status: &str) -> Heard {
    Heard::Found {
        status: Status::read(status).unwrap(),
        began: began(BEGAN),
        ended: None,
    }
}

fn missing(running: &[&str], complete: bool) -> Heard {
    let running = running.iter().map(|name| Running {
        name: (*name).to_owned(),
        began: began(BEGAN),
    });
    Heard::Missing {
        running: running.collect(),
        complete,
    }
}

/// Asserts that nothing could be learnt, for a reason with these words in it and no secret.
#[track_caller]
fn assert_unheard(heard: &Heard, words: &str) {
    match heard {
        Heard::Unheard(why) => {
            assert!(why.contains(words), "{why}");
            assert!(
                !why.contains("MARKER") && !why.contains(char::is_control),
                "{why}"
            );
        }
        other => panic!("{words}: {other:?}"),
    }
}

#[tokio::test]
async fn a_build_of_a_job_is_alive_or_has_ended() {
    let atc = SimulatedAtc::start();
    let mut client = asking(&atc);

    let statuses = [
        "pending",
        "started",
        "succeeded",
        "failed",
        "errored",
        "aborted",
    ];
    for (n, status) in statuses.iter().enumerate() {
        let number = format!("{n}.1");
        atc.build(&deploy(), &number, status);

        let heard = ask(&mut client, &linked(&atc.url(), &deploy(), &number)).await;

        assert_eq!(heard, found(status));
    }

    let asked = atc.asked();
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked.len(), 1 + statuses.len(), "{asked:?}");
    assert!(asked[1..].iter().all(|asked| {
        asked.method == "GET" && asked.authorization.as_deref() == Some("Bearer MARKER-token-1")
    }));
}

#[tokio::test]
async fn a_build_that_has_not_begun_has_no_time() {
    let atc = SimulatedAtc::start();
    atc.build_from(&deploy(), "12", "pending", None);

    assert_eq!(
        ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await,
        Heard::Found {
            status: Status::Alive("pending"),
            began: None,
            ended: None,
        }
    );
}

#[tokio::test]
async fn when_a_build_ended_is_told_of_one_that_is_known_by_its_names() {
    let atc = SimulatedAtc::start();
    let id = atc.build(&deploy(), "12", "failed");
    atc.set_end(id, BEGAN + 30);
    let found = |ended| Heard::Found {
        status: Status::Ended("failed"),
        began: began(BEGAN),
        ended,
    };

    let by_names = linked(&atc.url(), &deploy(), "12");
    assert_eq!(
        ask(&mut asking(&atc), &by_names).await,
        found(began(BEGAN + 30))
    );
    let by_id = format!("{by_names}Pool-Build: {id}\n");
    assert_eq!(ask(&mut asking(&atc), &by_id).await, found(None));
}

#[tokio::test]
async fn a_build_is_found_by_its_id() {
    let atc = SimulatedAtc::start();
    let one_off = atc.one_off("ops", "started");
    let of_job = atc.build(&deploy(), "12", "failed");
    let mut client = asking(&atc);
    let url = atc.url();

    for (prefix, id, heard) in [
        ("", one_off, found("started")),
        (
            &*format!("one-off build {one_off} "),
            one_off,
            found("started"),
        ),
        ("", of_job, found("failed")),
        // It is still the build 12, whatever its job was called.
        ("ops/old/name build 12 ", of_job, found("failed")),
    ] {
        let message = format!("{prefix}claiming: env-1\n\nBuild URL: {url}/builds/{id}\n");
        assert_eq!(ask(&mut client, &message).await, heard, "{message}");
    }
}

#[tokio::test]
async fn an_id_that_another_build_has_says_nothing_unless_that_one_is_alive() {
    let atc = SimulatedAtc::start();
    let id = atc.build(&deploy(), "12", "failed");
    let url = atc.url();

    for prefix in [
        "ops/web/deploy build 13 ".to_owned(),
        format!("one-off build {id} "),
    ] {
        let message = format!("{prefix}claiming: env-1\n\nBuild URL: {url}/builds/{id}\n");

        atc.set_status(id, "failed");
        let heard = ask(&mut asking(&atc), &message).await;
        assert!(matches!(heard, Heard::Unknown(_)), "{heard:?}");

        atc.set_status(id, "started");
        assert_eq!(ask(&mut asking(&atc), &message).await, found("started"));
    }
}

#[tokio::test]
async fn an_id_that_is_gone_is_gone() {
    let atc = SimulatedAtc::start();
    let message = format!("claiming: env-1\n\nBuild URL: {}/builds/4000\n", atc.url());

    assert_eq!(ask(&mut asking(&atc), &message).await, missing(&[], true));
}

#[tokio::test]
async fn names_may_have_anything_in_them() {
    let atc = SimulatedAtc::start();
    let job = Job {
        team: "o p%s",
        pipeline: "we/b?&=#",
        job: "dé ploy+",
        vars: json!({}),
    };
    atc.team("o p%s");
    atc.user(USER.0, USER.1, &["o p%s"]);
    atc.build(&job, "12", "started");

    assert_eq!(
        ask(&mut asking(&atc), &linked(&atc.url(), &job, "12")).await,
        found("started")
    );
}

#[tokio::test]
async fn instance_vars_tell_pipelines_of_one_name_apart() {
    let atc = SimulatedAtc::start();
    let vars =
        json!({"branch": "a b+&=é", "n": 1, "deep": {"x.y": [true, null], "z": {"q": "\"v\""}}});
    let (living, dead) = (deploy().with(vars), deploy().with(json!({"branch": "x"})));
    atc.build(&living, "12", "started");
    atc.build(&dead, "12", "failed");
    atc.build(&deploy(), "12", "errored");
    let mut client = asking(&atc);

    for (job, status) in [
        (&living, "started"),
        (&dead, "failed"),
        (&deploy(), "errored"),
    ] {
        let message = if job.vars == json!({}) {
            linked(&atc.url(), job, "12")
        } else {
            linked_with_vars(&atc.url(), job, "12")
        };
        assert_eq!(ask(&mut client, &message).await, found(status), "{message}");
    }
}

#[tokio::test]
async fn instance_vars_of_a_link_are_sent_as_they_are() {
    let atc = SimulatedAtc::start();
    let job = deploy().with(json!({"branch": "a b", "x": {"y.z": 1}}));
    atc.build(&job, "12", "started");
    let page = format!(
        "{}/teams/ops/pipelines/web/jobs/deploy/builds/12",
        atc.url()
    );

    for query in [
        "vars.branch=%22a+b%22&vars.x.%22y.z%22=1",
        "vars.branch=%22a%20b%22&vars.x=%7B%22y.z%22%3A1%7D",
        "vars=%7B%22branch%22%3A%22a%20b%22%7D&vars.x.%22y.z%22=1&more=1",
    ] {
        let message = format!("claiming: env-1\n\nBuild URL: {page}?{query}\n");
        assert_eq!(
            ask(&mut asking(&atc), &message).await,
            found("started"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_commit_that_tells_no_instance_vars_may_mean_any_instance() {
    let atc = SimulatedAtc::start();
    let instance = deploy().with(json!({"branch": "x"}));
    let id = atc.build(&instance, "12", "started");
    // Not made by us: no trailer says that there are no vars.
    let message = linked(&atc.url(), &deploy(), "12").replace("Pool-Request", "Other");

    let alive = missing(&["ops/web/deploy build 12"], true);
    assert_eq!(ask(&mut asking(&atc), &message).await, alive);
    // Nor does it help that there is a pipeline without any.
    atc.build(&deploy(), "12", "failed");
    assert_eq!(ask(&mut asking(&atc), &message).await, alive);

    atc.set_status(id, "succeeded");
    assert_eq!(ask(&mut asking(&atc), &message).await, missing(&[], true));
    // Where there are no instances it is what it is.
    atc.destroy(&instance);
    assert_eq!(ask(&mut asking(&atc), &message).await, found("failed"));
}

#[tokio::test]
async fn instance_vars_that_are_none_are_not_asked_about() {
    let atc = SimulatedAtc::start();
    let message = linked(&atc.url(), &deploy(), "12") + "Pool-Instance-Vars: {\n";

    let heard = ask(&mut asking(&atc), &message).await;

    assert!(matches!(heard, Heard::Unknown(_)), "{heard:?}");
    assert_eq!(atc.targets("").len(), 0);
}

#[tokio::test]
async fn a_token_that_has_expired_is_renewed() {
    let atc = SimulatedAtc::start();
    let mut client = asking(&atc);
    for number in ["1", "2", "3"] {
        atc.build(&deploy(), number, "started");
        assert_eq!(
            ask(&mut client, &linked(&atc.url(), &deploy(), number)).await,
            found("started")
        );
        atc.expire_tokens();
    }
    // What is not there is so for everybody; who may see the list is another question.
    atc.destroy(&deploy());
    assert_eq!(
        ask(&mut client, &linked(&atc.url(), &deploy(), "4")).await,
        missing(&[], true)
    );

    assert_eq!(atc.targets("/sky/").len(), 4);
}

#[tokio::test]
async fn a_token_that_is_never_taken_is_renewed_once() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12", "started");
    atc.trouble("/api/", Trouble::Status(401), usize::MAX);
    let mut client = asking(&atc);

    let first = ask(&mut client, &linked(&atc.url(), &deploy(), "12")).await;
    let second = ask(&mut client, &linked(&atc.url(), &deploy(), "13")).await;

    assert_unheard(&first, "does not take our token");
    assert_unheard(&second, "does not take our token");
    assert_eq!(atc.targets("/sky/").len(), 2);
    assert_eq!(atc.targets("/api/").len(), 2);
}

#[tokio::test]
async fn a_token_of_the_settings_is_used_and_cannot_be_renewed() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12", "started");
    let token = Login::parse_token(&format!("Bearer {}\n", atc.token_of(USER.0))).unwrap();
    let mut client = client(&atc.url(), token, LONG);

    let known = ask(&mut client, &linked(&atc.url(), &deploy(), "12")).await;
    atc.expire_tokens();
    let lost = ask(&mut client, &linked(&atc.url(), &deploy(), "13")).await;

    assert_eq!(known, found("started"));
    // Whether there is a build 13 is no secret; whether it runs elsewhere is.
    assert_unheard(&lost, "does not take our token");
    assert_eq!(atc.targets("/sky/").len(), 0);
}

#[tokio::test]
async fn an_older_concourse_gives_tokens_elsewhere() {
    let atc = SimulatedAtc::start();
    atc.make_older();
    atc.build(&deploy(), "12", "started");

    assert_eq!(
        ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await,
        found("started")
    );
    assert_eq!(atc.targets("/sky/"), ["/sky/issuer/token", "/sky/token"]);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_never_shown() {
    for older in [false, true] {
        let atc = SimulatedAtc::start();
        if older {
            atc.make_older();
        }
        atc.build(&deploy(), "12", "started");
        let mut client = client(&atc.url(), password((USER.0, "MARKER-wrong")), LONG);

        for number in ["12", "13"] {
            let heard = ask(&mut client, &linked(&atc.url(), &deploy(), number)).await;
            assert_unheard(&heard, "gives no token for these credentials (status 401");
        }

        assert_eq!(atc.targets("").len(), 1 + usize::from(older));
    }
}

#[tokio::test]
async fn builds_of_a_destroyed_pipeline_are_gone() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12", "started");
    atc.build(&Job::new("ops/other/deploy"), "13", "started");
    atc.build(&Job::new("ops/third/deploy"), "12", "pending");
    atc.build(&Job::new("ops/fourth/deploy"), "12", "failed");
    atc.one_off("ops", "started");
    atc.destroy(&deploy());

    assert_eq!(
        ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await,
        missing(&[], true)
    );
}

#[tokio::test]
async fn a_build_that_lives_on_under_another_name_is_among_those_that_run() {
    type Change = fn(&SimulatedAtc);
    let changes: [(Change, &str); 3] = [
        (
            |atc| atc.rename(&deploy(), "web 2"),
            "ops/web 2/deploy build 12",
        ),
        (|atc| atc.remove_job(&deploy()), "ops/web/deploy build 12"),
        (
            |atc| {
                atc.remove_job(&deploy());
                atc.rename(&deploy(), "web 2");
            },
            "ops/web 2/deploy build 12",
        ),
    ];

    for (change, name) in changes {
        let atc = SimulatedAtc::start();
        atc.build(&deploy(), "12", "started");
        change(&atc);

        assert_eq!(
            ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await,
            missing(&[name], true)
        );
    }
}

#[tokio::test]
async fn however_many_builds_a_team_has_the_one_that_runs_is_found() {
    let atc = SimulatedAtc::start();
    // Its links lead to where others see it, which is not where it is asked.
    atc.set_external_url("https://ci.example.com");
    atc.build(&deploy(), "12", "started");
    atc.rename(&deploy(), "renamed");
    for n in 0..2_500 {
        atc.build(&Job::new("ops/busy/job"), &n.to_string(), "succeeded");
    }
    let mut client = asking(&atc);

    for number in ["12", "13", "14"] {
        let heard = ask(
            &mut client,
            &linked("https://ci.example.com", &deploy(), number),
        )
        .await;
        match number {
            "12" => assert_eq!(heard, missing(&["ops/renamed/deploy build 12"], true)),
            _ => assert_eq!(heard, missing(&[], true)),
        }
    }

    // Asked once for all of them.
    assert_eq!(atc.targets("/ops/builds").len(), 3);
    assert_eq!(atc.targets("/info").len(), 1);
}

#[tokio::test]
async fn a_rerun_that_is_not_found_may_be_where_the_list_does_not_show_it() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12.1", "started");
    atc.destroy(&deploy());

    let message = linked(&atc.url(), &deploy(), "12.1");

    assert_eq!(ask(&mut asking(&atc), &message).await, missing(&[], false));
}

#[tokio::test]
async fn the_list_is_read_no_further_back_than_a_month_before_the_claim() {
    const DAY: i64 = 24 * 3600;
    let atc = SimulatedAtc::start();
    let busy = Job::new("ops/busy/job");
    atc.build_from(&busy, "12", "started", Some(BEGAN - 100 * DAY));
    for _ in 0..2_000 {
        atc.build_from(&busy, "1", "succeeded", Some(BEGAN - 40 * DAY));
    }
    let mut client = asking(&atc);
    let Maker::Build(build) = Maker::read(linked(&atc.url(), &deploy(), "12").as_bytes()) else {
        panic!();
    };

    let recent = client.ask(&build, made()).await;
    assert_eq!(recent, missing(&[], true));
    assert_eq!(atc.targets("/ops/builds").len(), 1);

    let older = made() - Duration::from_secs(20 * DAY as u64);
    let Heard::Missing { running, complete } = client.ask(&build, older).await else {
        panic!();
    };
    assert!(complete && running[0].name == "ops/busy/job build 12");
    assert_eq!(atc.targets("/ops/builds").len(), 3);
}

#[tokio::test]
async fn a_list_that_never_ends_is_left_and_known_not_to_be_complete() {
    let atc = SimulatedAtc::start();
    let port: u16 = atc.url().rsplit(':').next().unwrap().parse().unwrap();
    let endless = Faulty::start(move |head| {
        if !head.contains("/builds?") {
            return pass_on(port, head);
        }
        let link = "Link: </api/v1/teams/ops/builds?to=7>; rel=\"next\"";
        Some(format!(
            "HTTP/1.1 200 OK\r\n{link}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
        ))
    });
    let url = format!("http://127.0.0.1:{}", endless.port());
    let token = Login::parse_token(&atc.token_of(USER.0)).unwrap();
    let mut client = client(&url, token, LONG);

    assert_eq!(
        ask(&mut client, &linked(&url, &deploy(), "12")).await,
        missing(&[], false)
    );
    assert!(endless.heard().len() < 150);
}

/// What the web node at this port says to a request without a body.
fn pass_on(port: u16, head: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut server = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    server.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test]
async fn what_we_may_not_see_is_not_known() {
    let atc = SimulatedAtc::start();
    let theirs = Job::new("theirs/web/deploy");
    atc.team("theirs");
    let id = atc.build(&theirs, "12", "started");
    let url = atc.url();

    let by_name = linked(&url, &theirs, "12");
    let by_id = format!("claiming: x\n\nBuild URL: {url}/builds/{id}\n");
    let gone = linked(&url, &Job::new("theirs/gone/deploy"), "12");
    let untold = by_name.replace("Pool-Request", "Other");
    for message in [&by_name, &by_id, &gone] {
        assert_unheard(&ask(&mut asking(&atc), message).await, "status 403");
    }

    // What everybody may see is known, unless it takes more to be sure.
    atc.expose(&theirs);
    assert_eq!(ask(&mut asking(&atc), &by_name).await, found("started"));
    assert_eq!(ask(&mut asking(&atc), &by_id).await, found("started"));
    atc.set_status(id, "failed");
    assert_eq!(ask(&mut asking(&atc), &by_name).await, found("failed"));
    assert_unheard(&ask(&mut asking(&atc), &untold).await, "status 403");
    assert_unheard(&ask(&mut asking(&atc), &gone).await, "status 403");
}

#[tokio::test]
async fn a_team_that_is_not_there_may_have_another_name() {
    let atc = SimulatedAtc::start();

    let heard = ask(
        &mut asking(&atc),
        &linked(&atc.url(), &Job::new("nobody/web/deploy"), "12"),
    )
    .await;

    assert_eq!(heard, missing(&[], false));
}

#[tokio::test]
async fn builds_of_another_concourse_are_not_asked_about() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12", "failed");
    let mut client = asking(&atc);

    for other in [
        "https://ci.example.com",
        "http://127.0.0.1:1",
        &atc.url().replace("http:", "https:"),
        &format!("{}/other", atc.url()),
    ] {
        match ask(&mut client, &linked(other, &deploy(), "12")).await {
            Heard::Unknown(why) => assert!(why.contains("another Concourse, at http"), "{why}"),
            heard => panic!("{heard:?}"),
        }
    }

    assert_eq!(atc.targets("/teams/").len(), 0);
}

#[tokio::test]
async fn a_concourse_is_known_by_the_url_that_it_says_is_its_own() {
    let atc = SimulatedAtc::start();
    atc.set_external_url("https://ci.example.com/");
    atc.build(&deploy(), "12", "failed");

    assert_eq!(
        ask(
            &mut asking(&atc),
            &linked("https://ci.example.com", &deploy(), "12")
        )
        .await,
        found("failed")
    );
}

#[tokio::test]
async fn a_concourse_below_a_path_is_asked_there() {
    let atc = SimulatedAtc::start();
    let url = format!("{}/ci/", atc.url());

    let heard = ask(
        &mut client(&url, password(USER), LONG),
        &linked(&url, &deploy(), "12"),
    )
    .await;

    assert_unheard(&heard, "404");
    assert!(
        atc.targets("")
            .iter()
            .all(|target| target.starts_with("/ci/sky/"))
    );
}

#[tokio::test]
async fn a_commit_without_a_link_is_of_this_concourse_if_it_has_a_build_of_these_names() {
    let atc = SimulatedAtc::start();
    let id = atc.build(&deploy(), "12", "failed");
    let mut client = asking(&atc);

    let named = "ops/web/deploy build 12 claiming: env-1";
    assert_eq!(ask(&mut client, named).await, found("failed"));
    let gone = "ops/web/deploy build 13 claiming: env-1";
    assert_eq!(ask(&mut client, gone).await, missing(&[], false));

    let one_off = atc.one_off("ops", "failed");
    let heard = ask(&mut client, &format!("one-off build {one_off} claiming: x")).await;
    assert!(matches!(heard, Heard::Unknown(_)), "{heard:?}");
    let heard = ask(&mut client, &format!("one-off build {id} claiming: x")).await;
    assert!(matches!(heard, Heard::Unknown(_)), "{heard:?}");
    let heard = ask(&mut client, "one-off build 1 claiming: x").await;
    assert_eq!(heard, missing(&[], false));
    let living = atc.one_off("ops", "started");
    let heard = ask(&mut client, &format!("one-off build {living} claiming: x")).await;
    assert_eq!(heard, found("started"));
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_not_asked_about() {
    let atc = SimulatedAtc::start();
    let mut client = asking(&atc);

    for subject in [
        "../web/x build 1",
        "ops/../x build 1",
        "ops/web/.. build 1",
        "//x build 1",
        "o/p/j build ..",
    ] {
        let heard = ask(&mut client, &format!("{subject} claiming: env-1")).await;
        assert!(matches!(heard, Heard::Unknown(_)), "{subject}: {heard:?}");
    }

    assert_eq!(atc.targets("").len(), 0);
}

#[tokio::test]
async fn each_build_is_asked_about_once() {
    let atc = SimulatedAtc::start();
    atc.build(&deploy(), "12", "started");
    let mut client = asking(&atc);

    for _ in 0..3 {
        let heard = ask(&mut client, &linked(&atc.url(), &deploy(), "12")).await;
        assert_eq!(heard, found("started"));
    }

    assert_eq!(atc.targets("/api/").len(), 1);
}

#[tokio::test]
async fn faults_that_pass_are_ridden_out() {
    for trouble in [
        Trouble::Status(500),
        Trouble::Status(502),
        Trouble::Status(429),
        Trouble::Close,
    ] {
        for part in ["/sky/", "/api/"] {
            let atc = SimulatedAtc::start();
            atc.build(&deploy(), "12", "started");
            atc.trouble(part, trouble.clone(), 2);

            let heard = ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await;

            assert_eq!(heard, found("started"), "{part}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stays_in_trouble_is_left_alone() {
    let atc = SimulatedAtc::start();
    atc.trouble("/api/", Trouble::Status(503), usize::MAX);
    let mut client = asking(&atc);

    for number in ["1", "2"] {
        let heard = ask(&mut client, &linked(&atc.url(), &deploy(), number)).await;
        assert_unheard(&heard, "it answers with status 503");
    }
    let asked = atc.asked().len();
    for number in ["3", "4"] {
        let heard = ask(&mut client, &linked(&atc.url(), &deploy(), number)).await;
        assert_unheard(&heard, "not asked any more: it answers with status 503");
    }

    assert_eq!(asked, 1 + 2 * 3);
    assert_eq!(atc.asked().len(), asked);
    // The next run asks again.
    atc.recover();
    atc.build(&deploy(), "3", "started");
    let heard = ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "3")).await;
    assert_eq!(heard, found("started"));
}

#[tokio::test]
async fn a_fault_with_one_build_does_not_stop_the_others() {
    let atc = SimulatedAtc::start();
    atc.trouble("/builds/odd", Trouble::Status(500), usize::MAX);
    let mut client = asking(&atc);

    for n in 0..3 {
        let odd = ask(
            &mut client,
            &linked(&atc.url(), &deploy(), &format!("odd{n}")),
        )
        .await;
        assert_unheard(&odd, "status 500");
        atc.build(&deploy(), &n.to_string(), "started");
        let well = ask(&mut client, &linked(&atc.url(), &deploy(), &n.to_string())).await;
        assert_eq!(well, found("started"));
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_not_heard() {
    let url = format!("http://127.0.0.1:{}", free_port());

    let heard = ask(
        &mut client(&url, password(USER), LONG),
        &linked(&url, &deploy(), "12"),
    )
    .await;

    assert_unheard(&heard, &format!("cannot talk to {url}"));
}

#[tokio::test]
async fn a_server_that_is_silent_or_too_slow_is_given_up_on() {
    for trouble in [Trouble::Silence, Trouble::Trickle] {
        for part in ["/sky/", "/api/"] {
            let atc = SimulatedAtc::start();
            atc.build(&deploy(), "12", "started");
            atc.trouble(part, trouble.clone(), usize::MAX);
            let mut client = client(&atc.url(), password(USER), SHORT);

            let heard = ask(&mut client, &linked(&atc.url(), &deploy(), "12")).await;

            assert_unheard(&heard, "no answer within 300ms");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_concourse_is_not_believed() {
    let build = |more: Value| {
        let mut build = json!({"id": 4711, "name": "12", "status": "failed", "start_time": BEGAN});
        for (key, value) in more.as_object().unwrap() {
            build[key] = value.clone();
        }
        Trouble::Text(build.to_string())
    };
    let text = |text: &str| Trouble::Text(text.to_owned());
    for (trouble, words) in [
        (
            text("<html>MARKER-page</html>"),
            "other than JSON of the kind (application/json)",
        ),
        (text(""), "other than JSON"),
        (text("[]"), "other than JSON"),
        (text("{\"status\": \"failed\"}"), "other than JSON"),
        (build(json!({"status": 7})), "other than JSON"),
        (
            build(json!({"status": "MARKED\n"})),
            "a status that is not known here, \"MARKED\\n\"",
        ),
        (build(json!({"name": "13"})), "another build"),
        (Trouble::Flood, "more than 1048576 bytes"),
        (Trouble::Status(400), "status 400"),
        (Trouble::Status(204), "status 204"),
        (
            Trouble::Redirect("/login?MARKER".into()),
            "redirects to another page",
        ),
        (
            Trouble::Redirect("https://u:MARKER@sso.example.com/MARKER".into()),
            "redirects to https://sso.example.com;",
        ),
    ] {
        let atc = SimulatedAtc::start();
        atc.trouble("/jobs/", trouble, usize::MAX);

        let heard = ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await;

        assert_unheard(&heard, words);
        assert_eq!(atc.targets("/jobs/").len(), 1, "{words}");
    }
}

#[tokio::test]
async fn a_redirect_takes_neither_token_nor_password_to_another_host() {
    for part in ["/sky/", "/api/"] {
        let atc = SimulatedAtc::start();
        let other = Faulty::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        let there = format!("http://127.0.0.1:{}/there", other.port());
        atc.trouble(part, Trouble::Redirect(there), usize::MAX);

        let heard = ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await;

        assert_unheard(&heard, "redirects to http://127.0.0.1");
        assert_eq!(other.heard().len(), 0);
    }
}

#[tokio::test]
async fn odd_tokens_are_not_sent() {
    for text in [
        "{}",
        "{\"access_token\": \"MARKER\\nX: y\"}",
        "<html>MARKER",
        "{\"access_token\": 7}",
    ] {
        let atc = SimulatedAtc::start();
        atc.trouble("/sky/", Trouble::Text(text.into()), usize::MAX);

        let heard = ask(&mut asking(&atc), &linked(&atc.url(), &deploy(), "12")).await;

        assert_unheard(&heard, "does not answer as a Concourse does");
        assert_eq!(atc.targets("/api/").len(), 0);
    }
}

/// The verdict on a claim that is long past its lease, of a build that runs.
async fn judged(client: &mut Atc, message: &str) -> Verdict {
    let maker = Maker::read(message.as_bytes());
    let Maker::Build(build) = &maker else {
        panic!("{message}");
    };
    let made = made();
    let heard = client.ask(build, made).await;
    let claim = Claim {
        made,
        lease_end: Some(made + Duration::from_secs(1)),
        maker: &maker,
        heard: &heard,
    };
    let rules = Rules {
        now: made + Duration::from_secs(1_000_000),
        stale_after: Some(Duration::from_secs(1)),
    };
    judge(&claim, &rules)
}

#[tokio::test]
async fn the_lock_of_a_living_build_is_kept_whatever_happens_to_its_concourse() {
    let troubles = [
        Trouble::Status(200),
        Trouble::Status(401),
        Trouble::Status(403),
        Trouble::Status(404),
        Trouble::Status(410),
        Trouble::Status(500),
        Trouble::Status(503),
        Trouble::Text("{}".into()),
        Trouble::Text("[]".into()),
        Trouble::Text("null".into()),
        Trouble::Redirect("https://sso.example.com/".into()),
        Trouble::Silence,
        Trouble::Trickle,
        Trouble::Close,
    ];
    let parts = [
        "",
        "/sky/",
        "/api/",
        "/info",
        "/jobs/",
        "/teams/ops",
        "/ops/builds",
        "/builds/",
        "/pipelines",
    ];
    // What a Concourse says that is there is believed: that it has no such team or build, that a team has no builds.
    let is_a_lie = |trouble: &Trouble, part: &str| match trouble {
        Trouble::Status(404) => matches!(part, "/teams/ops" | "/builds/"),
        Trouble::Text(text) => text == "[]" && part == "/ops/builds",
        _ => false,
    };
    let cases = troubles
        .iter()
        .flat_map(|trouble| parts.map(|part| (trouble.clone(), part)));
    // At the same time, for each takes a while to give up.
    let mut running = tokio::task::JoinSet::new();
    for (trouble, part) in cases.filter(|(trouble, part)| !is_a_lie(trouble, part)) {
        running.spawn(assert_kept(trouble, part));
    }
    let done = running.join_all().await;
    assert!(done.len() > 100);
}

/// Asserts that no living build loses its lock while requests that have `part` in them go wrong.
async fn assert_kept(trouble: Trouble, part: &str) {
    let atc = SimulatedAtc::start();
    let living = atc.build(&deploy(), "12", "started");
    let renamed = Job::new("ops/old/deploy");
    atc.build(&renamed, "7", "started");
    atc.rename(&renamed, "new");
    atc.trouble(part, trouble, usize::MAX);

    for message in [
        linked(&atc.url(), &deploy(), "12"),
        linked(&atc.url(), &renamed, "7"),
        linked(&atc.url(), &deploy(), "12").replace("Pool-Request", "Other"),
        format!("claiming: x\n\nBuild URL: {}/builds/{living}\n", atc.url()),
    ] {
        let mut client = client(&atc.url(), password(USER), SHORT);
        let verdict = judged(&mut client, &message).await;
        assert!(
            matches!(verdict, Verdict::Keep(_)),
            "{part}: {verdict:?}: {message}"
        );
    }
}

#[tokio::test]
async fn a_build_that_is_over_loses_its_lock_and_the_evidence_is_one_line() {
    let atc = SimulatedAtc::start();
    let id = atc.build(&deploy(), "12", "aborted");
    let message = linked(&atc.url(), &deploy(), "12");

    assert_eq!(
        judged(&mut asking(&atc), &message).await,
        Verdict::Free("`ops/web/deploy build 12` has ended (aborted)".into())
    );
    atc.set_status(id, "started");
    assert_eq!(
        judged(&mut asking(&atc), &message).await,
        Verdict::Keep("`ops/web/deploy build 12` is alive (started)".into())
    );
    atc.destroy(&deploy());
    assert_eq!(
        judged(&mut asking(&atc), &message).await,
        Verdict::Free(
            "`ops/web/deploy build 12` is gone: Concourse has it no more, under whatever name"
                .into()
        )
    );
}
