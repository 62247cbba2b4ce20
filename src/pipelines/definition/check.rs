//! What a definition has to be. The first fault is told, in the words of the original where it had any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, Span, Whole};
use super::{ON_ERROR, Parameter, Pipeline, Queue, Restart, Retry, Task, Webhook, Wish, order};
use crate::template::Template;

/// The longest name, in bytes: it is a part of names of files.
const LONGEST_NAME: usize = 200;

pub(super) fn pipeline(name: &str, wire: wire::Pipeline, source: &str) -> Result<Pipeline, String> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "a name has 1 to {LONGEST_NAME} bytes and no control characters"
        ));
    }
    let concurrency = number(wire.concurrency, "concurrency must be greater than 0")?;
    let limit = optional(wire.queue_limit, "queue_limit must not be negative")?;
    let start_delay = match wire.start_delay {
        Some(Span::Negative) => return Err("start_delay must not be negative".to_owned()),
        delay => delay.and_then(Span::positive).unwrap_or_default(),
    };
    if !start_delay.is_zero() && limit == Some(0) {
        return Err("start_delay needs queue_limit > 0".to_owned());
    }
    let queue = queue(
        wire.queue_strategy.as_deref(),
        limit,
        wire.queue_partition_limit,
    )?;
    let tasks = tasks(wire.tasks.unwrap_or_default())?;
    let on_error = wire.on_error.map(|wire| task(ON_ERROR, wire)).transpose()?;
    let env_from_variables = wire.env_from_variables.is_some_and(|flag| flag.0);
    let parameters = wire.parameters.map(parameters).transpose()?;
    let locks = wire.locks.map(Wish::all).transpose()?.unwrap_or_default();
    in_order(&locks, &tasks)?;
    Ok(Pipeline {
        name: name.to_owned(),
        source: source.to_owned(),
        concurrency: concurrency.max(1),
        queue,
        start_delay,
        continues_after_failure: wire
            .continue_running_tasks_after_failure
            .is_some_and(|flag| flag.0),
        retention_period: wire.retention_period.and_then(Span::positive),
        retention_count: wire
            .retention_count
            .and_then(|count| usize::try_from(count.0).ok())
            .filter(|n| *n > 0),
        timeout: time_limit(wire.timeout, "timeout")?,
        restart: match wire.restart.as_deref() {
            None | Some("cancel") => Restart::Cancel,
            Some("requeue") => Restart::Requeue,
            Some(other) => {
                return Err(format!("restart is `cancel` or `requeue`, not \"{other}\""));
            }
        },
        singleton: wire.singleton.is_some_and(|flag| flag.0),
        env_from_variables,
        parameters,
        env: env(wire.env)?,
        tasks,
        on_error: on_error.map(Arc::new),
        webhook: wire.webhook.map(webhook).transpose()?,
        locks,
    })
}

fn number(value: Option<Whole>, words: &str) -> Result<usize, String> {
    Ok(optional(value, words)?.unwrap_or_default())
}

fn optional(value: Option<Whole>, words: &str) -> Result<Option<usize>, String> {
    let number = value.map(|value| usize::try_from(value.0));
    number.transpose().map_err(|_| words.to_owned())
}

fn time_limit(time: Option<Span>, what: &str) -> Result<Option<Duration>, String> {
    match time {
        Some(Span::Negative) => Err(format!("{what} must not be negative")),
        time => Ok(time.and_then(Span::positive)),
    }
}

fn queue(
    strategy: Option<&str>,
    limit: Option<usize>,
    partition: Option<Whole>,
) -> Result<Queue, String> {
    let strategy = strategy.unwrap_or("append");
    match strategy {
        "append" | "replace" if partition.is_some() => Err(
            "queue_partition_limit is not allowed if queue_strategy=append|replace, use queue_limit instead".to_owned(),
        ),
        "append" => Ok(Queue::Append(limit)),
        "replace" => Ok(Queue::Replace(limit)),
        "partitioned_replace" => {
            if limit.is_some() {
                return Err(
                    "queue_limit is not allowed if queue_strategy=partitioned_replace, use queue_partition_limit instead"
                        .to_owned(),
                );
            }
            let limit = partition.and_then(|limit| usize::try_from(limit.0).ok()).filter(|limit| *limit > 0);
            limit.map(Queue::Partitioned).ok_or_else(|| {
                "queue_partition_limit must be defined and >=1 if queue_strategy=partitioned_replace".to_owned()
            })
        }
        other => Err(format!("unknown queue strategy: \"{other}\"")),
    }
}

fn env(env: Option<BTreeMap<String, Option<String>>>) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for (name, value) in env.unwrap_or_default() {
        let value = value.unwrap_or_default();
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!(
                "env has a name or a value that no environment can have: {name:?}"
            ));
        }
        all.insert(name, value);
    }
    Ok(all)
}

