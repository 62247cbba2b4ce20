//! Repositories as no tool of ours makes them: every step comes to an end, says what is wrong or does what it was asked
//! for, and leaves everything else as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use git2::{ObjectType, Oid, Repository};
use pool::lock::LockName;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use support::fuzz::cases;
use support::server::daemon::GitDaemon;
use support::server::http::HttpServer;
use support::{Answer, Step, TestRemote};

/// What a step may take of the memory, in kilobytes, where no object is large.
const MOST_MEMORY: usize = 100 * 1024;

/// An entry of a tree: mode, name and object.
type Raw = (u32, Vec<u8>, Oid);

/// A folder of the repository that is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Claimed,
    Unclaimed,
    Pool,
    Root,
}

const PLACES: [Place; 4] = [Place::Claimed, Place::Unclaimed, Place::Pool, Place::Root];

/// What stands under a name.
#[derive(Debug, Clone, Copy)]
enum Thing {
    /// A blob with a mode, whether or not Git has it.
    File(u32),
    /// A folder with a file in it.
    Folder,
    /// A folder without anything in it.
    Empty,
    /// So many folders in each other.
    Deep(usize),
    /// A commit of another repository.
    Submodule,
    /// A blob that is said to be a folder.
    FileAsFolder,
    /// A folder that is said to be a file.
    FolderAsFile,
}

/// How a branch came to its head.
#[derive(Debug, Clone, Copy)]
enum Past {
    /// So many commits, each a merge of an own one.
    Merges(usize),
    /// Two lines that merge each other again and again.
    CrissCross(usize),
    /// One commit with so many parents.
    Octopus(usize),
    /// A commit that names its parent several times.
    SameParents,
    /// A branch that was merged in, with the claim of `held` on its side.
    Side,
}

