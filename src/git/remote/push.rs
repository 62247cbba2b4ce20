//! What is pushed: one commit onto the branch, or other refs beside it, each by compare-and-swap.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AGENT, Pack, Prepared, PushAnswer, RefUpdate, Remote, hear};
use crate::RemoteError;
use crate::advertisement::Capabilities;
use crate::link::{GOODBYE, Service, Talk};
use crate::object::Oid;
use crate::packet::{self, MIB, Packet};
use crate::refusal;
use terminal::harmless;

/// The most that a server and its hooks may say to a push, in bytes.
const MOST_REPORT: u64 = 64 * MIB;

/// Why a ref did not move whose objects are not there.
const NOT_UNPACKED: &str = "it could not unpack our objects";

/// How long the beginning of a push is waited for where it can be made once more on another connection.
const LONG_FOR_A_BEGINNING: Duration = Duration::from_millis(200);

impl Remote {
    /// Begins a push, once the repository has been read: there are servers that make a repository of whatever name is
    /// pushed to. Not where each conversation is a connection of its own, of which a server may take only one at a time.
    pub(super) fn prepare_push(&self) {
        let mut prepared = self.prepared();
        if prepared.is_some() || !self.link.takes_several() || self.pushes_here() {
            return;
        }
        let mut is_read = self.is_read.subscribe();
        let open = self.open(Service::ReceivePack);
        let mut coming = JoinSet::new();
        coming.spawn(async move {
            // Fails only when there is nobody left who could read it, and who could push.
            let _ = is_read.wait_for(|is_read| *is_read).await;
            open.await
        });
        *prepared = Some(Prepared::Coming(coming));
    }

    /// Waits for a push that is being begun.
    ///
    /// A web server may finish one connection before it turns to another: so where that takes long, the push is begun
    /// once more, on the connection over which the repository was read.
    async fn settle(&self) {
        let is_coming = |prepared: &mut Prepared| matches!(prepared, Prepared::Coming(_));
        let taken = self.prepared().take_if(is_coming);
        let Some(Prepared::Coming(mut coming)) = taken else {
            return;
        };
        let again = async {
            sleep(LONG_FOR_A_BEGINNING).await;
            self.open(Service::ReceivePack).await
        };
        // What goes wrong with it comes up again with the push.
        let opened = tokio::select! {
            Some(Ok(Ok(opened))) = coming.join_next() => Some(opened),
            Ok(opened) = again, if self.link.is_stateless() => Some(opened),
            else => None,
        };
        *self.prepared() = opened.map(|(talk, advertisement)| {
            let known = advertisement.capabilities().clone();
            match self.link.is_stateless() {
                true => Prepared::Known(known),
                false => {
                    Prepared::Begun(Box::new(talk), known, advertisement.get(&self.reference()))
                }
            }
        });
    }

    /// Ends a push that was begun, if one was, so that no server is kept waiting.
    pub async fn forget_push(&self) {
        if *self.is_read.borrow() && !self.link.is_stateless() {
            // It may be under way to the server, and has to be there before it can be ended.
            let _ = timeout(GOODBYE, self.settle()).await;
        }
        let begun = self
            .prepared()
            .take_if(|prepared| !matches!(prepared, Prepared::Known(_)));
        if let Some(Prepared::Begun(talk, ..)) = begun {
            // If the goodbye gets lost, the end of the connection says the same.
            let _ = talk.leave().await;
        }
    }

    /// Has each push from now on look first where the branch is: so the server's No is hardly ever one to a lost race.
    pub fn be_wary(&self) {
        self.is_wary.set(true);
    }

    /// Whether the server changes several refs as one, and takes some away with it, as far as is known.
    pub fn pushes_together(&self) -> bool {
        self.pushes_together.get()
    }

