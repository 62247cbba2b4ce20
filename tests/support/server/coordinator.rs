//! A GitLab, as far as runners talk to it.
//!
//! A simulation, after `lib/api/ci/runner.rs` of GitLab: which token may do what, in which state a job takes what, and where
//! a trace goes on. What is said of jobs, and what becomes of them, is counted, so that a test can see that each job was
//! given once and ended once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::{Value, json};

use super::served::{Call, Reply, Served};

/// A token that may register runners.
pub const REGISTRATION: &str = "MARKER-registration";

/// A token that may read the attributes of groups.
pub const ATTRIBUTES: &str = "MARKER-attributes";

/// A GitLab on loopback.
#[derive(Clone)]
pub struct Coordinator {
    pub served: Served,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    root: String,
    runners: BTreeMap<String, RunnerState>,
    jobs: BTreeMap<u64, Job>,
    groups: BTreeMap<String, Vec<(String, String)>>,
    next_job: u64,
    update: u64,
    /// Whether the status of an ended job is shown to its token.
    shows_ended: bool,
    knows_jobs: bool,
}

#[derive(Default)]
struct RunnerState {
    is_paused: bool,
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: u64,
    pub token: String,
    pub runner: String,
    pub payload: Value,
    pub status: String,
    pub reason: Option<String>,
    pub exit_code: Option<i64>,
    pub trace: Vec<u8>,
    /// When it was given away, and how often.
    pub given: Option<Instant>,
    pub n_given: u32,
    /// How often it came to an end.
    pub n_ends: u32,
}

impl Job {
    /// Its trace, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.trace).into_owned()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        is_over(&self.status)
    }
}

fn is_over(status: &str) -> bool {
    ["success", "failed", "canceled"].contains(&status)
}

