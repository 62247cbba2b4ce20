//! Colours.

/// Whether what is written shows colours, as Concourse's pages and terminals do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    /// No colours.
    #[default]
    Plain,
    /// With the escape sequences of ECMA-48.
    Colours,
}

impl Paint {
    /// What is to be seen first.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is less important.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// An address.
    pub fn link(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}