/// What is odd about a commit.
#[derive(Debug, Clone)]
enum Odd {
    /// A message with these bytes, so many times.
    Message(&'static [u8], usize),
    /// A committer's time.
    Time(&'static str),
    NoAuthor,
    NoCommitter,
    NoMessage,
    /// Lines of the header that nobody knows.
    Headers(usize),
}

/// A name, of any bytes.
#[derive(Clone)]
struct Name(Vec<u8>);

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// One thing that makes a repository hostile.
#[derive(Debug, Clone)]
enum Ingredient {
    /// A name in a folder.
    Entry(Place, Name, Thing),
    /// So many files in a folder.
    Crowd(Place, usize),
    /// A folder's entries in the wrong order.
    Unordered(Place),
    /// Something else, or nothing, where `claimed` or `unclaimed` should be.
    Instead(Place, Option<Thing>),
    /// Something else where the pool should be.
    PoolIs(Thing),
    /// How the branch came to its head.
    Past(Past),
    /// An odd commit before the head.
    Before(Odd),
    /// An odd head.
    Head(Odd),
    /// So many more refs.
    Refs(usize),
    /// What the branch points to, when it is no commit.
    BranchIs(ObjectType),
}

/// A repository in the making.
struct Shape {
    repository: Repository,
    folders: BTreeMap<u8, Vec<Raw>>,
    unordered: Vec<Place>,
    instead: Vec<(Place, Option<Raw>)>,
    pool_is: Option<Raw>,
    past: Vec<Past>,
    before: Vec<Odd>,
    head: Vec<Odd>,
    refs: usize,
    branch_is: Option<ObjectType>,
}

/// A repository that was made, with the commit that claimed `held` in it.
struct Hostile {
    remote: TestRemote,
    claim: String,
    head: String,
    /// Whether a tree calls an object what it is not. What Git finds wrong then depends on what it looks at first.
    mislabelled: bool,
}

impl Shape {
    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.repository.odb().unwrap().write(kind, bytes).unwrap()
    }

    fn blob(&self, text: &[u8]) -> Oid {
        self.write(ObjectType::Blob, text)
    }

    fn tree(&self, entries: &[Raw]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.write(ObjectType::Tree, &bytes)
    }

    fn thing(&self, name: &[u8], thing: Thing) -> Raw {
        let file = (0o100_644, b"file".to_vec(), self.blob(b"deep"));
        let (mode, id) = match thing {
            Thing::File(mode) => (mode, self.blob(b"odd")),
            Thing::Folder => (0o40_000, self.tree(&[file])),
            Thing::Empty => (0o40_000, self.tree(&[])),
            Thing::Deep(levels) => {
                let mut tree = self.tree(&[file]);
                for _ in 0..levels {
                    tree = self.tree(&[(0o40_000, b"d".to_vec(), tree)]);
                }
                (0o40_000, tree)
            }
            Thing::Submodule => (0o160_000, Oid::from_bytes(&[7; 20]).unwrap()),
            Thing::FileAsFolder => (0o40_000, self.blob(b"odd")),
            Thing::FolderAsFile => (0o100_644, self.tree(&[file])),
        };
        (mode, name.to_vec(), id)
    }

    fn add(&mut self, ingredient: &Ingredient) {
        match ingredient {
            Ingredient::Entry(place, name, thing) => {
                let entry = self.thing(&name.0, *thing);
                self.folders.entry(*place as u8).or_default().push(entry);
            }
            Ingredient::Crowd(place, n) => {
                let id = self.blob(b"one of many");
                let crowd = (0..*n).map(|n| (0o100_644, format!("n-{n}").into_bytes(), id));
                self.folders.entry(*place as u8).or_default().extend(crowd);
            }
            Ingredient::Unordered(place) => self.unordered.push(*place),
            Ingredient::Instead(place, thing) => {
                let name = if *place == Place::Claimed {
                    &b"claimed"[..]
                } else {
                    b"unclaimed"
                };
                let thing = thing.map(|thing| self.thing(name, thing));
                self.instead.push((*place, thing));
            }
            Ingredient::PoolIs(thing) => self.pool_is = Some(self.thing(b"aws", *thing)),
            Ingredient::Past(past) => self.past.push(*past),
            Ingredient::Before(odd) => self.before.push(odd.clone()),
            Ingredient::Head(odd) => self.head.push(odd.clone()),
            Ingredient::Refs(n) => self.refs += n,
            Ingredient::BranchIs(kind) => self.branch_is = Some(*kind),
        }
    }

    /// A folder with what every repository has and what was added to it.
    fn folder(&self, place: Place, ordinary: Vec<Raw>) -> Oid {
        let mut entries = ordinary;
        entries.extend(
            self.folders
                .get(&(place as u8))
                .into_iter()
                .flatten()
                .cloned(),
        );
        entries.sort_by_key(|(mode, name, _)| {
            let slash = if *mode == 0o40_000 { &b"/"[..] } else { b"" };
            [name, slash].concat()
        });
        if self.unordered.contains(&place) {
            entries.reverse();
        }
        self.tree(&entries)
    }

    /// The files, with `held` free or claimed. Two more locks are free.
    fn files(&self, held_is_free: bool) -> Oid {
        let file = |name: &str| {
            (
                0o100_644,
                name.as_bytes().to_vec(),
                self.blob(format!("metadata of {name}").as_bytes()),
            )
        };
        let keep = (0o100_644, b".gitkeep".to_vec(), self.blob(b""));
        let mut free = vec![keep.clone(), file("env-1"), file("env-2")];
        let mut claimed = vec![keep];
        if held_is_free {
            &mut free
        } else {
            &mut claimed
        }
        .push(file("held"));
        let mut pool = Vec::new();
        for (place, name, entries) in [
            (Place::Claimed, "claimed", claimed),
            (Place::Unclaimed, "unclaimed", free),
        ] {
            match self.instead.iter().find(|(instead, _)| *instead == place) {
                Some((_, instead)) => pool.extend(instead.clone()),
                None => pool.push((
                    0o40_000,
                    name.as_bytes().to_vec(),
                    self.folder(place, entries),
                )),
            }
        }
        let pool = self.folder(Place::Pool, pool);
        let pool = self
            .pool_is
            .clone()
            .unwrap_or((0o40_000, b"aws".to_vec(), pool));
        self.folder(Place::Root, vec![pool])
    }

    fn commit(&self, tree: Oid, parents: &[Oid], subject: &str, odd: &[Odd]) -> Oid {
        let mut message = format!("{subject}\n").into_bytes();
        let (mut author, mut committer, mut more) = (true, true, String::new());
        let mut time = "1600000000 +0000";
        for odd in odd {
            match odd {
                Odd::Message(bytes, times) => message.extend(bytes.repeat(*times)),
                Odd::Time(odd) => time = odd,
                Odd::NoAuthor => author = false,
                Odd::NoCommitter => committer = false,
                Odd::NoMessage => message.clear(),
                Odd::Headers(n) => more = "x-unknown: x\n y\n".repeat(*n),
            }
        }
        let mut bytes = format!("tree {tree}\n");
        for parent in parents {
            bytes += &format!("parent {parent}\n");
        }
        if author {
            bytes += &format!("author Hand <hand@example.com> {time}\n");
        }
        if committer {
            bytes += &format!("committer Hand <hand@example.com> {time}\n");
        }
        bytes += &more;
        let end = if message.is_empty() { &b""[..] } else { b"\n" };
        self.write(
            ObjectType::Commit,
            &[bytes.as_bytes(), end, &message].concat(),
        )
    }

    /// Commits `past` on top of `on`, with the same files.
    fn past(&self, past: Past, tree: Oid, on: Oid) -> Oid {
        let commit = |parents: &[Oid], subject: &str| self.commit(tree, parents, subject, &[]);
        match past {
            Past::Merges(n) => (0..n).fold(on, |on, n| {
                let side = commit(&[on], &format!("side {n}"));
                commit(&[on, side], &format!("merge {n}"))
            }),
            Past::CrissCross(n) => {
                let (mut a, mut b) = (commit(&[on], "a"), commit(&[on], "b"));
                for n in 0..n {
                    (a, b) = (
                        commit(&[a, b], &format!("a {n}")),
                        commit(&[b, a], &format!("b {n}")),
                    );
                }
                commit(&[a, b], "both")
            }
            Past::Octopus(n) => {
                let sides = (0..n).map(|n| commit(&[on], &format!("arm {n}")));
                commit(
                    &[on].into_iter().chain(sides).collect::<Vec<_>>(),
                    "octopus",
                )
            }
            Past::SameParents => commit(&[on, on, on], "three times the same"),
            Past::Side => on,
        }
    }
}

impl Hostile {
    fn of(ingredients: &[Ingredient]) -> Hostile {
        let remote = TestRemote::empty("main");
        let mut shape = Shape {
            repository: Repository::open_bare(remote.path()).unwrap(),
            folders: BTreeMap::new(),
            unordered: Vec::new(),
            instead: Vec::new(),
            pool_is: None,
            past: Vec::new(),
            before: Vec::new(),
            head: Vec::new(),
            refs: 0,
            branch_is: None,
        };
        for ingredient in ingredients {
            shape.add(ingredient);
        }
        let (before, after) = (shape.files(true), shape.files(false));
        let first = shape.commit(before, &[], "pool aws", &shape.before);
        let claim = shape.commit(after, &[first], "claiming: held", &shape.before);
        let mut on = claim;
        for past in &shape.past {
            on = match past {
                Past::Side => {
                    let main = shape.commit(before, &[first], "meanwhile", &[]);
                    shape.commit(after, &[main, on], "merge of a side", &[])
                }
                past => shape.past(*past, after, on),
            };
        }
        let head = shape.commit(after, &[on], "head", &shape.head);
        let tip = match shape.branch_is {
            None | Some(ObjectType::Commit) => head,
            Some(ObjectType::Tree) => after,
            Some(ObjectType::Tag) => {
                let tag =
                    format!("object {head}\ntype commit\ntag v1\ntagger A <a@x> 1 +0000\n\ntag\n");
                shape.write(ObjectType::Tag, tag.as_bytes())
            }
            Some(_) => shape.blob(b"branch"),
        };
        // As a file: Git itself would not make a branch of what is no commit.
        let refs = remote.path().join("refs");
        std::fs::write(refs.join("heads/main"), format!("{tip}\n")).unwrap();
        let odd_refs = [
            ("tags/blob", shape.blob(b"x")),
            ("odd/tree", after),
            ("heads/other", head),
        ];
        let mut packed = String::from("# pack-refs with: sorted \n");
        for n in 0..shape.refs {
            packed += &format!("{} refs/heads/x/{n:06}\n", odd_refs[n % 3].1);
        }
        if shape.refs > 0 {
            std::fs::write(remote.path().join("packed-refs"), packed).unwrap();
            for (name, id) in odd_refs {
                let file = refs.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, format!("{id}\n")).unwrap();
            }
        }
        let mislabelled = ingredients.iter().any(|ingredient| {
            let (Ingredient::Entry(_, _, thing)
            | Ingredient::PoolIs(thing)
            | Ingredient::Instead(_, Some(thing))) = ingredient
            else {
                return false;
            };
            matches!(thing, Thing::FileAsFolder | Thing::FolderAsFile)
        });
        Hostile {
            mislabelled,
            claim: claim.to_string(),
            head: head.to_string(),
            remote,
        }
    }

