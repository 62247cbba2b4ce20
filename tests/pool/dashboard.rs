//! The dashboard and the alerts: their files are sound, and what each expression in them gives is what has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pool::metrics::push::LIMIT;
use pool::metrics::{
    Ending, Line, METRICS, Metric, Operation, Place, PoolState, Reporter, STALE_AFTER, Since,
    Waiter, Waiting,
};
use serde_json::Value;

use super::metrics::{gateway_at, place, until};
use support::server::prometheus::{Moment, Prometheus, Vector, promtool};
use support::server::pushgateway::Pushgateway;
use support::server::web::request;

/// What happens when; a column of [`EXPECTED`] for each.
const MOMENTS: [&str; 6] = [
    "nothing was ever pushed",
    "one holds the only lock, for too long",
    "four wait behind him",
    "he gave it back, and the first was served",
    "it went on to the second, the third was killed, the fourth gave up",
    "the second gave it back, and somebody failed",
];

/// How the values of a row are meant.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// As they stand.
    Value,
    /// At the start of the scenario; at a later moment they are older.
    Age,
}

use Kind::{Age, Value as Is};

/// A panel's title and the letter of its query, or the name of an alert; what it gives at each of the [`MOMENTS`]: label
/// values, and a number or two between which it is.
const EXPECTED: [(&str, Kind, [&str; 6]); 23] = [
    (
        "Waiting in line A",
        Is,
        ["", "aws=0", "aws=4", "aws=3", "aws=0", "aws=0"],
    ),
    (
        "Utilisation A",
        Is,
        [
            "",
            "aws=1; gcp=0.25",
            "aws=1; gcp=0.25",
            "aws=1; gcp=0.25",
            "aws=1; gcp=0.25",
            "aws=0; gcp=0.25",
        ],
    ),
    // Of 1000, 2000, 3000 and 4000 seconds; then without the longest.
    (
        "Waits of those in line A",
        Age,
        ["", "", "aws=2500", "aws=2000", "", ""],
    ),
    (
        "Waits of those in line B",
        Age,
        ["", "", "aws=3700", "aws=2800", "", ""],
    ),
    (
        "Waits of those in line C",
        Age,
        ["", "", "aws=4000", "aws=3000", "", ""],
    ),
    (
        "Waits until the grant A",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=3991",
            "aws acquire_lock=2995",
            "aws acquire_lock=2995",
        ],
    ),
    (
        "Locks by state A",
        Is,
        [
            "",
            "aws claimed=1; aws damaged=0; aws free=0; gcp claimed=1; gcp damaged=1; gcp free=3",
            "aws claimed=1; aws damaged=0; aws free=0; gcp claimed=1; gcp damaged=1; gcp free=3",
            "aws claimed=1; aws damaged=0; aws free=0; gcp claimed=1; gcp damaged=1; gcp free=3",
            "aws claimed=1; aws damaged=0; aws free=0; gcp claimed=1; gcp damaged=1; gcp free=3",
            "aws claimed=0; aws damaged=0; aws free=1; gcp claimed=1; gcp damaged=1; gcp free=3",
        ],
    ),
    (
        "Age of the oldest claim A",
        Age,
        [
            "",
            "aws=25200; gcp=60",
            "aws=25200; gcp=60",
            "aws=9; gcp=60",
            "aws=5; gcp=60",
            "gcp=60",
        ],
    ),
    (
        "Operations A",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=1; aws release_lock=0",
            "aws acquire_lock=2; aws release_lock=1",
            "aws acquire_lock=2; aws release_lock=2",
        ],
    ),
    (
        "Operations B",
        Is,
        ["", "", "", "", "aws acquire_lock=0", "aws acquire_lock=1"],
    ),
    (
        "Lost races and faults A",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=1; aws release_lock=3",
            "aws acquire_lock=4; aws release_lock=0",
            "aws acquire_lock=2; aws release_lock=0",
        ],
    ),
    (
        "Lost races and faults B",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=0; aws release_lock=2",
            "aws acquire_lock=5; aws release_lock=0",
            "aws acquire_lock=0; aws release_lock=0",
        ],
    ),
    (
        "Time held A",
        Is,
        [
            "",
            "",
            "",
            "aws release_lock=25190",
            "aws release_lock=3",
            "aws release_lock=5",
        ],
    ),
    (
        "Time taken A",
        Is,
        [
            "",
            "aws acquire_lock=2",
            "aws acquire_lock=2",
            "aws acquire_lock=3992; aws release_lock=1",
            "aws acquire_lock=2996; aws release_lock=1",
            "aws acquire_lock=2996; aws release_lock=1",
        ],
    ),
    // How often Prometheus looked between two of the moments is its own affair.
    (
        "Mean utilisation A",
        Is,
        [
            "",
            "aws=1; gcp=0.25",
            "aws=1; gcp=0.25",
            "aws=0.1..1; gcp=0.25",
            "aws=0.1..1; gcp=0.25",
            "aws=0.1..0.999; gcp=0.25",
        ],
    ),
    (
        "Waits until the grant, over the range A",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=0..3991",
            "aws acquire_lock=0..3991",
            "aws acquire_lock=0..3991",
        ],
    ),
    (
        "Waits until the grant, over the range B",
        Is,
        [
            "",
            "aws acquire_lock=0",
            "aws acquire_lock=0",
            "aws acquire_lock=0.1..3991",
            "aws acquire_lock=0.1..3991",
            "aws acquire_lock=0.1..3991",
        ],
    ),
    (
        "Last push A",
        Is,
        [
            "",
            "aws=0..60; gcp=0..60",
            "aws=0..60; gcp=0..180",
            "aws=0..60; gcp=0..240",
            "aws=0..60; gcp=0..300",
            "aws=0..60; gcp=0..360",
        ],
    ),
    (
        "PoolLockHeldTooLong",
        Age,
        ["", "aws=25200", "aws=25200", "", "", ""],
    ),
    ("PoolLineDoesNotMove", Age, ["", "", "aws=4000", "", "", ""]),
    ("PoolWaitersSilent", Is, ["", "", "", "", "", ""]),
    ("PoolPushesRefused", Is, ["", "", "", "", "", ""]),
    ("PoolMetricsMissing", Is, ["=1", "", "", "", "", ""]),
];

