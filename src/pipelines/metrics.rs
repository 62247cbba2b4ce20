//! What Prometheus reads.

use std::sync::Arc;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use crate::job::{Job, Phase};

/// The counters of a server. Each has the label `pipeline`, but for those of the server itself.
pub struct Metrics {
    registry: Registry,
    jobs: IntGaugeVec,
    ended: IntCounterVec,
    waited: HistogramVec,
    took: HistogramVec,
    journal_errors: IntCounter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counters at their beginning.
    ///
    /// # Errors
    /// Never, as long as their names differ.
    pub fn new() -> prometheus::Result<Metrics> {
        // From a tenth of a second to a day: scripts take anything.
        let buckets = || {
            vec![
                0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0,
            ]
        };
        let times = |name: &str, help: &str| {
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(buckets()),
                &["pipeline"],
            )
        };
        let metrics = Metrics {
            registry: Registry::new(),
            jobs: IntGaugeVec::new(
                Opts::new("prunner_jobs", "Jobs that wait or run now."),
                &["pipeline", "state"],
            )?,
            ended: IntCounterVec::new(
                Opts::new(
                    "prunner_jobs_ended_total",
                    "Jobs that have ended since the server started.",
                ),
                &["pipeline", "outcome"],
            )?,
            waited: times(
                "prunner_job_wait_seconds",
                "How long jobs waited before they began.",
            )?,
            took: times("prunner_job_duration_seconds", "How long jobs ran.")?,
            journal_errors: IntCounter::new(
                "prunner_journal_errors_total",
                "How often the journal could not be written.",
            )?,
        };
        metrics.registry.register(Box::new(metrics.jobs.clone()))?;
        metrics.registry.register(Box::new(metrics.ended.clone()))?;
        metrics
            .registry
            .register(Box::new(metrics.waited.clone()))?;
        metrics.registry.register(Box::new(metrics.took.clone()))?;
        metrics
            .registry
            .register(Box::new(metrics.journal_errors.clone()))?;
        Ok(metrics)
    }

    /// Begins at nought for a pipeline, so that its first job is seen as a change.
    pub fn know(&self, pipeline: &str) {
        for state in [Phase::Waiting, Phase::Locking, Phase::Running] {
            self.jobs.with_label_values(&[pipeline, state.name()]);
        }
        for outcome in [Phase::Succeeded, Phase::Failed, Phase::Canceled] {
            self.ended.with_label_values(&[pipeline, outcome.name()]);
        }
        self.waited.with_label_values(&[pipeline]);
        self.took.with_label_values(&[pipeline]);
    }

    /// A job has changed.
    pub fn changed(&self, before: Option<&Arc<Job>>, job: &Job) {
        let pipeline = job.pipeline.as_str();
        let (was, is) = (before.map(|job| job.phase()), job.phase());
        if was == Some(is) {
            return;
        }
        let is_open =
            |phase: Phase| matches!(phase, Phase::Waiting | Phase::Locking | Phase::Running);
        if let Some(was) = was.filter(|was| is_open(*was)) {
            self.jobs.with_label_values(&[pipeline, was.name()]).dec();
        }
        if is_open(is) {
            self.jobs.with_label_values(&[pipeline, is.name()]).inc();
        } else {
            self.ended.with_label_values(&[pipeline, is.name()]).inc();
        }
        if let Some(start) = job.start {
            if before.is_none_or(|before| before.start.is_none()) {
                self.waited
                    .with_label_values(&[pipeline])
                    .observe(start.since(job.created).as_secs_f64());
            }
            if let Some(end) = job.end {
                self.took
                    .with_label_values(&[pipeline])
                    .observe(end.since(start).as_secs_f64());
            }
        }
    }

    /// The journal could not be written.
    pub fn journal_failed(&self) {
        self.journal_errors.inc();
    }

    /// As somebody reads it who accepts this, and in which form that is.
    ///
    /// # Errors
    /// Never, as long as no metric is without a name.
    pub fn text(&self, accept: &str) -> prometheus::Result<(&'static str, String)> {
        scrape::text(accept, &self.registry.gather())
    }
}
