//! Logs by lines, shared by all who look at them.
//!
//! A log is read once, whoever looks: its index says where each thousandth line begins, and one task (`pump`) makes what
//! is new into an event that all viewers are sent. What comes faster than anybody can read is left out: the page links to it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use page::log::{Lines, Style, added};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::log::{link, names};
use crate::job::JobId;
use crate::logs::lines::{Index, Line};
use crate::logs::{Logs, Stream};
use crate::view::View;

/// How often a log that grows is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The most lines that one event has.
const MOST: u64 = 1000;
/// How many events are kept for viewers who are slow.
const KEPT: usize = 16;
/// How many logs are kept that nobody looks at.
const IDLE: usize = 64;

/// A search reads a whole log: so many at once, others wait.
static SEARCHES: Semaphore = Semaphore::const_new(2);

type Key = (JobId, String, Stream);

/// All logs that somebody looks at, or has looked at lately.
#[derive(Debug)]
pub(super) struct Tails {
    logs: Logs,
    view: Arc<View>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tails: HashMap<Key, Arc<Tail>>,
    /// The oldest first.
    order: VecDeque<Key>,
}

/// A log.
#[derive(Debug)]
pub(super) struct Tail {
    key: Key,
    link: String,
    logs: Logs,
    view: Arc<View>,
    index: Mutex<Index>,
    sent: Mutex<Sent>,
    tell: watch::Sender<u64>,
}

/// What viewers were sent.
#[derive(Debug, Default)]
struct Sent {
    is_pumped: bool,
    /// The number of the next event.
    next: u64,
    /// The last events, each with its number.
    events: VecDeque<(u64, Bytes)>,
    /// The last line that was sent.
    line: u64,
    /// How that line begins, and how many bytes it had.
    style: Style,
    length: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics in the midst of a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tails {
    pub(super) fn new(logs: Logs, view: Arc<View>) -> Tails {
        Tails {
            logs,
            view,
            known: Mutex::default(),
        }
    }

    /// The log of a task.
    pub(super) fn get(&self, job: JobId, task: &str, stream: Stream) -> Arc<Tail> {
        let key = (job, task.to_owned(), stream);
        let mut known = lock(&self.known);
        let Known { tails, order } = &mut *known;
        if let Some(tail) = tails.get(&key) {
            return tail.clone();
        }
        let tail = Arc::new(Tail {
            key: key.clone(),
            link: link(job, task, stream),
            logs: self.logs.clone(),
            view: self.view.clone(),
            index: Mutex::default(),
            sent: Mutex::default(),
            tell: watch::Sender::new(0),
        });
        tails.insert(key.clone(), tail.clone());
        order.push_back(key);
        while order.len() > IDLE {
            if let Some(old) = order.pop_front() {
                tails.remove(&old);
            }
        }
        tail
    }
}

impl Tail {
    /// Reads what is new, and gives the number of lines. It waits for the disk.
    fn look(&self) -> u64 {
        let (job, task, stream) = &self.key;
        let mut index = lock(&self.index);
        index.update(&self.logs.path(*job, task, *stream));
        index.n_lines()
    }

    /// How many lines there are now, and these of them.
    pub(super) async fn lines(
        self: &Arc<Self>,
        which: impl FnOnce(u64) -> std::ops::RangeInclusive<u64> + Send + 'static,
    ) -> (u64, Vec<Line>) {
        let tail = self.clone();
        let read = spawn_blocking(move || {
            let n_lines = tail.look();
            (n_lines, tail.read(which(n_lines)))
        });
        read.await.unwrap_or_default()
    }

    fn read(&self, lines: std::ops::RangeInclusive<u64>) -> Vec<Line> {
        let (job, task, stream) = &self.key;
        let place = lock(&self.index).place(*lines.start());
        place.read(&self.logs.path(*job, task, *stream), lines)
    }

    /// The lines that have a text in them, in whatever case, up to so many; and whether there are more.
    pub(super) async fn search(self: &Arc<Self>, text: String, most: usize) -> (Vec<Line>, bool) {
        let Ok(_place) = SEARCHES.acquire().await else {
            return Default::default();
        };
        let tail = self.clone();
        let found = spawn_blocking(move || {
            let (job, task, stream) = &tail.key;
            crate::logs::lines::search(&tail.logs.path(*job, task, *stream), &text, most)
        });
        found.await.unwrap_or_default()
    }

    /// Whether the task writes no more.
    fn is_over(&self) -> bool {
        let (job, task, _) = &self.key;
        let seen = self.view.look();
        let job = seen.job(*job);
        job.is_none_or(|job| job.task(task).is_none_or(|task| task.status.is_over()))
    }

    fn form(&self) -> Lines<'_> {
        Lines {
            prefix: names(self.key.2).prefix,
            link: &self.link,
        }
    }

