//! Clever Cloud: its API, the Git server that apps are pushed to (over HTTPS, with Basic auth), and the apps themselves,
//! which run what was pushed as an inner runner would.
//!
//! A simulation of what is asked of it. It counts: how often an app was made, started and deleted for each job.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::Authority;
use super::front::Front;
use super::served::{Call, Reply, Served};
use crate::git::{git, hermetic};

/// The organisation, and what may act for it.
pub const ORGANISATION: &str = "orga_1";
pub const TOKEN: &str = "MARKER-clever/t@k:";

/// Who is trusted by what this test process starts.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// Clever Cloud on loopback.
#[derive(Clone)]
pub struct Clever {
    pub served: Served,
    /// The Git server, by itself.
    pub git: Served,
    world: Arc<Mutex<World>>,
    _front: Arc<Front>,
    repositories: Arc<TempDir>,
}

struct World {
    apps: BTreeMap<String, App>,
    next_app: u64,
    organisations: BTreeMap<String, String>,
    flavors: Vec<Value>,
    /// What the pushed inner runner does.
    inner: Inner,
    /// The answers of `find-app` before the repository is there; the creation says so too.
    repository_after: u32,
    full_zones: Vec<String>,
    git_port: u16,
    /// Where the Git server itself is, if everybody may push there.
    open_port: Option<u16>,
    root: PathBuf,
}

/// What an app does with its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// Nothing, until the test says so.
    Waits,
    /// It runs it for so long, and ends it well.
    Runs(Duration),
}

/// An app, as it was made.
#[derive(Clone, Debug)]
pub struct App {
    pub id: String,
    pub name: String,
    pub organisation: String,
    /// What was asked for.
    pub made_of: Value,
    pub env: Value,
    /// How often something was pushed that was taken.
    pub n_pushes: u32,
    /// When.
    pub pushed: Option<Instant>,
    pub is_deleted: bool,
    asked_for_repository: u32,
}

impl App {
    /// The job that it is for, by its name.
    pub fn job(&self) -> u64 {
        self.name.split('-').nth(3).unwrap().parse().unwrap()
    }
}

impl Clever {
    pub fn start() -> Clever {
        let repositories = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World {
            apps: BTreeMap::new(),
            next_app: 0,
            organisations: BTreeMap::from([(TOKEN.to_owned(), ORGANISATION.to_owned())]),
            flavors: ["S", "M", "XL"]
                .iter()
                .map(|name| json!({"name": format!("heptapod-runner-{name}"), "available": true}))
                .chain([json!({"name": "other-M"})])
                .collect(),
            inner: Inner::Waits,
            repository_after: 0,
            full_zones: Vec::new(),
            git_port: 0,
            open_port: None,
            root: repositories.path().to_owned(),
        }));
        let answered = world.clone();
        let served = Served::start(api_name, move |call| {
            answer(call, &mut answered.lock().unwrap())
        });
        let pushed = world.clone();
        let git = Served::start(git_name, move |call| serve_git(call, &pushed));
        let front = Front::before(git.port(), authority());
        world.lock().unwrap().git_port = front.port();
        Clever {
            served,
            git,
            world,
            _front: Arc::new(front),
            repositories: Arc::new(repositories),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The URL of the API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}/v2", self.served.port())
    }

    /// Has apps do something with their jobs.
    pub fn set_inner(&self, inner: Inner) {
        self.world().inner = inner;
    }

    /// Makes an organisation, with what may act for it.
    pub fn add_organisation(&self, id: &str, token: &str) {
        let mut world = self.world();
        world.organisations.insert(token.to_owned(), id.to_owned());
    }

    /// Has the repository of each app be there only after it was asked for so often.
    pub fn delay_repositories(&self, asked: u32) {
        self.world().repository_after = asked;
    }

    /// Has no room in a zone.
    pub fn fill_zone(&self, zone: &str) {
        self.world().full_zones.push(zone.to_owned());
    }

    /// Has apps pushed to over plain HTTP by everybody: for programs that trust no authority of ours.
    pub fn open_git(&self) {
        self.world().open_port = Some(self.git.port());
    }

    /// All apps that were ever made.
    pub fn apps(&self) -> Vec<App> {
        self.world().apps.values().cloned().collect()
    }

    /// The app of a job; there must be one and no more.
    #[track_caller]
    pub fn app_of(&self, job: u64) -> App {
        let apps: Vec<App> = self
            .apps()
            .into_iter()
            .filter(|app| app.job() == job)
            .collect();
        assert_eq!(apps.len(), 1, "{apps:?}");
        apps[0].clone()
    }

    /// Those that are there.
    pub fn living(&self) -> Vec<App> {
        let mut apps = self.apps();
        apps.retain(|app| !app.is_deleted);
        apps
    }

    /// Makes an app from outside.
    pub fn add_app(&self, name: &str) -> String {
        let mut world = self.world();
        make(&mut world, ORGANISATION, &json!({ "name": name }))
    }

    /// Where the source of an app is pushed to.
    pub fn deploy_url(&self, app: &str) -> String {
        deploy_url(&self.world(), app)
    }

    /// The repository of an app.
    pub fn repository(&self, app: &str) -> PathBuf {
        self.repositories.path().join(format!("{app}.git"))
    }

    /// A file of what was pushed to an app.
    pub fn pushed(&self, app: &str, file: &str) -> String {
        git(&self.repository(app), &["show", &format!("master:{file}")])
    }
}