    pub(super) fn prepared(&self) -> MutexGuard<'_, Option<Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a push, or goes on with one that was begun. With `expected` only one that replaces that commit: `None` when
    /// the branch has moved.
    async fn begin_push(
        &self,
        expected: Option<Oid>,
    ) -> Result<Option<(Talk, Capabilities)>, RemoteError> {
        self.settle().await;
        let prepared = self.prepared().take();
        match prepared {
            Some(Prepared::Known(known)) if expected.is_none() || !self.is_wary.get() => {
                *self.prepared() = Some(Prepared::Known(known.clone()));
                return Ok(Some((self.link.resume(Service::ReceivePack)?, known)));
            }
            Some(Prepared::Begun(talk, known, at)) if expected.is_none() || at == expected => {
                return Ok(Some((*talk, known)));
            }
            // It was begun before or after the commit that we go by; only a new one can tell.
            Some(Prepared::Begun(talk, ..)) => drop(talk.leave().await),
            Some(Prepared::Known(_) | Prepared::Coming(_)) | None => {}
        }
        let (talk, advertisement) = self.open(Service::ReceivePack).await?;
        let head = advertisement.get(&self.reference());
        if expected.is_some() && head != expected {
            // So the next look waits for a view that has it, instead of going by an old one again.
            if let Some(head) = head {
                self.note_head_for_pushes(head);
            }
            let _ = talk.leave().await;
            return Ok(None);
        }
        let known = advertisement.capabilities().clone();
        if self.link.is_stateless() {
            *self.prepared() = Some(Prepared::Known(known.clone()));
        }
        Ok(Some((talk, known)))
    }

    /// Packs what a push of `commit` needs, and tells whether the pack is a thin one.
    fn packed(
        &self,
        known: &Capabilities,
        expected: Oid,
        commit: Oid,
        pack: &Pack,
    ) -> Result<(Vec<u8>, bool), RemoteError> {
        let objects = match pack {
            Pack::Made(pack) => return Ok((pack.clone(), false)),
            Pack::Of(objects) => objects,
        };
        let thin = match self.takes_thin.get() && !known.can("no-thin") {
            true => self.store.thin_pack(commit, expected),
            false => None,
        };
        match thin {
            Some(thin) => Ok((thin, true)),
            None => Ok((self.store.pack(objects)?, false)),
        }
    }

    /// Moves the branch from `expected` to `commit`, whose new objects are in `pack`, if it is still there; and where the
    /// server can do it in one step, the refs in `also`. Sets `sent` before the server gets to see any of it: whoever
    /// drops the push later does not know what became of it. Where the server says by its HTTP status that it has done
    /// nothing with it, `sent` is afterwards as it was.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, the push may or may not have landed.
    pub async fn push(
        &self,
        expected: Oid,
        commit: Oid,
        pack: &Pack,
        also: &[RefUpdate],
        sent: &Cell<bool>,
    ) -> Result<PushAnswer, RemoteError> {
        self.within_limit(async {
            let mut updates = vec![RefUpdate {
                name: self.reference(),
                old: Some(expected),
                new: Some(commit),
            }];
            if let Some(head) = self.head_here() {
                if head != expected {
                    self.note_head_for_pushes(head);
                    return Ok(PushAnswer::Moved);
                }
                let all = [&updates[..], also].concat();
                if let Some(became) = self.push_here(&all, sent).await? {
                    self.pushes_together.set(true);
                    let together = !also.is_empty();
                    return Ok(match became {
                        Ok(()) => {
                            self.note_pushed(commit);
                            PushAnswer::Accepted { together }
                        }
                        Err((reason, words)) => PushAnswer::Rejected { reason, words },
                    });
                }
            }
            let Some((mut talk, known)) = self.begin_push(Some(expected)).await? else {
                return Ok(PushAnswer::Moved);
            };
            let can = known.can("atomic") && known.can("delete-refs");
            self.pushes_together.set(can);
            let together = !also.is_empty() && can;
            if together {
                updates.extend_from_slice(also);
            }
            let (pack, is_thin) = self.packed(&known, expected, commit, pack)?;
            let request = self.commands(&known, &updates, true, &pack)?;
            let was_sent = sent.replace(true);
            if let Err(err) = talk.send(request).await {
                if self.link.is_stateless() && is_refusal(&err) {
                    sent.set(was_sent);
                }
                return Err(err);
            }
            let mut report = self.read_report(&mut talk).await?;
            match report.refs.remove(&self.reference()) {
                Some(None) => {
                    self.note_pushed(commit);
                    Ok(PushAnswer::Accepted { together })
                }
                Some(Some(reason)) => {
                    // What does not say so may not take it all the same.
                    let is_thin = is_thin && reason.starts_with(NOT_UNPACKED);
                    self.takes_thin.set(self.takes_thin.get() && !is_thin);
                    Ok(PushAnswer::Rejected {
                        reason,
                        words: report.words,
                    })
                }
                None => Err(self.report_lacks("the branch")),
            }
        })
        .await
    }