    /// What comes after this line.
    pub(super) fn follow(self: &Arc<Self>, line: u64) -> Follower {
        let wake = self.tell.subscribe();
        let mut sent = lock(&self.sent);
        if !std::mem::replace(&mut sent.is_pumped, true) {
            if sent.next == 0 {
                // What is there is in pages already, or caught up with.
                sent.line = self.look();
                sent.length = lock(&self.index).length();
            }
            tokio::spawn(self.clone().pump());
        }
        Follower {
            tail: self.clone(),
            wake,
            line,
            next: None,
        }
    }

    /// Makes what is new into events, until the task is over or nobody looks.
    async fn pump(self: Arc<Self>) {
        loop {
            // Looked at before the log is: what is written before the end is sent.
            let is_over = self.is_over();
            let tail = self.clone();
            // A failure to read is that of the disk: the next look may have more luck.
            let _ = spawn_blocking(move || tail.make()).await;
            {
                let mut sent = lock(&self.sent);
                if is_over || self.tell.receiver_count() == 0 {
                    sent.is_pumped = false;
                    // Who waits for the end hears of it.
                    self.tell.send_modify(|_| {});
                    return;
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Makes one event of what is new, if anything is.
    fn make(&self) {
        let n_lines = self.look();
        let length = lock(&self.index).length();
        let (line, mut style, old) = {
            let sent = lock(&self.sent);
            (sent.line, sent.style, sent.length)
        };
        if n_lines == 0 || length == old {
            return;
        }
        let first = match n_lines {
            // It was made anew.
            n if n < line => 1,
            _ => line.max(1),
        };
        let start = first.max(n_lines.saturating_sub(MOST - 1));
        if start != line {
            style = Style::default();
        }
        let (html, last_style) = render(self.form(), &self.read(start..=n_lines), style);
        let event = Bytes::from(added(names(self.key.2).id, start, n_lines, &html));
        let mut sent = lock(&self.sent);
        (sent.line, sent.style, sent.length) = (n_lines, last_style, length);
        let number = sent.next;
        sent.next += 1;
        sent.events.push_back((number, event));
        if sent.events.len() > KEPT {
            sent.events.pop_front();
        }
        drop(sent);
        self.tell.send_replace(number + 1);
    }
}

/// Lines as they stand in a page, and how the last of them begins.
pub(super) fn render(form: Lines<'_>, lines: &[Line], mut style: Style) -> (String, Style) {
    let (mut html, mut last) = (String::new(), style);
    for line in lines {
        last = style;
        html += &form
            .line(line.number, &line.text, line.left_out, &mut style)
            .into_string();
    }
    (html, last)
}

/// A viewer of a log.
#[derive(Debug)]
pub(super) struct Follower {
    tail: Arc<Tail>,
    wake: watch::Receiver<u64>,
    /// The last line that the page has.
    line: u64,
    /// The number of the next event, once it has all that was before.
    next: Option<u64>,
}

impl Follower {
    /// Waits until there may be something new.
    pub(super) async fn wait(&mut self) {
        // The other end is in our own hands.
        let _ = self.wake.changed().await;
    }

    /// Whether nothing more will come: the task is over, and all that it has written was taken.
    pub(super) fn is_done(&self) -> bool {
        let sent = lock(&self.tail.sent);
        !sent.is_pumped && self.next == Some(sent.next)
    }

    /// The next event, if there is one.
    pub(super) async fn event(&mut self) -> Option<Bytes> {
        self.wake.mark_unchanged();
        let next = match self.next {
            Some(next) => next,
            None => return self.catch_up().await,
        };
        {
            let sent = lock(&self.tail.sent);
            if next >= sent.next {
                return None;
            }
            let found = sent.events.iter().find(|(number, _)| *number == next);
            if let Some((_, event)) = found {
                self.next = Some(next + 1);
                self.line = sent.line;
                return Some(event.clone());
            }
        }
        // It was too slow for what is kept.
        self.catch_up().await
    }

    /// What is between the line that the page has and those that are in events to come.
    async fn catch_up(&mut self) -> Option<Bytes> {
        let (number, known) = {
            let sent = lock(&self.tail.sent);
            (sent.next, self.line)
        };
        self.next = Some(number);
        // The last line may have been a part of one.
        let which = move |n: u64| known.max(1).max(n.saturating_sub(MOST - 1))..=n;
        let (n_lines, lines) = self.tail.lines(which).await;
        let first = lines.first()?.number;
        self.line = n_lines;
        let (html, _) = render(self.tail.form(), &lines, Style::default());
        Some(Bytes::from(added(
            names(self.tail.key.2).id,
            first,
            n_lines,
            &html,
        )))
    }
}
