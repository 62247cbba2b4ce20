//! Circles by what claims and tickets say.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use super::*;
use crate::message::{Origin, Verb, compose};
use git::Commit;
use git::object::{Entry, Mode, Named, Oid};

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn claim(n: u8) -> ClaimId {
    ClaimId(Oid::from_str(&format!("{n:040x}")).unwrap())
}

/// A claim by a name, or by a build with an id.
fn held(n: u8, who: &str, locks: &[&str], trailers: &[(&str, &str)]) -> Held {
    let origin = Origin {
        prefix: who.to_owned(),
        ..Origin::default()
    };
    let locks: Vec<LockName> = locks.iter().map(|name| lock(name)).collect();
    let trailers = trailers.iter();
    let trailers: Vec<(&str, String)> = trailers
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let message = compose(&origin, Verb::Claiming, &locks, &trailers);
    let commit = Commit {
        message: message.into_bytes(),
        ..commit()
    };
    Held::new(claim(n).0, &commit)
}

fn commit() -> Commit {
    Commit {
        tree: Oid::ZERO_SHA1,
        parents: Vec::new(),
        message: Vec::new(),
        time: 0,
    }
}

fn waiter(n: u64, who: &str, need: Need) -> Waiter {
    Waiter {
        id: format!("{who}-{n}"),
        number: n,
        who: who.to_owned(),
        url: None,
        me: Me::of(&Origin {
            prefix: who.to_owned(),
            ..Origin::default()
        }),
        need,
        since: 1000 + n,
        within: Vec::new(),
        gives_way: false,
    }
}

fn for_lock(name: &str) -> Need {
    Need::Lock(lock(name))
}

fn any(count: usize) -> Need {
    Need::Any(Want {
        count: NonZeroUsize::new(count).unwrap(),
        ..Want::default()
    })
}

/// A pool with its claims and those who wait in its line.
struct Scene {
    pool: Pool,
    claims: BTreeMap<LockName, Held>,
    waiters: Vec<Waiter>,
}

impl Scene {
    fn new(name: &str, held: &[(&str, Held)], free: &[&str], waiters: Vec<Waiter>) -> Scene {
        let file = |name: &&str| Named {
            name: name.as_bytes().to_vec(),
            entry: Entry {
                mode: Mode::File,
                id: Oid::ZERO_SHA1,
            },
        };
        let claimed: Vec<Named> = held.iter().map(|(name, _)| file(name)).collect();
        let free: Vec<Named> = free.iter().map(file).collect();
        Scene {
            pool: Pool::new(PoolName::new(name).unwrap(), &claimed, &free),
            claims: held
                .iter()
                .map(|(name, held)| (lock(name), held.clone()))
                .collect(),
            waiters,
        }
    }
}

fn found(scenes: &[Scene]) -> Vec<Circle> {
    let lines: Vec<Line<'_>> = scenes
        .iter()
        .map(|scene| Line {
            pool: &scene.pool,
            claims: &scene.claims,
            waiters: scene.waiters.clone(),
        })
        .collect();
    circles(&lines, |_, want, lock| {
        want.among.is_empty() || want.among.contains(lock)
    })
}

fn who(circles: &[Circle]) -> Vec<Vec<&str>> {
    circles
        .iter()
        .map(|circle| {
            circle
                .members
                .iter()
                .map(|one| one.waiter.id.as_str())
                .collect()
        })
        .collect()
}

#[test]
fn two_who_hold_what_the_other_one_waits_for_are_in_a_circle_across_pools() {
    let scenes = |second: &str| {
        [
            Scene::new(
                "aws",
                &[("a", held(1, "anna", &["a"], &[]))],
                &[],
                vec![waiter(2, "bob", for_lock("a"))],
            ),
            Scene::new(
                "db",
                &[("b", held(2, second, &["b"], &[]))],
                &[],
                vec![waiter(1, "anna", for_lock("b"))],
            ),
        ]
    };
    assert_eq!(found(&scenes("carl")), []);
    let circles = found(&scenes("bob"));
    assert_eq!(who(&circles), [["anna-1", "bob-2"]]);
    assert_eq!(
        circles[0].shown(),
        "anna waits for `b` in `db` (held by bob); bob waits for `a` in `aws` (held by anna)"
    );
    assert_eq!(circles[0].gives_way(), None);
}

#[test]
fn the_youngest_of_those_who_do_gives_way() {
    let mut waiters = vec![
        waiter(1, "anna", for_lock("b")),
        waiter(2, "bob", for_lock("c")),
        waiter(3, "carl", for_lock("a")),
    ];
    let locks = [("a", "anna"), ("b", "bob"), ("c", "carl")];
    let claims = locks.map(|(lock, who)| (lock, held(1, who, &[lock], &[])));
    let scene = |waiters: &[Waiter]| [Scene::new("aws", &claims, &[], waiters.to_vec())];
    assert_eq!(
        who(&found(&scene(&waiters))),
        [["anna-1", "bob-2", "carl-3"]]
    );
    waiters[0].gives_way = true;
    waiters[1].gives_way = true;
    let circles = found(&scene(&waiters));
    assert_eq!(circles[0].gives_way().unwrap().waiter.who, "bob");
    assert_eq!(circles[0].others_than("bob-2"), ["anna", "carl"]);
}