    /// What the branch points to.
    fn tip(&self) -> String {
        let text = std::fs::read_to_string(self.remote.path().join("refs/heads/main")).unwrap();
        text.trim().to_owned()
    }

    /// What is wrong with it in Git's eyes, without the objects' ids.
    fn faults(&self) -> BTreeSet<String> {
        let output = support::git::run(self.remote.path(), &["fsck", "--no-dangling"], b"", &[]);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let without_ids = |line: &str| {
            let words = line.split(' ').filter(|word| {
                !word
                    .trim_end_matches(':')
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit())
            });
            words.collect::<Vec<_>>().join(" ")
        };
        text.lines()
            .map(without_ids)
            .filter(|line| !line.contains("hecking"))
            .collect()
    }

    /// The folders at the branch's head, read without any library.
    fn view(&self) -> Option<View> {
        let repository = Repository::open_bare(self.remote.path()).unwrap();
        let odb = repository.odb().unwrap();
        let tip = odb.read(self.tip().parse().ok()?).ok()?;
        let text = String::from_utf8_lossy(tip.data()).into_owned();
        let root = text.strip_prefix("tree ")?.get(..40)?.parse().ok()?;
        let root = entries(&odb, root)?;
        let folder = |entries: &[Raw], name: &[u8]| {
            let (_, _, id) = entries
                .iter()
                .find(|(mode, other, _)| *mode == 0o40_000 && other == name)?;
            crate::hostile::entries(&odb, *id)
        };
        let pool = folder(&root, b"aws").unwrap_or_default();
        let [claimed, unclaimed] =
            [&b"claimed"[..], b"unclaimed"].map(|name| folder(&pool, name).unwrap_or_default());
        Some(View {
            root,
            pool,
            claimed,
            unclaimed,
        })
    }
}

/// The entries of a tree in their order; `None` where it is none.
fn entries(odb: &git2::Odb<'_>, tree: Oid) -> Option<Vec<Raw>> {
    let object = odb
        .read(tree)
        .ok()
        .filter(|object| object.kind() == ObjectType::Tree)?;
    let mut bytes = object.data();
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let nul = bytes.iter().position(|byte| *byte == 0)?;
        let mode = u32::from_str_radix(std::str::from_utf8(&bytes[..space]).ok()?, 8).ok()?;
        entries.push((
            mode,
            bytes[space + 1..nul].to_vec(),
            Oid::from_bytes(&bytes[nul + 1..nul + 21]).ok()?,
        ));
        bytes = &bytes[nul + 21..];
    }
    Some(entries)
}

