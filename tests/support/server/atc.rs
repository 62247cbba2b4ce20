//! A web node of Concourse, the ATC, as far as its API is asked about builds.
//!
//! A simulation: Concourse is no package of Debian's, and needs a database. It follows `atc/wrappa`, `atc/api` and
//! `skymarshal` of Concourse in what is looked up first, who may see it, and with which status it says so.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Map, Value, json};
use url::form_urlencoded;

/// A user and a password that every simulation knows; in the team `ops`.
pub const USER: (&str, &str) = ("reaper", "MARKER-password");

/// `fly:Zmx5`, as it goes with a request.
const FLY: &str = "Basic Zmx5OlpteDU=";

/// When builds begin, unless a test says otherwise: 2025-01-01.
pub const BEGAN: i64 = 1_735_689_600;

/// A web node on loopback.
pub struct SimulatedAtc {
    port: u16,
    world: Arc<Mutex<World>>,
}

/// A job of a pipeline.
#[derive(Clone)]
pub struct Job<'a> {
    pub team: &'a str,
    pub pipeline: &'a str,
    pub vars: Value,
    pub job: &'a str,
}

/// What goes wrong with a request.
#[derive(Clone)]
pub enum Trouble {
    /// It is answered with this status, and a page as proxies have it.
    Status(u16),
    /// It is answered with success and this text.
    Text(String),
    /// It is answered with success and more than anyone wants to hear.
    Flood,
    /// It is sent elsewhere.
    Redirect(String),
    /// It is never answered.
    Silence,
    /// It is answered so slowly that the end is never heard.
    Trickle,
    /// The connection is closed.
    Close,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct World {
    teams: Vec<String>,
    users: BTreeMap<String, User>,
    /// The tokens that are good, and whose they are.
    tokens: BTreeMap<String, String>,
    n_tokens: usize,
    pipelines: Vec<Pipeline>,
    builds: Vec<Build>,
    external_url: String,
    is_older: bool,
    troubles: Vec<(String, Trouble, usize)>,
    asked: Vec<Asked>,
}

struct User {
    password: String,
    teams: Vec<String>,
}

struct Pipeline {
    id: usize,
    team: String,
    name: String,
    vars: Value,
    public: bool,
    /// The jobs in its configuration.
    jobs: Vec<String>,
}

struct Build {
    id: u64,
    team: String,
    /// Its pipeline's id and its job, unless it is a one-off build.
    job: Option<(usize, String)>,
    name: String,
    status: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
}

impl<'a> Job<'a> {
    /// `TEAM/PIPELINE/JOB` of a pipeline without instance vars.
    pub fn new(path: &'a str) -> Job<'a> {
        let mut parts = path.split('/');
        let mut part = || parts.next().unwrap();
        Job {
            team: part(),
            pipeline: part(),
            job: part(),
            vars: json!({}),
        }
    }

    /// The same job of the pipeline's instance with these vars.
    pub fn with(&self, vars: Value) -> Job<'a> {
        Job {
            vars,
            ..self.clone()
        }
    }
}

impl SimulatedAtc {
    /// A Concourse with the team `ops` and [`USER`] in it.
    pub fn start() -> SimulatedAtc {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = World {
            external_url: format!("http://127.0.0.1:{port}"),
            ..World::default()
        };
        let world = Arc::new(Mutex::new(world));
        let shared = world.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let world = shared.clone();
                std::thread::spawn(move || serve(client, &world));
            }
        });
        let atc = SimulatedAtc { port, world };
        atc.team("ops");
        atc.user(USER.0, USER.1, &["ops"]);
        atc
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL that it says is its own.
    pub fn set_external_url(&self, url: &str) {
        url.clone_into(&mut self.world().external_url);
    }

    /// Makes it one of the versions that give tokens at `/sky/token`.
    pub fn make_older(&self) {
        self.world().is_older = true;
    }

    /// Makes a team.
    pub fn team(&self, name: &str) {
        self.world().teams.push(name.to_owned());
    }

    /// Makes a user.
    pub fn user(&self, name: &str, password: &str, teams: &[&str]) {
        let user = User {
            password: password.to_owned(),
            teams: teams.iter().map(|team| (*team).to_owned()).collect(),
        };
        self.world().users.insert(name.to_owned(), user);
    }

    /// Makes a token for a user, as `fly login` would.
    pub fn token_of(&self, user: &str) -> String {
        self.world().token_of(user)
    }

    /// Makes all tokens bad that were given so far.
    pub fn expire_tokens(&self) {
        self.world().tokens.clear();
    }

    /// Adds a build to a job, and the job and its pipeline if need be; gives the build's id.
    pub fn build(&self, job: &Job<'_>, name: &str, status: &str) -> u64 {
        self.build_from(job, name, status, Some(BEGAN))
    }

    /// As [`SimulatedAtc::build`], with the time at which it began.
    pub fn build_from(
        &self,
        job: &Job<'_>,
        name: &str,
        status: &str,
        start_time: Option<i64>,
    ) -> u64 {
        let mut world = self.world();
        let pipeline = world.pipeline_of(job);
        let jobs = &mut world.pipelines[pipeline].jobs;
        if !jobs.iter().any(|known| known == job.job) {
            jobs.push(job.job.to_owned());
        }
        let pipeline = world.pipelines[pipeline].id;
        let job_of = Some((pipeline, job.job.to_owned()));
        world.add(job.team, job_of, name, status, start_time)
    }

    /// Adds a one-off build; gives its id.
    pub fn one_off(&self, team: &str, status: &str) -> u64 {
        self.world().add(team, None, "1", status, Some(BEGAN))
    }

    /// Makes something else become of a build.
    pub fn set_status(&self, id: u64, status: &str) {
        let mut world = self.world();
        let build = world.builds.iter_mut().find(|build| build.id == id);
        status.clone_into(&mut build.unwrap().status);
    }

    /// Says when a build ended.
    pub fn set_end(&self, id: u64, time: i64) {
        let mut world = self.world();
        let build = world.builds.iter_mut().find(|build| build.id == id);
        build.unwrap().end_time = Some(time);
    }

    /// Shows a pipeline to everybody.
    pub fn expose(&self, job: &Job<'_>) {
        let mut world = self.world();
        let pipeline = world.pipeline_of(job);
        world.pipelines[pipeline].public = true;
    }

    /// Destroys a pipeline, with its builds.
    pub fn destroy(&self, job: &Job<'_>) {
        let mut world = self.world();
        let pipeline = world.pipeline_of(job);
        let id = world.pipelines.remove(pipeline).id;
        world.builds.retain(|build| {
            build
                .job
                .as_ref()
                .is_none_or(|(pipeline, _)| *pipeline != id)
        });
    }

    /// Gives a pipeline another name.
    pub fn rename(&self, job: &Job<'_>, name: &str) {
        let mut world = self.world();
        let pipeline = world.pipeline_of(job);
        name.clone_into(&mut world.pipelines[pipeline].name);
    }

    /// Takes a job out of its pipeline; its builds go on.
    pub fn remove_job(&self, job: &Job<'_>) {
        let mut world = self.world();
        let pipeline = world.pipeline_of(job);
        world.pipelines[pipeline]
            .jobs
            .retain(|known| known != job.job);
    }

    /// Makes the next `times` requests go wrong whose path has `part` in it.
    pub fn trouble(&self, part: &str, trouble: Trouble, times: usize) {
        let mut world = self.world();
        world.troubles.push((part.to_owned(), trouble, times));
    }

    /// Makes requests go well again.
    pub fn recover(&self) {
        self.world().troubles.clear();
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.world().asked.clone()
    }

    /// The targets of all requests so far that have `part` in it.
    pub fn targets(&self, part: &str) -> Vec<String> {
        let targets = self.asked().into_iter().map(|asked| asked.target);
        targets.filter(|target| target.contains(part)).collect()
    }
}

