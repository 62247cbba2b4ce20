//! What can be said on the command line and in the environment.
//!
//! The rules are those of gitlab-job-guard 0.0.4.3: the environment beats the command line, an empty variable counts as
//! none, the last of several flags counts, and a long flag may be shortened. A shortened flag is looked for among the flags
//! of 0.0.4.3 first, so that no newer flag makes it ambiguous.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;

/// Wait until no other matching pipeline of this GitLab project is before this one, or inside.
///
/// Each option with a variable is overridden by it. Exit codes: 0 it is our turn, 2 wrong settings, 3 GitLab refuses us, 4 no
/// usable answer from GitLab in time, 7 somebody is in the way (`--no-wait`), 11 timed out. With a command: that of the
/// command.
#[derive(Parser)]
#[command(name = "gitlab-job-guard", version, args_override_self = true)]
pub struct Flags {
    /// Pipelines count whose ref this is found in [env: GUARD_REF_REGEX]
    #[arg(short = 'c', long, visible_aliases = ["check", "guard"], value_name = "REGEX", default_value = r"^\d+\-")]
    pub guard_ref_regex: String,
    /// Pipelines count whose status this matches from its beginning [env: GUARD_STATUS_REGEX]
    #[arg(
        short = 's',
        long,
        visible_alias = "status-regex",
        value_name = "REGEX",
        default_value = "running"
    )]
    pub guard_status_regex: String,
    /// The URL of GitLab's API [env: CI_API_V4_URL]
    #[arg(short = 'u', long, visible_alias = "api-url", value_name = "URL")]
    pub ci_api_v4_url: Option<String>,
    /// The project: its number or its path [env: CI_PROJECT_ID]
    #[arg(
        short = 'p',
        long,
        visible_alias = "project-id",
        value_name = "PROJECT"
    )]
    pub ci_project_id: Option<String>,
    /// Our own pipeline [env: CI_PIPELINE_ID]
    #[arg(short = 'i', long, visible_alias = "pipeline-id", value_name = "ID")]
    pub ci_pipeline_id: Option<String>,
    /// A token that may read the project; else CI_JOB_TOKEN is used. On the command line everybody on this machine can see
    /// it [env: PRIVATE_TOKEN]
    #[arg(short = 't', long, visible_aliases = ["access-token", "api-token"], value_name = "TOKEN")]
    pub private_token: Option<String>,
    /// How long to wait, in seconds; 0 or less for ever [env: GUARD_TIMEOUT]
    #[arg(short = 'w', long, visible_alias = "timeout", value_name = "SECONDS", default_value = "3600", allow_negative_numbers = true, value_parser = integer)]
    pub guard_timeout: i64,
    /// Print nothing but errors, and those on stderr
    #[arg(short = 'q', long, visible_alias = "quiet")]
    pub silent: bool,
    /// Do not wait: exit with 7 if somebody is in the way
    #[arg(short = 'x', long, visible_alias = "exit")]
    pub no_wait: bool,

    /// Jobs in whose name this is found are guarded, besides those of our own name [env: GUARD_JOB_REGEX]
    #[arg(long, value_name = "REGEX", help_heading = NEWER)]
    pub guard_job_regex: Option<String>,
    /// Let the guarded jobs of our own pipeline take turns too
    #[arg(long, help_heading = NEWER)]
    pub take_turns: bool,
    /// Print lines of JSON
    #[arg(long, help_heading = NEWER)]
    pub json: bool,
    /// The longest pause between two looks; else 3 to 15 seconds, at random [env: GUARD_POLL]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = NEWER)]
    pub poll: Option<Duration>,
    /// From when on after the start of our job a look can let us in; else 7 seconds [env: GUARD_SETTLE]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = NEWER)]
    pub settle: Option<Duration>,
    /// A file with certificates, as PEM, that are trusted besides the system's [env: CI_SERVER_TLS_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = NEWER)]
    pub ca_file: Option<String>,
    /// Take turns by a lock in this Git repository; the other settings of it are those of `pool` [env: GUARD_LOCK_URI]
    #[arg(long, value_name = "URI", help_heading = NEWER)]
    pub lock_uri: Option<String>,
    /// What the lock is named after besides the project; else our job's name [env: GUARD_NAME]
    #[arg(long, value_name = "NAME", help_heading = NEWER)]
    pub lock_name: Option<String>,
    /// Run this command when it is our turn; with `--lock-uri` the lock is given back after it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

