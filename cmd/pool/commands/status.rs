//! `pool status`.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use git::object::Oid;
use pool::lock::{self, LockName};
use pool::show;
use pool::step::{self, LOOK_EVERY, Moment, Overview, Standing, Viewer};
use terminal::Paint;
use terminal::table::{Style, USUAL_WIDTH};

use super::{Context, mine};
use crate::pool::args::StatusArgs;
use crate::pool::output;
use crate::pool::words::Log;

/// Shows the pools.
pub async fn status(context: &Context, args: &StatusArgs) -> Result<ExitCode> {
    let only = args
        .locks
        .iter()
        .map(|lock| {
            LockName::new(lock).with_context(|| format!("{lock:?} is not the name of a lock"))
        })
        .collect::<Result<BTreeSet<LockName>>>()?;
    git::read_much_once();
    if let Some(moment) = &args.at {
        return status_at(context, args, &only, &moment.resolved(SystemTime::now())).await;
    }
    let mut viewer = Viewer::new(
        &context.source,
        context.which.clone(),
        &context.around,
        &mut Log::default(),
    )?;
    let redraws = args.watch && !context.json && io::stdout().is_terminal();
    let mut shown: Option<Overview> = None;
    loop {
        let overview = viewer.look(&mut Log::default()).await?;
        let mut overview = narrowed(overview, &only)?;
        if args.mine {
            keep_ours(&mut overview, &context.origin.prefix);
        }
        let now = SystemTime::now();
        let changed = shown.as_ref().is_none_or(|shown| !same(shown, &overview));
        if changed || redraws {
            let text = if context.json {
                output::status::json(&overview, now)?
            } else {
                let text = show::status::text(&overview, now, style(context));
                match (redraws, shown.is_some() && args.watch) {
                    (true, _) => screen(&text),
                    (false, true) => format!("\n{text}"),
                    (false, false) => text,
                }
            };
            if !print(&text)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        shown = Some(overview);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows the pools as they were.
async fn status_at(
    context: &Context,
    args: &StatusArgs,
    only: &BTreeSet<LockName>,
    moment: &Moment,
) -> Result<ExitCode> {
    let (source, which) = (&context.source, context.which.clone());
    let log = &mut Log::default();
    let earlier = step::status_at(source, which, moment, &context.around, log).await?;
    let mut overview = narrowed(earlier.overview, only)?;
    if args.mine {
        keep_ours(&mut overview, &context.origin.prefix);
    }
    let then = terminal::time::at(earlier.at);
    let text = match context.json {
        true => output::status::json(&overview, then)?,
        false => {
            let time = terminal::time::time(earlier.at).unwrap_or_default();
            let text = show::status::text(&overview, then, style(context));
            format!(
                "as it was at {time}, after the commit {:.10}\n{text}",
                overview.head.to_string()
            )
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// How a text is to look on our standard output: with colours only where somebody sees them.
pub fn style(context: &Context) -> Style {
    let is_terminal = io::stdout().is_terminal();
    let size = terminal_size::terminal_size();
    Style {
        width: size.map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0)),
        paint: if is_terminal {
            context.around.paint
        } else {
            Paint::Plain
        },
    }
}

/// Writes an answer; says whether there is still somebody who reads it.
pub fn print(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // `pool status | head` has seen enough.
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(err) => Err(err).context("cannot write the answer"),
    }
}

/// The text in place of what is on the screen, and no longer than that.
fn screen(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let height =
        terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0));
    let room = height.saturating_sub(1).max(2);
    let shown = if lines.len() <= room {
        lines.join("\n")
    } else {
        let kept = &lines[..room - 1];
        let more = lines.len() - kept.len();
        format!("{}\n… {more} more lines", kept.join("\n"))
    };
    format!("\u{1b}[H\u{1b}[2J{shown}\n")
}

/// Whether two looks found the same, however long ago everything was.
fn same(a: &Overview, b: &Overview) -> bool {
    let told = |overview: &Overview| {
        let mut overview = overview.clone();
        // A commit that is about something else is no news.
        overview.head = Oid::ZERO_SHA1;
        let waiters = overview.pools.iter_mut().flat_map(|pool| &mut pool.line);
        for waiter in waiters {
            waiter.silent = waiter.silent.map(|_| Duration::ZERO);
        }
        overview
    };
    told(a) == told(b)
}

/// What of it is about these locks.
fn narrowed(mut overview: Overview, only: &BTreeSet<LockName>) -> Result<Overview> {
    if only.is_empty() {
        return Ok(overview);
    }
    let locks = overview.pools.iter().flat_map(|pool| &pool.locks);
    let there: BTreeSet<LockName> = locks.map(|lock| lock.name.clone()).collect();
    if let Some(missing) = only.iter().find(|lock| !there.contains(*lock)) {
        let like = lock::meant(missing, there.iter());
        bail!("there is no lock `{missing}`{}", lock::or_meant(&like));
    }
    for pool in &mut overview.pools {
        pool.locks.retain(|lock| only.contains(&lock.name));
    }
    overview.pools.retain(|pool| !pool.locks.is_empty());
    Ok(overview)
}

/// Leaves what we hold, and the lines that we wait in: whole, for the places in them count.
fn keep_ours(overview: &mut Overview, us: &str) {
    for pool in &mut overview.pools {
        pool.locks.retain(|lock| match &lock.standing {
            Standing::Held(Some(held)) | Standing::Damaged(_, Some(held)) => {
                mine::is_ours(us, held, &lock.name)
            }
            Standing::Free | Standing::Held(None) | Standing::Damaged(_, None) => false,
        });
        if !pool.line.iter().any(|waiter| waiter.who == us) {
            pool.line.clear();
        }
    }
    overview
        .pools
        .retain(|pool| !pool.locks.is_empty() || !pool.line.is_empty());
}
