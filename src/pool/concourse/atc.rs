//! A client for the API of Concourse's web node, the ATC: what has become of the build that made a claim?
//!
//! An answer is never an error: whoever asks about many claims goes on with the next. What could not be learnt is
//! [`Heard::Unheard`], which keeps a lock; only what a Concourse itself says, to somebody it lets in, can free one.
//!
//! **Whose build?** A commit may link to its build. If the link leads to another Concourse than this one, by the
//! settings' URL or by the one that it says is its own, it is not asked. A commit without a link is taken for one of
//! this Concourse if that has a build of all its names, team, pipeline, job and number; a bare id is not enough.
//!
//! **Not found.** The API answers 404 for a build, job, pipeline or team that it does not have, before it looks at who
//! asks; to one that it has, and may not show, 401 or 403. A pipeline that was renamed, a job that was taken out of
//! it, and a pipeline with instance vars that the commit does not tell are not found either, though the build may run.
//! So after a 404 the team's builds are listed, and those that run and have the build's number are part of the answer.
//! The list is read from the newest back to builds that began a month before the claim, and not beyond: Concourse keeps
//! builds for ever, and a build does not wait for a lock for so long.
//! A 404 from some proxy in front of a web node that is down cannot do harm: by the same proxy there is no list.
//!
//! Source: Concourse, `atc/routes.go`, `atc/wrappa/api_auth_wrappa.go`, `atc/pipeline.go`, `fly/commands/login.go`.

mod reply;
mod wire;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use net::AGENT;
use net::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use net::http::{Broken, Client, Error, Method, RequestBuilder, Response, StatusCode};
use reply::{AtcError, Found, Reply, next_page};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use url::{Url, form_urlencoded};
use wire::{FoundBuild, FoundPipeline, FoundTeam, Info, Refusal, Token, bearer, pairs};

use super::reap::{Login, Server};
use crate::maker::{AsWell, Build, Heard, InstanceVars, Running, Status, Which, same_place};
use crate::message::BuildRef;
use terminal::one_line;

/// How long one request may take in all, unless the caller says otherwise. An ATC answers within a second; a slow one
/// that is asked about a thousand builds must not hold a step for hours.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(15);

/// The pauses between tries of a request that met a fault which may pass. A reaping is repeated anyway, so that long
/// faults are left to the next one.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// After as many questions in a row that met such a fault to the end, no more are asked.
const MOST_FAILURES: u32 = 2;

/// The name and secret by which `fly`, Concourse's own command line, asks for tokens. They are no secret.
const FLY: (&str, &str) = ("fly", "Zmx5");

/// What `fly` asks to be told about the user.
const SCOPES: &str = "openid profile email federated:id groups";

/// Where tokens are given, now and in older versions of Concourse.
const TOKENS: [&str; 2] = ["sky/issuer/token", "sky/token"];

/// The longest answer about one thing; they have some hundred bytes.
const MOST_OF_ONE: usize = 1024 * 1024;

/// The longest list: a page of builds, or all pipelines of a team.
const MOST_OF_LIST: usize = 16 * 1024 * 1024;

/// How many builds are on a page, and how many pages are read. A team that has more is not known in full.
const PAGE: usize = 1000;
const MOST_PAGES: usize = 100;

/// How long before it made its claim a build may have begun, at most. Longer than a lock is waited for over holidays.
const LONGEST_WAIT: Duration = Duration::from_secs(31 * 24 * 3600);

/// One Concourse, asked during one run: what it said once is not asked again.
pub struct Atc {
    client: Client,
    home: Url,
    login: Login,
    limit: Duration,
    token: Option<HeaderValue>,
    /// Questions in a row that met a passing fault to the end.
    failures: u32,
    /// Why no more questions are asked.
    given_up: Option<String>,
    /// What it says is its own URL, once it was asked.
    external: Option<Option<Url>>,
    heard: HashMap<Build, Heard>,
    teams: HashMap<String, Team>,
    instanced: HashMap<String, HashSet<String>>,
}

/// The builds of a team that run, as far back as they were listed.
struct Team {
    /// By their numbers.
    running: Vec<(String, Running)>,
    /// Where the next page is; `None` when there is none, or no team.
    next: Option<Url>,
    /// How many pages have been read.
    pages: usize,
    /// When the last of the builds on the last page began. Those on the next began earlier.
    back_to: Option<SystemTime>,
    /// Whether there is such a team.
    is_there: bool,
}