impl World {
    fn pipeline_of(&mut self, job: &Job<'_>) -> usize {
        let known = self.pipelines.iter().position(|pipeline| {
            pipeline.team == job.team && pipeline.name == job.pipeline && pipeline.vars == job.vars
        });
        known.unwrap_or_else(|| {
            self.pipelines.push(Pipeline {
                id: self.builds.len() * 1000 + self.pipelines.len() + 1,
                team: job.team.to_owned(),
                name: job.pipeline.to_owned(),
                vars: job.vars.clone(),
                public: false,
                jobs: Vec::new(),
            });
            self.pipelines.len() - 1
        })
    }

    fn add(
        &mut self,
        team: &str,
        job: Option<(usize, String)>,
        name: &str,
        status: &str,
        start_time: Option<i64>,
    ) -> u64 {
        let id = self.builds.last().map_or(4711, |build| build.id + 1);
        self.builds.push(Build {
            id,
            team: team.to_owned(),
            job,
            name: name.to_owned(),
            status: status.to_owned(),
            start_time,
            end_time: None,
        });
        id
    }

    fn token_of(&mut self, user: &str) -> String {
        self.n_tokens += 1;
        let token = format!("MARKER-token-{}", self.n_tokens);
        self.tokens.insert(token.clone(), user.to_owned());
        token
    }

