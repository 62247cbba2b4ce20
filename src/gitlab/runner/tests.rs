#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn what_is_said_of_a_machine_names_what_it_offers_and_what_it_lacks() {
    let machine = Machine {
        system_id: "r_1".to_owned(),
        name: "n".to_owned(),
        version: "1".to_owned(),
        revision: "r".to_owned(),
        platform: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        executor: "docker".to_owned(),
        shell: "bash".to_owned(),
        features: Features {
            offered: &["image", "services"],
            lacking: &["terminal"],
        },
    };

    let info = machine.info();

    assert_eq!(
        info["features"],
        json!({"image": true, "services": true, "terminal": false})
    );
    assert_eq!(info["executor"], "docker");
}

#[test]
fn a_job_that_was_given_shows_nothing_of_itself() {
    let granted = Granted {
        payload: Secret::new("MARKER".to_owned()),
    };

    assert_eq!(format!("{:?}", granted.payload), "***");
}

fn nobody() -> Machine {
    Machine {
        system_id: "r_1".to_owned(),
        name: String::new(),
        version: String::new(),
        revision: String::new(),
        platform: String::new(),
        architecture: String::new(),
        executor: String::new(),
        shell: String::new(),
        features: Features {
            offered: &[],
            lacking: &[],
        },
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_is_waited_for_no_longer_than_there_are_limits() {
    // Connections are made, and nobody takes them.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let home = format!("http://{}", listener.local_addr().unwrap());
    let api = ApiUrl::of_home(&home).unwrap();
    let coordinator = Coordinator::new(&api, &Route::default()).unwrap();
    let machine = nobody();
    let began = tokio::time::Instant::now();

    let asked = coordinator.request_job("MARKER", &machine, None).await;

    let err = asked.err().unwrap();
    assert!(pace::Fault::is_transient(&err), "{err}");
    assert!(!terminal::chain(&err).contains("MARKER"));
    assert!(began.elapsed() <= LONG_POLL, "{:?}", began.elapsed());
    let began = tokio::time::Instant::now();
    assert!(coordinator.progress("MARKER").await.is_err());
    assert!(
        coordinator
            .report_failure(1, "MARKER", &machine)
            .await
            .is_err()
    );
    assert!(coordinator.add_to_trace(1, "MARKER", 0, "x").await.is_err());
    assert!(began.elapsed() <= 3 * LIMIT, "{:?}", began.elapsed());
}
