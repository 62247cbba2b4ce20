//! The pages in Markdown: every link leads somewhere, every page can be found, and a long one begins with its contents.
//!
//! Links to other sites are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use percent_encoding::percent_decode_str;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Where a reader begins.
const FIRST_PAGE: &str = "README.md";

/// Where pages lie, besides those that Git knows elsewhere.
const FOLDERS: [&str; 4] = ["src", "cmd", "ci", "tests"];

/// The pages that begin with a list of their contents.
const WITH_CONTENTS: &str = "src/pool";

/// How many lines a reader sees at once.
const SCREEN: usize = 40;

/// What of a page can be linked to, and what it links to.
struct Page {
    headings: Vec<Heading>,
    links: Vec<Link>,
    lines: usize,
}

struct Heading {
    level: HeadingLevel,
    anchor: String,
}

struct Link {
    to: String,
    /// Whether it stands before the first heading of the second level.
    is_at_top: bool,
}

impl Page {
    fn read(text: &str) -> Page {
        let mut page = Page {
            headings: Vec::new(),
            links: Vec::new(),
            lines: text.lines().count(),
        };
        let mut seen = BTreeMap::new();
        let mut title = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => title = Some(String::new()),
                Event::End(TagEnd::Heading(level)) => page.headings.push(Heading {
                    level,
                    anchor: anchor(&title.take().unwrap_or_default(), &mut seen),
                }),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(title) = &mut title {
                        *title += &text;
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let (to, is_at_top) = (dest_url.to_string(), page.sections().count() == 0);
                    page.links.push(Link { to, is_at_top });
                }
                _ => {}
            }
        }
        page
    }

    /// The anchors of the headings of the second level.
    fn sections(&self) -> impl Iterator<Item = &str> {
        let headings = self.headings.iter();
        headings
            .filter(|heading| heading.level == HeadingLevel::H2)
            .map(|heading| &heading.anchor[..])
    }

    /// The anchors in the list of contents.
    fn contents(&self) -> impl Iterator<Item = &str> {
        let at_top = self.links.iter().filter(|link| link.is_at_top);
        at_top.filter_map(|link| link.to.strip_prefix('#'))
    }

    fn has_anchor(&self, anchor: &str) -> bool {
        self.headings.iter().any(|heading| heading.anchor == anchor)
    }
}

/// The anchor that GitHub gives to a heading; `seen` has how often each was there before.
///
/// Source: `html-pipeline`, `TableOfContentsFilter`.
fn anchor(title: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
    let kept = title.chars().flat_map(char::to_lowercase).filter(is_kept);
    let plain: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
    let before = seen.entry(plain.clone()).or_insert(0);
    let anchor = match *before {
        0 => plain,
        n => format!("{plain}-{n}"),
    };
    *before += 1;
    anchor
}

/// Pages by their paths from the root of the repository.
struct Pages(BTreeMap<PathBuf, Page>);

impl Pages {
    fn of_the_repository() -> Pages {
        let paths = paths().into_iter();
        Pages::new(paths.map(|path| {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            (path, text)
        }))
    }

    fn new(pages: impl IntoIterator<Item = (impl Into<PathBuf>, impl AsRef<str>)>) -> Pages {
        let pages = pages.into_iter();
        Pages(
            pages
                .map(|(path, text)| (path.into(), Page::read(text.as_ref())))
                .collect(),
        )
    }

    /// The links that lead nowhere, a line for each; `is_there` says which files there are besides the pages.
    fn broken_links(&self, is_there: impl Fn(&Path) -> bool) -> Vec<String> {
        let mut broken = Vec::new();
        for (path, page) in &self.0 {
            for Link { to, .. } in page.links.iter().filter(|link| is_relative(&link.to)) {
                let why = match target(path, to) {
                    None => Some("leads out of the repository"),
                    Some((file, anchor)) => match (self.0.get(&file), anchor) {
                        (Some(page), Some(anchor)) if !page.has_anchor(&anchor) => {
                            Some("there is no such heading")
                        }
                        (None, Some(_)) => Some("a heading of a file that is no page"),
                        (None, None) if !is_there(&file) => Some("there is no such file"),
                        _ => None,
                    },
                };
                broken.extend(why.map(|why| format!("{}: {to}: {why}", path.display())));
            }
        }
        broken
    }

    /// The pages to which no links lead from the first one.
    fn orphans(&self) -> Vec<&Path> {
        let mut found = BTreeSet::from([PathBuf::from(FIRST_PAGE)]);
        let mut open: Vec<PathBuf> = found.iter().cloned().collect();
        while let Some(path) = open.pop() {
            let links = self.0.get(&path).into_iter().flat_map(|page| &page.links);
            for link in links.filter(|link| is_relative(&link.to)) {
                let file = target(&path, &link.to).map(|(file, _)| file);
                open.extend(file.filter(|file| found.insert(file.clone())));
            }
        }
        let pages = self.0.keys().map(PathBuf::as_path);
        pages.filter(|path| !found.contains(*path)).collect()
    }

