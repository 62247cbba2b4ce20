//! What can be said on the command line and in the environment.
//!
//! The command line beats the environment. A long option may be shortened. A shortened one is looked for among the options
//! of 1.2.4 first, so that no newer option makes it ambiguous.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use state::answer::Form;

/// Keep a document for each run of a pipeline: what its jobs know, and what they do about it.
///
/// One mode acts; of several the first in this order: --list, --history, --delete, --init-new, --load, --wait-for, --get,
/// --generate, --handle-event, changes. Exit codes: 0 done, 1 an error, 2 wrong arguments, 3 a condition does not hold.
#[derive(Parser, Debug)]
#[command(name = "cicdstatemgr", version)]
pub struct Flags {
    /// Log lines of this level and above: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(short, long, value_name = "LEVEL", default_value = "DEBUG")]
    pub log_level: String,
    /// The config file [env: CICDSTATEMGR_CONFIG_PATH]
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// The secrets file [env: CICDSTATEMGR_SECRETS_PATH]
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<String>,
    /// Make a document with this id
    #[arg(long, value_name = "ID")]
    pub init_new: Option<String>,
    /// The context of the app file that the document is made of
    #[arg(long, value_name = "NAME", default_value = "stage")]
    pub init_cicd_context_name: String,
    /// Where the files are that the app file has in `bases` [env: CICDSTATEMGR_BASES_DIR_PATH]
    #[arg(long, value_name = "FOLDER")]
    pub init_bases_dir: Option<String>,
    /// The app file [env: CICDSTATEMGR_INIT_APP_CONFIG_PATH]
    #[arg(long, value_name = "FILE")]
    pub init_app_config_file: Option<String>,
    /// The id of the document [env: CICDSTATEMGR_CONTEXT_DATA_ID]
    #[arg(long)]
    pub id: Option<String>,
    /// Bring the local copies up to date
    #[arg(long)]
    pub load: bool,
    /// Print what this JSONPath finds; a text is rendered as a template
    #[arg(long, value_name = "EXPR")]
    pub get: Option<String>,
    /// Set a text: PATH=VALUE, PATH[]=ITEM,ITEM (a list), PATH{}=ITEM,ITEM (each once), PATH=file://FILE; several with `|`
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Has no effect: changes are always made to the newest document
    #[arg(long)]
    pub pre_set_force_reload: bool,
    /// Run the handlers of an event
    #[arg(long, value_name = "PIPELINE=EVENT")]
    pub handle_event: Option<String>,
    /// Run the generator at this JSONPath
    #[arg(long, value_name = "PATH")]
    pub generate: Option<String>,
    /// Give templates a value: PATH=EXPR, where EXPR is a JSONPath or a text
    #[arg(long, value_name = "PATH=EXPR")]
    pub tmpl_ctx_var: Vec<String>,

    /// Set any JSON
    #[arg(long, value_name = "PATH=JSON")]
    pub set_json: Vec<String>,
    /// Set a text if nothing is there yet; else nothing of all changes is made (exit 3)
    #[arg(long, value_name = "PATH=VALUE")]
    pub set_if_absent: Vec<String>,
    /// Set a text if another one is there; else nothing of all changes is made (exit 3)
    #[arg(long, value_name = "PATH=OLD=>NEW")]
    pub set_if: Vec<String>,
    /// Add to a number, and print the new one
    #[arg(long, value_name = "PATH[=N]")]
    pub increment: Vec<String>,
    /// Take a value away
    #[arg(long, value_name = "PATH")]
    pub unset: Vec<String>,
    /// Print the ids of all documents
    #[arg(long)]
    pub list: bool,
    /// Take a document away, and its local copies
    #[arg(long, value_name = "ID")]
    pub delete: Option<String>,
    /// Print what was done to a document, when and by whom, the newest first (data source git)
    #[arg(long, value_name = "ID")]
    pub history: Option<String>,
    /// Wait until this JSONPath finds something that is true, and print it
    #[arg(long, value_name = "EXPR")]
    pub wait_for: Option<String>,
    /// How long --wait-for waits (exit 3 after that)
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// How --get and --wait-for print
    #[arg(long, value_name = "FORM", value_enum, default_value = "plain")]
    pub output: Output,
    /// Exit with 1 when a request or a template has failed, and not only log it
    #[arg(long)]
    pub strict: bool,
    /// Log what is sent for events, and what is answered
    #[arg(long)]
    pub log_payloads: bool,
}