/// What is given for those who look at the end of a line of which nobody tells any more, some seconds after the third
/// moment.
const LATER: [(f64, &str, &str); 7] = [
    (100.0, "Waiting in line A", "aws=4"),
    (200.0, "Waiting in line A", "aws=0"),
    (200.0, "Waits of those in line A", ""),
    (200.0, "Waits of those in line C", ""),
    (200.0, "PoolLineDoesNotMove", ""),
    (400.0, "PoolWaitersSilent", "aws=4"),
    (4000.0, "PoolWaitersSilent", ""),
];

/// The pools, as [`EXPECTED`] calls them, and as they are called: with what has to be escaped in a path or an expression.
const POOLS: [(&str, &str); 2] = [("aws", "team/aws"), ("gcp", "g.c+p (old)")];

const BRANCH: &str = "release 1/ü";

pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dashboard() -> Value {
    serde_json::from_slice(&std::fs::read(file("ci/grafana/pool.json")).unwrap()).unwrap()
}

/// The queries of the dashboard's panels, by title and letter.
fn queries(dashboard: &Value) -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let key = format!("{} {}", text(&panel["title"]), text(&target["refId"]));
            let before = queries.insert(key, text(&target["expr"]).to_owned());
            assert_eq!(before, None, "two queries of one name");
        }
    }
    queries
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Puts values in the place of a dashboard's variables, as Grafana does it.
fn filled_in(expression: &str, pools: &[&str]) -> String {
    let any_of = |values: &[&str]| {
        let escaped: Vec<String> = values
            .iter()
            .map(|value| {
                let mut escaped = String::new();
                for c in value.chars() {
                    if "\\^$.*+?()[]{}|".contains(c) {
                        escaped.push_str("\\\\");
                    }
                    escaped.push(c);
                }
                escaped
            })
            .collect();
        format!("({})", escaped.join("|"))
    };
    let filled = expression
        .replace("$__rate_interval", "10m")
        .replace("$__range", "1h")
        .replace("$pool", &any_of(pools))
        .replace("$branch", &any_of(&[BRANCH]));
    assert!(
        !filled.replace("\\\\$", "").contains('$'),
        "an unknown variable: {filled}"
    );
    filled
}

