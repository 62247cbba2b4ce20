//! Which crate may use which, and inside `pool` which module: arrows point down only.

use std::collections::BTreeSet;

use crate::plan::{crates, dependencies, manifest, own_modules, sources};

/// The crates from the ground up. Each may use those before it; what stands in one line may not use each other.
const FLOORS: [&[&str]; 7] = [
    &["pace", "scrape"],
    &["terminal", "journal"],
    &["net"],
    &["child"],
    &["git"],
    &["gitlab", "page"],
    &["pool", "guard", "state", "pipelines", "paas"],
];

/// The arrows between crates of one floor: these two work with locks.
const ACROSS: [(&str, &str); 2] = [("guard", "pool"), ("pipelines", "pool")];

/// The modules of `pool`, likewise.
const FLOORS_OF_POOL: [&[&str]; 12] = [
    &["lock", "private"],
    &["message", "operation"],
    &["number"],
    &["ledger", "maker", "marker", "metadata", "metrics", "past"],
    &["matching", "reap", "rules"],
    &["line"],
    &["circles", "queueing"],
    &["attempt", "concourse"],
    &["evidence"],
    &["step"],
    &["show", "view"],
    &["serve"],
];

fn floor_of(floors: &[&[&str]], name: &str) -> usize {
    let floor = floors.iter().position(|floor| floor.contains(&name));
    floor.unwrap_or_else(|| panic!("on which floor is `{name}`?"))
}

#[test]
fn every_arrow_between_crates_points_down() {
    let crates = crates();
    for from in &crates {
        for (to, _) in dependencies(&manifest(&format!("src/{from}")), "dependencies") {
            if !crates.contains(&to) {
                continue;
            }
            let is_down = floor_of(&FLOORS, &to) < floor_of(&FLOORS, from);
            let is_allowed = is_down || ACROSS.contains(&(from.as_str(), to.as_str()));
            assert!(is_allowed, "`{from}` uses `{to}`, which is not below it");
        }
    }
}

#[test]
fn the_page_knows_none_of_those_whom_it_shows() {
    let systems = FLOORS[6];
    if crates().contains(&"page".to_owned()) {
        let used = dependencies(&manifest("src/page"), "dependencies");
        assert!(
            used.iter()
                .all(|(name, _)| !systems.contains(&name.as_str()))
        );
    }
}

#[test]
fn every_arrow_between_the_modules_of_the_pool_points_down() {
    let mut seen = BTreeSet::new();
    for (path, code) in sources("src/pool") {
        let below = path.strip_prefix("src/pool").unwrap();
        let first = below.iter().next().unwrap().to_str().unwrap();
        let from = first.trim_end_matches(".rs");
        if from == "lib" {
            continue;
        }
        seen.insert(from.to_owned());
        for to in own_modules(&code) {
            let is_down = floor_of(&FLOORS_OF_POOL, to) < floor_of(&FLOORS_OF_POOL, from);
            assert!(is_down || to == from, "{} uses `{to}`", path.display());
        }
    }
    let named: BTreeSet<String> = FLOORS_OF_POOL
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(seen, named);
}