    /// Makes, moves or takes away refs besides the branch, all or none of them where the server can. Gives the server's
    /// reason when it does not, or when one was not as expected.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, it may have been done or not.
    pub async fn update_refs(
        &self,
        updates: &[RefUpdate],
        pack: &[u8],
    ) -> Result<Option<String>, RemoteError> {
        let outcomes = self.update_each_ref(updates, true, pack).await?;
        Ok(outcomes.into_iter().flatten().next())
    }

    /// Makes, moves or takes away refs besides the branch: all or none of them where they belong `together` and the server
    /// can do that, else each by itself. Gives for each the server's reason when it does not, or when it was not as expected.
    ///
    /// # Errors
    /// [`RemoteError`]: when it is transient, it may have been done or not.
    pub async fn update_each_ref(
        &self,
        updates: &[RefUpdate],
        together: bool,
        pack: &[u8],
    ) -> Result<Vec<Option<String>>, RemoteError> {
        self.within_limit(async {
            let refuse = |why: &str| Ok(vec![Some(why.to_owned()); updates.len()]);
            if together || updates.len() == 1 {
                match self.push_here(updates, &Cell::new(false)).await? {
                    Some(Ok(())) => return Ok(vec![None; updates.len()]),
                    Some(Err((reason, _))) => return refuse(&reason),
                    None => {}
                }
            }
            let Some((mut talk, known)) = self.begin_push(None).await? else {
                return refuse("there is no way to the server");
            };
            let deletes = updates.iter().any(|update| update.new.is_none());
            if deletes && !known.can("delete-refs") {
                let _ = talk.leave().await;
                return refuse("it lets no ref be deleted");
            }
            talk.send(self.commands(&known, updates, together, pack)?)
                .await?;
            let mut report = self.read_report(&mut talk).await?;
            let outcomes = updates.iter().map(|update| {
                let outcome = report.refs.remove(&update.name);
                outcome.ok_or_else(|| self.report_lacks(&update.name))
            });
            outcomes.collect()
        })
        .await
    }

