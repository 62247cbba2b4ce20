//! A Concourse that plays the jobs of a pipeline with real steps: what it does with hooks, aborts, lost answers and lost
//! machines.
//!
//! Source: Concourse, `atc/exec` (the order of hooks, which of them an aborted or errored step runs, with which context),
//! `atc/engine` (a step that is run again), and what was seen of its versions 7 and 8.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use support::server::atc::{Job, SimulatedAtc};
use support::step::Running;
use support::{Answer, Step, TestRemote};

/// What becomes of a step, or of a whole build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Succeeded,
    Failed,
    Errored,
    Aborted,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Errored => "errored",
            Status::Aborted => "aborted",
        }
    }
}

/// What happens to a build, so long after somebody else has given back the lock that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Spared,
    /// It is aborted.
    Aborted(Duration),
    /// The answer of its first put that claims is heard by nobody, for the web node is away: the step is errored.
    Unheard,
    /// As that, and the web node does not come back to run a hook.
    Abandoned,
    /// The machine of its step is lost, and the step is run again on another one.
    MachineLost(Duration),
}

/// A pipeline, and the world in which it is played.
pub struct Concourse {
    pipeline: Value,
    pub remote: TestRemote,
    pub pool: String,
    pub atc: SimulatedAtc,
}

/// A build that was played.
pub struct Played {
    pub status: Status,
    /// What its steps have said.
    pub log: String,
}

impl Concourse {
    /// One with this pipeline, whose pool has one lock.
    pub fn with(pipeline: Value) -> Concourse {
        let resources = pipeline["resources"].as_array().unwrap();
        let resource = resources.iter().find(|one| one["type"] == "pool");
        let pool = resource.unwrap()["source"]["pool"].as_str().unwrap();
        Concourse {
            remote: TestRemote::with_pool(pool, &["env-1"]),
            pool: pool.to_owned(),
            atc: SimulatedAtc::start(),
            pipeline,
        }
    }

    /// The same world with another pipeline.
    pub fn with_pipeline(self, pipeline: Value) -> Concourse {
        Concourse { pipeline, ..self }
    }

    pub fn claimed(&self) -> Vec<String> {
        self.remote.list(&format!("{}/claimed", self.pool))
    }

    /// Plays a job as its build `number`. The one lock is somebody else's until the build waits for it, unless it is spared.
    pub fn play(&self, job: &str, number: usize, fate: Fate) -> Played {
        let jobs = self.pipeline["jobs"].as_array().unwrap();
        let plan = jobs.iter().find(|one| one["name"] == job).unwrap();
        let path = format!("ops/web/{job}");
        let name = number.to_string();
        let id = self.atc.build(&Job::new(&path), &name, "started");
        let env = [
            ("BUILD_ID", id.to_string()),
            ("BUILD_NAME", name),
            ("BUILD_JOB_NAME", job.to_owned()),
            ("BUILD_PIPELINE_NAME", "web".to_owned()),
            ("BUILD_TEAM_NAME", "ops".to_owned()),
            ("ATC_EXTERNAL_URL", self.atc.url()),
        ];
        if fate != Fate::Spared {
            self.remote.claim_by_hand(&self.pool, "env-1");
        }
        let mut build = Build {
            concourse: self,
            env: env.to_vec(),
            folder: tempfile::tempdir().unwrap(),
            artifacts: BTreeMap::new(),
            fate,
            freed_at: None,
            has_struck: false,
            is_aborted: false,
            is_abandoned: false,
            log: String::new(),
        };
        let whole = json!({"do": plan["plan"]});
        let mut whole = whole.as_object().unwrap().clone();
        for hook in HOOKS.iter().chain(&["ensure"]) {
            whole.extend(
                plan.get(hook)
                    .map(|step| ((*hook).to_owned(), step.clone())),
            );
        }
        let status = build.step(&Value::Object(whole));
        self.atc.set_status(id, status.word());
        Played {
            status,
            log: build.log,
        }
    }
}

/// The hooks from the innermost outwards, but for `ensure`, which is around them all.
const HOOKS: [&str; 4] = ["on_error", "on_abort", "on_failure", "on_success"];

