//! Requests and answers of the simulated GitLab.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    Asked, Job, JobTokens, PRIVATE, PROJECT, Packing, Paging, Pipeline, State, Trouble, World,
    millis,
};

/// An answer: status, headers and body.
struct Reply(u16, Vec<(&'static str, String)>, String);

fn json_reply(json: &Value) -> Reply {
    let kind = ("Content-Type", "application/json".to_owned());
    Reply(200, vec![kind], json.to_string())
}

/// A refusal, in GitLab's words.
fn refused(status: u16) -> Reply {
    let words = match status {
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        _ => "404 Not Found",
    };
    Reply(status, vec![], json!({ "message": words }).to_string())
}

struct Request {
    method: String,
    target: String,
    /// The parts of the path, decoded.
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn param(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Somebody with a good private token.
    User,
    /// A job that is not over.
    Job(u64),
    /// Somebody without a token.
    Anyone,
    /// Somebody with a token that is none.
    Wrong,
}

pub(super) fn serve(mut client: TcpStream, world: &Mutex<World>) {
    let Some(request) = read(&mut client) else {
        return;
    };
    let (trouble, packing) = {
        let mut world = world.lock().unwrap();
        world.asked.push(Asked {
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            at: Instant::now(),
        });
        let mut troubles = world.troubles.iter_mut();
        let trouble =
            troubles.find(|(part, _, times)| *times > 0 && request.target.contains(part.as_str()));
        let trouble = trouble.map(|(_, trouble, times)| {
            *times = times.saturating_sub(1);
            trouble.clone()
        });
        (trouble, world.packing)
    };
    let json = || vec![("Content-Type", "application/json".to_owned())];
    let reply = match trouble {
        None => answer(&request, &mut world.lock().unwrap()),
        Some(Trouble::Status(status, header)) => {
            let html = "<html><body>MARKER-page</body></html>".to_owned();
            let mut headers = vec![("Content-Type", "text/html".to_owned())];
            headers.extend(header);
            Reply(status, headers, html)
        }
        Some(Trouble::Text(text)) => Reply(200, json(), text),
        Some(Trouble::Flood) => Reply(200, json(), " ".repeat(20 << 20)),
        Some(Trouble::Close) => return,
        Some(Trouble::Silence) => {
            let mut bytes = [0; 1024];
            while matches!(client.read(&mut bytes), Ok(1..)) {}
            return;
        }
        Some(Trouble::Trickle) => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
            let mut sent = client.write_all(head);
            while sent.is_ok() {
                std::thread::sleep(Duration::from_millis(10));
                sent = client.write_all(b" ");
            }
            return;
        }
    };
    let _ = send(&mut client, reply, packing);
}

fn send(client: &mut TcpStream, reply: Reply, packing: Packing) -> std::io::Result<()> {
    let Reply(status, headers, body) = reply;
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = match packing {
        Packing::Gzip => {
            head += "Content-Encoding: gzip\r\n";
            gzip(body.as_bytes())
        }
        Packing::Plain | Packing::Chunked => body.into_bytes(),
    };
    if packing != Packing::Chunked {
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes())?;
        client.write_all(&body)?;
        return client.flush();
    }
    head += "Transfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes())?;
    for piece in body.chunks(100) {
        client.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        client.write_all(piece)?;
        client.write_all(b"\r\n")?;
    }
    client.write_all(b"0\r\n\r\n")?;
    client.flush()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new("gzip");
    command
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_owned());
    std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    child.wait_with_output().unwrap().stdout
}

fn read(client: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut piece) {
            Ok(n @ 1..) => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    // Through a proxy the whole URL is asked for.
    let local = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target.as_str(),
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let decoded = |part: &str| {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8();
        decoded.unwrap().into_owned()
    };
    Some(Request {
        method,
        path: path.split('/').skip(1).map(decoded).collect(),
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        target,
    })
}

fn answer(request: &Request, world: &mut World) -> Reply {
    world.n_requests += 1;
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let root: Vec<&str> = world
        .root
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let path = path.strip_prefix(root.as_slice()).unwrap_or_default();
    let Some(rest) = path.strip_prefix(&["api", "v4"]) else {
        return refused(404);
    };
    if request.method != "GET" {
        return refused(403);
    }
    let who = who(request, world);
    if who == Who::Wrong {
        return refused(401);
    }
    let n = u64::from(world.n_requests);
    let state = as_of(world, n);
    let mut reply = api(rest, request, world, &state, who);
    let now = SystemTime::now() + world.skew_of(n);
    reply.1.push(("Date", http_date(millis(now))));
    reply
}