    fn shown(&self, build: &Build) -> Value {
        let mut json = json!({
            "id": build.id,
            "team_name": build.team,
            "name": build.name,
            "status": build.status,
            "api_url": format!("/api/v1/builds/{}", build.id),
        });
        if let Some(time) = build.start_time {
            json["start_time"] = json!(time);
        }
        if let Some(time) = build.end_time {
            json["end_time"] = json!(time);
        }
        if let Some((id, job)) = &build.job {
            let pipeline = self.pipelines.iter().find(|pipeline| pipeline.id == *id);
            let pipeline = pipeline.unwrap();
            json["job_name"] = json!(job);
            json["pipeline_id"] = json!(id);
            json["pipeline_name"] = json!(pipeline.name);
            if pipeline.vars != json!({}) {
                json["pipeline_instance_vars"] = pipeline.vars.clone();
            }
        }
        json
    }
}

/// An answer: status, headers and body.
struct Reply(u16, Vec<(&'static str, String)>, String);

fn json_reply(status: u16, json: &Value) -> Reply {
    let kind = ("Content-Type", "application/json".to_owned());
    Reply(status, vec![kind], json.to_string())
}

fn bare(status: u16) -> Reply {
    Reply(status, vec![], String::new())
}

struct Request {
    method: String,
    /// The parts of the path, decoded.
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
    body: String,
}

fn serve(mut client: TcpStream, world: &Mutex<World>) {
    let Some((request, target)) = read(&mut client) else {
        return;
    };
    let trouble = {
        let mut world = world.lock().unwrap();
        world.asked.push(Asked {
            method: request.method.clone(),
            target: target.clone(),
            authorization: request.headers.get("authorization").cloned(),
        });
        let mut troubles = world.troubles.iter_mut();
        let trouble =
            troubles.find(|(part, _, times)| *times > 0 && target.contains(part.as_str()));
        trouble.map(|(_, trouble, times)| {
            *times = times.saturating_sub(1);
            trouble.clone()
        })
    };
    let page = |text: &str| vec![("Content-Type", text.to_owned())];
    let reply = match trouble {
        None => answer(&request, &mut world.lock().unwrap()),
        Some(Trouble::Status(status)) => {
            let html = "<html><body>MARKER-page</body></html>".to_owned();
            Reply(status, page("text/html"), html)
        }
        Some(Trouble::Text(text)) => Reply(200, page("application/json"), text),
        Some(Trouble::Flood) => Reply(200, page("application/json"), " ".repeat(20 << 20)),
        Some(Trouble::Redirect(to)) => Reply(302, vec![("Location", to)], String::new()),
        Some(Trouble::Close) => return,
        Some(Trouble::Silence) => return until_the_end(&mut client),
        Some(Trouble::Trickle) => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
            let mut sent = client.write_all(head);
            while sent.is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(10));
                sent = client.write_all(b" ");
            }
            return;
        }
    };
    let Reply(status, headers, body) = reply;
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = client.write_all(head.as_bytes());
    let _ = client.write_all(body.as_bytes());
    let _ = client.flush();
}