struct Build<'c> {
    concourse: &'c Concourse,
    env: Vec<(&'static str, String)>,
    folder: TempDir,
    artifacts: BTreeMap<String, PathBuf>,
    fate: Fate,
    /// When the lock was given back that the build waits for.
    freed_at: Option<Instant>,
    has_struck: bool,
    is_aborted: bool,
    /// Whether nobody runs anything of it any more.
    is_abandoned: bool,
    log: String,
}

/// How a process ended that a step is.
enum Attended {
    Ended(Answer),
    MachineLost,
}

impl Build<'_> {
    /// Runs a step and its hooks.
    fn step(&mut self, step: &Value) -> Status {
        let mut status = self.bare(step);
        for hook in HOOKS {
            let is_for = match hook {
                "on_error" => Status::Errored,
                "on_abort" => Status::Aborted,
                "on_failure" => Status::Failed,
                _ => Status::Succeeded,
            };
            if let Some(hook) = step.get(hook).filter(|_| status == is_for) {
                let of_hook = self.hook(hook);
                // Only what has succeeded can be spoilt.
                if status == Status::Succeeded {
                    status = of_hook;
                }
            }
        }
        if let Some(hook) = step.get("ensure") {
            let of_hook = self.hook(hook);
            if status == Status::Succeeded {
                status = of_hook;
            }
        }
        status
    }

    /// A hook of an aborted step is run as if nothing were aborted.
    fn hook(&mut self, step: &Value) -> Status {
        if self.is_abandoned {
            return Status::Errored;
        }
        let was_aborted = std::mem::take(&mut self.is_aborted);
        let status = self.step(step);
        self.is_aborted |= was_aborted;
        status
    }

    fn bare(&mut self, step: &Value) -> Status {
        self.pass(&mut None);
        if self.is_aborted {
            return Status::Aborted;
        }
        if self.is_abandoned {
            return Status::Errored;
        }
        let named = |key: &str| step.get(key).and_then(Value::as_str);
        if let Some(steps) = step.get("do").or_else(|| step.get("in_parallel")) {
            let steps = steps.get("steps").unwrap_or(steps);
            let each = steps.as_array().unwrap().iter();
            return each
                .map(|step| self.step(step))
                .find(|status| *status != Status::Succeeded)
                .unwrap_or(Status::Succeeded);
        }
        if let Some(tried) = step.get("try") {
            return match self.step(tried) {
                Status::Aborted => Status::Aborted,
                _ => Status::Succeeded,
            };
        }
        match (named("put"), named("get"), named("task")) {
            (Some(name), ..) => self.put(name, step),
            (_, Some(name), _) => self.get(name, step),
            (.., Some(_)) => self.task(step),
            _ => panic!("a step of a kind that is not played: {step}"),
        }
    }

    /// The source of a pool, as the pipeline has it but for where the repository is; `None` for another resource.
    fn source(&self, name: &str, step: &Value) -> Option<Value> {
        let name = step.get("resource").and_then(Value::as_str).unwrap_or(name);
        let resources = self.concourse.pipeline["resources"].as_array().unwrap();
        let resource = resources.iter().find(|one| one["name"] == name).unwrap();
        let mut source = resource["source"].clone();
        source["uri"] = json!(self.concourse.remote.uri());
        source["retry_delay"] = json!("50ms");
        (resource["type"] == "pool").then_some(source)
    }

    /// A container for a step: nothing is in it that another one has left.
    fn container(&self, source: &Value) -> Step {
        let env = self.env.iter();
        env.fold(Step::with_source(source.clone()), |step, (name, value)| {
            step.env(name, value)
        })
    }

    fn put(&mut self, name: &str, step: &Value) -> Status {
        let Some(source) = self.source(name, step) else {
            return self.other(name);
        };
        let params = &step["params"];
        let claims = params
            .get("acquire")
            .or_else(|| params.get("claim"))
            .is_some();
        let inputs = self.inputs(step.get("inputs"));
        let answer = loop {
            let running = self
                .container(&source)
                .start_put_in(&inputs, params.clone());
            match self.attend(running) {
                Attended::Ended(answer) => break answer,
                Attended::MachineLost => {}
            }
        };
        if self.is_aborted {
            return Status::Aborted;
        }
        if answer.code != Some(0) {
            return Status::Failed;
        }
        if claims && matches!(self.fate, Fate::Unheard | Fate::Abandoned) && !self.has_struck {
            self.has_struck = true;
            self.is_abandoned = self.fate == Fate::Abandoned;
            return Status::Errored;
        }
        if step["no_get"] == true {
            return Status::Succeeded;
        }
        self.fetch(name, &source, &answer.version())
    }

    fn get(&mut self, name: &str, step: &Value) -> Status {
        match self.source(name, step) {
            None => self.other(name),
            Some(source) => {
                let version = self.concourse.remote.head();
                self.fetch(name, &source, &version)
            }
        }
    }

    fn fetch(&mut self, name: &str, source: &Value, version: &str) -> Status {
        let destination = self.new_folder();
        let request = json!({"source": source, "version": {"ref": version}}).to_string();
        let answer = loop {
            let args = [destination.clone().into_os_string()];
            let running = self
                .container(source)
                .start("in", &args, request.as_bytes());
            match self.attend(running) {
                Attended::Ended(answer) => break answer,
                Attended::MachineLost => {}
            }
        };
        if self.is_aborted {
            return Status::Aborted;
        }
        if answer.code != Some(0) {
            return Status::Failed;
        }
        self.artifacts.insert(name.to_owned(), destination);
        Status::Succeeded
    }

    /// A step of a resource that is not the pool's.
    fn other(&mut self, name: &str) -> Status {
        let folder = self.new_folder();
        self.artifacts.insert(name.to_owned(), folder);
        Status::Succeeded
    }

    /// The task works with the lock that the build must hold, for as long as a few looks take.
    fn task(&mut self, step: &Value) -> Status {
        assert_eq!(self.concourse.claimed(), ["env-1"], "{step}: {}", self.log);
        let environment = self.artifacts.get("environment").unwrap();
        let name = fs::read_to_string(environment.join("name")).unwrap();
        assert_eq!(name.trim(), "env-1");
        for _ in 0..10 {
            self.pass(&mut None);
            if self.is_aborted {
                return Status::Aborted;
            }
            sleep(Duration::from_millis(10));
        }
        Status::Succeeded
    }

    fn new_folder(&self) -> PathBuf {
        tempfile::tempdir_in(self.folder.path()).unwrap().keep()
    }

    /// A folder with those artifacts that a put asks for.
    fn inputs(&self, wanted: Option<&Value>) -> PathBuf {
        let folder = self.new_folder();
        let wanted = wanted.and_then(Value::as_array);
        for (name, from) in &self.artifacts {
            if wanted.is_none_or(|wanted| wanted.iter().any(|one| one == name)) {
                copy(from, &folder.join(name));
            }
        }
        folder
    }

    /// Waits for the end of a process, while time passes.
    fn attend(&mut self, running: Running) -> Attended {
        let mut running = Some(running);
        while let Some(process) = running.as_mut() {
            if !process.is_running() {
                break;
            }
            let said = process.stderr();
            if self.freed_at.is_none() && said.contains("waiting in pool") {
                self.concourse
                    .remote
                    .release_by_hand(&self.concourse.pool, "env-1");
                self.freed_at = Some(Instant::now());
            }
            // Nobody else gives back what this very build holds: whoever runs it sees that, and aborts it.
            if self.has_struck && !self.is_aborted && said.contains("this very build") {
                self.is_aborted = true;
                process.signal_if_there("TERM");
            }
            self.pass(&mut running);
            sleep(Duration::from_millis(1));
        }
        match running {
            Some(process) => {
                let answer = process.finish();
                self.log += &answer.stderr;
                Attended::Ended(answer)
            }
            None => Attended::MachineLost,
        }
    }

    /// Time passes, and fate strikes if its moment has come.
    fn pass(&mut self, running: &mut Option<Running>) {
        let has_come = |after: Duration| {
            let since = self.freed_at.map(|freed_at| freed_at.elapsed());
            since.is_some_and(|since| since >= after)
        };
        match self.fate {
            Fate::Aborted(after) if !self.has_struck && has_come(after) => {
                self.has_struck = true;
                self.is_aborted = true;
                if let Some(running) = running {
                    running.signal_if_there("TERM");
                }
            }
            Fate::MachineLost(after) if !self.has_struck && has_come(after) => {
                if let Some(lost) = running.take() {
                    self.has_struck = true;
                    self.log += &lost.stderr();
                    lost.kill();
                }
            }
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
