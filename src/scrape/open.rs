//! Metrics in the form of OpenMetrics 1.0, and who is to get it.
//!
//! Source: the specification of OpenMetrics, "Text format". The library writes the older form only.

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// What the form is called.
pub const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether somebody who accepts this is to get it rather than the older form.
pub fn is_wanted(accept: &str) -> bool {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut is_known) = (1.0, true);
        for part in parts {
            match part
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
            {
                Some(("q" | "Q", value)) => weight = value.parse().unwrap_or(0.0),
                Some((name, value)) if name.eq_ignore_ascii_case("version") => {
                    is_known = value.trim_matches('"') == "1.0.0";
                }
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if is_known => open = open.max(weight),
            "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
            _ => {}
        }
    }
    open > 0.0 && open >= plain
}

/// Writes counters, gauges and histograms.
pub fn text(families: &[MetricFamily]) -> String {
    let mut to = String::new();
    for family in families {
        let kind = family.get_field_type();
        // A counter is called by its name; its sample has the ending.
        let name = match kind {
            MetricType::COUNTER => family.name().trim_end_matches("_total"),
            _ => family.name(),
        };
        let word = match kind {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            _ => "unknown",
        };
        let _ = writeln!(to, "# TYPE {name} {word}");
        if name.ends_with("_seconds") {
            let _ = writeln!(to, "# UNIT {name} seconds");
        }
        let _ = writeln!(to, "# HELP {name} {}", escaped(family.help()));
        for metric in family.get_metric() {
            let labels = metric.get_label();
            let mut sample = |ending: &str, bound: Option<&str>, value: &str| {
                let _ = writeln!(to, "{name}{ending}{} {value}", shown(labels, bound));
            };
            match kind {
                MetricType::COUNTER => {
                    sample(
                        "_total",
                        None,
                        &metric.get_counter().get_value().to_string(),
                    );
                }
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    let count = histogram.get_sample_count().to_string();
                    for bucket in histogram.get_bucket() {
                        let bound = bucket.upper_bound();
                        if bound.is_finite() {
                            let n = bucket.cumulative_count().to_string();
                            sample("_bucket", Some(&format!("{bound:?}")), &n);
                        }
                    }
                    sample("_bucket", Some("+Inf"), &count);
                    sample("_count", None, &count);
                    sample("_sum", None, &histogram.get_sample_sum().to_string());
                }
                _ => sample("", None, &metric.get_gauge().get_value().to_string()),
            }
        }
    }
    to.push_str("# EOF\n");
    to
}

fn shown(labels: &[LabelPair], bound: Option<&str>) -> String {
    let pairs = labels.iter().map(|label| (label.name(), label.value()));
    let pairs = pairs.chain(bound.map(|bound| ("le", bound)));
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", pairs.join(",")),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    #[test]
    fn each_kind_is_written_as_the_specification_says() {
        let registry = Registry::new();
        let ended = IntCounterVec::new(Opts::new("x_ended_total", "Ended \"so\"."), &["p"]);
        let ended = ended.unwrap();
        ended.with_label_values(&["a\"b\\c\nd"]).inc_by(3);
        let open = IntGauge::new("x_open", "Open.").unwrap();
        open.set(-2);
        let took = HistogramOpts::new("x_took_seconds", "Took.").buckets(vec![0.5, 1.0]);
        let took = Histogram::with_opts(took).unwrap();
        took.observe(0.75);
        registry.register(Box::new(ended)).unwrap();
        registry.register(Box::new(open)).unwrap();
        registry.register(Box::new(took)).unwrap();

        let expected = r#"# TYPE x_ended counter
# HELP x_ended Ended \"so\".
x_ended_total{p="a\"b\\c\nd"} 3
# TYPE x_open gauge
# HELP x_open Open.
x_open -2
# TYPE x_took_seconds histogram
# UNIT x_took_seconds seconds
# HELP x_took_seconds Took.
x_took_seconds_bucket{le="0.5"} 0
x_took_seconds_bucket{le="1.0"} 1
x_took_seconds_bucket{le="+Inf"} 1
x_took_seconds_count 1
x_took_seconds_sum 0.75
# EOF
"#;
        assert_eq!(text(&registry.gather()), expected);
    }

    #[test]
    fn who_likes_it_at_least_as_much_gets_it() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;version=1.0.0", true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", true),
            ("application/openmetrics-text;version=0.0.1", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x, */*;q=0", false),
            (
                "application/openmetrics-text;q=0.3, text/plain;q=0.4",
                false,
            ),
            // As Prometheus asks.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
        ] {
            assert_eq!(is_wanted(accept), expected, "{accept}");
        }
    }
}