    /// Asks whether the server lets us in to push, and whether it can then change several refs as one. Changes nothing.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn may_begin_push(&self) -> Result<bool, RemoteError> {
        self.within_limit(async {
            let (talk, advertisement) = self.open(Service::ReceivePack).await?;
            let _ = talk.leave().await;
            Ok(advertisement.capabilities().can("atomic"))
        })
        .await
    }

    /// The commands of a push, as one where the server can do that and they belong `together`, with the objects that they
    /// need.
    fn commands(
        &self,
        known: &Capabilities,
        updates: &[RefUpdate],
        together: bool,
        pack: &[u8],
    ) -> Result<Vec<u8>, RemoteError> {
        let mut capabilities = vec!["report-status", "side-band-64k"];
        for capability in &capabilities {
            self.require(known, capability)?;
        }
        let mut optional = vec!["quiet"];
        if together && updates.len() > 1 {
            optional.push("atomic");
        }
        if updates.iter().any(|update| update.new.is_none()) {
            optional.push("delete-refs");
        }
        capabilities.extend(optional.iter().filter(|optional| known.can(optional)));
        if known.value("agent").is_some() {
            capabilities.push(AGENT);
        }
        let capabilities = capabilities.join(" ");
        let mut request = Vec::with_capacity(pack.len() + 512);
        for (n, update) in updates.iter().enumerate() {
            let id = |id: Option<Oid>| id.unwrap_or(Oid::ZERO_SHA1);
            let (old, new, name) = (id(update.old), id(update.new), &update.name);
            let mut command = format!("{old} {new} {name}").into_bytes();
            if n == 0 {
                command.extend_from_slice(format!("\0 {capabilities}").as_bytes());
            }
            packet::push(&mut request, &command);
        }
        packet::push_flush(&mut request);
        // What only takes away needs no objects, and servers wait for none.
        if updates.iter().any(|update| update.new.is_some()) {
            request.extend_from_slice(pack);
        }
        Ok(request)
    }

    fn report_lacks(&self, what: &str) -> RemoteError {
        let words = format!("its report does not say what became of {what}");
        self.server_failed(words.as_bytes())
    }

    /// Reads what became of a push: packets in packets, with what hooks say beside them.
    async fn read_report(&self, talk: &mut Talk) -> Result<Report, RemoteError> {
        let mut report = Vec::new();
        let mut words = Vec::new();
        talk.reader.allow("report", MOST_REPORT);
        loop {
            let Packet::Data(data) = self.next(talk).await? else {
                break;
            };
            match data.split_first() {
                Some((1, piece)) => report.extend_from_slice(piece),
                Some((2, piece)) => hear(&mut words, piece),
                Some((3, fatal)) => {
                    return Err(self.server_failed_at_last(&words, fatal));
                }
                _ => match data.strip_prefix(b"ERR ") {
                    Some(words) => return Err(self.server_failed(words)),
                    None => {
                        return Err(
                            self.protocol(format!("`{}` in a report", harmless::words(&data)))
                        );
                    }
                },
            }
        }
        let silence = self.link.limits().silence;
        let mut lines = packet::PacketReader::new(Box::new(std::io::Cursor::new(report)), silence);
        let mut refs = BTreeMap::new();
        let mut not_unpacked = None;
        while let Ok(Packet::Data(line)) = lines.next().await {
            let line = String::from_utf8_lossy(packet::text(&line)).into_owned();
            if let Some(name) = line.strip_prefix("ok ") {
                refs.insert(name.to_owned(), None);
            } else if let Some(rest) = line.strip_prefix("ng ") {
                let (name, reason) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
                refs.insert(name.to_owned(), Some(harmless::words(reason.as_bytes())));
            } else if let Some(problem) = line
                .strip_prefix("unpack ")
                .filter(|result| *result != "ok")
            {
                not_unpacked = Some(format!(
                    "{NOT_UNPACKED}: {}",
                    harmless::words(problem.as_bytes())
                ));
            }
        }
        if let Some(reason) = not_unpacked {
            // Nothing can have moved to objects that are not there, whatever else it says.
            refs.entry(self.reference()).or_default();
            for outcome in refs.values_mut() {
                *outcome = Some(reason.clone());
            }
        }
        Ok(Report {
            words: refusal::words(&words),
            refs,
        })
    }
}

/// Whether a server has not even begun with a request.
fn is_refusal(err: &RemoteError) -> bool {
    match err {
        RemoteError::Denied { .. } | RemoteError::Refused { .. } | RemoteError::NotFound { .. } => {
            true
        }
        RemoteError::Net(_)
        | RemoteError::Nobody { .. }
        | RemoteError::Unsupported { .. }
        | RemoteError::Behind { .. }
        | RemoteError::HostKey { .. }
        | RemoteError::Key { .. }
        | RemoteError::SigningKey { .. }
        | RemoteError::NoBranch { .. }
        | RemoteError::Redirected { .. }
        | RemoteError::Protocol { .. }
        | RemoteError::NoGit(_)
        | RemoteError::Store(_) => false,
    }
}

/// What a server says became of a push.
struct Report {
    /// What its hooks and it said besides.
    words: String,
    /// For each ref why it did not move; `None` where it did.
    refs: BTreeMap<String, Option<String>>,
}