const NEWER: &str = "Options that 0.0.4.3 does not have";

/// The flags of 0.0.4.3, each with its names, and the variable that overrides it.
const OLD: [(&[&str], Option<&str>); 10] = [
    (
        &["guard-ref-regex", "check", "guard"],
        Some("GUARD_REF_REGEX"),
    ),
    (
        &["guard-status-regex", "status-regex"],
        Some("GUARD_STATUS_REGEX"),
    ),
    (&["ci-api-v4-url", "api-url"], Some("CI_API_V4_URL")),
    (&["ci-project-id", "project-id"], Some("CI_PROJECT_ID")),
    (&["ci-pipeline-id", "pipeline-id"], Some("CI_PIPELINE_ID")),
    (
        &["private-token", "access-token", "api-token"],
        Some("PRIVATE_TOKEN"),
    ),
    (&["guard-timeout", "timeout"], Some("GUARD_TIMEOUT")),
    (&["silent", "quiet"], None),
    (&["no-wait", "exit"], None),
    (&["help"], None),
];

/// The newer ones, likewise.
const NEW: [(&[&str], Option<&str>); 9] = [
    (&["guard-job-regex"], Some("GUARD_JOB_REGEX")),
    (&["take-turns"], None),
    (&["json"], None),
    (&["poll"], Some("GUARD_POLL")),
    (&["settle"], Some("GUARD_SETTLE")),
    (&["ca-file"], Some("CI_SERVER_TLS_CA_FILE")),
    (&["lock-uri"], Some("GUARD_LOCK_URI")),
    (&["lock-name"], Some("GUARD_NAME")),
    (&["version"], None),
];

/// Why a command line cannot be read before its flags are looked at. No message has a value in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A shortened flag may be several.
    #[error("ambiguous option: --{0} could match {1}")]
    Ambiguous(String, String),
    /// A variable looks like a flag.
    #[error("argument --{0}: expected one argument: the value of {1} begins with a dash")]
    Dash(&'static str, &'static str),
}

/// The command line as it is to be read: with whole flags, and with what the environment says.
///
/// # Errors
/// [`UsageError`].
pub fn complete(
    args: impl IntoIterator<Item = OsString>,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<OsString>, UsageError> {
    let mut args = args.into_iter();
    let mut whole: Vec<OsString> = args.next().into_iter().collect();
    let mut command = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            command = [arg].into_iter().chain(args).collect();
            break;
        }
        whole.push(lengthened(arg)?);
    }
    for (names, variable) in OLD.iter().chain(&NEW) {
        let Some((variable, value)) = variable.and_then(|name| Some((name, env(name)?))) else {
            continue;
        };
        if looks_like_a_flag(&value) {
            return Err(UsageError::Dash(names[0], variable));
        }
        whole.push(format!("--{}={value}", names[0]).into());
    }
    whole.extend(command);
    Ok(whole)
}

/// A long flag in full, if it is one that was shortened.
fn lengthened(arg: OsString) -> Result<OsString, UsageError> {
    let Some(text) = arg.to_str().and_then(|text| text.strip_prefix("--")) else {
        return Ok(arg);
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, format!("={value}")),
        None => (text, String::new()),
    };
    let names = |flags: &'static [(&[&'static str], Option<&str>)]| {
        flags.iter().flat_map(|(names, _)| names.iter().copied())
    };
    if name.is_empty() || names(&OLD).chain(names(&NEW)).any(|known| known == name) {
        return Ok(arg);
    }
    for flags in [&OLD[..], &NEW[..]] {
        let fitting: Vec<&str> = names(flags)
            .filter(|known| known.starts_with(name))
            .collect();
        match fitting[..] {
            [] => {}
            [one] => return Ok(format!("--{one}{value}").into()),
            _ => {
                let all: Vec<String> = fitting.iter().map(|name| format!("--{name}")).collect();
                return Err(UsageError::Ambiguous(name.to_owned(), all.join(", ")));
            }
        }
    }
    Ok(arg)
}