fn tasks(wires: BTreeMap<String, Option<wire::Task>>) -> Result<Vec<Arc<Task>>, String> {
    let mut tasks = Vec::new();
    for (name, wire) in wires {
        let is_file_name =
            !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
        if !is_file_name
            || name.len() > LONGEST_NAME
            || name == ON_ERROR
            || name.chars().any(char::is_control)
        {
            return Err(format!(
                "a task cannot be called {name:?}: a name has 1 to {LONGEST_NAME} bytes, is not `.`, `..` or `{ON_ERROR}`, and has no `/` or control character in it"
            ));
        }
        tasks.push(task(&name, wire.unwrap_or_default())?);
    }
    for task in &tasks {
        for needed in &task.depends_on {
            if !tasks.iter().any(|task| task.name == *needed) {
                return Err(format!(
                    "missing task \"{needed}\" referenced in depends_on of task \"{}\"",
                    task.name
                ));
            }
        }
    }
    order::sorted(tasks.into_iter().map(Arc::new).collect()).map_err(|circle| circle.to_string())
}

fn task(name: &str, wire: wire::Task) -> Result<Task, String> {
    let of_task = |fault: String| format!("task \"{name}\": {fault}");
    let script: Vec<String> = wire
        .script
        .unwrap_or_default()
        .into_iter()
        .map(Option::unwrap_or_default)
        .collect();
    for (at, entry) in script.iter().enumerate() {
        if entry.contains('\0') {
            return Err(of_task(format!(
                "entry {} of its script has a NUL in it",
                at + 1
            )));
        }
        Template::parse(entry)
            .map_err(|err| of_task(format!("entry {} of its script: {err}", at + 1)))?;
    }
    let locks = wire.locks.map(Wish::all).transpose().map_err(of_task)?;
    let locks = locks.unwrap_or_default();
    if name == ON_ERROR && !locks.is_empty() {
        return Err(of_task(
            "it has no locks of its own: it runs with those of the pipeline".to_owned(),
        ));
    }
    if script.is_empty() && !locks.is_empty() {
        return Err(of_task(
            "it has locks, but no script that could use them".to_owned(),
        ));
    }
    let retry = wire.retry.unwrap_or_default();
    let mut depends_on = wire.depends_on.unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    depends_on.retain(|needed| seen.insert(needed.clone()));
    Ok(Task {
        name: name.to_owned(),
        script,
        depends_on,
        allow_failure: wire.allow_failure.is_some_and(|flag| flag.0),
        env: env(wire.env).map_err(of_task)?,
        timeout: time_limit(wire.timeout, "timeout").map_err(of_task)?,
        retry: Retry {
            max: number(retry.max, "retry.max must not be negative")
                .and_then(|max| u32::try_from(max).map_err(|_| "retry.max is too large".to_owned()))
                .map_err(of_task)?,
            delay: time_limit(retry.delay, "retry.delay")
                .map_err(of_task)?
                .unwrap_or_default(),
        },
        locks,
    })
}

fn parameters(
    wires: BTreeMap<String, Option<wire::Parameter>>,
) -> Result<BTreeMap<String, Parameter>, String> {
    let mut all = BTreeMap::new();
    for (name, wire) in wires {
        let parameter = Parameter::new(wire.unwrap_or_default());
        let parameter = parameter.map_err(|fault| format!("parameter \"{name}\": {fault}"))?;
        all.insert(name, parameter);
    }
    Ok(all)
}

fn webhook(wire: wire::Webhook) -> Result<Webhook, String> {
    let url = url::Url::parse(&wire.url.unwrap_or_default());
    let url = url
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err("webhook.url is no URL of http or https".to_owned());
    };
    let late_after = time_limit(wire.late_after, "webhook.late_after")?;
    let on = wire
        .on
        .unwrap_or_else(|| ["start", "failure", "late"].map(str::to_owned).to_vec());
    if let Some(other) = on
        .iter()
        .find(|on| !["start", "failure", "late"].contains(&on.as_str()))
    {
        return Err(format!(
            "webhook.on has `start`, `failure` and `late`, not \"{other}\""
        ));
    }
    let has = |what: &str| on.iter().any(|on| on == what);
    Ok(Webhook {
        url,
        on_start: has("start"),
        on_failure: has("failure"),
        late_after: late_after.filter(|_| has("late")),
    })
}

/// All who hold locks and wait for more go to the pools in one order, the order of their names: so no two wait for each other.
fn in_order(held: &[Wish], tasks: &[Arc<Task>]) -> Result<(), String> {
    let Some(last) = held.last() else {
        return Ok(());
    };
    for task in tasks {
        if let Some(first) = task.locks.first().filter(|wish| wish.pool <= last.pool) {
            return Err(format!(
                "task \"{}\": locks has the pool \"{}\", whose name has to come after \"{}\": the pipeline holds locks of that while the task waits, and whoever takes the pools in another order could wait for it for ever",
                task.name, first.pool, last.pool
            ));
        }
    }
    Ok(())
}