fn who(request: &Request, world: &World) -> Who {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    match (header("private-token"), header("job-token")) {
        (Some(PRIVATE), _) => Who::User,
        (Some(_), _) => Who::Wrong,
        (None, Some(token)) => {
            let id = token
                .strip_prefix("MARKER-job-token-")
                .and_then(|id| id.parse().ok());
            let jobs = world.state.pipelines.values().flat_map(|one| &one.jobs);
            let job = jobs
                .filter(|job| job.status == "running")
                .find(|job| Some(job.id) == id);
            job.map_or(Who::Wrong, |job| Who::Job(job.id))
        }
        (None, None) => Who::Anyone,
    }
}

/// What the database says that serves the `n`th request: it lags behind by another time than the one before.
fn as_of(world: &World, n: u64) -> State {
    let lag = world
        .lag
        .mul_f64((n.wrapping_mul(6271) % 101) as f64 / 100.0);
    let Some(at) = Instant::now().checked_sub(lag) else {
        return world.state.clone();
    };
    // Each has what was before a change.
    let past = world.past.iter().find(|(changed, _)| at < *changed);
    past.map_or_else(|| world.state.clone(), |(_, before)| before.clone())
}

fn api(path: &[&str], request: &Request, world: &World, state: &State, who: Who) -> Reply {
    let (project, rest) = match path {
        ["job"] => {
            let Who::Job(id) = who else {
                return refused(404);
            };
            return state.job(id).map_or(refused(404), |(pipeline, job)| {
                json_reply(&shown_job(world, pipeline, job))
            });
        }
        ["projects", project, rest @ ..] => (*project, rest),
        _ => return refused(404),
    };
    let is_known = project == PROJECT.1 || project == PROJECT.0.to_string();
    if !is_known || (who == Who::Anyone && !world.is_public) {
        return refused(404);
    }
    let tokens = world.job_tokens;
    let is_job = matches!(who, Who::Job(_));
    let pipeline = |id: &str| id.parse().ok().and_then(|id: u64| state.pipelines.get(&id));
    match rest {
        ["jobs"] if is_job && tokens == JobTokens::OwnJob => refused(403),
        ["jobs"] => {
            let scopes: Vec<&str> = request
                .query
                .iter()
                .filter(|(key, _)| key == "scope[]")
                .map(|(_, value)| value.as_str())
                .collect();
            let all = state
                .pipelines
                .values()
                .flat_map(|one| one.jobs.iter().map(move |job| (one, job)));
            let mut jobs: Vec<_> = all
                .filter(|(_, job)| !job.is_retried)
                .filter(|(_, job)| scopes.is_empty() || scopes.contains(&job.status.as_str()))
                .collect();
            jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.id));
            list(
                jobs.iter()
                    .map(|(pipeline, job)| shown_job(world, pipeline, job))
                    .collect(),
                request,
                world,
            )
        }
        ["jobs", id] => {
            let found = id.parse().ok().and_then(|id| state.job(id));
            let is_own = matches!((who, found), (Who::Job(own), Some((_, job))) if own == job.id);
            if is_job && tokens == JobTokens::OwnJob && !is_own {
                return refused(403);
            }
            found.map_or(refused(404), |(pipeline, job)| {
                json_reply(&shown_job(world, pipeline, job))
            })
        }
        ["pipelines", id, "jobs"] if !is_job || tokens == JobTokens::AllJobs => {
            match pipeline(id) {
                None => refused(404),
                Some(pipeline) => {
                    let jobs = pipeline.jobs.iter().rev().filter(|job| !job.is_retried);
                    list(
                        jobs.map(|job| shown_job(world, pipeline, job)).collect(),
                        request,
                        world,
                    )
                }
            }
        }
        ["pipelines", ..] if is_job => refused(403),
        ["pipelines"] => {
            let status = request.param("status");
            let is_child = request.param("source") == Some("parent_pipeline");
            let found = state.pipelines.values().rev().filter(|one| {
                one.parent.is_some() == is_child
                    && status.is_none_or(|status| one.status == status || one.status.is_null())
            });
            list(
                found.map(|one| shown_pipeline(world, one)).collect(),
                request,
                world,
            )
        }
        ["pipelines", id] => {
            pipeline(id).map_or(refused(404), |one| json_reply(&shown_pipeline(world, one)))
        }
        ["pipelines", id, "bridges"] => match pipeline(id) {
            None => refused(404),
            Some(pipeline) => {
                let bridges = pipeline.children.iter().enumerate().map(|(n, child)| {
                    let child = child.and_then(|id| state.pipelines.get(&id));
                    let child = child.map(|child| shown_pipeline(world, child));
                    json!({"id": 9000 + n, "name": format!("bridge {n}"), "downstream_pipeline": child})
                });
                list(bridges.collect(), request, world)
            }
        },
        _ => refused(404),
    }
}