fn api_name(call: &Call) -> String {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let name = match (
        &call.method[..],
        path.strip_prefix(&["v2"]).unwrap_or_default(),
    ) {
        ("GET", ["products", "instances"]) => "instances",
        ("GET", ["products", "flavors"]) => "flavors",
        ("GET", ["organisations", _, "applications"]) => "list-apps",
        ("POST", ["organisations", _, "applications"]) => "create-app",
        ("GET", ["organisations", _, "applications", _]) => "find-app",
        ("DELETE", ["organisations", _, "applications", _]) => "delete-app",
        ("PUT", ["organisations", _, "applications", _, "env"]) => "set-env",
        _ => "other",
    };
    name.to_owned()
}

fn error(status: u16, id: u32, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"id": id, "message": message, "type": "error"}),
    )
}

fn answer(call: &Call, world: &mut World) -> Reply {
    let path: Vec<&str> = call.path.iter().skip(1).map(String::as_str).collect();
    match &call.name[..] {
        "instances" => {
            return Reply::json(
                200,
                &json!([{"name": "Node", "version": "9"}, {"name": "Docker", "version": "20230101"}]),
            );
        }
        "flavors" => return Reply::json(200, &world.flavors.clone().into()),
        "other" => return error(404, 1, "not found"),
        _ => {}
    }
    let token = call.header("authorization").strip_prefix("token ");
    let owner = token
        .and_then(|token| world.organisations.get(token))
        .cloned();
    let Some(owner) = owner.filter(|owner| owner == path[1]) else {
        return error(401, 2001, "you are not authorized");
    };
    match (&call.name[..], &path[3..]) {
        ("create-app", _) => {
            let body = call.json();
            let zone = body["zone"].as_str().unwrap_or_default().to_owned();
            if world.full_zones.contains(&zone) {
                return error(503, 5000, "there is no capacity left in this zone");
            }
            let id = make(world, &owner, &body);
            Reply::json(200, &shown(world, &id))
        }
        ("list-apps", _) => {
            let apps = world.apps.values();
            let apps: Vec<String> = apps
                .filter(|app| app.organisation == owner && !app.is_deleted)
                .map(|app| app.id.clone())
                .collect();
            let apps: Vec<Value> = apps.iter().map(|id| shown(world, id)).collect();
            Reply::json(200, &apps.into())
        }
        (name, [id, ..]) => {
            let is_there = |app: &&mut App| app.organisation == owner && !app.is_deleted;
            let Some(app) = world.apps.get_mut(*id).filter(is_there) else {
                return error(404, 4004, "the application does not exist");
            };
            match name {
                "find-app" => {
                    app.asked_for_repository += 1;
                    let id = app.id.clone();
                    Reply::json(200, &shown(world, &id))
                }
                "set-env" => {
                    app.env = call.json();
                    Reply::json(200, &json!({}))
                }
                _ => {
                    app.is_deleted = true;
                    let repository = world.root.join(format!("{id}.git"));
                    let _ = std::fs::rename(&repository, repository.with_extension("deleted"));
                    Reply::json(
                        200,
                        &json!({"id": 200, "message": "deleted", "type": "success"}),
                    )
                }
            }
        }
        _ => error(404, 1, "not found"),
    }
}

fn make(world: &mut World, owner: &str, of: &Value) -> String {
    world.next_app += 1;
    let id = format!("app_{}", world.next_app);
    let app = App {
        id: id.clone(),
        name: of["name"].as_str().unwrap_or_default().to_owned(),
        organisation: owner.to_owned(),
        made_of: of.clone(),
        env: Value::Null,
        n_pushes: 0,
        pushed: None,
        is_deleted: false,
        asked_for_repository: 0,
    };
    let repository = world.root.join(format!("{id}.git"));
    let made = Command::new("cp")
        .args([
            "-r",
            template().to_str().unwrap(),
            repository.to_str().unwrap(),
        ])
        .status();
    assert!(made.unwrap().success());
    world.apps.insert(id.clone(), app);
    id
}

/// An empty repository that takes pushes; to copy one is faster than to make one.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let folder = TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        git(
            folder.path(),
            &["init", "--quiet", "--bare", "--template=", "."],
        );
        git(folder.path(), &["config", "http.receivepack", "true"]);
        folder
    });
    folder.path()
}

fn deploy_url(world: &World, id: &str) -> String {
    match world.open_port {
        Some(port) => format!("http://127.0.0.1:{port}/{id}.git"),
        None => format!("https://127.0.0.1:{}/{id}.git", world.git_port),
    }
}

fn shown(world: &World, id: &str) -> Value {
    let app = &world.apps[id];
    let mut shown = json!({
        "id": app.id,
        "name": app.name,
        "zone": "par",
        "deployment": {"httpUrl": deploy_url(world, id), "type": "GIT"},
    });
    if world.repository_after > 0 {
        let is_there = app.asked_for_repository >= world.repository_after;
        shown["deployment"]["repoState"] = if is_there { "CREATED" } else { "CREATING" }.into();
    }
    shown
}