impl Coordinator {
    /// One without runners and jobs.
    pub fn start() -> Coordinator {
        let world = Arc::new(Mutex::new(World {
            next_job: 100,
            knows_jobs: true,
            ..World::default()
        }));
        let (named, answered) = (world.clone(), world.clone());
        let served = Served::start(
            move |call| name(call, &named.lock().unwrap().root),
            move |call| answer(call, &mut answered.lock().unwrap()),
        );
        Coordinator { served, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The URL of its pages.
    pub fn url(&self) -> String {
        format!(
            "http://127.0.0.1:{}{}",
            self.served.port(),
            self.world().root
        )
    }

    /// Puts it below this path.
    pub fn set_root(&self, root: &str) {
        root.clone_into(&mut self.world().root);
    }

    /// Makes a runner known.
    pub fn add_runner(&self, token: &str) {
        let mut world = self.world();
        world
            .runners
            .insert(token.to_owned(), RunnerState::default());
    }

    /// Takes a runner away.
    pub fn remove_runner(&self, token: &str) {
        self.world().runners.remove(token);
    }

    /// Pauses a runner or not.
    pub fn pause_runner(&self, token: &str, is_paused: bool) {
        self.world().runners.get_mut(token).unwrap().is_paused = is_paused;
    }

    /// Sets the custom attributes of a group.
    pub fn set_group(&self, path: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.world()
            .groups
            .insert(path.to_owned(), attributes.collect());
    }

    /// Takes a group away.
    pub fn remove_group(&self, path: &str) {
        self.world().groups.remove(path);
    }

    /// Shows the status of an ended job to its token, as some servers do.
    pub fn show_ended(&self) {
        self.world().shows_ended = true;
    }

    /// Answers 404 to tokens of jobs, as a replica does that is behind.
    pub fn set_knows_jobs(&self, knows: bool) {
        self.world().knows_jobs = knows;
    }

    /// Adds a job for a runner.
    pub fn add_job(&self, runner: &str) -> u64 {
        self.add_job_with(runner, &[], json!({}))
    }

    /// Adds a job with more variables, and more of everything.
    pub fn add_job_with(&self, runner: &str, variables: &[(&str, &str)], more: Value) -> u64 {
        let mut world = self.world();
        world.next_job += 1;
        let id = world.next_job;
        let token = format!("MARKER-job-token-{id}");
        let variables: Vec<Value> = [("CI_JOB_ID", &id.to_string()[..])]
            .iter()
            .chain(variables)
            .map(
                |(key, value)| json!({"key": key, "value": value, "public": true, "masked": false}),
            )
            .chain([json!({"key": "SECRET", "value": "MARKER-variable", "masked": true})])
            .collect();
        let mut payload = json!({
            "id": id,
            "token": token,
            "allow_git_fetch": true,
            "job_info": {"id": id, "name": "test", "stage": "test", "project_id": 7},
            "git_info": {"repo_url": "https://example.com/x.git", "ref": "main"},
            "runner_info": {"timeout": 3600},
            "variables": variables,
            "steps": [{"name": "script", "script": ["true"]}],
            "image": {"name": "alpine:3"},
            "services": [],
            "credentials": [{"type": "registry", "url": "registry.example", "username": "u", "password": "MARKER-registry"}],
            "odd": {"kept": [1, null, "x"]},
        });
        if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
            payload.extend(more);
        }
        let job = Job {
            id,
            token,
            runner: runner.to_owned(),
            payload,
            status: "pending".to_owned(),
            reason: None,
            exit_code: None,
            trace: Vec::new(),
            given: None,
            n_given: 0,
            n_ends: 0,
        };
        world.jobs.insert(id, job);
        world.update += 1;
        id
    }

    /// A job.
    pub fn job(&self, id: u64) -> Job {
        self.world().jobs[&id].clone()
    }

    /// All jobs.
    pub fn jobs(&self) -> Vec<Job> {
        self.world().jobs.values().cloned().collect()
    }

    /// Ends a job from outside, such as by a user who cancels it.
    pub fn end(&self, id: u64, status: &str) {
        let mut world = self.world();
        let job = world.jobs.get_mut(&id).unwrap();
        end(job, status);
    }

    /// Gives a job away, to somebody else than who asks.
    pub fn give(&self, id: u64) {
        let mut world = self.world();
        let job = world.jobs.get_mut(&id).unwrap();
        job.n_given += 1;
        job.given = Some(Instant::now());
        "running".clone_into(&mut job.status);
    }

    /// Adds to a trace, as the inner runner does.
    pub fn write(&self, id: u64, text: &str) {
        let mut world = self.world();
        let job = world.jobs.get_mut(&id).unwrap();
        job.trace.extend_from_slice(text.as_bytes());
    }
}

fn end(job: &mut Job, status: &str) {
    if !is_over(&job.status) {
        job.n_ends += 1;
        status.clone_into(&mut job.status);
    }
}

fn below<'a>(call: &'a Call, root: &str) -> Vec<&'a str> {
    let root = root.split('/').filter(|part| !part.is_empty());
    let mut path = call.path.iter().map(String::as_str);
    let is_below = root
        .chain(["api", "v4"])
        .all(|part| path.next() == Some(part));
    if is_below { path.collect() } else { Vec::new() }
}

fn name(call: &Call, root: &str) -> String {
    let name = match (&call.method[..], &below(call, root)[..]) {
        ("POST", ["runners"]) => "register",
        ("POST", ["runners", "verify"]) => "verify",
        ("POST", ["jobs", "request"]) => "request",
        ("GET", ["job"]) => "progress",
        ("PUT", ["jobs", _]) => "update",
        ("PATCH", ["jobs", _, "trace"]) => "trace",
        ("GET", ["groups", _, "custom_attributes"]) => "attributes",
        _ => "other",
    };
    name.to_owned()
}

fn refused(status: u16, why: &str) -> Reply {
    Reply::json(status, &json!({ "message": format!("{status} {why}") }))
}