/// The folders that a change may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    root: Vec<Raw>,
    pool: Vec<Raw>,
    claimed: Vec<Raw>,
    unclaimed: Vec<Raw>,
}

impl View {
    /// The locks that may be granted: files in `unclaimed/`, and nowhere and nothing else.
    fn free(&self) -> Vec<String> {
        let named = |folder: &[Raw], name: &[u8]| {
            folder.iter().filter(|(_, other, _)| other == name).count()
        };
        let free = self.unclaimed.iter().filter(|(mode, name, _)| {
            matches!(mode & 0o170_000, 0o100_000 | 0o120_000)
                && named(&self.unclaimed, name) == 1
                && named(&self.claimed, name) == 0
        });
        free.filter_map(|(_, name, _)| String::from_utf8(name.clone()).ok())
            .filter(|name| LockName::new(name).is_ok())
            .collect()
    }

    /// Everything but one lock and what keeps the folders.
    fn without(&self, lock: &str) -> View {
        let kept = |entries: &[Raw], left_out: &[&str]| {
            let kept = entries.iter().filter(|(_, name, _)| {
                !left_out.iter().any(|left_out| left_out.as_bytes() == name)
            });
            let mut kept: Vec<Raw> = kept.cloned().collect();
            kept.sort();
            kept
        };
        View {
            root: kept(&self.root, &["aws"]),
            pool: kept(&self.pool, &["claimed", "unclaimed"]),
            claimed: kept(&self.claimed, &[lock, ".gitkeep"]),
            unclaimed: kept(&self.unclaimed, &[lock, ".gitkeep"]),
        }
    }

    fn keeps(&self) -> Vec<&Raw> {
        let all = self.claimed.iter().chain(&self.unclaimed);
        all.filter(|(_, name, _)| name == b".gitkeep").collect()
    }
}

/// Runs a program, and asserts what holds for every run on every repository.
fn run(step: &Step, program: &str, folder: &Path, mut request: Value) -> Answer {
    request["source"] = step.source().clone();
    let args = if program == "check" {
        vec![]
    } else {
        vec![folder.as_os_str().to_owned()]
    };
    let (answer, kilobytes) = step.run_measured(program, &args, request.to_string().as_bytes());
    let said = format!(
        "{program} {request}: {:?}, {}, {}",
        answer.code, answer.stdout, answer.stderr
    );

    assert!(!answer.stderr.contains("panicked"), "{said}");
    assert!(answer.stderr.len() < 64 * 1024, "{said}");
    for line in answer.stderr.lines() {
        assert!(!line.contains(char::is_control), "{said}");
        let starts = [
            "error: ",
            "warning: ",
            "waiting ",
            "note: ",
            // The result.
            "claimed `",
            "released `",
            "removed `",
            "added `",
            "updated `",
            "nothing to do: `",
            "`",
        ];
        assert!(starts.iter().any(|start| line.starts_with(start)), "{said}");
    }
    match answer.code {
        Some(0) => assert!(!answer.json().is_null(), "{said}"),
        Some(1) => {
            assert_eq!(answer.stdout, "", "{said}");
            assert!(
                answer
                    .stderr
                    .lines()
                    .any(|line| line.starts_with("error: ")),
                "{said}"
            );
        }
        _ => panic!("{said}"),
    }
    assert!(kilobytes < MOST_MEMORY, "{kilobytes} KB for {said}");
    answer
}

/// A put, and what it may have changed.
fn put(hostile: &Hostile, step: &Step, inputs: &Path, params: Value) -> Option<Answer> {
    let (tip, before) = (hostile.tip(), hostile.view());
    let mut params = params;
    params["try"] = json!(true);

    let answer = run(step, "out", inputs, json!({ "params": params }));

    if answer.code != Some(0) {
        assert_eq!(
            hostile.tip(),
            tip,
            "{params} failed, and changed something: {}",
            answer.stderr
        );
        return None;
    }
    let lock = answer.lock();
    let (before, after) = (before.unwrap(), hostile.view().unwrap());
    if hostile.tip() == tip {
        assert!(
            params.get("acquire").is_none() && params.get("claim").is_none(),
            "{params} did nothing"
        );
        return Some(answer);
    }
    assert_eq!(answer.version(), hostile.tip());
    assert_eq!(hostile.remote.parents(&hostile.tip()), [tip]);
    assert_eq!(
        after.without(&lock),
        before.without(&lock),
        "{params} changed something else"
    );
    assert!(
        before
            .keeps()
            .iter()
            .all(|keep| after.keeps().contains(keep)),
        "{params} took a .gitkeep"
    );
    if params.get("acquire").is_some() || params.get("claim").is_some() {
        assert!(before.free().contains(&lock), "{lock} was not free");
        assert!(!after.free().contains(&lock), "{lock} is free still");
        let is_lock = |raw: &&Raw| raw.1 == lock.as_bytes();
        // Of the modes that a file can have only those are written that Git has.
        let file = |raw: &Raw| {
            let mode = match raw.0 {
                0o120_000 => 0o120_000,
                mode if mode & 0o111 != 0 => 0o100_755,
                _ => 0o100_644,
            };
            (mode, raw.2)
        };
        assert_eq!(
            after.claimed.iter().find(is_lock).map(file),
            before.unclaimed.iter().find(is_lock).map(file)
        );
    }
    Some(answer)
}