/// How a value is printed.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Output {
    /// A text as it is, lists and maps as JSON, nothing for what is empty
    Plain,
    /// JSON
    Json,
    /// NAME="value" lines: a dotenv report of GitLab
    Dotenv,
    /// name=value lines or blocks: $GITHUB_OUTPUT
    Github,
    /// The bare value: a result of a Tekton task
    Tekton,
}

impl From<Output> for Form {
    fn from(output: Output) -> Form {
        match output {
            Output::Plain => Form::Plain,
            Output::Json => Form::Json,
            Output::Dotenv => Form::Dotenv,
            Output::Github => Form::Github,
            Output::Tekton => Form::Tekton,
        }
    }
}

/// An argument that changes the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeArgument {
    /// The option, such as `set_json`.
    pub option: &'static str,
    /// What follows it.
    pub value: String,
}

/// The options that change a document.
const CHANGES: [&str; 6] = [
    "set",
    "set_json",
    "set_if_absent",
    "set_if",
    "increment",
    "unset",
];

/// The long options of 1.2.4.
const OLD: [&str; 16] = [
    "--help",
    "--log-level",
    "--config",
    "--secrets",
    "--init-new",
    "--init-cicd-context-name",
    "--init-bases-dir",
    "--init-app-config-file",
    "--id",
    "--load",
    "--get",
    "--set",
    "--pre-set-force-reload",
    "--handle-event",
    "--generate",
    "--tmpl-ctx-var",
];

/// The options with a variable: the end of its name, which begins with one of [`PREFIXES`].
const PREFIXES: [&str; 2] = ["CICDSTATEMGR_", "CICDOPS_"];

impl Flags {
    /// Reads the arguments, and gives those that change the document in their order.
    ///
    /// # Errors
    /// clap's, which knows how to tell it.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Flags, Vec<ChangeArgument>), clap::Error> {
        let args = args
            .into_iter()
            .map(complete)
            .collect::<Result<Vec<_>, _>>()?;
        let matches = Flags::command()
            .infer_long_args(true)
            .try_get_matches_from(args)?;
        let mut flags = Flags::from_arg_matches(&matches)?;
        let get = |name: &str| {
            PREFIXES
                .iter()
                .find_map(|prefix| env(&format!("{prefix}{name}")))
        };
        for (flag, name) in [
            (&mut flags.config, "CONFIG_PATH"),
            (&mut flags.secrets, "SECRETS_PATH"),
            (&mut flags.init_bases_dir, "BASES_DIR_PATH"),
            (&mut flags.init_app_config_file, "INIT_APP_CONFIG_PATH"),
            (&mut flags.id, "CONTEXT_DATA_ID"),
        ] {
            *flag = flag
                .take()
                .filter(|value| !value.is_empty())
                .or_else(|| get(name));
        }
        Ok((flags, changes(&matches)))
    }
}

fn changes(matches: &ArgMatches) -> Vec<ChangeArgument> {
    let mut found = Vec::new();
    for option in CHANGES {
        let places = matches.indices_of(option).into_iter().flatten();
        let values = matches.get_many::<String>(option).into_iter().flatten();
        found.extend(places.zip(values).map(|(place, value)| {
            let value = value.clone();
            (place, ChangeArgument { option, value })
        }));
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, change)| change).collect()
}

/// A long option that is the beginning of one of 1.2.4 as that one.
fn complete(arg: OsString) -> Result<OsString, clap::Error> {
    let Some(text) = arg
        .to_str()
        .filter(|text| text.starts_with("--") && text.len() > 2)
    else {
        return Ok(arg);
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let is_new = Flags::command().get_arguments().any(|arg| {
        arg.get_long()
            .is_some_and(|long| name == format!("--{long}"))
    });
    let fitting: Vec<&&str> = OLD.iter().filter(|old| old.starts_with(name)).collect();
    let full = match &fitting[..] {
        _ if is_new || OLD.contains(&name) => name,
        [] => name,
        [old] => old,
        several => {
            let several: Vec<&str> = several.iter().map(|old| **old).collect();
            let words = format!(
                "ambiguous option: {name} could match {}",
                several.join(", ")
            );
            return Err(Flags::command().error(ErrorKind::UnknownArgument, words));
        }
    };
    Ok(match value {
        Some(value) => format!("{full}={value}").into(),
        None => full.into(),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => pace::duration::parse(text).map_err(|err| err.to_string()),
    }
}
