//! Bars along a time, drawn as SVG: what a style sheet without inline styles cannot do.

use maud::{Markup, html};

use crate::Tone;

/// How wide a drawing is in its own units; the browser stretches it.
const WIDTH: f64 = 1000.0;
/// The least width of a span, so that it is seen.
const LEAST: f64 = 3.0;

/// A stretch of time in which something was.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// When it began, in milliseconds since 1970.
    pub from: i64,
    /// When it ended, or now.
    pub to: i64,
    /// How it was.
    pub tone: Tone,
    /// What it was, for whoever points at it.
    pub title: String,
    /// Where there is more about it.
    pub link: Option<String>,
}

/// A row of a timeline.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// What it is about.
    pub label: Markup,
    /// What was when.
    pub spans: Vec<Span>,
    /// What stands at its right, such as a share.
    pub end: Markup,
}

/// A place along the width, kept inside it.
fn place(at: i64, from: i64, to: i64) -> f64 {
    let (at, from, to) = (at as f64, from as f64, to as f64);
    match to > from {
        true => ((at - from) / (to - from)).clamp(0.0, 1.0) * WIDTH,
        false => 0.0,
    }
}

fn shape(span: &Span, from: i64, to: i64) -> Markup {
    let x = place(span.from, from, to).min(WIDTH - LEAST);
    let width = (place(span.to, from, to) - x).max(LEAST);
    let rect = html! {
        rect.(span.tone.class()) x=(format!("{x:.1}")) y="2" width=(format!("{width:.1}")) height="12" rx="1" {
            title { (span.title) }
        }
    };
    match &span.link {
        Some(link) => html! { a href=(link) aria-label=(span.title) { (rect) } },
        None => rect,
    }
}

/// Spans between two moments, as one bar. `label` says in words what is seen.
pub fn bar(label: &str, from: i64, to: i64, spans: &[Span]) -> Markup {
    let has_links = spans.iter().any(|span| span.link.is_some());
    // A picture has no links in it.
    let role = if has_links { "group" } else { "img" };
    html! {
        svg.bar viewBox="0 0 1000 16" preserveAspectRatio="none" role=(role) aria-label=(label) {
            rect.ground x="0" y="2" width="1000" height="12" rx="1" {}
            @for span in spans { (shape(span, from, to)) }
        }
    }
}

/// Rows of spans between two moments, with marks below them: moments and texts.
pub fn timeline(
    label: &str,
    from: i64,
    to: i64,
    lanes: &[Lane],
    marks: &[(i64, String)],
) -> Markup {
    html! {
        div.timeline role="group" aria-label=(label) {
            @for lane in lanes {
                div.lane {
                    div.label { (lane.label) }
                    (bar("spans", from, to, &lane.spans))
                    div.end { (lane.end) }
                }
            }
            div.lane.marks aria-hidden="true" {
                div.label {}
                svg.ticks {
                    @for (at, text) in marks {
                        @let x = format!("{:.2}%", place(*at, from, to) / WIDTH * 100.0);
                        line x1=(x) x2=(x) y1="0" y2="5" {}
                        text x=(x) y="18" { (text) }
                    }
                }
                div.end {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_span_is_where_its_time_is() {
        let span = Span {
            from: 250,
            to: 500,
            tone: Tone::Good,
            title: "<b>".to_owned(),
            link: None,
        };
        let html = bar("one", 0, 1000, &[span]).into_string();
        assert!(
            html.contains("x=\"250.0\" y=\"2\" width=\"250.0\""),
            "{html}"
        );
        assert!(html.contains("<title>&lt;b&gt;</title>"), "{html}");
    }

    proptest! {
        #[test]
        fn no_span_leaves_the_drawing(from in any::<i64>(), to in any::<i64>(), a in any::<i64>(), b in any::<i64>()) {
            for at in [place(a, from, to), place(b, from, to)] {
                prop_assert!((0.0..=WIDTH).contains(&at), "{}", at);
            }
        }
    }
}