/// Whether a value is taken for a flag, unless it stands behind an equals sign.
fn looks_like_a_flag(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('-') else {
        return false;
    };
    !rest.is_empty() && !rest.contains(' ') && rest.parse::<f64>().is_err()
}

/// A whole number, as Python reads it.
fn integer(text: &str) -> Result<i64, String> {
    let digits = text.trim().replace('_', "");
    digits
        .parse()
        .map_err(|_| format!("invalid int value: '{text}'"))
}

/// A time: seconds, or with a unit.
fn time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.trim().parse() {
        return Ok(Duration::from_secs(seconds));
    }
    pace::duration::parse(text).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn whole(args: &[&str], env: &[(&str, &str)]) -> Result<Vec<String>, UsageError> {
        let all = ["guard"].iter().chain(args).map(OsString::from);
        let env = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let whole = complete(all, &env)?;
        Ok(whole[1..]
            .iter()
            .map(|arg| arg.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn a_shortened_flag_is_looked_for_among_the_old_ones_first() {
        for (short, long) in [
            ("--guard-ref", "--guard-ref-regex"),
            ("--guard-s=x", "--guard-status-regex=x"),
            ("--guard", "--guard"),
            ("--no", "--no-wait"),
            ("--q", "--quiet"),
            ("--e", "--exit"),
            ("--ch", "--check"),
            ("--t", "--timeout"),
            ("--he", "--help"),
            ("--guard-j=x", "--guard-job-regex=x"),
            ("--js", "--json"),
            ("--nothing", "--nothing"),
            ("-c=--no", "-c=--no"),
        ] {
            assert_eq!(whole(&[short], &[]).unwrap(), [long]);
        }
        for short in ["--gua", "--s", "--p", "--a", "--guard-"] {
            let err = whole(&[short], &[]).unwrap_err().to_string();
            assert!(err.starts_with("ambiguous option"), "{err}");
        }
    }

    #[test]
    fn every_flag_is_in_the_table_of_names_and_no_other() {
        use clap::CommandFactory;
        let mut named: Vec<String> = Flags::command()
            .get_arguments()
            .flat_map(|arg| arg.get_long_and_visible_aliases().unwrap_or_default())
            .map(str::to_owned)
            .chain(["help".to_owned(), "version".to_owned()])
            .collect();
        let mut listed: Vec<String> = OLD
            .iter()
            .chain(&NEW)
            .flat_map(|(names, _)| names.iter())
            .map(|name| (*name).to_owned())
            .collect();
        named.sort();
        listed.sort();

        assert_eq!(named, listed);
    }

    #[test]
    fn the_environment_comes_last_and_before_the_command() {
        let env = [("GUARD_REF_REGEX", "^master$"), ("GUARD_TIMEOUT", "-1")];

        let all = whole(&["-c", "zzz", "--", "echo", "--no"], &env).unwrap();

        assert_eq!(
            all,
            [
                "-c",
                "zzz",
                "--guard-ref-regex=^master$",
                "--guard-timeout=-1",
                "--",
                "echo",
                "--no"
            ]
        );
    }

    #[test]
    fn a_value_of_the_environment_that_looks_like_a_flag_is_refused_and_not_shown() {
        for (value, is_refused) in [
            ("-MARKER", true),
            ("--MARKER", true),
            ("-", false),
            ("-1", false),
            ("-MARKER x", false),
        ] {
            let read = whole(&[], &[("PRIVATE_TOKEN", value)]);
            assert_eq!(read.is_err(), is_refused, "{value}");
            assert!(read.is_ok() || !read.unwrap_err().to_string().contains("MARKER"));
        }
    }

    #[test]
    fn whole_numbers_and_times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("3600", 3600),
            (" 5 ", 5),
            ("1_000", 1000),
            ("+7", 7),
            ("-1", -1),
        ] {
            assert_eq!(integer(text), Ok(expected));
        }
        assert_eq!(integer("abc").unwrap_err(), "invalid int value: 'abc'");
        assert_eq!(time("7"), Ok(Duration::from_secs(7)));
        assert_eq!(time("300ms"), Ok(Duration::from_millis(300)));
        assert!(time("soon").is_err());
    }
}