/// A step on a repository by its path. A server that fails is not tried again.
fn step_on(hostile: &Hostile) -> Step {
    Step::on(&hostile.remote, "aws").set("fault_timeout", "1ns")
}

/// Runs a check, a get of the claim of `held` and an acquire, and gives the answers of those that succeeded.
fn survives_in_short(hostile: &Hostile, step: &Step, inputs: &Path) -> [Option<Answer>; 3] {
    let good = |answer: Answer| Some(answer).filter(|answer| answer.code == Some(0));
    [
        good(run(step, "check", inputs, json!({}))),
        good(run(
            step,
            "in",
            &step.folder(),
            json!({"version": {"ref": hostile.claim}}),
        )),
        put(hostile, step, inputs, json!({"acquire": true})),
    ]
}

/// Runs every step and operation, and gives the answers of [`survives_in_short`].
fn survives(hostile: &Hostile, step: &Step) -> [Option<Answer>; 3] {
    let faults = hostile.faults();
    let inputs = step.folder();
    let lock = |name: &str, metadata: &str| {
        let folder = inputs.join("lock");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("name"), name).unwrap();
        std::fs::write(folder.join("metadata"), metadata).unwrap();
    };

    let answers = survives_in_short(hostile, step, &inputs);
    if let Some(acquired) = &answers[2] {
        let version = json!({"version": {"ref": acquired.version()}});
        let got = run(step, "in", &inputs.join("got"), version);
        assert_eq!(got.lock(), acquired.lock());
        let released = put(hostile, step, &inputs, json!({"release": "got"}));
        assert_eq!(released.unwrap().lock(), acquired.lock());
    }
    for version in [&hostile.claim, &hostile.head] {
        run(step, "check", &inputs, json!({"version": {"ref": version}}));
    }
    run(
        step,
        "in",
        &step.folder(),
        json!({"version": {"ref": hostile.tip()}}),
    );
    put(hostile, step, &inputs, json!({"claim": "held"}));
    put(hostile, step, &inputs, json!({"claim": "env-2"}));
    lock("env-2", "");
    put(hostile, step, &inputs, json!({"remove": "lock"}));
    lock("env-1", "new");
    put(hostile, step, &inputs, json!({"update": "lock"}));
    lock("new", "new");
    put(hostile, step, &inputs, json!({"add": "lock"}));
    lock("held", "");
    put(hostile, step, &inputs, json!({"release": "lock"}));

    let new: Vec<String> = hostile.faults().difference(&faults).cloned().collect();
    assert!(
        hostile.mislabelled || new.is_empty(),
        "Git finds more to complain about than before: {new:?}"
    );
    answers
}

fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "env-1",
        "env-2",
        "held",
        "ENV-1",
        "env-1.x",
        ".git",
        ".GIT",
        "..",
        ".",
        ".gitkeep",
        ".gitmodules",
        "git~1",
        "GIT~1 ",
        "a/b",
        "../x",
        "/",
        "\\",
        "claimed",
        "unclaimed",
        "aws",
        "-rf",
        "con",
        "a\nb",
        "\u{1b}[2J",
        "\u{7f}",
        " ",
        "\u{200c}.git",
        "\u{202e}x",
        "e\u{301}nv",
        "\u{e9}nv",
        "error: x",
        "*",
        "$(id)",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec();
    names.extend([
        b" a".to_vec(),
        b"a ".to_vec(),
        "a\u{a0}".as_bytes().to_vec(),
        b"\xff\xfe".to_vec(),
        b"caf\xe9".to_vec(),
        vec![b'x'; 255],
        vec![b'x'; 256],
        vec![b'x'; 5000],
        "\u{e9}".repeat(200).into_bytes(),
    ]);
    names
}

const THINGS: [Thing; 15] = [
    Thing::File(0o100_644),
    Thing::File(0o100_755),
    Thing::File(0o100_664),
    Thing::File(0o100_600),
    Thing::File(0o120_000),
    Thing::File(0),
    Thing::File(0o777),
    Thing::File(0o100_777),
    Thing::Folder,
    Thing::Empty,
    Thing::Deep(40),
    Thing::Submodule,
    Thing::FileAsFolder,
    Thing::FolderAsFile,
    Thing::File(0o170_000),
];

const PASTS: [Past; 5] = [
    Past::Merges(40),
    Past::CrissCross(30),
    Past::Octopus(20),
    Past::SameParents,
    Past::Side,
];

fn odds() -> Vec<Odd> {
    vec![
        Odd::Message(b"x", 300_000),
        Odd::Message(b"\n", 100_000),
        Odd::Message(b"a\0b", 3),
        Odd::Message(b"\xff\x1b[2J\r", 3),
        Odd::Message(b"claiming: ", 2000),
        Odd::Message(b"\n\nPool-Claim: x", 1000),
        Odd::Time("0 +0000"),
        Odd::Time("-1 +0000"),
        Odd::Time("253402300800 +0000"),
        Odd::Time("9223372036854775807 +0000"),
        Odd::Time("99999999999999999999999 +9999"),
        Odd::Time("x"),
        Odd::NoAuthor,
        Odd::NoCommitter,
        Odd::NoMessage,
        Odd::Headers(2000),
    ]
}