/// Keeps the connection open until the other side has had enough.
fn until_the_end(client: &mut TcpStream) {
    let mut bytes = [0; 1024];
    while matches!(client.read(&mut bytes), Ok(1..)) {}
}

fn read(client: &mut TcpStream) -> Option<(Request, String)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let mut more = |bytes: &mut Vec<u8>| match client.read(&mut piece) {
        Ok(n @ 1..) => {
            bytes.extend_from_slice(&piece[..n]);
            true
        }
        _ => false,
    };
    let end = loop {
        match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None if more(&mut bytes) => {}
            None => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        if !more(&mut bytes) {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes[end..end + length]).into_owned();

    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let decoded = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    let request = Request {
        method,
        path: path.split('/').skip(1).map(decoded).collect(),
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        body,
    };
    Some((request, target))
}

fn answer(request: &Request, world: &mut World) -> Reply {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["sky", "issuer", "token"]) if world.is_older => {
            json_reply(401, &json!({"error": "invalid_client"}))
        }
        ("POST", ["sky", "issuer", "token"]) => token(request, world),
        ("POST", ["sky", "token"]) if world.is_older => token(request, world),
        ("GET", ["api", "v1", rest @ ..]) => {
            let mut reply = api(rest, request, world);
            reply.1.push(("X-Concourse-Version", "7.14.3".to_owned()));
            reply
        }
        _ => bare(404),
    }
}