fn answer(call: &Call, world: &mut World) -> Reply {
    let body = call.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let root = world.root.clone();
    match (&call.name[..], &below(call, &root)[..]) {
        ("register", _) if text("token") != REGISTRATION => refused(403, "Forbidden"),
        ("register", _) => {
            let n = world.runners.len() + 1;
            let token = format!("glrt-MARKER{n:04}registered");
            let is_paused = body["active"] != true;
            world
                .runners
                .insert(token.clone(), RunnerState { is_paused });
            Reply::json(201, &json!({"id": n, "token": token}))
        }
        ("verify", _) => match world.runners.contains_key(&text("token")) {
            true => Reply::json(200, &json!({"id": 1, "token": text("token")})),
            false => refused(403, "Forbidden"),
        },
        ("request", _) => request(&text("token"), world),
        ("progress", _) => progress(call.header("job-token"), world),
        ("update", [_, id]) => update(id, &body, world),
        ("trace", [_, id, _]) => trace(id, call, world),
        ("attributes", [_, group, _]) => attributes(group, call, world),
        _ => refused(404, "Not Found"),
    }
}

fn request(token: &str, world: &mut World) -> Reply {
    let Some(runner) = world.runners.get(token) else {
        return refused(403, "Forbidden");
    };
    let is_paused = runner.is_paused;
    let mut jobs = world.jobs.values_mut();
    let next = jobs.find(|job| job.runner == token && job.status == "pending" && !is_paused);
    match next {
        Some(job) => {
            job.n_given += 1;
            job.given = Some(Instant::now());
            "running".clone_into(&mut job.status);
            Reply::json(201, &job.payload)
        }
        None => {
            let update = format!("update-{}", world.update);
            Reply::new(204, "").with("X-GitLab-Last-Update", &update)
        }
    }
}

fn progress(token: &str, world: &World) -> Reply {
    if !world.knows_jobs {
        return refused(404, "Not Found");
    }
    let job = world.jobs.values().find(|job| job.token == token);
    match job {
        Some(job) if job.status == "running" || (world.shows_ended && job.is_over()) => {
            Reply::json(200, &json!({"id": job.id, "status": job.status}))
        }
        _ => refused(401, "Unauthorized"),
    }
}

fn update(id: &str, body: &Value, world: &mut World) -> Reply {
    let job = id.parse().ok().and_then(|id: u64| world.jobs.get_mut(&id));
    let Some(job) = job else {
        return refused(404, "Not Found");
    };
    if body["token"] != job.token {
        return refused(403, "Forbidden");
    }
    if job.status != "running" {
        return refused(403, "Forbidden - Job is not running").with("Job-Status", &job.status);
    }
    match body["state"].as_str() {
        Some(state @ ("success" | "failed")) => {
            end(job, state);
            job.reason = body["failure_reason"].as_str().map(str::to_owned);
            job.exit_code = body["exit_code"].as_i64();
            Reply::new(200, "200")
        }
        _ => Reply::new(200, "200"),
    }
}

fn trace(id: &str, call: &Call, world: &mut World) -> Reply {
    let job = id.parse().ok().and_then(|id: u64| world.jobs.get_mut(&id));
    let Some(job) = job else {
        return refused(404, "Not Found");
    };
    if call.header("job-token") != job.token {
        return refused(403, "Forbidden");
    }
    if job.status != "running" {
        return refused(403, "Forbidden - Job is not running").with("Job-Status", &job.status);
    }
    let range = call.header("content-range");
    let Some((start, last)) = range.split_once('-') else {
        return refused(400, "Missing header Content-Range");
    };
    let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
    assert_eq!(
        last + 1 - start,
        call.body.len(),
        "the end of a range is inclusive"
    );
    if start != job.trace.len() {
        return refused(416, "Range Not Satisfiable")
            .with("Range", &format!("0-{}", job.trace.len()));
    }
    job.trace.extend_from_slice(&call.body);
    Reply::new(202, "202")
        .with("Job-Status", &job.status)
        .with("Range", &format!("0-{}", job.trace.len()))
}

fn attributes(group: &str, call: &Call, world: &World) -> Reply {
    if call.header("private-token") != ATTRIBUTES {
        return refused(401, "Unauthorized");
    }
    match world.groups.get(group) {
        None => refused(404, "Group Not Found"),
        Some(attributes) => {
            let all: Vec<Value> = attributes
                .iter()
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect();
            Reply::json(200, &all.into())
        }
    }
}