/// A row's cell, as label values and the least and the greatest that it may be.
fn parsed(cell: &str) -> BTreeMap<String, (f64, f64)> {
    let parts = cell.split("; ").filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (labels, number) = part.split_once('=').unwrap();
            let (least, greatest) = number.split_once("..").unwrap_or((number, number));
            let range = (least.parse().unwrap(), greatest.parse().unwrap());
            (labels.to_owned(), range)
        })
        .collect()
}

/// A vector by its label values, as a cell has them.
fn by_labels(vector: Vector) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for (mut labels, value) in vector {
        labels.remove("__name__");
        let job = labels.remove("job");
        assert!(job.is_none_or(|job| job == "concourse_resource_pool"));
        let branch = labels.remove("branch");
        assert!(branch.is_none_or(|branch| branch == BRANCH));
        let pool = labels.remove("pool").map(|pool| {
            let known = POOLS.iter().find(|(_, name)| *name == pool);
            known
                .unwrap_or_else(|| panic!("no pool {pool}"))
                .0
                .to_owned()
        });
        let key: Vec<String> = pool.into_iter().chain(labels.into_values()).collect();
        assert_eq!(found.insert(key.join(" "), value), None, "{key:?} twice");
    }
    found
}

/// Compares what an expression gave with a cell of the table; what is an age is now older by `older`.
#[track_caller]
fn compare(what: &str, found: Vector, kind: Kind, cell: &str, older: f64) {
    let found = by_labels(found);
    let expected = parsed(cell);
    let same_labels = found.keys().eq(expected.keys());
    let fits = |(value, (least, greatest)): (&f64, &(f64, f64))| {
        let older = if kind == Age { older } else { 0.0 };
        // Times of the day in seconds have a millionth at best.
        (least + older - 0.001..=greatest + older + 0.001).contains(value)
    };
    assert!(
        same_labels && found.values().zip(expected.values()).all(fits),
        "{what} gives {found:?}, not {cell} (ages: {older} s more)"
    );
}

/// A gateway that is told things, and a Prometheus that looks at it.
struct Watched {
    gateway: Pushgateway,
    prometheus: Prometheus,
    /// Queries of the dashboard and the alerts, by name.
    expressions: BTreeMap<String, String>,
    start: SystemTime,
}

impl Watched {
    fn new() -> Watched {
        let gateway = Pushgateway::start();
        let prometheus = Prometheus::start(&gateway, &file("ci/prometheus/alerts.yml"));
        let mut expressions = queries(&dashboard());
        expressions.extend(prometheus.alerts());
        Watched {
            gateway,
            prometheus,
            expressions,
            start: SystemTime::now(),
        }
    }

    fn reporter(&self, pool: &str) -> Reporter {
        Reporter::new(Some(gateway_at(&self.gateway.url())), self.place(pool))
    }

    fn place(&self, pool: &str) -> Place {
        let (_, name) = POOLS.iter().find(|(short, _)| *short == pool).unwrap();
        place(name, BRANCH)
    }

    /// So many seconds before the start.
    fn before(&self, seconds: u64) -> SystemTime {
        self.start - Duration::from_secs(seconds)
    }

    fn query(&self, name: &str, moment: Moment, pools: &[&str]) -> Vector {
        let expression = filled_in(&self.expressions[name], pools);
        self.prometheus.query(&expression, Some(moment))
    }

    /// Compares everything that the dashboard and the alerts say with a column of the table.
    fn check(&self, column: usize) -> Moment {
        let moment = self.prometheus.look(&self.gateway);
        for (name, kind, cells) in &EXPECTED {
            let what = format!("{name}, when {},", MOMENTS[column]);
            let found = self.query(name, moment, &POOLS.map(|(_, pool)| pool));
            compare(&what, found, *kind, cells[column], self.since_start(moment));
        }
        moment
    }

    fn since_start(&self, moment: Moment) -> f64 {
        let start = self.start.duration_since(SystemTime::UNIX_EPOCH);
        moment.0 - start.unwrap().as_secs_f64()
    }
}

fn state(free: usize, claimed: usize, damaged: usize, oldest_claim: Since) -> PoolState {
    PoolState {
        free,
        claimed,
        damaged,
        oldest_claim,
    }
}

