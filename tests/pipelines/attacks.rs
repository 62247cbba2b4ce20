//! Kills, two servers on one folder, full disks, hostile clients, processes that hide.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::wait_until;

use crate::host::{Host, is_alive, statuses};

/// How often something random is tried: `PRUNNER_TRIES=200` for the long run.
fn tries(usual: usize) -> usize {
    std::env::var("PRUNNER_TRIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(usual)
}

#[test]
fn no_accepted_job_is_lost_and_no_end_is_taken_back_by_a_kill() {
    let mut host = Host::start(
        "pipelines: {p: {concurrency: 3, tasks: {a: {script: ['echo {{ .n }}']}, b: {script: ['exit {{ .code }}'], depends_on: [a]}}}, r: {restart: requeue, concurrency: 2, tasks: {t: {script: [true]}}}}",
    );
    let accepted = Arc::new(Mutex::new(Vec::<String>::new()));
    let mut ended: BTreeMap<String, Value> = BTreeMap::new();
    for round in 0..tries(8) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (host, stop, accepted) = (&host, &stop, accepted.clone());
                scope.spawn(move || {
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        let pipeline = if client == 0 { "r" } else { "p" };
                        let body =
                            json!({"pipeline": pipeline, "variables": {"n": n, "code": n % 2}})
                                .to_string();
                        let bearer = format!("Authorization: {}", crate::host::token());
                        let Some(reply) = host.try_request(
                            "POST",
                            "/pipelines/schedule",
                            &[&bearer],
                            body.as_bytes(),
                        ) else {
                            return;
                        };
                        let id = reply.json()["jobId"].as_str().unwrap().to_owned();
                        accepted.lock().unwrap().push(id);
                    }
                });
            }
            // A moment that differs each time.
            std::thread::sleep(Duration::from_millis(20 + (round * 37 % 150) as u64));
            for job in host.get("/pipelines/jobs?limit=200").json()["jobs"]
                .as_array()
                .unwrap()
            {
                if job["completed"] == true {
                    ended.insert(job["id"].as_str().unwrap().to_owned(), job.clone());
                }
            }
            host.signal("KILL");
            stop.store(true, Ordering::Relaxed);
        });
        host.end("KILL");
        host.run();
        let jobs = host.get("/pipelines/jobs").json()["jobs"].clone();
        let jobs: BTreeMap<&str, &Value> = jobs
            .as_array()
            .unwrap()
            .iter()
            .map(|job| (job["id"].as_str().unwrap(), job))
            .collect();
        for id in accepted.lock().unwrap().iter() {
            assert!(
                jobs.contains_key(id.as_str()),
                "round {round}: job {id} is lost"
            );
        }
        for (id, job) in &ended {
            assert_eq!(jobs[id.as_str()], job, "round {round}");
        }
    }
    assert!(accepted.lock().unwrap().len() > 10 && !ended.is_empty());
    wait_until("what is to be run again is", || {
        let jobs = host.get("/pipelines/jobs?pipeline=r").json()["jobs"].clone();
        jobs.as_array()
            .unwrap()
            .iter()
            .all(|job| job["completed"] == true && job["errored"] == false)
    });
}

