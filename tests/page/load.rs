//! Many viewers at once. `ci/bench page` measures the same, and more, with what is built for use.

use std::thread;

use serde_json::json;
use support::peak::peak_of;

use crate::stage::{Server, until};
use crate::viewers::{Viewer, events_of};

/// How many bytes the log has.
const SIZE: u64 = 30_000_000;

#[test]
fn fifty_viewers_of_a_log_of_30_megabytes_cost_little() {
    let write = "seq -f 'line %.0f of a log that is as long as logs of builds are, with some words in each' 1 1000000 | head -c 30000000";
    let server = Server::start(&format!(
        "pipelines:\n  p: {{tasks: {{t: {{script: [\"echo begun\", \"{}\", \"{write}\", \"echo; echo the very last\"]}}}}}}\n",
        until("go")
    ));
    let id = server.schedule("p", json!({}));
    let viewer = server.viewer();
    let path = format!("/events?id={id}&task=t&from.stdout=1&from.stderr=0&state=0");
    let viewers: Vec<_> = (0..50)
        .map(|_| {
            let (viewer, path) = (viewer.clone(), path.clone());
            thread::spawn(move || viewer.events_until(&path, "the very last"))
        })
        .collect();

    server.go("go");
    let sizes: Vec<usize> = viewers
        .into_iter()
        .map(|viewer| viewer.join().unwrap())
        .collect();

    assert_eq!(server.finished(&id)["completed"], true);
    let file = server.path(&format!(".prunner/logs/{id}/t-stdout.log"));
    assert!(std::fs::metadata(file).unwrap().len() >= SIZE);
    // Everybody has the end; what came too fast was left out.
    assert!(sizes.iter().all(|size| (*size as u64) < SIZE), "{sizes:?}");
    let peak = peak_of(server.pid());
    assert!(peak < 100 * 1024, "{peak} KiB");
}

#[test]
fn a_hundred_viewers_of_a_list_all_hear_of_a_job() {
    let server = Server::start("pipelines:\n  p: {tasks: {}}\n");
    let viewer = server.viewer();
    let before = viewer.page("/").0;
    let events = events_of(&before);
    let viewers: Vec<_> = (0..100)
        .map(|_| {
            let (viewer, events) = (viewer.clone(), events.clone());
            thread::spawn(move || {
                viewer.events_until(&events, "event: changed");
                viewer.page("/").0
            })
        })
        .collect();

    server.done("p", json!({}));

    for viewer in viewers {
        assert!(viewer.join().unwrap().contains("pipeline-p"));
    }
    assert!(server.viewer().page("/").0.contains("succeeded"));
    let peak = peak_of(server.pid());
    assert!(peak < 100 * 1024, "{peak} KiB");
}

#[test]
fn who_goes_away_costs_nothing_more() {
    let server = Server::start(&format!(
        "pipelines:\n  p: {{tasks: {{t: {{script: [\"echo begun\", \"{}\"]}}}}}}\n",
        until("go")
    ));
    let id = server.schedule("p", json!({}));
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
            .unwrap()
            .count()
    };
    let viewer: Viewer = server.viewer();
    let path = format!("/events?id={id}&task=t&from.stdout=0&from.stderr=0");
    viewer.events_until(&path, "begun");
    support::wait_until("the connection is closed", || files() < 60);
    let before = files();

    for _ in 0..50 {
        viewer.events_until(&path, "begun");
    }

    support::wait_until("all connections are closed", || files() <= before + 2);
}
