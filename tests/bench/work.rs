//! A step as our programs do it, and the least that plain git commands need for the same.
#![allow(dead_code)]

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Answer, Step};

/// A way to a repository, for us and for git.
pub struct Way {
    pub source: Value,
    pub git_uri: String,
    pub git_env: Vec<(&'static str, String)>,
}

/// What is measured. The head of every repository is a claim, so that all of it can be done there.
#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    ColdCheck,
    WarmCheck,
    Get,
    Acquire,
    Release,
}

impl Work {
    pub const ALL: [Work; 5] = [
        Work::ColdCheck,
        Work::WarmCheck,
        Work::Get,
        Work::Acquire,
        Work::Release,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Work::ColdCheck => "check, cold",
            Work::WarmCheck => "check, warm",
            Work::Get => "in",
            Work::Acquire => "acquire",
            Work::Release => "release",
        }
    }
}

/// One kind of work, as our programs do it.
pub struct Bench {
    pub source: Value,
    head: String,
    work: Work,
    step: Step,
    got: PathBuf,
}

impl Bench {
    pub fn new(source: Value, head: &str, work: Work) -> Bench {
        let mut source = source;
        source["branch"] = "main".into();
        source["pool"] = "aws".into();
        let step = Step::with_source(source.clone());
        let got = match work {
            Work::Release => step.get(head).1,
            _ => step.folder(),
        };
        if work == Work::WarmCheck {
            assert_eq!(step.check(None).versions(), [head]);
        }
        Bench {
            source,
            head: head.to_owned(),
            work,
            step,
            got,
        }
    }

    /// Makes a container of its own, where nothing is kept from before, if that matters.
    pub fn begin(&mut self) {
        if self.work == Work::ColdCheck {
            self.step = Step::with_source(self.source.clone());
        }
    }

    /// The program, what it is asked, and its folder.
    pub fn request(&self) -> (&'static str, Value, Option<PathBuf>) {
        let source = &self.source;
        match self.work {
            Work::ColdCheck => ("check", json!({"source": source}), None),
            Work::WarmCheck => (
                "check",
                json!({"source": source, "version": {"ref": self.head}}),
                None,
            ),
            Work::Get => (
                "in",
                json!({"source": source, "version": {"ref": self.head}}),
                Some(self.step.folder()),
            ),
            Work::Acquire => (
                "out",
                json!({"source": source, "params": {"acquire": true}}),
                Some(self.step.folder()),
            ),
            Work::Release => {
                let folder = self.got.file_name().unwrap().to_str().unwrap();
                (
                    "out",
                    json!({"source": source, "params": {"release": folder}}),
                    Some(self.got.parent().unwrap().to_owned()),
                )
            }
        }
    }

    pub fn run(&self) -> Answer {
        let (program, request, folder) = self.request();
        let args: Vec<OsString> = folder.into_iter().map(Into::into).collect();
        self.step
            .run(program, &args, request.to_string().as_bytes())
    }

    /// The peak of the program's memory, in kilobytes.
    pub fn peak(&self) -> usize {
        let (program, request, folder) = self.request();
        let args: Vec<OsString> = folder.into_iter().map(Into::into).collect();
        let input = request.to_string();
        let (answer, kilobytes) = self.step.run_measured(program, &args, input.as_bytes());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        kilobytes
    }
}

/// Plain git in a folder of its own, which is deleted with the value.
pub struct Git<'a> {
    way: &'a Way,
    home: tempfile::TempDir,
}

impl Git<'_> {
    pub fn new(way: &Way) -> Git<'_> {
        Git {
            way,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The least that does the work.
    pub fn does(&self, work: Work) {
        match work {
            Work::ColdCheck => {
                self.fetch(1);
                self.run(&["rev-parse", "FETCH_HEAD"]);
            }
            Work::WarmCheck => {
                self.run(&[
                    "fetch",
                    "--quiet",
                    "--depth=1",
                    "--no-tags",
                    &self.way.git_uri,
                    "main",
                ]);
                self.run(&["rev-parse", "FETCH_HEAD"]);
            }
            Work::Get => {
                self.fetch(2);
                let moved = self.run(&["diff-tree", "-r", "--no-commit-id", "FETCH_HEAD"]);
                let blob = moved.split(' ').nth(3).unwrap();
                self.run(&["cat-file", "blob", blob]);
            }
            Work::Acquire => self.publish("unclaimed", "claimed"),
            Work::Release => self.publish("claimed", "unclaimed"),
        }
    }

    pub fn fetch(&self, depth: usize) {
        self.run(&["init", "--quiet", "--bare", "."]);
        let depth = format!("--depth={depth}");
        self.run(&[
            "fetch",
            "--quiet",
            &depth,
            "--no-tags",
            &self.way.git_uri,
            "main",
        ]);
    }

    /// Moves a lock from one folder to the other.
    pub fn publish(&self, from: &str, to: &str) {
        self.fetch(1);
        self.run(&["read-tree", "FETCH_HEAD"]);
        let locks = self.run(&["ls-files", "--stage", &format!("aws/{from}/env-*")]);
        let (entry, path) = locks.lines().next().unwrap().split_once('\t').unwrap();
        let blob = entry.split(' ').nth(1).unwrap();
        let there = path.replace(from, to);
        let moved = format!("0 {}\t{path}\n100644 {blob}\t{there}\n", "0".repeat(40));
        self.run_with(&["update-index", "--index-info"], &moved);
        let tree = self.run(&["write-tree"]);
        let message = "moved";
        let commit = self.run(&["commit-tree", &tree, "-p", "FETCH_HEAD", "-m", message]);
        let refspec = format!("{commit}:refs/heads/main");
        self.run(&["push", "--quiet", &self.way.git_uri, &refspec]);
    }

    pub fn run(&self, args: &[&str]) -> String {
        self.run_with(args, "")
    }

    pub fn run_with(&self, args: &[&str], input: &str) -> String {
        let index = self
            .home
            .path()
            .join("the-index")
            .to_str()
            .unwrap()
            .to_owned();
        let mut env: Vec<(&str, &str)> = vec![("GIT_INDEX_FILE", &index)];
        env.extend(
            self.way
                .git_env
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let output = support::git::run(self.home.path(), args, input.as_bytes(), &env);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {words}");
        // What a lock's metadata has in it is anybody's business.
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

pub fn plain(uri: String) -> Way {
    Way {
        source: json!({"uri": uri}),
        git_uri: uri,
        git_env: vec![],
    }
}
