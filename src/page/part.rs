//! Parts that stand in a page: badges, tables, lists of facts, notes.

use maud::{Markup, Render, html};

use crate::{Page, Site};

/// How something is. Each has a sign besides its colour, as not everybody sees colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// It is well.
    Good,
    /// It has failed.
    Bad,
    /// It is under way.
    Busy,
    /// It waits, and somebody may want to know.
    Warn,
    /// Nothing is to be said of it.
    #[default]
    Idle,
}

impl Tone {
    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Busy => "busy",
            Tone::Warn => "warn",
            Tone::Idle => "idle",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Tone::Good => "✔",
            Tone::Bad => "✖",
            Tone::Busy => "▶",
            Tone::Warn => "◷",
            Tone::Idle => "○",
        }
    }
}

/// A state in a word.
pub fn badge(tone: Tone, text: &str) -> Markup {
    html! {
        span.badge.(tone.class()) { span.sign aria-hidden="true" { (tone.sign()) } (text) }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading; in a narrow window it stands before each of its cells.
    pub name: &'static str,
    /// Whether it has numbers or durations, which stand at the right.
    pub is_number: bool,
}

/// A column of texts.
pub const fn column(name: &'static str) -> Column {
    Column {
        name,
        is_number: false,
    }
}

/// A column of numbers or durations.
pub const fn number(name: &'static str) -> Column {
    Column {
        name,
        is_number: true,
    }
}

/// A row of a table: the first cell names it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// An id that is the same for the same thing, so that a change in place is seen as one.
    pub id: Option<String>,
    /// One for each column.
    pub cells: Vec<Markup>,
}

/// A table, which in a narrow window is a card for each row. `caption` says what is in it, for those who don't see it.
///
/// Roles are said although they are the elements' own: a table that is shown as cards has none otherwise.
pub fn table(caption: &str, columns: &[Column], rows: &[Row], empty: &str) -> Markup {
    if rows.is_empty() {
        return html! { p.empty { (empty) } };
    }
    let class = |column: &Column| column.is_number.then_some("number");
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for column in columns {
                        th scope="col" role="columnheader" class=[class(column)] { (column.name) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" id=[row.id.as_deref()] {
                        @for (at, (cell, column)) in row.cells.iter().zip(columns).enumerate() {
                            @if at == 0 {
                                th scope="row" role="rowheader" class=[class(column)] { (cell) }
                            } @else {
                                td role="cell" data-name=(column.name) class=[class(column)] { div.cell { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is known of something: names and values.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
    }
}

/// A part of a page that changes by itself: the script takes over what is new in it.
pub fn live(id: &str, content: impl Render) -> Markup {
    html! { div id=(id) data-live { (content) } }
}

/// Words that have to be seen.
pub fn note(tone: Tone, content: impl Render) -> Markup {
    html! { div.note.(tone.class()) { (content) } }
}

/// Something wider than the window may be: it scrolls in its own frame, also by keyboard.
pub fn wide(label: &str, content: impl Render) -> Markup {
    html! { div.wide tabindex="0" role="region" aria-label=(label) { (content) } }
}

/// A page that says what went wrong, and where to go on.
pub fn error(site: &Site, title: &str, words: &str, now: i64) -> String {
    let body = html! {
        p { (words) }
        p { a href=(site.path("/")) { "Go to the first page" } }
    };
    Page::apart(site, title, now, body).html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_rows_says_so() {
        let columns = [column("Name"), number("Jobs")];
        let html = table("Pipelines", &columns, &[], "There are none").into_string();
        assert_eq!(html, "<p class=\"empty\">There are none</p>");
    }

    #[test]
    fn a_cell_knows_its_column_and_the_first_one_names_the_row() {
        let columns = [column("Name"), number("Jobs")];
        let row = Row {
            id: Some("p-1".to_owned()),
            cells: vec![html! { "<deploy>" }, html! { (3) }],
        };

        let html = table("Pipelines", &columns, &[row], "").into_string();

        assert!(
            html.contains("<tr role=\"row\" id=\"p-1\"><th scope=\"row\""),
            "{html}"
        );
        assert!(
            html.contains("<td role=\"cell\" data-name=\"Jobs\" class=\"number\"><div class=\"cell\">3</div></td>"),
            "{html}"
        );
    }
}