fn ingredients() -> impl Strategy<Value = Vec<Ingredient>> {
    let place = || prop::sample::select(PLACES.to_vec());
    let thing = || prop::sample::select(THINGS.to_vec());
    let odd = || prop::sample::select(odds());
    let half = prop::sample::select(vec![Place::Claimed, Place::Unclaimed]);
    let kind = prop::sample::select(vec![ObjectType::Tag, ObjectType::Blob, ObjectType::Tree]);
    let ingredient = prop_oneof![
        12 => (place(), prop::sample::select(names()), thing()).prop_map(|(place, name, thing)| Ingredient::Entry(place, Name(name), thing)),
        2 => (place(), 1..1500_usize).prop_map(|(place, n)| Ingredient::Crowd(place, n)),
        2 => place().prop_map(Ingredient::Unordered),
        1 => (half, prop::option::of(thing())).prop_map(|(place, thing)| Ingredient::Instead(place, thing)),
        1 => thing().prop_map(Ingredient::PoolIs),
        3 => prop::sample::select(PASTS.to_vec()).prop_map(Ingredient::Past),
        2 => odd().prop_map(Ingredient::Before),
        2 => odd().prop_map(Ingredient::Head),
        1 => (1..2000_usize).prop_map(Ingredient::Refs),
        1 => kind.prop_map(Ingredient::BranchIs),
    ];
    prop::collection::vec(ingredient, 1..7)
}

#[test]
fn any_mixture_of_oddities_is_survived() {
    let tested = TestRunner::new(cases(24)).run(&ingredients(), |ingredients| {
        let hostile = Hostile::of(&ingredients);
        survives(&hostile, &step_on(&hostile));
        Ok(())
    });

    tested.unwrap();
}

/// An entry beside the ordinary ones.
fn entry(place: Place, name: &str, thing: Thing) -> Ingredient {
    Ingredient::Entry(place, Name(name.as_bytes().to_vec()), thing)
}

/// Runs every step, all of which must do what they are asked for.
fn is_served(ingredients: &[Ingredient]) -> Hostile {
    let hostile = Hostile::of(ingredients);
    for answer in survives(&hostile, &step_on(&hostile)) {
        assert!(answer.is_some(), "{ingredients:?}");
    }
    hostile
}

/// Runs every step; an acquire fails with these words.
fn is_refused(ingredients: &[Ingredient], words: &[&str]) -> Hostile {
    let hostile = Hostile::of(ingredients);
    let step = step_on(&hostile);
    let [_, _, acquired] = survives_in_short(&hostile, &step, &step.folder());
    assert!(acquired.is_none(), "{ingredients:?}");
    step.put(json!({"acquire": true, "try": true}))
        .assert_failed(words);
    hostile
}

#[test]
fn a_repository_without_oddities_is_served() {
    is_served(&[]).remote.fsck();
}

#[test]
fn oddities_are_survived_over_http_as_well() {
    for ingredients in [
        vec![
            entry(Place::Unclaimed, "..", Thing::File(0o100_644)),
            Ingredient::Entry(Place::Unclaimed, Name(b"\xff".to_vec()), Thing::Submodule),
            Ingredient::Past(Past::CrissCross(30)),
            Ingredient::Head(Odd::Message(b"\xff\x1b[2J\r", 3)),
            Ingredient::Refs(5000),
        ],
        vec![Ingredient::BranchIs(ObjectType::Tag)],
        vec![Ingredient::Instead(
            Place::Claimed,
            Some(Thing::File(0o100_644)),
        )],
    ] {
        let hostile = Hostile::of(&ingredients);
        let server = HttpServer::start(hostile.remote.root());

        survives(&hostile, &step_on(&hostile).set("uri", server.uri()));
    }
}

#[test]
fn folders_with_thousands_of_entries_are_served() {
    is_served(&[
        Ingredient::Crowd(Place::Unclaimed, 5000),
        Ingredient::Crowd(Place::Pool, 5000),
        Ingredient::Crowd(Place::Root, 5000),
    ]);
    is_served(&[Ingredient::Crowd(Place::Claimed, 5000)]);
}

#[test]
fn thousands_of_damaged_locks_are_told_in_a_line_that_can_be_read() {
    let hostile = Hostile::of(&[
        Ingredient::Crowd(Place::Claimed, 3000),
        Ingredient::Crowd(Place::Unclaimed, 3000),
    ]);
    let step = Step::on(&hostile.remote, "aws");
    for lock in ["env-1", "env-2"] {
        step.put(json!({ "claim": lock })).version();
    }

    let answer = step.put(json!({"acquire": true, "try": true}));

    answer.assert_failed(&["no lock is free: 3 claimed", "damaged", "and 2990 more"]);
    assert!(answer.stderr.len() < 2000, "{}", answer.stderr);
}

