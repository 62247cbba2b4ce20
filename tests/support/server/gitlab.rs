//! A GitLab, as far as its API is asked about pipelines and jobs.
//!
//! A simulation: GitLab is no package of Debian's, and needs gigabytes of memory. It follows `lib/api/ci` of GitLab in which
//! token sees what, with which status it says so, and in how lists are filtered and cut into pages. Its answers may lag
//! behind, as those of a replica of its database do, and its web nodes have clocks of their own.

mod wire;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::authority::Authority;
use super::front::Front;

/// A token that may read everything.
pub const PRIVATE: &str = "MARKER-private-token";

/// The project, by its number and by its path.
pub const PROJECT: (u64, &str) = (42, "ops/web");

/// A GitLab on loopback, with one project.
pub struct SimulatedGitlab {
    port: u16,
    world: Arc<Mutex<World>>,
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// It is answered with this status and this header.
    Status(u16, Option<(&'static str, String)>),
    /// It is answered with success and this text.
    Text(String),
    /// It is answered with success and more than anyone wants to hear.
    Flood,
    /// It is never answered.
    Silence,
    /// It is answered byte by byte.
    Trickle,
    /// The connection is closed.
    Close,
}

/// How the pages of a list are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// By `Link`.
    Link,
    /// By `X-Next-Page`.
    Number,
    /// By a `Link` to another host.
    Elsewhere(u16),
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Chunked,
    Gzip,
}

/// What a job token may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobTokens {
    /// Its own job, and no other.
    OwnJob,
    /// The jobs of the project too, and not those of one pipeline.
    ProjectJobs,
    /// All jobs.
    AllJobs,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub at: Instant,
}

pub(super) struct World {
    state: State,
    /// What it was like before, for answers that lag behind.
    past: Vec<(Instant, State)>,
    lag: Duration,
    /// By how much the clocks of two web nodes differ.
    skew: Duration,
    n_requests: u32,
    next_job: u64,
    paging: Paging,
    packing: Packing,
    job_tokens: JobTokens,
    is_public: bool,
    root: String,
    port: u16,
    troubles: Vec<(String, Trouble, usize)>,
    asked: Vec<Asked>,
}

#[derive(Clone, Default)]
pub(super) struct State {
    pipelines: BTreeMap<u64, Pipeline>,
}

#[derive(Clone)]
pub(super) struct Pipeline {
    id: u64,
    /// `null` for a field that GitLab leaves empty.
    status: Value,
    ref_name: Value,
    parent: Option<u64>,
    jobs: Vec<Job>,
    /// The pipelines that its bridges start.
    children: Vec<Option<u64>>,
}

#[derive(Clone)]
pub(super) struct Job {
    id: u64,
    name: String,
    status: String,
    allow_failure: bool,
    /// In milliseconds after 1970, by the clock of a web node.
    started: Option<u128>,
    finished: Option<u128>,
    is_retried: bool,
}

