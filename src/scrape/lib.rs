//! What a Prometheus reads when it asks: metrics in both of its text forms, by what it says that it accepts.
//!
//! - the form that every Prometheus reads, as the library writes it;
//! - OpenMetrics 1.0, which the library does not write: `open`.
//!
//! # Invariants
//!
//! - It knows no metric: whoever serves some hands them over.
//! - It talks to nobody.

mod open;

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

/// What the form is called that every Prometheus reads.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as somebody reads them who accepts this, and in which form that is.
///
/// # Errors
/// When a metric has no name or no samples.
pub fn text(accept: &str, families: &[MetricFamily]) -> prometheus::Result<(&'static str, String)> {
    match open::is_wanted(accept) {
        true => Ok((open::KIND, open::text(families))),
        false => Ok((PLAIN, TextEncoder::new().encode_to_string(families)?)),
    }
}
