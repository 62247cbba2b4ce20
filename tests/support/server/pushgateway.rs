//! The Pushgateway.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::web::{get, request};
use super::{Process, free_port, program};
use crate::git::hermetic;
use crate::wait_until;

/// A gateway that keeps what it is told in memory.
pub struct Pushgateway {
    process: Option<Process>,
    port: u16,
    _home: TempDir,
}

/// One group: its labels (without `job`), and its series with their labels.
pub type Groups = BTreeMap<String, BTreeMap<String, String>>;

impl Pushgateway {
    /// Starts one that everybody may use.
    pub fn start() -> Pushgateway {
        let home = tempfile::tempdir().unwrap();
        let (process, port) = Process::on_free_port("prometheus-pushgateway", command);
        let gateway = Pushgateway {
            process: Some(process),
            port,
            _home: home,
        };
        wait_until("the gateway is ready", || {
            get(port, "/-/ready").status == 200
        });
        gateway
    }

    /// Starts one with a configuration for its web server: who may come in, by which certificate it is known.
    pub fn with_config(config: &str) -> Pushgateway {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("web.yml");
        std::fs::write(&file, config).unwrap();
        let (process, port) = Process::on_free_port("prometheus-pushgateway", |port| {
            with_file(command(port), &file)
        });
        Pushgateway {
            process: Some(process),
            port,
            _home: home,
        }
    }

    /// A port on which there is none.
    pub fn nowhere() -> u16 {
        free_port()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where metrics are pushed to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that it keeps of ours, without the times of the pushes: groups as `pool=aws,branch=main`, in each the series
    /// as `name` or `name{label=value}` with their values. Of a histogram only the count.
    pub fn groups(&self) -> Groups {
        let groups = get(self.port, "/api/v1/metrics").json();
        let groups = groups["data"].as_array().unwrap().iter();
        groups
            .filter(|group| group["labels"]["job"] == "concourse_resource_pool")
            .map(|group| (group_name(&group["labels"]), series(group)))
            .collect()
    }

    /// Pushes as other programs do, for which it answers with a success.
    #[track_caller]
    pub fn push_by_hand(&self, method: &str, group: &str, metrics: &str) {
        let page = request(self.port, method, &format!("/metrics/{group}"), metrics);
        assert!(matches!(page.status, 200 | 202), "{}", page.body);
    }

    /// Ends it; its port is nobody's then.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the same port and with nothing in it.
    pub fn restart(&mut self) {
        let mut process = Process::start("prometheus-pushgateway", &mut command(self.port));
        assert!(process.listens("prometheus-pushgateway", self.port));
        self.process = Some(process);
    }
}

fn command(port: u16) -> Command {
    let mut command = Command::new(program("prometheus-pushgateway"));
    hermetic(&mut command)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--persistence.file=", "--log.level=error"])
        .stderr(Stdio::null());
    command
}

fn with_file(mut command: Command, file: &Path) -> Command {
    command.arg(format!("--web.config.file={}", file.display()));
    command
}

/// The labels of a group besides those that all have, in the order in which they are given.
fn group_name(labels: &Value) -> String {
    let known = ["pool", "branch", "operation", "waiter"];
    let mut name = String::new();
    for label in known {
        if let Some(value) = labels[label].as_str() {
            let comma = if name.is_empty() { "" } else { "," };
            name += &format!("{comma}{label}={value}");
        }
    }
    let others: Vec<&String> = labels.as_object().unwrap().keys().collect();
    let ours = |label: &&&String| !known.contains(&label.as_str());
    let others: Vec<&&String> = others.iter().filter(ours).collect();
    assert_eq!(others, [&"job"], "{labels}");
    name
}

fn series(group: &Value) -> BTreeMap<String, String> {
    let mut series = BTreeMap::new();
    for (name, metric) in group.as_object().unwrap() {
        let Some(metrics) = metric["metrics"].as_array() else {
            continue;
        };
        if name.starts_with("push_") {
            continue;
        }
        for metric in metrics {
            let labels: Vec<String> = metric["labels"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(label, _)| *label != "instance" && group["labels"][label].is_null())
                .map(|(label, value)| format!("{label}={}", value.as_str().unwrap()))
                .collect();
            let name = if labels.is_empty() {
                name.clone()
            } else {
                format!("{name}{{{}}}", labels.join(","))
            };
            let value = metric["value"].as_str().or(metric["count"].as_str());
            series.insert(name, value.unwrap().to_owned());
        }
    }
    series
}
