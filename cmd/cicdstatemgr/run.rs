//! One mode, from the files to the answer.

use std::io::{self, Write};

use net::Trust;
use pool::concourse::Source;
use state::config::Config;
use state::document::{Origin, bases, check_id};
use state::log::{Level, Log};
use state::operation::{self, Change, Operation, Pair};
use state::post::Poster;
use state::session::Session;
use state::sources::{Changed, Sources};
use state::store::{GitPlace, GitStore, StoreError};
use state::value::{Map, Value};
use state::vars::Variable;

use super::errors::Failure;
use super::files;
use super::flags::{ChangeArgument, Flags};
use super::news::News;
use crate::pool::holder;
use crate::resource::surroundings;

/// The branch of documents, unless another is set.
const BRANCH: &str = "cicdstatemgr";

/// Does what the flags say.
///
/// # Errors
/// [`Failure`].
pub async fn run(
    flags: &Flags,
    changes: &[ChangeArgument],
    news: &mut News,
) -> Result<(), Failure> {
    let config = required(&flags.config, "--config <path> is", "CONFIG_PATH")?;
    let secrets = required(&flags.secrets, "--secrets <path> is", "SECRETS_PATH")?;
    let config = files::yaml("the config file", config)?;
    let secrets = files::yaml("the secrets file", secrets)?;
    let mut notes = Vec::new();
    let config = Config::read(&config, &secrets, &mut |note| notes.push(note.to_owned()));
    let config = config.map_err(|err| Failure::new(err.to_string()))?;
    news.hide(config.all_secrets());
    for note in notes {
        news.tell(Level::Error, &note);
    }
    let mut warn = |text: &str| news.tell(Level::Warning, text);
    let operations = operations(changes, &mut warn)?;
    let variables = flags.tmpl_ctx_var.iter().map(|text| Variable::parse(text));
    let variables = variables.collect::<Result<_, _>>().map_err(refused)?;

    let sources = Sources::open(&config, &mut |settings| git_store(settings));
    let around = surroundings();
    let mut session = Session {
        config: &config,
        sources: sources.map_err(state::session::SessionError::from)?,
        poster: Poster::new(around.proxies, Trust::default()),
        log: news,
        variables,
        logs_payloads: flags.log_payloads,
        failures: 0,
    };
    let answer = act(flags, operations, &mut session).await?;
    let failures = session.failures;
    let mut stdout = io::stdout().lock();
    let told = stdout
        .write_all(answer.as_bytes())
        .and_then(|()| stdout.flush());
    told.map_err(|err| Failure::new(format!("cannot write the answer: {err}")))?;
    match failures > 0 && flags.strict {
        true => Err(Failure::new(format!(
            "{failures} of the requests and templates have failed (--strict)"
        ))),
        false => Ok(()),
    }
}

/// Runs the mode, and gives what is printed.
async fn act(
    flags: &Flags,
    operations: Vec<Operation>,
    session: &mut Session<'_>,
) -> Result<String, Failure> {
    let event = flags.handle_event.as_deref();
    let form = flags.output.into();
    if flags.list {
        let ids = session.list().await?;
        return Ok(ids.into_iter().map(|id| id + "\n").collect());
    }
    if let Some(id) = &flags.history {
        let entries = session.history(id).await?;
        let lines = entries.into_iter().map(|entry| {
            let time = terminal::time::time(entry.time).unwrap_or_default();
            let commit = &entry.commit[..entry.commit.len().min(10)];
            format!("{time} {commit} {}\n", entry.does)
        });
        return Ok(lines.collect());
    }
    if let Some(id) = &flags.delete {
        session.delete(id).await?;
        return Ok(String::new());
    }
    if let Some(id) = &flags.init_new {
        init(flags, id, &operations, session).await?;
        return Ok(format!("{id}\n"));
    }
    if flags.load {
        return Ok(number(&session.load(id(flags)?, operations, event).await?));
    }
    if let Some(expression) = &flags.wait_for {
        return Ok(session
            .wait_for(id(flags)?, expression, flags.timeout, form)
            .await?);
    }
    if let Some(expression) = &flags.get {
        return Ok(session.get(id(flags)?, expression, form).await?);
    }
    if let Some(expression) = &flags.generate {
        session.generate(id(flags)?, expression).await?;
    } else if let Some(event) = event {
        session.handle_event(id(flags)?, &operations, event).await?;
    } else if !operations.is_empty() || !flags.set.is_empty() {
        return Ok(number(&session.set(id(flags)?, &operations).await?));
    }
    Ok(String::new())
}