fn token(request: &Request, world: &mut World) -> Reply {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if header("authorization") != Some(FLY) {
        return json_reply(401, &json!({"error": "invalid_client"}));
    }
    if header("content-type") != Some("application/x-www-form-urlencoded") {
        return json_reply(400, &json!({"error": "invalid_request"}));
    }
    let form: BTreeMap<String, String> = form_urlencoded::parse(request.body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != "password"
        || !field("scope").split(' ').any(|scope| scope == "openid")
    {
        return json_reply(400, &json!({"error": "unsupported_grant_type"}));
    }
    let user = world.users.get(field("username"));
    if user.is_none_or(|user| user.password != field("password")) {
        let told = format!("Invalid username or password {}", field("password"));
        let refusal = json!({"error": "access_denied", "error_description": told});
        return json_reply(401, &refusal);
    }
    let token = world.token_of(field("username"));
    let given = json!({"access_token": token, "token_type": "bearer", "expires_in": 86399, "id_token": "x"});
    json_reply(200, &given)
}

fn api(path: &[&str], request: &Request, world: &World) -> Reply {
    let token = request.headers.get("authorization");
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let user = token.and_then(|token| world.users.get(world.tokens.get(token)?));
    let is_in = |team: &str| user.is_some_and(|user| user.teams.iter().any(|of| of == team));
    let not_let_in = || bare(if user.is_some() { 403 } else { 401 });
    let is_team = |team: &str| world.teams.iter().any(|known| known == team);
    match path {
        ["info"] => {
            let info = json!({"version": "7.14.3", "worker_version": "2.5", "external_url": world.external_url});
            json_reply(200, &info)
        }
        ["builds", id] => {
            let Ok(id) = id.parse::<u64>() else {
                return bare(400);
            };
            let Some(build) = world.builds.iter().find(|build| build.id == id) else {
                return bare(404);
            };
            let public = build.job.as_ref().is_some_and(|(id, _)| {
                let mut pipelines = world.pipelines.iter();
                pipelines.any(|pipeline| pipeline.id == *id && pipeline.public)
            });
            if !is_in(&build.team) && !public {
                return not_let_in();
            }
            json_reply(200, &world.shown(build))
        }
        ["teams", _, ..] if user.is_none() && path.len() == 2 => bare(401),
        ["teams", team, ..] if !is_team(team) => bare(404),
        ["teams", team] if !is_in(team) => bare(403),
        ["teams", team] => json_reply(200, &json!({"id": 1, "name": team, "auth": {}})),
        ["teams", team, "pipelines"] => {
            let pipelines = world.pipelines.iter();
            let shown = pipelines
                .filter(|pipeline| pipeline.team == *team && (pipeline.public || is_in(team)))
                .map(|pipeline| {
                    let mut shown =
                        json!({"id": pipeline.id, "name": pipeline.name, "team_name": team});
                    if pipeline.vars != json!({}) {
                        shown["instance_vars"] = pipeline.vars.clone();
                    }
                    shown
                });
            json_reply(200, &shown.collect())
        }
        ["teams", _, "builds"] if user.is_none() => bare(401),
        ["teams", team, "builds"] => list(team, request, world),
        [
            "teams",
            team,
            "pipelines",
            name,
            "jobs",
            job,
            "builds",
            number,
        ] => {
            let Some(vars) = vars_in(&request.query) else {
                return bare(400);
            };
            let pipeline = world.pipelines.iter().find(|pipeline| {
                pipeline.team == *team && pipeline.name == *name && pipeline.vars == vars
            });
            let Some(pipeline) = pipeline else {
                return bare(404);
            };
            if !is_in(team) && !pipeline.public {
                return not_let_in();
            }
            let build = world.builds.iter().find(|build| {
                let of = build.job.as_ref();
                build.name == *number && of.is_some_and(|(id, of)| *id == pipeline.id && of == job)
            });
            match build {
                Some(build) if pipeline.jobs.iter().any(|active| active == job) => {
                    json_reply(200, &world.shown(build))
                }
                _ => bare(404),
            }
        }
        _ => bare(404),
    }
}

/// A page of a team's builds, newest first.
fn list(team: &str, request: &Request, world: &World) -> Reply {
    let number = |name: &str| {
        let found = request.query.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let limit = number("limit").unwrap_or(100) as usize;
    let to = number("to").unwrap_or(u64::MAX);
    let mut builds = world
        .builds
        .iter()
        .rev()
        .filter(|build| build.team == team && build.id <= to);
    let page: Vec<Value> = builds
        .by_ref()
        .take(limit)
        .map(|build| world.shown(build))
        .collect();
    let mut reply = json_reply(200, &json!(page));
    let link = |query: &str, rel: &str| {
        let url = format!("{}/api/v1/teams/{team}/builds", world.external_url);
        (
            "Link",
            format!("<{url}?{query}&limit={limit}>; rel=\"{rel}\""),
        )
    };
    if let Some(next) = builds.next() {
        reply.1.push(link(&format!("to={}", next.id), "next"));
    }
    if to != u64::MAX {
        reply.1.push(link(&format!("from={}", to + 1), "previous"));
    }
    reply
}

/// The instance vars of a query; `None` when they cannot be read.
fn vars_in(query: &[(String, String)]) -> Option<Value> {
    let mut vars = json!({});
    let mut pairs: Vec<_> = query.iter().collect();
    pairs.sort();
    for (key, value) in pairs {
        let value: Value = match key.as_str() {
            "vars" => serde_json::from_str(value).ok()?,
            key if key.starts_with("vars.") => serde_json::from_str(value).ok()?,
            _ => continue,
        };
        let mut place = &mut vars;
        for part in parts_of(key).into_iter().skip(1) {
            place = place
                .as_object_mut()?
                .entry(part)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value;
    }
    Some(vars)
}

/// The parts between the dots that are not in quotes, without the quotes.
fn parts_of(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in key.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    parts
}