fn line(length: usize, oldest: Since) -> Option<Line> {
    Some(Line { length, oldest })
}

/// An operation that was carried out, in so many seconds after so long a wait.
fn acquired(ended: SystemTime, waited: u64, took: u64, lost_races: u32) -> Operation {
    Operation {
        name: "acquire_lock",
        succeeded: true,
        ended,
        took: Duration::from_secs(took),
        waited: Some(Duration::from_secs(waited)),
        held: None,
        lost_races,
        retried_faults: 0,
    }
}

fn released(ended: SystemTime, held: u64, lost_races: u32, retried_faults: u32) -> Operation {
    Operation {
        name: "release_lock",
        waited: None,
        held: Some(Duration::from_secs(held)),
        retried_faults,
        ..acquired(ended, 0, 1, lost_races)
    }
}

fn failed(ended: SystemTime, lost_races: u32, retried_faults: u32) -> Operation {
    Operation {
        succeeded: false,
        retried_faults,
        ..acquired(ended, 0, 1, lost_races)
    }
}

async fn finish(mut reporter: Reporter, operation: Operation, pool: PoolState, line: Option<Line>) {
    let ending = Ending {
        operation: Some(operation),
        pool: Some(pool),
        line,
    };
    let failure = reporter.finish(ending).await;
    assert!(failure.is_none(), "{failure:?}");
}

