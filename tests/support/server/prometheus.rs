//! Prometheus, and promtool.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::pushgateway::Pushgateway;
use super::web::{encoded, get};
use super::{Process, program};
use crate::git::hermetic;
use crate::wait_until;

/// A Prometheus that looks at one Pushgateway several times a second.
pub struct Prometheus {
    _process: Process,
    port: u16,
    _home: TempDir,
    marks: Cell<u32>,
}

/// A moment at which Prometheus has looked: evaluated then, all values are of that one look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment(pub f64);

impl Moment {
    /// Some seconds later. While that is still to come, it is as if nothing happened until then.
    pub fn later(self, seconds: f64) -> Moment {
        Moment(self.0 + seconds)
    }
}

/// What an expression gives: one value for each set of labels.
pub type Vector = Vec<(BTreeMap<String, String>, f64)>;

impl Prometheus {
    /// Starts one with these rules, which looks at `gateway` as src/pool/docs/metrics.md says.
    pub fn start(gateway: &Pushgateway, rules: &Path) -> Prometheus {
        let rules = format!("rule_files: ['{}']\n", rules.display());
        let job = "- job_name: pushgateway\n  honor_labels: true\n";
        Prometheus::scraping(gateway.port(), job, &rules)
    }

    /// Starts one that looks at this port on loopback, as a job that begins so.
    pub fn scraping(port: u16, job: &str, rules: &str) -> Prometheus {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 300ms\n  evaluation_interval: 1s\n\
             {rules}scrape_configs:\n{job}\
             \x20 static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let (process, port) = Process::on_free_port("prometheus", |port| {
            let mut command = Command::new(program("prometheus"));
            hermetic(&mut command)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.tsdb.path={}/data",
                    home.path().display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                // So that a test can ask what will be said in some minutes if nothing happens meanwhile.
                .args(["--query.lookback-delta=1h", "--log.level=error"])
                .stderr(Stdio::null());
            command
        });
        wait_until("prometheus is ready", || {
            get(port, "/-/ready").status == 200
        });
        Prometheus {
            _process: process,
            port,
            _home: home,
            marks: Cell::new(0),
        }
    }

    /// Waits until it has looked at all that is in the gateway now, and gives that moment.
    pub fn look(&self, gateway: &Pushgateway) -> Moment {
        let mark = self.marks.get() + 1;
        self.marks.set(mark);
        gateway.push_by_hand("POST", "job/mark", &format!("mark {mark}\n"));
        let mut seen = Vec::new();
        wait_until("prometheus has looked at the gateway", || {
            seen = self.query(&format!("timestamp(mark == {mark})"), None);
            !seen.is_empty()
        });
        // All that comes from one look has the same time, to the millisecond.
        Moment(seen[0].1)
    }

    /// Evaluates an expression, now or at a moment.
    #[track_caller]
    pub fn query(&self, expression: &str, moment: Option<Moment>) -> Vector {
        let time = moment.map_or(String::new(), |moment| format!("&time={:.3}", moment.0));
        let path = format!("/api/v1/query?query={}{time}", encoded(expression));
        let page = get(self.port, &path);
        assert_eq!(page.status, 200, "{expression}: {}", page.body);
        let result = &page.json()["data"]["result"];
        let mut vector: Vector = result
            .as_array()
            .unwrap()
            .iter()
            .map(|sample| {
                let labels = sample["metric"].as_object().unwrap().iter();
                let labels = labels
                    .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                    .collect();
                let value = sample["value"][1].as_str().unwrap().parse().unwrap();
                (labels, value)
            })
            .collect();
        vector.sort_by(|a, b| a.0.cmp(&b.0));
        vector
    }

    /// The values of a label among the series of a selector.
    pub fn label_values(&self, label: &str, selector: &str) -> Vec<String> {
        let path = format!(
            "/api/v1/label/{label}/values?match%5B%5D={}",
            encoded(selector)
        );
        let values = get(self.port, &path).json();
        let values = values["data"].as_array().unwrap().iter();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    }

    /// The alerting rules that it has read: name and expression.
    pub fn alerts(&self) -> Vec<(String, String)> {
        let rules = get(self.port, "/api/v1/rules").json();
        let groups = rules["data"]["groups"].as_array().unwrap().clone();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules
            .map(|rule: &Value| {
                assert_eq!(rule["type"], "alerting", "{rule}");
                let text = |key: &str| rule[key].as_str().unwrap().to_owned();
                (text("name"), text("query"))
            })
            .collect()
    }
}

/// Runs promtool, which must succeed, and gives what it says.
#[track_caller]
pub fn promtool(args: &[&str]) -> String {
    let output = hermetic(&mut Command::new(program("promtool")))
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}
