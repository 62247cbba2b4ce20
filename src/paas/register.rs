//! The configuration file, made and added to: comments, order and all else of it stay as they are.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

/// What a user may choose for `executor`, each with what it is called.
pub const EXECUTORS: [(&str, &str); 3] = [
    ("clever-docker", "Clever Cloud Docker"),
    ("local-docker", "Local Docker, for testing purposes only"),
    (
        "custom-docker",
        "Docker on machines that a program of your own makes",
    ),
];

/// A runner that is to be added.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRunner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its coordinator, as it was typed.
    pub url: &'a str,
    /// Its token.
    pub token: &'a str,
    /// What makes its machines.
    pub executor: &'a str,
}

/// Why a file cannot be added to. It shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// It is no TOML.
    #[error("it is not TOML: {0}")]
    Syntax(String),
    /// There are runners, and not as sections.
    #[error("`runners` is there, and is no list of [[runners]] sections: change it to that first")]
    Runners,
}

/// A new configuration file, without any runner.
pub fn new_file(state_file: &str, concurrent: i64) -> String {
    let mut document = DocumentMut::new();
    document["state_file"] = value(state_file);
    document["concurrent"] = value(concurrent);
    document.to_string()
}

/// Adds a runner at the end of a configuration file.
///
/// # Errors
/// [`AddError`].
pub fn add(text: &str, runner: &NewRunner<'_>) -> Result<String, AddError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|err: toml_edit::TomlError| AddError::Syntax(terminal::one_line(err.message())))?;
    let mut table = Table::new();
    for (key, text) in [
        ("name", runner.name),
        ("url", runner.url),
        ("token", runner.token),
        ("executor", runner.executor),
    ] {
        table.insert(key, value(text));
    }
    table.decor_mut().set_prefix("\n");
    // An empty list is as good as none.
    if document
        .get("runners")
        .and_then(Item::as_array)
        .is_some_and(toml_edit::Array::is_empty)
    {
        document.remove("runners");
    }
    let runners = document
        .entry("runners")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    match runners.as_array_of_tables_mut() {
        Some(runners) => runners.push(table),
        None => return Err(AddError::Runners),
    }
    Ok(document.to_string())
}

/// The state file and how many jobs there may be, of a file that is there.
pub fn state_file_of(text: &str) -> Option<String> {
    let document: DocumentMut = text.parse().ok()?;
    document.get("state_file")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use toml::Table;

    use super::*;

    const RUNNER: NewRunner<'static> = NewRunner {
        name: "Clever \"J\"",
        url: "https://git.example/",
        token: "runtøk\\",
        executor: "clever-docker",
    };

    #[test]
    fn a_new_file_has_the_two_settings_and_then_the_runner() {
        let text = add(&new_file("/var/lib/state.json", 5), &RUNNER).unwrap();

        assert_eq!(
            text,
            "state_file = \"/var/lib/state.json\"\nconcurrent = 5\n\n[[runners]]\nname = 'Clever \"J\"'\n\
             url = \"https://git.example/\"\ntoken = 'runtøk\\'\nexecutor = \"clever-docker\"\n"
        );
        let read: Table = text.parse().unwrap();
        assert_eq!(read["runners"][0]["name"].as_str(), Some(RUNNER.name));
        assert_eq!(read["runners"][0]["token"].as_str(), Some(RUNNER.token));
    }

    #[test]
    fn what_is_there_stays_as_it_is_with_its_comments_and_order() {
        let text = "# ours\nconcurrent = 2 # two\nstate_file = 's'\n\n[[runners]]\n# the first\nname = 'a'\n\
                    [runners.docker]\nvolumes = [\n  '/x', # why\n]\n\n[other]\nx = 1\n";

        let added = add(text, &RUNNER).unwrap();

        for line in text.lines() {
            assert!(added.contains(line), "{line}\n{added}");
        }
        let read: Table = added.parse().unwrap();
        assert_eq!(read["runners"].as_array().unwrap().len(), 2);
        assert_eq!(
            read["runners"][0]["docker"]["volumes"][0].as_str(),
            Some("/x")
        );
        assert_eq!(read["other"]["x"].as_integer(), Some(1));
    }

    #[test]
    fn a_list_of_runners_of_another_form_is_refused_unless_it_is_empty() {
        assert!(
            add("runners = []\n", &RUNNER)
                .unwrap()
                .contains("[[runners]]")
        );
        assert_eq!(add("runners = 3\n", &RUNNER), Err(AddError::Runners));
        assert_eq!(
            add("runners = [{name='a'}]\n", &RUNNER),
            Err(AddError::Runners)
        );
        let err = add("token = 'MARKER", &RUNNER).unwrap_err();
        assert!(!err.to_string().contains("MARKER"));
    }
}