#[test]
fn files_and_links_of_every_mode_are_locks_and_nothing_else_is() {
    for thing in THINGS {
        let hostile = Hostile::of(&[entry(Place::Unclaimed, "odd", thing)]);

        let answer = step_on(&hostile).put(json!({"claim": "odd", "try": true}));

        let expected =
            matches!(thing, Thing::File(mode) if matches!(mode & 0o170_000, 0o100_000 | 0o120_000));
        assert_eq!(
            answer.code,
            Some(i32::from(!expected)),
            "{thing:?}: {}",
            answer.stderr
        );
    }
}

#[test]
fn names_that_are_no_locks_are_left_where_they_are() {
    let all = names();
    let (locks, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|name| {
        let lock = std::str::from_utf8(name).is_ok_and(|name| LockName::new(name).is_ok());
        lock || name.starts_with(b".gitkeep")
    });
    assert!(locks.len() > 15 && others.len() > 15);
    let odd = |name: &Vec<u8>| {
        Ingredient::Entry(Place::Unclaimed, Name(name.clone()), Thing::File(0o100_644))
    };
    let hostile = is_served(&others.iter().map(odd).collect::<Vec<_>>());

    let left = hostile.view().unwrap().unclaimed;
    for name in &others {
        assert!(
            left.iter().any(|(_, left, _)| left == name),
            "{}",
            name.escape_ascii()
        );
    }
}

#[test]
fn a_name_that_is_twice_in_a_folder_stops_changes_and_says_so() {
    for place in PLACES {
        for twice in [Thing::File(0o100_644), Thing::Folder] {
            let twins = [
                entry(place, "x", twice),
                entry(place, "x", Thing::File(0o100_755)),
            ];

            let hostile = is_refused(&twins, &["has \"x\" in it twice", "nothing was changed"]);

            let step = Step::on(&hostile.remote, "aws");
            assert_eq!(step.get(&hostile.claim).0.lock(), "held");
        }
    }
}

#[test]
fn a_lock_that_is_twice_in_one_folder_is_damaged() {
    for place in [Place::Claimed, Place::Unclaimed] {
        let twins = [
            entry(place, "x", Thing::File(0o100_644)),
            entry(place, "x", Thing::File(0o100_755)),
        ];
        let hostile = Hostile::of(&twins);
        let step = Step::on(&hostile.remote, "aws");

        let answer = step.put(json!({"claim": "x", "try": true}));

        answer.assert_failed(&["the lock `x` is damaged"]);
    }
}

#[test]
fn a_folder_in_the_wrong_order_is_read_completely() {
    for place in PLACES {
        let more = ["a", "b", "c", "z", "zz", "claimed-", "unclaimed0", "aws.x"];
        let mut ingredients: Vec<Ingredient> = more
            .iter()
            .map(|name| entry(place, name, Thing::File(0o100_644)))
            .collect();
        ingredients.push(Ingredient::Unordered(place));

        is_served(&ingredients);
    }
}

#[test]
fn a_file_or_a_link_where_a_folder_should_be_is_named() {
    for thing in [
        Thing::File(0o100_644),
        Thing::File(0o120_000),
        Thing::Submodule,
    ] {
        is_refused(&[Ingredient::PoolIs(thing)], &["there is no pool `aws`"]);
        is_refused(
            &[Ingredient::Instead(Place::Claimed, Some(thing))],
            &["`claimed` is not a folder"],
        );
        is_refused(
            &[Ingredient::Instead(Place::Unclaimed, Some(thing))],
            &["no lock is free"],
        );
    }
    is_served(&[Ingredient::Instead(Place::Claimed, None)]);
}

#[test]
fn folders_in_folders_without_end_are_served() {
    is_served(&[
        entry(Place::Unclaimed, "deep", Thing::Deep(1500)),
        entry(Place::Pool, "deep", Thing::Deep(1500)),
    ]);
}

#[test]
fn a_pool_that_is_very_deep_is_served() {
    let remote = TestRemote::empty("main");
    let pool = vec!["d"; 1000].join("/");
    remote.add_pool(&pool, &["env-1"]);
    let step = Step::on(&remote, &pool);

    let acquired = step.put(json!({"acquire": true}));
    let (got, folder) = step.get(&acquired.version());
    let released = step.put_folder("release", &folder);

    assert_eq!([acquired.lock(), got.lock(), released.lock()], ["env-1"; 3]);
    remote.fsck();
}

#[test]
fn histories_with_thousands_of_merges_are_read() {
    for past in [
        Past::Merges(1000),
        Past::CrissCross(600),
        Past::Octopus(300),
        Past::SameParents,
        Past::Side,
    ] {
        let hostile = is_served(&[Ingredient::Past(past)]);
        let step = Step::on(&hostile.remote, "aws");

        let (got, folder) = step.get(&hostile.claim);

        // The lock has been released since.
        got.assert_failed(&["no longer acquired"]);
        assert!(!folder.join("name").exists());
    }
}

#[test]
fn a_commit_with_an_odd_message_or_header_is_read_or_named() {
    for odd in odds() {
        let hostile = Hostile::of(&[
            Ingredient::Head(odd.clone()),
            Ingredient::Before(odd.clone()),
        ]);
        let step = step_on(&hostile);

        let answers = survives_in_short(&hostile, &step, &step.folder());

        match odd {
            // What libgit2 cannot read ends a step that has to.
            Odd::NoAuthor | Odd::NoCommitter | Odd::Time("x" | "99999999999999999999999 +9999") => {
            }
            _ => assert!(answers.iter().all(Option::is_some), "{odd:?}"),
        }
    }
}