async fn init(
    flags: &Flags,
    id: &str,
    operations: &[Operation],
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let app = &flags.init_app_config_file;
    let app = required(app, "--init-app-config <path> is", "INIT_APP_CONFIG_PATH")?;
    let app = files::yaml("the app file", app)?;
    let names = bases(&app).map_err(|err| Failure::new(err.to_string()))?;
    let mut read = Vec::new();
    for name in names {
        let folder = &flags.init_bases_dir;
        let folder = required(folder, "--init-bases-dir <path> is", "BASES_DIR_PATH")?;
        read.push(files::yaml("the base file", &format!("{folder}/{name}"))?);
    }
    let origin = Origin {
        app: &app,
        bases: &read,
        context: &flags.init_cicd_context_name,
        id,
    };
    let event = flags.handle_event.as_deref();
    Ok(session.init(&origin, operations, event).await?)
}

fn id(flags: &Flags) -> Result<&str, Failure> {
    let id = required(&flags.id, "--id <cicdContextDataId>", "CONTEXT_DATA_ID")?;
    check_id(id).map_err(|err| Failure::new(err.to_string()))?;
    Ok(id)
}

fn required<'a>(value: &'a Option<String>, what: &str, name: &str) -> Result<&'a str, Failure> {
    value.as_deref().ok_or_else(|| {
        Failure::new(format!(
            "USAGE: {what} required or set env var CICDSTATEMGR_{name}; see --help"
        ))
    })
}

fn number(changed: &Changed) -> String {
    match &changed.number {
        Some(number) => state::answer::print(number) + "\n",
        None => String::new(),
    }
}

fn refused(err: operation::OperationError) -> Failure {
    Failure::new(err.to_string())
}

/// The changes of the command line, in their order.
fn operations(
    changes: &[ChangeArgument],
    warn: &mut dyn FnMut(&str),
) -> Result<Vec<Operation>, Failure> {
    let mut all = Vec::new();
    let mut file = |path: &str| files::of_value(path);
    for ChangeArgument { option, value } in changes {
        let pairs = match *option {
            "set" => operation::sets(value, &mut file),
            "set_if_absent" => operation::set(value, &mut file).map(|pair| vec![if_absent(pair)]),
            "set_json" => operation::json(value).map(one),
            "set_if" => operation::set_if(value).map(one),
            "increment" => operation::increment(value).map(one),
            _ => operation::place(value.trim()).map(|place| {
                let change = Change::Remove;
                one(Operation { place, change })
            }),
        };
        for pair in pairs.map_err(refused)? {
            match pair {
                Pair::Operation(operation) => all.push(operation),
                Pair::Invalid(text) => warn(&format!("setValues() invalid kvPair: {text}")),
            }
        }
    }
    Ok(all)
}

fn one(operation: Operation) -> Vec<Pair> {
    vec![Pair::Operation(operation)]
}

fn if_absent(pair: Pair) -> Pair {
    match pair {
        Pair::Operation(Operation {
            place,
            change: Change::Set(value),
        }) => Pair::Operation(Operation {
            place,
            change: Change::SetIfAbsent(value),
        }),
        other => other,
    }
}

/// The documents in a repository with these settings.
fn git_store(settings: &Map) -> Result<GitStore, StoreError> {
    let around = surroundings();
    let mut given = settings.clone();
    let folder = given.shift_remove("path");
    given.shift_remove("isPrimary");
    let branch = given
        .get("branch")
        .and_then(Value::as_text)
        .unwrap_or(BRANCH)
        .to_owned();
    given.insert("branch".to_owned(), Value::from(branch.as_str()));
    // A source of the pool has one; nothing is done with it.
    given.insert("pool".to_owned(), Value::from("none"));
    let wrong = |err: String| StoreError::Unsupported(err.replace("`source.", "`datasources.git."));
    let source = Source::from_json(&files::as_source(&given));
    let source = source.map_err(|err| wrong(terminal::chain(&err)))?;
    let reach = pool::step::reach(&source, &around, &mut io::stderr());
    let reach = reach.map_err(|err| wrong(terminal::chain(&err)))?;
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let origin = match around.build.id() {
        Some(_) => around.build.origin(),
        None => holder::origin(None, &env),
    };
    let prefix = match origin.prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix} "),
    };
    let folder = folder.as_ref().and_then(Value::as_text).unwrap_or_default();
    let place = GitPlace {
        location: reach.location,
        access: reach.access,
        branch,
        folder: folder.trim_matches('/').to_owned(),
        identity: reach.identity,
        origin: prefix,
        link: origin.url,
        fault_limit: reach.fault_limit,
    };
    GitStore::new(place, &around.temporary)
}