#[test]
fn m10_a_second_server_on_a_folder_says_who_has_it() {
    let host = Host::script(&["true"]);
    let (id, job) = host.done();
    let second = host
        .command(&[], &["--address", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        second.status.code() == Some(1) && said.contains(&format!("process id {}:", host.pid())),
        "{said}"
    );
    assert_eq!(host.job(&id), job);
}

/// A disk of its own, where one may make one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn at(path: &std::path::Path) -> Option<SmallDisk> {
        fs::create_dir_all(path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "none"])
            .arg(path)
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then(|| SmallDisk(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn while_the_disk_is_full_jobs_are_refused_and_none_is_lost() {
    let mut host = Host::folder(
        "pipelines: {p: {concurrency: 5, tasks: {t: {script: ['echo {{ .x }}']}}}, held: {tasks: {t: {script: ['while ! [ -e go ]; do sleep 0.01; done']}}}, long: {tasks: {t: {script: ['sleep 1000']}}}}",
    );
    let Some(_disk) = SmallDisk::at(&host.path(".prunner")) else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    host.run();
    let held = host.schedule_of("held");
    let long = host.schedule_of("long");
    host.running(&long);
    let filler = host.path(".prunner/filler");
    let mut accepted = Vec::new();
    let mut refused = None;
    // Small ones at the end, so that nothing more fits.
    let _ = fs::write(&filler, vec![0; 440 * 1024]);
    for n in 0..10_000 {
        let reply = host.try_schedule(json!({"x": "y".repeat(2000), "n": n}));
        match reply.status {
            202 => accepted.push(crate::host::id_of(&reply)),
            _ => {
                refused = Some(reply);
                break;
            }
        }
    }
    let refused = refused.expect("the disk is full");
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("the journal cannot be written"),
        "{}",
        refused.text()
    );
    // What runs can be ended all the same.
    let bearer = format!("Authorization: {}", crate::host::token());
    let mut stream = TcpStream::connect(("127.0.0.1", host.port())).unwrap();
    write!(
        stream,
        "POST /job/cancel?id={long} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n"
    )
    .unwrap();
    host.write("go", "");
    fs::remove_file(&filler).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(host.finished(&long)["canceled"], true);
    assert_eq!(host.finished(&held)["completed"], true);
    wait_until("jobs are accepted again", || {
        host.try_schedule(json!({"x": "z"})).status == 202
    });
    for id in &accepted {
        host.finished(id);
    }
    let before = host.get("/pipelines/jobs").json();
    host.end("KILL");
    host.run();
    let after = host.get("/pipelines/jobs").json();
    assert_eq!(
        after["jobs"].as_array().unwrap().len(),
        before["jobs"].as_array().unwrap().len()
    );
    for id in &accepted {
        host.job(id);
    }
}

#[test]
fn p20_nobody_hides_from_a_cancel() {
    let script = "(setsid sh -c 'echo $$ >>pids; trap \"\" INT TERM; while :; do sleep 1; done' &) ; \
        env -i setsid sh -c 'sh -c \"echo \\$\\$ >>pids; sleep 1000\" & exit' ; \
        sh -c 'echo $$ >>pids; trap \"\" INT; sleep 1000' & trap '' INT; echo $$ >>pids; echo ready >>pids; sleep 1000; sleep 1001";
    let host = Host::script(&[script]);
    let id = host.schedule();
    let pids = || fs::read_to_string(host.path("pids")).unwrap_or_default();
    wait_until("all of them run", || {
        pids().contains("ready") && pids().lines().count() == 5
    });
    host.cancel(&id);
    host.finished(&id);
    for pid in pids().lines().filter(|line| *line != "ready") {
        assert!(!is_alive(pid), "{pid} is left");
    }
}

#[test]
fn what_a_task_leaves_behind_goes_on_unless_the_job_is_canceled() {
    let host = Host::with(
        "tasks: {t: {script: ['sleep 1000 & echo $! >pid', 'true']}, u: {script: ['[ -e stay ] || sleep 1000'], depends_on: [t]}}",
    );
    let pid = || fs::read_to_string(host.path("pid")).unwrap_or_default();
    let id = host.schedule();
    wait_until("the second task runs", || {
        statuses(&host.job(&id)) == "t:done u:running"
    });
    assert!(is_alive(&pid()));
    host.cancel(&id);
    host.finished(&id);
    wait_until("it is gone", || !is_alive(&pid()));
    host.write("stay", "");
    host.done();
    assert!(is_alive(&pid()));
    assert!(
        Command::new("kill")
            .arg(pid().trim())
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn d17_no_descriptor_and_no_process_is_left_after_many_jobs() {
    let host = Host::with("concurrency: 8, tasks: {t: {script: ['true']}}");
    let about = |name: &str| {
        fs::read_dir(format!("/proc/{}/{name}", host.pid()))
            .unwrap()
            .count()
    };
    let children = || {
        let all = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("stat")).ok());
        let parent = host.pid().to_string();
        all.filter(|stat| {
            stat.rsplit(')').next().unwrap().split_whitespace().nth(1) == Some(&parent)
        })
        .count()
    };
    let run = |n: usize| {
        let ids: Vec<String> = (0..n).map(|_| host.schedule()).collect();
        for id in &ids {
            assert_eq!(host.finished(id)["errored"], false);
        }
    };
    run(20);
    wait_until("nobody is left", || children() == 0);
    let (before, threads) = (about("fd"), about("task"));
    run(tries(100));
    wait_until("nobody is left", || children() == 0);
    wait_until("no descriptor is left", || about("fd") <= before);
    // Threads that have worked for others wait for some seconds whether there is more.
    wait_until("no thread is left", || about("task") <= threads + 2);
}

#[test]
fn half_open_connections_keep_nobody_out() {
    let host = Host::script(&["true"]);
    let mut open: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(("127.0.0.1", host.port())).unwrap())
        .collect();
    for (n, stream) in open.iter_mut().enumerate() {
        let _ = stream.write_all(
            &b"POST /pipelines/schedule HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"[..n % 60],
        );
    }
    let (_, job) = host.done();
    assert_eq!(statuses(&job), "t:done");
}

#[test]
fn no_name_leads_out_of_the_data_folder() {
    let host = Host::script(&["echo x"]);
    host.write(".prunner/logs/secret-stdout.log", "MARKER");
    let (id, _) = host.done();
    for path in [
        format!("/job/logs?id={id}&task=../secret"),
        format!("/job/logs?id={id}&task=..%2Fsecret"),
        format!("/job/logs?id={id}/..&task=secret"),
        "/job/logs?id=..&task=secret".to_owned(),
        format!("/job/logs/stream?id={id}&task=../secret"),
        "/job/../.prunner.yml".to_owned(),
        "/%2e%2e/etc/passwd".to_owned(),
    ] {
        let reply = host.get(&path);
        assert!(
            [400, 404].contains(&reply.status),
            "{path}: {}",
            reply.status
        );
        assert!(!reply.text().contains("MARKER"));
    }
}

#[test]
fn hostile_output_is_given_as_it_is_and_breaks_nothing() {
    let host = Host::script(&[
        "printf '\\000\\033[2J\"\\\\\\r\\n{}\\377</script>'",
        "head -c 3000000 /dev/urandom",
    ]);
    let (stdout, _, task) = host.output(json!({}));
    assert_eq!(task["status"], "done");
    assert!(stdout.starts_with("\0\u{1b}[2J\"\\\r\n{}\u{fffd}</script>"));
    // A name with anything in it stays on its line of the log.
    host.post(
        "/pipelines/schedule",
        &json!({"pipeline": "x\nlevel=fatal\u{1b}[2J"}),
    );
    assert!(!host.log().contains('\u{1b}'));
}
