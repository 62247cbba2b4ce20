#![allow(clippy::unwrap_used)]

use super::*;

fn read_with(variables: &[(&str, &str)], of_the_command: Option<&str>) -> Result<Settings> {
    let place = PlaceArgs {
        uri: Some("https://git.example.com/locks.git".to_owned()),
        pool: Some("aws".to_owned()),
        // Nobody's own settings.
        config: Some("/dev/null".into()),
        ..PlaceArgs::default()
    };
    let env = Environment::of(variables);
    read(
        &place,
        &Scope::One,
        &env,
        &Origin::default(),
        of_the_command,
    )
}

#[test]
fn how_long_faults_are_borne_with_goes_by_the_command_only_where_nothing_is_set() {
    let limit = |variables: &[(&str, &str)], of_the_command| {
        let settings = read_with(variables, of_the_command).unwrap();
        settings.source.fault_timeout.as_secs()
    };

    assert_eq!(limit(&[], None), 300);
    assert_eq!(limit(&[], Some("20s")), 20);
    assert_eq!(limit(&[("POOL_FAULT_TIMEOUT", "7s")], Some("20s")), 7);
}