#[test]
fn a_claim_that_ends_with_a_command_is_kept_only_by_what_waits_inside_of_it() {
    let run = [(message::ENDS_WITH, "command")];
    let scene = |within: Vec<ClaimId>| {
        let inner = Waiter {
            within,
            ..waiter(1, "anna", for_lock("a"))
        };
        [Scene::new(
            "aws",
            &[("a", held(7, "anna", &["a"], &run))],
            &[],
            vec![inner],
        )]
    };
    // In another terminal.
    assert_eq!(found(&scene(Vec::new())), []);
    assert_eq!(found(&scene(vec![claim(8)])), []);
    assert_eq!(who(&found(&scene(vec![claim(8), claim(7)]))), [["anna-1"]]);
    // Without that word it is kept by all of whoever made it.
    let scene = [Scene::new(
        "aws",
        &[("a", held(7, "anna", &["a"], &[]))],
        &[],
        vec![waiter(1, "anna", for_lock("a"))],
    )];
    assert_eq!(
        found(&scene)[0].shown(),
        "anna waits for `a` in `aws` (held by anna)"
    );
}

#[test]
fn a_build_is_known_by_its_id_in_all_of_its_steps() {
    let origin = |id: &str| Origin {
        prefix: format!("ops/web/deploy build {id}"),
        url: Some(format!("https://ci.example.com/builds/{id}")),
        build_id: Some(id.to_owned()),
        instance_vars: None,
    };
    let held = |id: &str, name: &str| {
        let trailers = [(message::BUILD, id.to_owned())];
        let message = compose(&origin(id), Verb::Claiming, &[lock(name)], &trailers);
        let commit = Commit {
            message: message.into_bytes(),
            ..commit()
        };
        Held::new(claim(1).0, &commit)
    };
    let waits = |n: u64, id: &str, name: &str| Waiter {
        me: Me::of(&origin(id)),
        ..waiter(n, id, for_lock(name))
    };
    let scene = |other: &str| {
        [Scene::new(
            "aws",
            &[("a", held("1", "a")), ("b", held("2", "b"))],
            &[],
            // The first one waits in two of its steps.
            vec![waits(1, "1", "c"), waits(2, "1", "b"), waits(3, other, "a")],
        )]
    };
    assert_eq!(who(&found(&scene("3"))), Vec::<Vec<&str>>::new());
    assert_eq!(who(&found(&scene("2"))), [["1-2", "2-3"]]);
}

#[test]
fn a_free_lock_that_is_kept_for_a_waiter_for_several_is_an_obstacle_too() {
    let scene = |free: &[&str]| {
        [Scene::new(
            "aws",
            &[("a", held(1, "bob", &["a"], &[]))],
            free,
            vec![waiter(1, "anna", any(2)), waiter(2, "bob", any(1))],
        )]
    };
    let circles = found(&scene(&["b"]));
    assert_eq!(
        circles[0].shown(),
        "anna waits for any 2 locks in `aws` (`a` is held by bob); bob waits for any lock in `aws` (`a` is held by bob, `b` is kept for anna)"
    );
    assert_eq!(found(&scene(&["b", "c"])), []);
}

#[test]
fn locks_of_whose_holder_nothing_is_known_come_free_some_day() {
    let mut scene = Scene::new(
        "aws",
        &[("a", held(1, "anna", &["a"], &[]))],
        &[],
        vec![waiter(1, "anna", for_lock("a"))],
    );
    scene.claims.clear();
    assert_eq!(found(&[scene]), []);
}

/// One who waits for locks of two pools stands in both lines with the same ticket.
fn in_two_lines(n: u64, who: &str, needs: [Need; 2]) -> [Waiter; 2] {
    needs.map(|need| waiter(n, who, need))
}

#[test]
fn who_needs_locks_of_two_pools_goes_on_only_with_both() {
    let [in_aws, in_db] = in_two_lines(1, "ann", [for_lock("a"), for_lock("b")]);
    // Ann could have the one, and holds what bob waits for, who holds the other.
    let aws = Scene::new("aws", &[], &["a"], vec![in_aws.clone()]);
    let db = Scene::new(
        "db",
        &[("b", held(1, "bob", &["b"], &[]))],
        &[],
        vec![in_db.clone()],
    );
    let net = Scene::new(
        "net",
        &[("c", held(2, "ann", &["c"], &[]))],
        &[],
        vec![waiter(2, "bob", for_lock("c"))],
    );
    assert_eq!(who(&found(&[aws, db, net])), [["ann-1", "bob-2"]]);

    // Where both are free for her, or come free, nobody is stuck.
    let aws = Scene::new("aws", &[], &["a"], vec![in_aws]);
    let db = Scene::new(
        "db",
        &[("b", held(1, "eve", &["b"], &[]))],
        &[],
        vec![in_db],
    );
    let net = Scene::new(
        "net",
        &[("c", held(2, "ann", &["c"], &[]))],
        &[],
        vec![waiter(2, "bob", for_lock("c"))],
    );
    assert_eq!(found(&[aws, db, net]), []);
}

#[test]
fn a_lock_that_is_kept_for_one_who_is_first_elsewhere_is_in_the_way_of_those_behind() {
    let behind = waiter(2, "bob", for_lock("a"));
    let scenes = |before: Option<Waiter>| {
        let [in_aws, in_db] = in_two_lines(1, "ann", [for_lock("a"), for_lock("b")]);
        let aws = Scene::new("aws", &[], &["a"], vec![in_aws, behind.clone()]);
        let line = before.into_iter().chain([in_db]).collect();
        let db = Scene::new("db", &[("b", held(1, "bob", &["b"], &[]))], &[], line);
        [aws, db]
    };
    assert_eq!(who(&found(&scenes(None))), [["ann-1", "bob-2"]]);

    // Behind somebody else there she lets bob pass, who then gives back what she waits for.
    let before = waiter(0, "eve", any(1));
    assert_eq!(found(&scenes(Some(before))), []);
}
