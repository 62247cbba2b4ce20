//! What is counted, in the OpenMetrics text format.
//!
//! Source: OpenMetrics 1.0.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The upper ends of the buckets of times, in seconds.
const BUCKETS: [f64; 9] = [0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0];

/// What all names begin with.
const PREFIX: &str = "heptapod_paas_runner";

/// What is counted from the start on.
#[derive(Debug, Default)]
pub struct Metrics {
    granted: Cell<u64>,
    launched: Cell<u64>,
    over: Cell<u64>,
    gone: Cell<u64>,
    orphans: Cell<u64>,
    failures: RefCell<BTreeMap<&'static str, u64>>,
    errors: RefCell<BTreeMap<&'static str, u64>>,
    provisioning: RefCell<Times>,
}

/// How often what took how long.
#[derive(Debug, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Machines that are there, or may be.
    pub machines: usize,
    /// Jobs that were given to us and do not run yet.
    pub queue: usize,
    /// Jobs that an inner runner has.
    pub running: usize,
    /// Machines that are to go.
    pub leaving: usize,
}

fn add(to: &Cell<u64>) {
    to.set(to.get() + 1);
}

impl Metrics {
    /// A job was given to us.
    pub fn granted(&self) {
        add(&self.granted);
    }

    /// An inner runner has a job, so long after it was given to us.
    pub fn launched(&self, after: Duration) {
        add(&self.launched);
        let mut times = self.provisioning.borrow_mut();
        let seconds = after.as_secs_f64();
        times.count += 1;
        times.sum += seconds;
        for (bucket, end) in times.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= end);
        }
    }

    /// A job is over.
    pub fn over(&self) {
        add(&self.over);
    }

    /// A machine is gone.
    pub fn gone(&self) {
        add(&self.gone);
    }

    /// A machine without a job was taken away.
    pub fn orphan(&self) {
        add(&self.orphans);
    }

    /// A job failed of ours, in this step.
    pub fn failed(&self, step: &'static str) {
        *self.failures.borrow_mut().entry(step).or_default() += 1;
    }

    /// Somebody did not do what was asked, be it tried again or not.
    pub fn error(&self, of: &'static str) {
        *self.errors.borrow_mut().entry(of).or_default() += 1;
    }

    /// All of it, as text.
    pub fn text(&self, levels: Levels) -> String {
        let mut text = String::new();
        for (name, help, value) in [
            (
                "machines",
                "Machines that are there, or may be",
                levels.machines,
            ),
            (
                "queued_jobs",
                "Jobs that were acquired and do not run yet",
                levels.queue,
            ),
            (
                "running_jobs",
                "Jobs that an inner runner has",
                levels.running,
            ),
            (
                "leaving_machines",
                "Machines that are to be deleted",
                levels.leaving,
            ),
        ] {
            head(&mut text, name, "gauge", help);
            let _ = writeln!(text, "{PREFIX}_{name} {value}");
        }
        for (name, help, value) in [
            ("acquired_jobs", "Jobs that were acquired", &self.granted),
            (
                "launched_jobs",
                "Jobs that an inner runner got",
                &self.launched,
            ),
            (
                "finished_jobs",
                "Jobs that the coordinator said are over",
                &self.over,
            ),
            ("deleted_machines", "Machines that were deleted", &self.gone),
            (
                "orphans",
                "Machines without a job that were deleted",
                &self.orphans,
            ),
        ] {
            head(&mut text, name, "counter", help);
            let _ = writeln!(text, "{PREFIX}_{name}_total {}", value.get());
        }
        for (name, help, label, values) in [
            (
                "failures",
                "Jobs that failed for a reason of the runner's",
                "step",
                &self.failures,
            ),
            (
                "errors",
                "Requests and calls that failed, by whom was asked",
                "of",
                &self.errors,
            ),
        ] {
            head(&mut text, name, "counter", help);
            for (key, value) in &*values.borrow() {
                let _ = writeln!(text, "{PREFIX}_{name}_total{{{label}=\"{key}\"}} {value}");
            }
        }
        let name = "provisioning_seconds";
        head(
            &mut text,
            name,
            "histogram",
            "From the grant of a job to its launch",
        );
        let times = self.provisioning.borrow();
        for (bucket, end) in times.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(text, "{PREFIX}_{name}_bucket{{le=\"{end:?}\"}} {bucket}");
        }
        let (count, sum) = (times.count, times.sum);
        let _ = writeln!(text, "{PREFIX}_{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{PREFIX}_{name}_count {count}");
        let _ = writeln!(text, "{PREFIX}_{name}_sum {sum}");
        text.push_str("# EOF\n");
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# TYPE {PREFIX}_{name} {kind}");
    if name.ends_with("seconds") {
        let _ = writeln!(text, "# UNIT {PREFIX}_{name} seconds");
    }
    let _ = writeln!(text, "# HELP {PREFIX}_{name} {help}.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written_with_its_kind() {
        let metrics = Metrics::default();
        metrics.granted();
        metrics.launched(Duration::from_secs(3));
        metrics.failed("create");

        let text = metrics.text(Levels {
            machines: 2,
            ..Levels::default()
        });

        for line in [
            "# TYPE heptapod_paas_runner_machines gauge",
            "heptapod_paas_runner_machines 2",
            "heptapod_paas_runner_acquired_jobs_total 1",
            "heptapod_paas_runner_failures_total{step=\"create\"} 1",
            "heptapod_paas_runner_provisioning_seconds_bucket{le=\"2.5\"} 0",
            "heptapod_paas_runner_provisioning_seconds_bucket{le=\"5.0\"} 1",
            "heptapod_paas_runner_provisioning_seconds_bucket{le=\"+Inf\"} 1",
            "heptapod_paas_runner_provisioning_seconds_sum 3",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }
}