    /// The long pages whose list of contents does not have just their headings of the second level; it may have others
    /// below them.
    fn without_contents(&self) -> Vec<&Path> {
        let long = self
            .0
            .iter()
            .filter(|(path, page)| path.starts_with(WITH_CONTENTS) && page.lines > SCREEN);
        let lack = long.filter(|(_, page)| {
            let sections: Vec<&str> = page.sections().collect();
            let listed = page.contents().filter(|anchor| sections.contains(anchor));
            sections.is_empty() || listed.collect::<Vec<_>>() != sections
        });
        lack.map(|(path, _)| path.as_path()).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths of all pages, from the root.
fn paths() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([PathBuf::from(FIRST_PAGE)]);
    let mut open: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    let mut git = Command::new("git");
    let listed = git
        .args(["ls-files", "-z", "*.md"])
        .current_dir(root())
        .output();
    // What is unpacked from an archive is no work tree.
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8(listed).unwrap();
    let tracked = listed.split('\0').filter(|path| !path.is_empty());
    found.extend(
        tracked
            .map(PathBuf::from)
            // One that was taken away, and not yet from the index.
            .filter(|path| root().join(path).exists()),
    );
    found.retain(|path| path.extension().is_some_and(|end| end == "md"));
    found
}

fn is_relative(link: &str) -> bool {
    !["https://", "http://", "mailto:"]
        .iter()
        .any(|start| link.starts_with(start))
}

/// The file that a link of a page leads to, from the root, and the heading in it; `None` where it leads out.
fn target(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(decoded(anchor))),
        None => (link, None),
    };
    if file.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(&decoded(file)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some((path, anchor))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = Pages::of_the_repository();

    let broken = pages.broken_links(|file| root().join(file).exists());

    assert_eq!(broken, Vec::<String>::new());
    let links = pages.0.values().map(|page| page.links.len());
    assert!(links.sum::<usize>() > 100);
}

#[test]
fn every_page_can_be_reached_from_the_first_one() {
    assert_eq!(Pages::of_the_repository().orphans(), Vec::<&Path>::new());
}

#[test]
fn every_long_page_about_pools_begins_with_its_contents() {
    let pages = Pages::of_the_repository();

    assert_eq!(pages.without_contents(), Vec::<&Path>::new());
}

#[test]
fn a_heading_has_the_anchor_that_github_gives_it() {
    let text = "# `pool run`\n\
        ## status, log and doctor\n\
        ## HTTP(S) & *proxies*\n\
        ## The holder's [name](x.md)\n\
        ## snake_case and a-dash\n\
        ## Ünïcode – 1.5\n\
        ## Twice\n\
        ### Twice\n\
        ## twice!\n";
    let page = Page::read(text);

    let anchors: Vec<&str> = page.headings.iter().map(|one| &one.anchor[..]).collect();

    assert_eq!(
        anchors,
        [
            "pool-run",
            "status-log-and-doctor",
            "https--proxies",
            "the-holders-name",
            "snake_case-and-a-dash",
            "ünïcode--15",
            "twice",
            "twice-1",
            "twice-2"
        ]
    );
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# One\n\
        [itself](#one), [another](docs/two.md#second), [a folder](docs), [a site](https://example.com/#x),\n\
        `[code](gone.md)`, ![picture](docs/a%20picture.png)\n\n\
        | [in a table](gone.md) |\n|---|\n| [no heading](docs/two.md#third) |\n\n\
        [out](../../x), [from the root](/README.md), [no page](LICENSE#one), [no heading here](#two),\n\
        ![no picture](gone.png)\n";
    let pages = Pages::new([
        ("README.md", text),
        ("docs/two.md", "## Second\n[back](../README.md#one)\n"),
    ]);
    let files = ["docs", "docs/a picture.png", "LICENSE"];

    let broken = pages.broken_links(|file| files.iter().any(|there| file == Path::new(there)));

    assert_eq!(
        broken,
        [
            "README.md: gone.md: there is no such file",
            "README.md: docs/two.md#third: there is no such heading",
            "README.md: ../../x: leads out of the repository",
            "README.md: /README.md: leads out of the repository",
            "README.md: LICENSE#one: a heading of a file that is no page",
            "README.md: #two: there is no such heading",
            "README.md: gone.png: there is no such file",
        ]
    );
}

#[test]
fn a_page_that_nobody_links_to_is_found() {
    let pages = Pages::new([
        ("README.md", "[a](docs/a.md)"),
        ("docs/a.md", "[b](b.md#x)"),
        ("docs/b.md", "# x"),
        ("docs/c.md", "[b](b.md)"),
    ]);

    assert_eq!(pages.orphans(), [Path::new("docs/c.md")]);
}

#[test]
fn a_long_page_without_all_of_its_contents_is_found() {
    let long = "\n".repeat(SCREEN);
    let page = |contents: &str| format!("# T\n\n{contents}\n\n## A\n\n### A1\n\n## B\n{long}");
    let pages = Pages::new([
        (
            "src/pool/docs/all.md",
            page("- [A](#a)\n  - [A1](#a1)\n- [B](#b)"),
        ),
        (
            "src/pool/docs/in_another_order.md",
            page("- [B](#b)\n- [A](#a)"),
        ),
        ("src/pool/docs/none.md", page("")),
        ("src/pool/docs/one_lacks.md", page("- [A](#a)")),
        ("src/pool/docs/short.md", "# T\n\n## A\n".to_owned()),
        (
            "src/pool/docs/too_late.md",
            page("## C\n\n- [A](#a)\n- [B](#b)\n- [C](#c)"),
        ),
        ("tests/elsewhere.md", page("")),
    ]);

    assert_eq!(
        pages.without_contents(),
        ["in_another_order", "none", "one_lacks", "too_late"]
            .map(|name| PathBuf::from(format!("src/pool/docs/{name}.md")))
    );
}