impl SimulatedGitlab {
    /// A GitLab with a project without pipelines.
    pub fn start() -> SimulatedGitlab {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = World {
            state: State::default(),
            past: Vec::new(),
            lag: Duration::ZERO,
            skew: Duration::ZERO,
            n_requests: 0,
            next_job: 1000,
            paging: Paging::Link,
            packing: Packing::Plain,
            job_tokens: JobTokens::AllJobs,
            is_public: false,
            root: String::new(),
            port,
            troubles: Vec::new(),
            asked: Vec::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let shared = world.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let world = shared.clone();
                std::thread::spawn(move || wire::serve(client, &world));
            }
        });
        SimulatedGitlab { port, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its pages.
    pub fn home(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.world().root)
    }

    /// The URL of its API.
    pub fn api(&self) -> String {
        self.home() + "/api/v4"
    }

    /// The page of a job.
    pub fn page(&self, job: u64) -> String {
        format!("{}/{}/-/jobs/{job}", self.home(), PROJECT.1)
    }

    /// Puts it below this path.
    pub fn set_root(&self, root: &str) {
        root.clone_into(&mut self.world().root);
    }

    /// Makes its answers lag behind: each by a time up to this one.
    pub fn set_lag(&self, lag: Duration) {
        self.world().lag = lag;
    }

    /// Makes the clocks of its web nodes differ by so much.
    pub fn set_skew(&self, skew: Duration) {
        self.world().skew = skew;
    }

    /// Says how pages are linked.
    pub fn set_paging(&self, paging: Paging) {
        self.world().paging = paging;
    }

    /// Says how bodies are sent.
    pub fn set_packing(&self, packing: Packing) {
        self.world().packing = packing;
    }

    /// Says what job tokens may read.
    pub fn set_job_tokens(&self, job_tokens: JobTokens) {
        self.world().job_tokens = job_tokens;
    }

    /// Shows the project to everybody.
    pub fn make_public(&self) {
        self.world().is_public = true;
    }

    /// Adds a pipeline.
    pub fn pipeline(&self, id: u64, ref_name: &str, status: &str) {
        self.add(id, json!(ref_name), json!(status), None);
    }

    /// Adds a pipeline with any ref and status, such as `null`.
    pub fn odd_pipeline(&self, id: u64, ref_name: Value, status: Value) {
        self.add(id, ref_name, status, None);
    }

    /// Adds a pipeline that runs, and that a bridge of another one has started.
    pub fn child(&self, parent: u64, id: u64, ref_name: &str) {
        self.add(id, json!(ref_name), json!("running"), Some(parent));
        let mut world = self.world();
        let parent = world.state.pipelines.get_mut(&parent).unwrap();
        parent.children.push(Some(id));
    }

    /// Adds a bridge that has started nothing yet.
    pub fn bridge(&self, pipeline: u64) {
        self.change(|state| {
            let pipeline = state.pipelines.get_mut(&pipeline).unwrap();
            pipeline.children.push(None);
        });
    }

    fn add(&self, id: u64, ref_name: Value, status: Value, parent: Option<u64>) {
        self.change(|state| {
            let pipeline = Pipeline {
                id,
                status,
                ref_name,
                parent,
                jobs: Vec::new(),
                children: Vec::new(),
            };
            state.pipelines.insert(id, pipeline);
        });
    }

    /// Adds a job to a pipeline; gives its number. It has started a minute ago if its status says so.
    pub fn job(&self, pipeline: u64, name: &str, status: &str) -> u64 {
        self.job_since(pipeline, name, status, Duration::from_secs(60))
    }

    /// As [`SimulatedGitlab::job`]; it started so long ago.
    pub fn job_since(&self, pipeline: u64, name: &str, status: &str, ago: Duration) -> u64 {
        let has_started = !matches!(status, "created" | "pending" | "manual" | "skipped");
        let started = has_started.then(|| millis(SystemTime::now() - ago));
        let id = self.next_job();
        self.change(|state| {
            let job = Job {
                id,
                name: name.to_owned(),
                status: status.to_owned(),
                allow_failure: false,
                started,
                finished: None,
                is_retried: false,
            };
            state.pipelines.get_mut(&pipeline).unwrap().jobs.push(job);
        });
        id
    }

    fn next_job(&self) -> u64 {
        let mut world = self.world();
        world.next_job += 1;
        world.next_job
    }

    /// A runner takes a job: a new one of this name, in place of those before it. Its pipeline runs from now on.
    pub fn start_job(&self, pipeline: u64, name: &str) -> u64 {
        let id = self.next_job();
        let skew = self.world().skew_of(id);
        self.change(|state| {
            let pipeline = state.pipelines.get_mut(&pipeline).unwrap();
            pipeline.status = json!("running");
            for job in pipeline.jobs.iter_mut().filter(|job| job.name == name) {
                job.is_retried = true;
            }
            pipeline.jobs.push(Job {
                id,
                name: name.to_owned(),
                status: "running".to_owned(),
                allow_failure: false,
                started: Some(millis(SystemTime::now() + skew)),
                finished: None,
                is_retried: false,
            });
        });
        id
    }

    /// Makes something else become of a job.
    pub fn set_job(&self, job: u64, status: &str) {
        self.change(|state| {
            let jobs = state
                .pipelines
                .values_mut()
                .flat_map(|one| one.jobs.iter_mut());
            for found in jobs.filter(|found| found.id == job) {
                status.clone_into(&mut found.status);
                let is_over = matches!(status, "success" | "failed" | "canceled");
                found.finished = is_over.then(|| millis(SystemTime::now()));
            }
        });
    }

    /// Lets a pipeline go on when this job fails.
    pub fn allow_failure(&self, job: u64) {
        self.change(|state| {
            let jobs = state
                .pipelines
                .values_mut()
                .flat_map(|one| one.jobs.iter_mut());
            for found in jobs.filter(|found| found.id == job) {
                found.allow_failure = true;
            }
        });
    }

    /// Makes something else become of a pipeline.
    pub fn set_pipeline(&self, pipeline: u64, status: &str) {
        self.change(|state| {
            state.pipelines.get_mut(&pipeline).unwrap().status = json!(status);
        });
    }

    /// Deletes a pipeline with its jobs.
    pub fn delete(&self, pipeline: u64) {
        self.change(|state| {
            state.pipelines.remove(&pipeline);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut world = self.world();
        if !world.lag.is_zero() {
            let (now, lag) = (Instant::now(), world.lag);
            // What no answer needs any more is forgotten.
            world
                .past
                .retain(|(changed, _)| now.duration_since(*changed) <= 2 * lag);
            let before = (now, world.state.clone());
            world.past.push(before);
        }
        change(&mut world.state);
    }

    /// The token of a job.
    pub fn job_token(&self, job: u64) -> String {
        format!("MARKER-job-token-{job}")
    }

    /// Makes the next `times` requests go wrong whose target has `part` in it.
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

    /// The targets of all requests so far.
    pub fn targets(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.target).collect()
    }

    /// Serves it over HTTPS with a certificate of this authority.
    pub fn over_https(&self, authority: &Authority) -> Front {
        Front::before(self.port, authority)
    }
}

impl Front {
    /// The URL of the API.
    pub fn api(&self) -> String {
        format!("{}/api/v4", self.url())
    }
}

impl World {
    /// By how much the clock of the node is off that serves the `n`th request, or starts that job.
    fn skew_of(&self, n: u64) -> Duration {
        // Spread over the whole range, and the same for everybody who asks.
        self.skew
            .mul_f64((n.wrapping_mul(7919) % 101) as f64 / 100.0)
    }
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis()
}