impl State {
    fn job(&self, id: u64) -> Option<(&Pipeline, &Job)> {
        let all = self
            .pipelines
            .values()
            .flat_map(|one| one.jobs.iter().map(move |job| (one, job)));
        all.into_iter().find(|(_, job)| job.id == id)
    }
}

fn shown_pipeline(world: &World, pipeline: &Pipeline) -> Value {
    let home = format!("http://127.0.0.1:{}{}", world.port, world.root);
    json!({
        "id": pipeline.id,
        "iid": pipeline.id,
        "project_id": PROJECT.0,
        "status": pipeline.status,
        "source": if pipeline.parent.is_some() { "parent_pipeline" } else { "push" },
        "ref": pipeline.ref_name,
        "sha": format!("{:040x}", pipeline.id),
        "web_url": format!("{home}/{}/-/pipelines/{}", PROJECT.1, pipeline.id),
        "name": null,
    })
}

fn shown_job(world: &World, pipeline: &Pipeline, job: &Job) -> Value {
    let home = format!("http://127.0.0.1:{}{}", world.port, world.root);
    json!({
        "id": job.id,
        "name": job.name,
        "stage": "deploy",
        "status": job.status,
        "ref": pipeline.ref_name,
        "allow_failure": job.allow_failure,
        "started_at": job.started.map(rfc3339),
        "finished_at": job.finished.map(rfc3339),
        "web_url": format!("{home}/{}/-/jobs/{}", PROJECT.1, job.id),
        "user": {"id": 1, "username": "anna"},
        "runner": null,
        "pipeline": shown_pipeline(world, pipeline),
    })
}

/// A page of a list, and where the next one is.
fn list(items: Vec<Value>, request: &Request, world: &World) -> Reply {
    let number = |name: &str, default: usize| {
        let given = request.param(name).and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (page, size) = (number("page", 1), number("per_page", 20).min(100));
    let shown: Vec<Value> = items
        .iter()
        .skip((page - 1) * size)
        .take(size)
        .cloned()
        .collect();
    let mut reply = json_reply(&Value::Array(shown));
    if items.len() <= page * size {
        if world.paging == Paging::Number {
            reply.1.push(("X-Next-Page", String::new()));
        }
        return reply;
    }
    if world.paging == Paging::Number {
        reply.1.push(("X-Next-Page", (page + 1).to_string()));
        return reply;
    }
    let port = match world.paging {
        Paging::Elsewhere(port) => port,
        Paging::Link | Paging::Number => world.port,
    };
    let kept = request.query.iter().filter(|(key, _)| key != "page");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("page", &(page + 1).to_string())
        .finish();
    let path = request.target.split('?').next().unwrap();
    let url = format!("http://127.0.0.1:{port}{path}?{query}");
    let first = "<http://127.0.0.1/?page=1>; rel=\"first\"";
    reply
        .1
        .push(("Link", format!("<{url}>; rel=\"next\", {first}")));
    reply
}

/// Days since 1970 as year, month and day.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn civil(days: u128) -> (u128, u128, u128) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u128::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

fn clock(millis: u128) -> String {
    let seconds = millis / 1000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn rfc3339(millis: u128) -> String {
    let (year, month, day) = civil(millis / 86_400_000);
    format!(
        "{year}-{month:02}-{day:02}T{}.{:03}Z",
        clock(millis),
        millis % 1000
    )
}

fn http_date(millis: u128) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day) = civil(millis / 86_400_000);
    let month = MONTHS[usize::try_from(month - 1).unwrap()];
    format!("Fri, {day:02} {month} {year} {} GMT", clock(millis))
}
