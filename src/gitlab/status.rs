//! GitLab's words for what becomes of pipelines and jobs.
//!
//! Source: GitLab, `app/models/concerns/ci/has_status.rb`.

/// The statuses of a pipeline in the order in which it goes through them. Two lists that are read in this order miss no
/// pipeline that goes on from one to the other in between.
pub const OF_PIPELINES: [&str; 13] = [
    "created",
    "waiting_for_resource",
    "preparing",
    "waiting_for_callback",
    "scheduled",
    "manual",
    "pending",
    "running",
    "canceling",
    "success",
    "failed",
    "canceled",
    "skipped",
];

/// Whether a pipeline or a job with this status is over. A new one, or one that is not known here, is not.
pub fn is_over(status: &str) -> bool {
    matches!(status, "success" | "failed" | "canceled" | "skipped")
}

/// The statuses of jobs by which the list of a project's jobs is narrowed to those that are not over. Older servers know
/// no others.
pub const OF_ACTIVE_JOBS: [&str; 4] = ["created", "pending", "running", "waiting_for_resource"];