impl Team {
    /// Whether all builds are known that had begun a while before `made`.
    fn is_complete(&self, made: SystemTime) -> bool {
        let early = made.checked_sub(LONGEST_WAIT);
        let far = self
            .back_to
            .is_some_and(|back| early.is_some_and(|early| back < early));
        self.is_there && (self.next.is_none() || far)
    }
}

impl Atc {
    /// Asks the Concourse of the settings by `client`, which must not follow redirects (see
    /// [`Client`]). No request may take longer than `limit`.
    pub fn new(client: Client, server: &Server, limit: Duration) -> Atc {
        let mut home = server.url.clone();
        home.set_query(None);
        home.set_fragment(None);
        Atc {
            client,
            home,
            login: server.login.clone(),
            limit,
            token: None,
            failures: 0,
            given_up: None,
            external: None,
            heard: HashMap::new(),
            teams: HashMap::new(),
            instanced: HashMap::new(),
        }
    }

    /// What has become of the build that made a claim at that time.
    pub async fn ask(&mut self, build: &Build, made: SystemTime) -> Heard {
        if let Some(heard) = self.heard.get(build) {
            return heard.clone();
        }
        let heard = match self.learn(build, made).await {
            Ok(heard) => heard,
            Err(err) => Heard::Unheard(terminal::chain(&err)),
        };
        // How much there is to know of a missing one depends on the claim.
        if !matches!(heard, Heard::Missing { .. }) {
            self.heard.insert(build.clone(), heard.clone());
        }
        heard
    }

    async fn learn(&mut self, build: &Build, made: SystemTime) -> Result<Heard, AtcError> {
        if let Some(home) = &build.home
            && !self.is_home(home).await?
        {
            return Ok(Heard::Unknown(format!(
                "it is one of another Concourse, at {}",
                one_line(home.as_str())
            )));
        }
        let linked = build.home.is_some();
        match &build.which {
            Which::Named { build, vars } => self.by_name(build, vars, linked, made).await,
            Which::Id { id, as_well } => self.by_id(id, as_well, linked).await,
        }
    }

    /// Whether a URL is that of this Concourse, by the settings or by its own word.
    async fn is_home(&mut self, url: &Url) -> Result<bool, AtcError> {
        if same_place(url, &self.home) {
            return Ok(true);
        }
        let external = match &self.external {
            Some(known) => known.clone(),
            None => {
                let said = self.info().await?.external_url;
                let external = said.and_then(|url| Url::parse(&url).ok());
                self.external = Some(external.clone());
                external
            }
        };
        Ok(external.is_some_and(|external| same_place(url, &external)))
    }

    async fn by_name(
        &mut self,
        build: &BuildRef,
        vars: &InstanceVars,
        linked: bool,
        made: SystemTime,
    ) -> Result<Heard, AtcError> {
        let names = [&build.team, &build.pipeline, &build.job, &build.build];
        if names
            .iter()
            .any(|name| matches!(name.as_str(), "" | "." | ".."))
        {
            return Ok(Heard::Unknown("no build is called that".to_owned()));
        }
        let Some(pairs) = pairs(vars) else {
            let why = "the instance vars in its commit are no JSON object";
            return Ok(Heard::Unknown(why.to_owned()));
        };
        let url = self.url(
            &[
                "teams",
                &build.team,
                "pipelines",
                &build.pipeline,
                "jobs",
                &build.job,
                "builds",
                &build.build,
            ],
            &pairs,
        );
        if let Some(found) = self.get::<FoundBuild>(&url, MOST_OF_ONE).await? {
            if found.value.name != build.build {
                return Err(AtcError::Odd("another build".to_owned()));
            }
            let status = found.value.status()?;
            let (began, ended) = (found.value.began(), found.value.ended());
            let sure = matches!(status, Status::Alive(_))
                || *vars != InstanceVars::Untold
                || !self.has_instances(&build.team, &build.pipeline).await?;
            if sure {
                return Ok(Heard::Found {
                    status,
                    began,
                    ended,
                });
            }
            // It may be the build of any instance.
        }
        let team = self.team(&build.team, made).await?;
        let running = team.running.iter();
        let running = running.filter(|(number, _)| *number == build.build);
        Ok(Heard::Missing {
            running: running.map(|(_, running)| running.clone()).collect(),
            // A rerun is on the list where the build is that it repeats, whose page may be another than its own.
            complete: team.is_complete(made) && linked && !build.build.contains('.'),
        })
    }