#[test]
fn each_expression_is_expected_to_give_something() {
    let watched = Watched::new();
    let there: BTreeSet<&str> = watched.expressions.keys().map(String::as_str).collect();
    let expected: BTreeSet<&str> = EXPECTED.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(there, expected);
    assert_eq!(expected.len(), EXPECTED.len());
    for (name, _, cells) in EXPECTED {
        let ever = cells.iter().any(|cell| !cell.is_empty())
            || LATER
                .iter()
                .any(|(_, other, cell)| *other == name && !cell.is_empty())
            || name == "PoolPushesRefused";
        assert!(ever, "{name} is never seen to give anything");
    }
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_tell_what_happens() {
    let watched = Watched::new();
    let all = |column: usize| watched.check(column);
    let before = |seconds| watched.before(seconds);
    let when = |seconds| Since::When(before(seconds));
    all(0);

    let acquire = acquired(before(4100), 0, 2, 0);
    let held = state(0, 1, 0, when(25_200));
    let nobody = || line(0, Since::Nothing);
    finish(watched.reporter("aws"), acquire, held, nobody()).await;
    let gcp = watched.place("gcp");
    let push = gcp.state(Some(&state(3, 1, 1, when(60))), None).unwrap();
    let gateway = gateway_at(&watched.gateway.url());
    gateway.push(&push, LIMIT).await.unwrap();
    all(1);

    let mut waiters = Vec::new();
    for n in 1..=4 {
        let mut reporter = watched.reporter("aws");
        reporter.waiting(&Waiting {
            pool: state(0, 1, 0, Since::Unknown),
            line: line(n, when(4000)),
            waiter: Waiter {
                circle: 0,
                id: format!("ticket-{n}"),
                since: before(5000 - 1000 * n as u64),
                place: n,
            },
        });
        waiters.push(reporter);
        let pool = format!("pool=team/aws,branch={BRANCH}");
        let own = format!("{pool},waiter=ticket-{n}");
        until("the waiter shows", || {
            let groups = watched.gateway.groups();
            let length = groups[&pool].get("resource_pool_queue_length");
            groups.contains_key(&own) && length == Some(&n.to_string())
        })
        .await;
    }
    let moment = all(2);

    // Those who look at one pool do not see the other.
    for name in watched
        .expressions
        .keys()
        .filter(|name| !name.starts_with("Pool"))
    {
        let found = by_labels(watched.query(name, moment, &[POOLS[1].1]));
        assert!(
            found.keys().all(|labels| labels.starts_with("gcp")),
            "{name} gives {found:?}"
        );
    }
    for variable in list(&dashboard()["templating"]["list"]).iter().skip(1) {
        let query = text(&variable["query"]["query"]);
        let inside = query
            .strip_prefix("label_values(")
            .and_then(|query| query.strip_suffix(')'));
        let (selector, label) = inside.unwrap().rsplit_once(", ").unwrap();
        let selector = filled_in(selector, &POOLS.map(|(_, pool)| pool));
        let expected = match text(&variable["name"]) {
            "pool" => vec![POOLS[1].1, POOLS[0].1],
            _ => vec![BRANCH],
        };
        assert_eq!(watched.prometheus.label_values(label, &selector), expected);
    }

    // If all of them were dead.
    for (seconds, name, cell) in LATER {
        let later = moment.later(seconds);
        let what = format!("{name}, {seconds} s later,");
        let found = watched.query(name, later, &[POOLS[0].1]);
        compare(&what, found, Is, cell, 0.0);
    }

    let mut waiters = waiters.into_iter();
    let mut next = || waiters.next().unwrap();
    let (first, second, third, mut fourth) = (next(), next(), next(), next());
    let free = state(1, 0, 0, Since::Nothing);
    let release = released(before(10), 25_190, 3, 2);
    finish(watched.reporter("aws"), release, free, line(4, when(4000))).await;
    let acquire = acquired(before(9), 3991, 3992, 1);
    finish(first, acquire, state(0, 1, 0, when(9)), line(3, when(3000))).await;
    all(3);

    let release = released(before(6), 3, 0, 0);
    finish(watched.reporter("aws"), release, free, line(3, when(3000))).await;
    let acquire = acquired(before(5), 2995, 2996, 0);
    finish(
        second,
        acquire,
        state(0, 1, 0, when(5)),
        line(2, when(2000)),
    )
    .await;
    drop(third);
    fourth.forget("ticket-3");
    let still = state(0, 1, 0, Since::Unknown);
    finish(fourth, failed(before(1), 4, 5), still, nobody()).await;
    all(4);

    let release = released(before(0), 5, 0, 0);
    finish(watched.reporter("aws"), release, free, nobody()).await;
    finish(
        watched.reporter("aws"),
        failed(before(0), 2, 0),
        free,
        nobody(),
    )
    .await;
    all(5);
    let left: Vec<String> = watched.gateway.groups().into_keys().collect();
    assert!(!left.iter().any(|name| name.contains("waiter")), "{left:?}");

    let refused = request(
        watched.gateway.port(),
        "POST",
        &format!(
            "/{}",
            gcp.state(None, line(1, Since::Unknown).as_ref())
                .unwrap()
                .path
        ),
        "# TYPE resource_pool_queue_length counter\nresource_pool_queue_length 1\n",
    );
    assert_eq!(refused.status, 400, "{}", refused.body);
    let moment = watched.prometheus.look(&watched.gateway);
    let found = by_labels(watched.query("PoolPushesRefused", moment, &[]));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["gcp"]);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alerts_and_they_fire_when_they_should() {
    let path = |name: &str| file(name).display().to_string();
    let said = promtool(&["check", "rules", &path("ci/prometheus/alerts.yml")]);
    assert!(said.contains("SUCCESS: 5 rules found"), "{said}");

    promtool(&["test", "rules", &path("ci/prometheus/alerts_test.yml")]);

    let tests = std::fs::read_to_string(file("ci/prometheus/alerts_test.yml")).unwrap();
    for (alert, _, _) in EXPECTED
        .iter()
        .filter(|(name, _, _)| name.starts_with("Pool"))
    {
        let fires = format!("alertname: {alert}\n    exp_alerts:");
        assert!(tests.contains(&fires), "{alert} is not seen to fire");
        let silent = format!("alertname: {alert}}}");
        assert!(tests.contains(&silent), "{alert} is not seen to be silent");
    }
}

#[test]
fn grafana_can_import_the_dashboard_as_it_is() {
    let dashboard = dashboard();
    for key in ["title", "uid", "timezone", "refresh"] {
        assert!(!text(&dashboard[key]).is_empty(), "{key}");
    }
    // Grafana takes the number for that of a dashboard that it has already.
    assert!(dashboard["id"].is_null());
    // That of Grafana 13; older ones take newer numbers as theirs.
    assert_eq!(dashboard["schemaVersion"], 42);
    for key in ["from", "to"] {
        assert!(text(&dashboard["time"][key]).starts_with("now"), "{key}");
    }
    for key in ["tags", "links"] {
        assert!(dashboard[key].is_array(), "{key}");
    }
    assert!(dashboard["annotations"]["list"].is_array());

    // Whoever imports it is asked nothing, and chooses the data source on the dashboard.
    let variables = list(&dashboard["templating"]["list"]);
    let names: Vec<&str> = variables
        .iter()
        .map(|variable| text(&variable["name"]))
        .collect();
    assert_eq!(names, ["datasource", "pool", "branch"]);
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    for variable in &variables[1..] {
        assert_eq!(variable["type"], "query");
        assert!(is_chosen_source(&variable["datasource"]), "{variable}");
        assert_eq!(variable["includeAll"], true);
        assert_eq!(variable["current"]["value"][0], "$__all");
    }
    assert!(dashboard.get("__inputs").is_none());

    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(
            ["timeseries", "stat"].contains(&text(&panel["type"])),
            "{title}"
        );
        assert!(text(&panel["description"]).ends_with('.'), "{title}");
        assert!(is_chosen_source(&panel["datasource"]), "{title}");
        assert!(panel["options"].is_object(), "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(&defaults["unit"]).is_empty(), "{title}");
        assert!(panel["fieldConfig"]["overrides"].is_array(), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies on another panel");
            }
        }
        let mut letters = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert!(letters.insert(text(&target["refId"])), "{title}");
            assert!(is_chosen_source(&target["datasource"]), "{title}");
            assert!(!text(&target["legendFormat"]).is_empty(), "{title}");
            let expression = text(&target["expr"]);
            for variable in ["pool=~\"$pool\"", "branch=~\"$branch\""] {
                assert!(expression.contains(variable), "{title}: {expression}");
            }
        }
        assert!(!letters.is_empty(), "{title}");
    }
    assert!(!ids.is_empty());
}

