//! The frame of every page.

use maud::{DOCTYPE, Markup, html};

use crate::assets::{self, Asset, FOLDER};

/// What is the same on all pages of a host.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The program's name.
    pub name: &'static str,
    /// Where its pages are, such as `/ui`: empty, or with a `/` at its start and none at its end.
    pub base: &'static str,
    /// The navigation: names, and paths below the base.
    pub places: &'static [(&'static str, &'static str)],
}

impl Site {
    /// A path below the base.
    pub fn path(&self, below: &str) -> String {
        format!("{}{below}", self.base)
    }

    fn asset(&self, asset: &Asset) -> String {
        format!("{}{FOLDER}{}", self.base, asset.name)
    }
}

/// How things are, for the title and the icon: whoever has the page in a tab behind others sees it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// Nothing is wrong.
    #[default]
    Calm,
    /// Something is under way.
    Busy,
    /// Something has failed, and nothing has put it right since.
    Bad,
}

impl Mood {
    fn sign(self) -> &'static str {
        match self {
            Mood::Calm => "",
            Mood::Busy => "▶ ",
            Mood::Bad => "✖ ",
        }
    }
}

/// Who reads a page, where the host asks for a token.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The name; may be empty.
    pub name: String,
    /// What forms have to send ([`crate::session::Guard::csrf`]).
    pub csrf: String,
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The site.
    pub site: &'a Site,
    /// The title, which is the first heading too.
    pub title: String,
    /// What stands above the heading: texts with the paths of the pages that this one belongs to.
    pub above: Vec<(String, String)>,
    /// How things are.
    pub mood: Mood,
    /// Which of the site's places this is, by its path below the base.
    pub place: &'a str,
    /// Who reads it.
    pub reader: Option<&'a Reader>,
    /// Where the host tells of changes ([`crate::live`]); `None` for a page that does not change.
    pub events: Option<String>,
    /// What "now" is, in milliseconds since 1970.
    pub now: i64,
    /// What stands in it.
    pub body: Markup,
}

impl<'a> Page<'a> {
    /// A page that belongs nowhere, for somebody of whom nothing is known: a way in, or an error.
    pub(crate) fn apart(site: &'a Site, title: &str, now: i64, body: Markup) -> Page<'a> {
        Page {
            site,
            title: title.to_owned(),
            above: Vec::new(),
            mood: Mood::Calm,
            place: "",
            reader: None,
            events: None,
            now,
            body,
        }
    }

    /// The whole document.
    pub fn html(&self) -> String {
        let site = self.site;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.mood.sign()) (self.title) " · " (site.name) }
                    link rel="icon" type="image/svg+xml" href=(site.asset(assets::icon(self.mood)));
                    link rel="stylesheet" href=(site.asset(assets::style()));
                    script src=(site.asset(assets::script())) defer {}
                }
                body data-now=(self.now) data-events=[self.events.as_deref()] {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.name href=(site.path("/")) { (site.name) }
                        nav aria-label="Pages" {
                            ul {
                                @for (name, path) in site.places {
                                    @let is_here = (*path == self.place).then_some("page");
                                    li { a href=(site.path(path)) aria-current=[is_here] { (name) } }
                                }
                            }
                        }
                        @if let Some(reader) = self.reader { (self.reader(reader)) }
                    }
                    p.notice #notice role="status" hidden {}
                    main #main tabindex="-1" {
                        @if !self.above.is_empty() {
                            nav.above aria-label="Where this page belongs" {
                                ol { @for (name, path) in &self.above { li { a href=(path) { (name) } } } }
                            }
                        }
                        h1 { (self.title) }
                        (self.body)
                    }
                }
            }
        }
        .into_string()
    }

    fn reader(&self, reader: &Reader) -> Markup {
        html! {
            form.reader method="post" action=(self.site.path("/sign-out")) {
                @if !reader.name.is_empty() { span { (reader.name) } }
                input type="hidden" name="csrf" value=(reader.csrf);
                button.plain type="submit" { "Sign out" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_foreign_is_text() {
        let site = Site {
            name: "test",
            base: "/ui",
            places: &[("Start", "/")],
        };
        let hostile = "</title><script>alert(1)</script>\"'";
        let reader = Reader {
            name: hostile.to_owned(),
            csrf: "abc".to_owned(),
        };
        let page = Page {
            site: &site,
            title: hostile.to_owned(),
            above: vec![(hostile.to_owned(), "/ui/".to_owned())],
            mood: Mood::Bad,
            place: "/",
            reader: Some(&reader),
            events: Some(format!("/ui/events?{hostile}")),
            now: 0,
            body: html! { p { (hostile) } },
        };

        let html = page.html();

        assert!(!html.contains("<script>"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;").count(), 6, "{html}");
        assert!(html.contains("<title>✖ "), "{html}");
        assert!(html.contains("aria-current=\"page\""), "{html}");
    }
}
