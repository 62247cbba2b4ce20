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