fn is_chosen_source(source: &Value) -> bool {
    source["type"] == "prometheus" && source["uid"] == "${datasource}"
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let alerts = std::fs::read_to_string(file("ci/prometheus/alerts.yml")).unwrap();
    let rules = alerts.lines().filter(|line| !line.contains('#'));
    let mut words: Vec<String> = queries(&dashboard()).into_values().collect();
    words.extend(rules.map(str::to_owned));
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: BTreeSet<&str> = words
        .iter()
        .flat_map(|text| text.split(|c| !is_part(c)))
        .filter(|word| word.starts_with("resource_pool_"))
        .map(|name| {
            name.strip_suffix("_sum")
                .or(name.strip_suffix("_count"))
                .unwrap_or(name)
        })
        .collect();
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let unknown: Vec<&&str> = names.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // Those that stand in other words in `resource_pool_locks`, and what only a table of the waiters would show.
    let unused: Vec<&&str> = known.difference(&names).collect();
    assert_eq!(
        unused,
        [
            &"resource_pool_num_available_locks",
            &"resource_pool_num_claimed_locks",
            &"resource_pool_waiter_circle",
            &"resource_pool_waiter_place"
        ]
    );

    // How long the living may be silent.
    let limit = format!("< {}", STALE_AFTER.as_secs());
    assert!(alerts.contains(&limit));
    let length = &queries(&dashboard())["Waiting in line A"];
    assert!(length.contains(&limit.replace("< ", "< bool ")), "{length}");
}

#[test]
fn the_page_lists_every_metric() {
    let page = std::fs::read_to_string(file("src/pool/docs/metrics.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `resource_pool_"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let expected: Vec<[String; 5]> = METRICS
        .iter()
        .map(
            |Metric {
                 name,
                 kind,
                 unit,
                 labels,
                 group,
                 ..
             }| {
                let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
                let group = group.map_or("pool's".to_owned(), |group| format!("`{group}`"));
                [
                    format!("`{name}`"),
                    (*kind).to_owned(),
                    (*unit).to_owned(),
                    labels.join(", "),
                    group,
                ]
            },
        )
        .collect();
    let found: Vec<[String; 5]> = rows
        .iter()
        .map(|row| std::array::from_fn(|n| row[n].to_owned()))
        .collect();
    assert_eq!(found, expected);
    assert!(
        rows.iter()
            .all(|row| row.len() == 7 && row.iter().skip(4).all(|cell| !cell.is_empty()))
    );
}
