//! Forms: what may be entered is checked by the browser too, but what counts is the host's own check.

use maud::{Markup, html};

use crate::part::{Tone, note};
use crate::{Page, Site};

/// What a field takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kind {
    /// A line of text.
    #[default]
    Text,
    /// Several lines.
    Area,
    /// A number; whole, or any.
    Number {
        /// Whether it has no fraction.
        is_whole: bool,
    },
    /// One of some values.
    Choice(Vec<String>),
    /// Yes or no: it is sent as `true`, or not at all.
    Check,
    /// What nobody is to see.
    Secret,
}

/// A field of a form.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// Its name in what is sent.
    pub name: String,
    /// What people read; its name if it is empty.
    pub label: String,
    /// What it takes.
    pub kind: Kind,
    /// What is in it.
    pub value: String,
    /// What people read below it.
    pub hint: String,
    /// What is wrong with what was sent.
    pub fault: Option<String>,
    /// Whether it has to be filled in.
    pub is_required: bool,
    /// What the value has to match as a whole, as browsers understand it.
    pub pattern: Option<String>,
}

/// A form, sent with POST.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Where it is sent to.
    pub action: String,
    /// What it has to send so that it is known to be ours ([`crate::session::Guard::csrf`]).
    pub csrf: String,
    /// Names and values that are sent with it and not shown.
    pub hidden: Vec<(String, String)>,
    /// Its fields.
    pub fields: Vec<Field>,
    /// What its button says.
    pub submit: String,
    /// Another button, by its name in what is sent and what it says. It works on a form that is not filled in too.
    pub second: Option<(String, String)>,
    /// Whether what it does cannot be undone.
    pub is_grave: bool,
}

impl Form {
    /// The form.
    pub fn html(&self) -> Markup {
        let class = if self.fields.is_empty() { "small" } else { "" };
        html! {
            form class=(class) method="post" action=(self.action) {
                @if !self.csrf.is_empty() { input type="hidden" name="csrf" value=(self.csrf); }
                @for (name, value) in &self.hidden { input type="hidden" name=(name) value=(value); }
                @for (at, field) in self.fields.iter().enumerate() { (field.html(at)) }
                div.actions {
                    button type="submit" class=(if self.is_grave { "grave" } else { "primary" }) { (self.submit) }
                    @if let Some((name, text)) = &self.second {
                        button type="submit" name=(name) value="true" formnovalidate { (text) }
                    }
                }
            }
        }
    }
}

impl Field {
    fn html(&self, at: usize) -> Markup {
        let id = format!("field-{at}");
        let (hint, fault) = (format!("{id}-hint"), format!("{id}-fault"));
        let has_hint = !self.hint.is_empty();
        let about = [
            has_hint.then_some(hint.as_str()),
            self.fault.is_some().then_some(fault.as_str()),
        ];
        let about: Vec<&str> = about.into_iter().flatten().collect();
        let about = (!about.is_empty()).then(|| about.join(" "));
        let label = if self.label.is_empty() {
            &self.name
        } else {
            &self.label
        };
        html! {
            div.field {
                @if self.kind == Kind::Check {
                    div.check {
                        (self.input(&id, about.as_deref()))
                        label for=(id) { (label) }
                    }
                } @else {
                    label for=(id) { (label) @if self.is_required { " " span.required { "required" } } }
                    (self.input(&id, about.as_deref()))
                }
                @if has_hint { p.hint id=(hint) { (self.hint) } }
                @if let Some(words) = &self.fault { p.fault id=(fault) { (words) } }
            }
        }
    }

    fn input(&self, id: &str, about: Option<&str>) -> Markup {
        let (name, value, required) = (&self.name, &self.value, self.is_required);
        let wrong = self.fault.is_some().then_some("true");
        let pattern = self.pattern.as_deref();
        html! {
            @match &self.kind {
                Kind::Text => {
                    input id=(id) name=(name) value=(value) type="text" required[required] pattern=[pattern] autocomplete="off" spellcheck="false" aria-describedby=[about] aria-invalid=[wrong];
                }
                Kind::Area => {
                    textarea id=(id) name=(name) rows="5" required[required] spellcheck="false" aria-describedby=[about] aria-invalid=[wrong] { "\n" (value) }
                }
                Kind::Number { is_whole } => {
                    input id=(id) name=(name) value=(value) type="number" step=(if *is_whole { "1" } else { "any" }) required[required] aria-describedby=[about] aria-invalid=[wrong];
                }
                Kind::Choice(choices) => {
                    select id=(id) name=(name) required[required] aria-describedby=[about] aria-invalid=[wrong] {
                        @if !choices.contains(value) { option value="" selected { "" } }
                        @for choice in choices { option value=(choice) selected[choice == value] { (choice) } }
                    }
                }
                Kind::Check => {
                    input id=(id) name=(name) value="true" type="checkbox" checked[value == "true"] aria-describedby=[about] aria-invalid=[wrong];
                }
                Kind::Secret => {
                    input id=(id) name=(name) value=(value) type="password" required[required] autocomplete="off" aria-describedby=[about] aria-invalid=[wrong];
                }
            }
        }
    }
}

/// The page on which a token is entered. It is sent to `/sign-in` as `token`, with `next`: where to go on.
#[derive(Debug, Clone, Default)]
pub struct SignIn<'a> {
    /// A token that is known, such as that of a link.
    pub token: &'a str,
    /// Where to go on.
    pub next: &'a str,
    /// Why the token that was sent is none.
    pub fault: Option<&'a str>,
    /// Where a token comes from.
    pub hint: &'a str,
}

impl SignIn<'_> {
    /// The page.
    pub fn html(&self, site: &Site, now: i64) -> String {
        let form = Form {
            action: site.path("/sign-in"),
            hidden: vec![("next".to_owned(), self.next.to_owned())],
            fields: vec![Field {
                name: "token".to_owned(),
                label: "Token".to_owned(),
                kind: Kind::Secret,
                value: self.token.to_owned(),
                hint: self.hint.to_owned(),
                is_required: true,
                ..Field::default()
            }],
            submit: "Sign in".to_owned(),
            ..Form::default()
        };
        let body = html! {
            @if let Some(fault) = self.fault { (note(Tone::Bad, html! { p role="alert" { (fault) } })) }
            (form.html())
        };
        Page::apart(site, "Sign in", now, body).html()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_what_is_wrong_where_a_screen_reader_finds_it() {
        let form = Form {
            action: "/start".to_owned(),
            csrf: "c".to_owned(),
            fields: vec![Field {
                name: "version".to_owned(),
                value: "\"><script>".to_owned(),
                hint: "such as 1.2".to_owned(),
                fault: Some("it is no version".to_owned()),
                is_required: true,
                ..Field::default()
            }],
            submit: "Start".to_owned(),
            ..Form::default()
        };

        let html = form.html().into_string();

        assert!(
            html.contains("aria-describedby=\"field-0-hint field-0-fault\""),
            "{html}"
        );
        assert!(
            html.contains("value=\"&quot;&gt;&lt;script&gt;\""),
            "{html}"
        );
        assert!(html.contains("name=\"csrf\" value=\"c\""), "{html}");
    }

    #[test]
    fn a_choice_that_was_not_made_is_an_empty_one() {
        let field = Field {
            kind: Kind::Choice(vec!["a".to_owned(), "b".to_owned()]),
            ..Field::default()
        };
        let html = field.html(0).into_string();
        assert!(html.contains("<option value=\"\" selected>"), "{html}");
    }
}