#[test]
fn a_claim_of_any_time_is_told_to_who_waits_for_it() {
    for time in [
        "0 +0000",
        "-1 +0000",
        "253402300799 +0000",
        "253402300800 +0000",
        "9223372036854775807 +0000",
    ] {
        let hostile = Hostile::of(&[Ingredient::Before(Odd::Time(time))]);

        let answer = Step::on(&hostile.remote, "aws").put(json!({"claim": "held", "try": true}));

        answer.assert_failed(&[&format!("by somebody (the claim {})", hostile.claim)]);
    }
}

#[test]
fn a_commit_with_megabytes_of_message_is_read_with_little_memory() {
    for message in [&b"\n\nPool-Claim: x"[..], b"a\n", b"x"] {
        let odd = Odd::Message(message, 4 * 1024 * 1024 / message.len());
        let hostile = Hostile::of(&[Ingredient::Head(odd)]);
        let step = step_on(&hostile);

        let answers = survives_in_short(&hostile, &step, &step.folder());

        assert!(answers.iter().all(Option::is_some));
    }
}

#[test]
fn a_branch_that_is_at_no_commit_is_named() {
    for kind in [ObjectType::Tag, ObjectType::Tree, ObjectType::Blob] {
        let hostile = is_refused(&[Ingredient::BranchIs(kind)], &["is not a commit"]);

        assert_ne!(hostile.tip(), hostile.head);
    }
}

#[test]
fn thousands_of_refs_to_anything_are_served() {
    is_served(&[Ingredient::Refs(5000)]);
}

/// A pool with one free lock that has this content, and a server for it: what that takes of the memory is not ours.
fn with_content(content: &[u8], compression: &str) -> (TestRemote, GitDaemon, Step) {
    use support::remote::Hand;
    let remote = TestRemote::with_pool("aws", &[]);
    remote.git(&["config", "core.compression", compression]);
    remote.commit(
        "large",
        &[Hand::Put("aws/unclaimed/large", "100644", content)],
    );
    let daemon = GitDaemon::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", daemon.uri());
    (remote, daemon, step)
}

/// Runs a program, and gives its answer with its peak of memory in kilobytes.
fn measured(step: &Step, program: &str, folder: &Path, request: Value) -> (Answer, usize) {
    let mut request = request;
    request["source"] = step.source().clone();
    let args = [folder.as_os_str().to_owned()];
    step.run_measured(program, &args, request.to_string().as_bytes())
}

#[test]
fn large_metadata_take_memory_for_themselves_and_no_more() {
    const SIZE: usize = 20 * 1024 * 1024;
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    })
    .flatten()
    .take(SIZE)
    .collect();
    let (_remote, _daemon, step) = with_content(&noise, "0");
    let got = step.folder();

    let (acquired, to_acquire) = measured(
        &step,
        "out",
        &step.folder(),
        json!({"params": {"acquire": true}}),
    );
    let (answer, to_get) = measured(
        &step,
        "in",
        &got,
        json!({"version": {"ref": acquired.version()}}),
    );

    assert_eq!(answer.lock(), "large");
    assert!(std::fs::read(got.join("metadata")).unwrap() == noise);
    // As it comes, and once more when it is handed on; and the program itself.
    assert!(to_acquire < 20 * 1024 + SIZE / 1024, "{to_acquire} KB");
    assert!(to_get < 20 * 1024 + 3 * SIZE / 1024, "{to_get} KB");
}

#[test]
fn metadata_that_are_too_large_to_be_read_are_refused_and_named() {
    const SIZE: usize = 100 * 1024 * 1024 + 1;
    let (_remote, _daemon, step) = with_content(&vec![0; SIZE], "1");
    let (got, inputs) = (step.folder(), step.folder());
    std::fs::create_dir(inputs.join("lock")).unwrap();
    std::fs::write(inputs.join("lock/name"), "new").unwrap();
    std::fs::write(inputs.join("lock/metadata"), vec![0; SIZE]).unwrap();

    let (acquired, to_acquire) =
        measured(&step, "out", &inputs, json!({"params": {"acquire": true}}));
    let (answer, to_get) = measured(
        &step,
        "in",
        &got,
        json!({"version": {"ref": acquired.version()}}),
    );
    let (added, _) = measured(&step, "out", &inputs, json!({"params": {"add": "lock"}}));
    std::fs::write(inputs.join("lock/name"), "large").unwrap();
    let (released, _) = measured(
        &step,
        "out",
        &inputs,
        json!({"params": {"release": "lock"}}),
    );

    assert_eq!(acquired.lock(), "large");
    answer.assert_failed(&["has 104857601 bytes, and 104857600 is the most"]);
    assert!(!got.join("name").exists());
    added.assert_failed(&["lock/metadata` has more than 104857600 bytes"]);
    assert_eq!(released.lock(), "large");
    assert!(
        to_acquire.max(to_get) < MOST_MEMORY,
        "{to_acquire} KB, {to_get} KB"
    );
}