    async fn by_id(&mut self, id: &str, as_well: &AsWell, linked: bool) -> Result<Heard, AtcError> {
        let url = self.url(&["builds", id], &[]);
        let Some(found) = self.get::<FoundBuild>(&url, MOST_OF_ONE).await? else {
            // Whoever said so must be a Concourse.
            self.info().await?;
            return Ok(Heard::Missing {
                running: Vec::new(),
                complete: linked,
            });
        };
        let found = found.value;
        if found.id.is_some_and(|found| found.to_string() != id) {
            return Err(AtcError::Odd("another build".to_owned()));
        }
        let (status, began) = (found.status()?, found.began());
        let fits = match as_well {
            AsWell::Anything => true,
            AsWell::OneOff => found.job_name.as_deref().unwrap_or_default().is_empty(),
            // A build keeps its number, whatever becomes of the other names.
            AsWell::Named(build) => found.name == build.build,
        };
        if matches!(status, Status::Alive(_)) || (fits && linked) {
            return Ok(Heard::Found {
                status,
                began,
                ended: None,
            });
        }
        let why = if linked {
            "the build that has its id is another"
        } else {
            "its commit does not say of which Concourse it is"
        };
        Ok(Heard::Unknown(why.to_owned()))
    }

    async fn info(&mut self) -> Result<Info, AtcError> {
        let url = self.url(&["info"], &[]);
        match self.get::<Info>(&url, MOST_OF_ONE).await? {
            Some(info) => Ok(info.value),
            None => Err(AtcError::Odd("that there is no /api/v1/info".to_owned())),
        }
    }

    /// Whether some of the pipelines of this name have instance vars.
    async fn has_instances(&mut self, team: &str, pipeline: &str) -> Result<bool, AtcError> {
        if !self.instanced.contains_key(team) {
            let url = self.url(&["teams", team, "pipelines"], &[]);
            let found = match self.is_shown(team).await? {
                true => self.get::<Vec<FoundPipeline>>(&url, MOST_OF_LIST).await?,
                false => None,
            };
            let Some(found) = found else {
                return Err(AtcError::Odd(
                    "a build of a team that is not there".to_owned(),
                ));
            };
            let instanced = found.value.into_iter().filter(|pipeline| {
                let vars = pipeline.instance_vars.as_ref();
                vars.is_some_and(|vars| !vars.is_empty())
            });
            let names = instanced.map(|pipeline| pipeline.name).collect();
            self.instanced.insert(team.to_owned(), names);
        }
        let instanced = self.instanced.get(team);
        Ok(instanced.is_some_and(|names| names.contains(pipeline)))
    }

    /// Whether there is such a team; an error when it is not ours to see.
    ///
    /// Lists of its pipelines and builds are given to everybody, without those that he may not see.
    async fn is_shown(&mut self, team: &str) -> Result<bool, AtcError> {
        let url = self.url(&["teams", team], &[]);
        match self.get::<FoundTeam>(&url, MOST_OF_ONE).await? {
            Some(found) if found.value.name == team => Ok(true),
            Some(_) => Err(AtcError::Odd("another team".to_owned())),
            // Whoever said so must be a Concourse.
            None => self.info().await.map(|_| false),
        }
    }

    /// The builds of a team that run, listed as far back as it takes for a claim of that time.
    async fn team(&mut self, name: &str, made: SystemTime) -> Result<&Team, AtcError> {
        let mut team = match self.teams.remove(name) {
            Some(team) => team,
            None => {
                let is_there = self.is_shown(name).await?;
                let mut first = self.url(&["teams", name, "builds"], &[]);
                first.set_query(Some(&format!("limit={PAGE}")));
                Team {
                    running: Vec::new(),
                    next: is_there.then_some(first),
                    pages: 0,
                    back_to: None,
                    is_there,
                }
            }
        };
        while let Some(url) = team.next.clone()
            && !team.is_complete(made)
            && team.pages < MOST_PAGES
        {
            let page = self.get::<Vec<FoundBuild>>(&url, MOST_OF_LIST).await?;
            let page = page.ok_or_else(|| AtcError::Odd("a team without builds".to_owned()))?;
            team.pages += 1;
            team.back_to = page.value.iter().filter_map(FoundBuild::began).max();
            let running = page.value.into_iter();
            let running = running.filter_map(|build| Some((build.running(name)?, build.name)));
            team.running
                .extend(running.map(|(build, number)| (number, build)));
            team.next = page.next.map(|query| {
                // It gives its own idea of where it is; only how to go on is taken from it.
                let mut next = url;
                next.set_query(Some(&query));
                next
            });
        }
        Ok(self.teams.entry(name.to_owned()).or_insert(team))
    }