fn git_name(call: &Call) -> String {
    let service = call.query.iter().find(|(key, _)| key == "service");
    match (service, call.path.last().map(String::as_str)) {
        (Some((_, service)), _) => format!("info-{service}"),
        (None, last) => last.unwrap_or_default().to_owned(),
    }
}

/// Serves a repository by Git's own program, and starts the app when something was pushed.
fn serve_git(call: &Call, world: &Mutex<World>) -> Reply {
    let denied = || Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"git\"");
    let basic = call.header("authorization").strip_prefix("Basic ");
    let basic = basic.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let basic = basic.and_then(|bytes| String::from_utf8(bytes).ok());
    let password = basic.as_deref().and_then(|text| text.split_once(':'));
    let id = call.path[0].trim_end_matches(".git").to_owned();
    let (root, is_let_in, is_there) = {
        let world = world.lock().unwrap();
        let app = world.apps.get(&id).filter(|app| !app.is_deleted);
        let owner = password.and_then(|(_, password)| world.organisations.get(password));
        let is_open = world.open_port.is_some();
        let is_there = app.is_some_and(|app| is_open || Some(&app.organisation) == owner);
        (world.root.clone(), is_open || owner.is_some(), is_there)
    };
    if !is_let_in {
        return denied();
    }
    if !is_there {
        return Reply::new(404, "");
    }
    let (had, reply) = (has_branch(&root, &id), backend(call, &root));
    if call.name == "git-receive-pack" && !had && has_branch(&root, &id) {
        started(world, &root, &id);
    }
    reply
}

fn has_branch(root: &Path, id: &str) -> bool {
    root.join(format!("{id}.git/refs/heads/master")).exists()
}

fn backend(call: &Call, root: &Path) -> Reply {
    let backend = git(root, &["--exec-path"]) + "/git-http-backend";
    let mut command = Command::new(backend);
    let query = call.target.split_once('?').map_or("", |(_, query)| query);
    hermetic(&mut command)
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "tester")
        .env("REQUEST_METHOD", &call.method)
        .env("PATH_INFO", format!("/{}", call.path.join("/")))
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", call.header("content-type"))
        .env("CONTENT_LENGTH", call.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut stdin, body) = (child.stdin.take().unwrap(), call.body.clone());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    let end = output
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut reply = Reply::new(200, output[(end + 4).min(output.len())..].to_vec());
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "Status" => reply.status = value.split(' ').next().unwrap().parse().unwrap(),
            _ => reply = reply.with(name, value),
        }
    }
    reply
}

/// Something was pushed: the app builds it and runs it.
fn started(world: &Mutex<World>, root: &Path, id: &str) {
    let inner = {
        let mut world = world.lock().unwrap();
        let inner = world.inner;
        if let Some(app) = world.apps.get_mut(id) {
            app.n_pushes += 1;
            app.pushed = Some(Instant::now());
        }
        inner
    };
    let Inner::Runs(time) = inner else {
        return;
    };
    let repository = root.join(format!("{id}.git"));
    let file = |name: &str| git(&repository, &["show", &format!("master:{name}")]);
    let job: Value = serde_json::from_str(&file("job.json")).unwrap();
    let settings = file("runner.toml");
    let url = settings
        .lines()
        .find_map(|line| line.strip_prefix("url = "));
    let url = url
        .unwrap()
        .trim_matches('"')
        .trim_end_matches('/')
        .to_owned();
    std::thread::spawn(move || run_inner(&url, &job, time));
}

/// What the inner runner tells the coordinator: again and again, as the real one does.
fn run_inner(url: &str, job: &Value, time: Duration) {
    let (id, token) = (&job["id"], job["token"].as_str().unwrap());
    std::thread::sleep(time);
    let api = format!("{url}/api/v4/jobs/{id}");
    let (text, mut offset) = ("inner runner: done\n", 0);
    for _ in 0..200 {
        let range = format!("{offset}-{}", offset + text.len() - 1);
        let headers = [("JOB-TOKEN", token), ("Content-Range", &range)];
        let (status, end) = send("PATCH", &format!("{api}/trace"), &headers, text);
        match status {
            202 | 401 | 403 | 404 => break,
            416 => offset = end,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let body = json!({"token": token, "state": "success", "exit_code": 0}).to_string();
    for _ in 0..500 {
        let json = [("Content-Type", "application/json")];
        let (status, _) = send("PUT", &api, &json, &body);
        if matches!(status, 200 | 401 | 403 | 404) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request to a server on loopback; gives the status (0 for none), and the end of its `Range`.
fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> (u16, usize) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let exchange = || -> std::io::Result<String> {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().unwrap_or_default();
    let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
    let range = answer
        .lines()
        .find_map(|line| line.strip_prefix("Range: 0-"));
    (
        status.unwrap_or(0),
        range.and_then(|end| end.trim().parse().ok()).unwrap_or(0),
    )
}