    /// A place in the API.
    fn url(&self, path: &[&str], query: &[(String, String)]) -> Url {
        let mut url = self.below_home(&["api", "v1"]);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn below_home(&self, path: &[&str]) -> Url {
        let mut url = self.home.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Asks one question, bearing with faults for a little; `None` when there is no such thing.
    async fn get<T: DeserializeOwned>(
        &mut self,
        url: &Url,
        most: usize,
    ) -> Result<Option<Found<T>>, AtcError> {
        if let Some(why) = &self.given_up {
            return Err(AtcError::GivenUp(why.clone()));
        }
        let mut pauses = PAUSES.iter();
        let mut renewed = false;
        loop {
            let err = match self.get_once(url, most).await {
                Ok(found) => {
                    self.failures = 0;
                    return Ok(found);
                }
                Err(err) => err,
            };
            match &err {
                AtcError::Token if !renewed && matches!(self.login, Login::Password { .. }) => {
                    renewed = true;
                    self.token = None;
                    continue;
                }
                // No other question would fare better.
                AtcError::Token | AtcError::Login(_) => self.given_up = Some(err.to_string()),
                _ if err.is_transient() => {
                    if let Some(pause) = pauses.next() {
                        sleep(*pause).await;
                        continue;
                    }
                    self.failures += 1;
                    if self.failures >= MOST_FAILURES {
                        self.given_up = Some(terminal::chain(&err));
                    }
                }
                _ => self.failures = 0,
            }
            return Err(err);
        }
    }

    async fn get_once<T: DeserializeOwned>(
        &mut self,
        url: &Url,
        most: usize,
    ) -> Result<Option<Found<T>>, AtcError> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let token = self.log_in().await?;
                self.token = Some(token.clone());
                token
            }
        };
        let request = self
            .client
            .request(Method::GET, url.clone())?
            .header(AUTHORIZATION, token);
        let reply = self.send(request, most).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(Found {
                value: reply.json()?,
                next: next_page(&reply.headers, url),
            })),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => Err(AtcError::Token),
            StatusCode::FORBIDDEN => Err(AtcError::Forbidden),
            _ => Err(reply.unexpected()),
        }
    }

    /// Gets a token, or takes the one that was given.
    async fn log_in(&self) -> Result<HeaderValue, AtcError> {
        let (username, password) = match &self.login {
            Login::Token(token) => return bearer(token.expose()),
            Login::Password { username, password } => (username, password.expose()),
        };
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", username)
            .append_pair("password", password)
            .append_pair("scope", SCOPES)
            .finish();
        let mut first = None;
        for place in TOKENS {
            let path: Vec<&str> = place.split('/').collect();
            let request = self
                .client
                .request(Method::POST, self.below_home(&path))?
                .basic_auth(FLY.0, Some(FLY.1))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone());
            let reply = self.send(request, MOST_OF_ONE).await?;
            let status = reply.status;
            if status == StatusCode::OK {
                return bearer(&reply.json::<Token>()?.access_token);
            }
            let told = reply.json::<Refusal>().unwrap_or_default().error;
            let known = told.filter(|told| {
                told.len() <= 40 && told.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            let known = known.unwrap_or_default();
            // In older versions somebody else answers at the first place, who does not know `fly`.
            let elsewhere =
                matches!(
                    status,
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                ) || matches!(known.as_str(), "invalid_client" | "unsupported_grant_type");
            let err = match reply.unexpected() {
                AtcError::Odd(_) if status.is_client_error() => {
                    let words = format!("{} {known}", status.as_u16());
                    AtcError::Login(words.trim_end().to_owned())
                }
                err => err,
            };
            if !elsewhere {
                return Err(err);
            }
            first.get_or_insert(err);
        }
        Err(first.unwrap_or(AtcError::Token))
    }

    /// Sends a request and reads the whole of the answer.
    async fn send(&self, request: RequestBuilder, most: usize) -> Result<Reply, AtcError> {
        let request = request
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        let exchange = async {
            let response = request.send().await.map_err(|err| self.broken(err))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = self.body(response, most).await?;
            Ok(Reply {
                status,
                headers,
                body,
            })
        };
        match timeout(self.limit, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(AtcError::Silent(self.limit)),
        }
    }

    async fn body(&self, mut response: Response, most: usize) -> Result<Vec<u8>, AtcError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|err| self.broken(err))? {
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Err(AtcError::Odd(format!("more than {most} bytes")));
            }
        }
        Ok(body)
    }

    fn broken(&self, err: Error) -> AtcError {
        if err.is_timeout() {
            return AtcError::Silent(self.limit);
        }
        AtcError::Unreachable {
            home: one_line(self.home.as_str()),
            source: Broken(err.without_url()),
        }
    }
}

#[cfg(test)]
mod tests;
