//! The files that a pattern names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

/// The files below `root` that `pattern` names, sorted by their paths, each as `root` and the rest.
///
/// Links to folders are followed, but not in a circle. Folders that cannot be read have no files.
pub(super) fn files(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let root = if root.as_os_str().is_empty() {
        Path::new(".")
    } else {
        root
    };
    let about =
        fs::metadata(root).map_err(|err| format!("stat {}: {}", root.display(), words(&err)))?;
    if !about.is_dir() {
        return Err(format!("stat {}: not a directory", root.display()));
    }
    let pattern = pattern.trim_start_matches("./");
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob
        .map_err(|err| format!("the pattern `{pattern}` cannot be read: {err}"))?
        .compile_matcher();
    let mut search = Search {
        // Without `**` nothing deeper than the pattern can match.
        deepest: (!pattern.contains("**")).then(|| pattern.matches('/').count()),
        found: Vec::new(),
        is_wanted: Box::new(move |path| glob.is_match(path)),
    };
    search.folder(root, Path::new(""), &mut vec![(about.dev(), about.ino())]);
    let mut found = search.found;
    found.sort();
    let root = if root == Path::new(".") {
        Path::new("")
    } else {
        root
    };
    Ok(found.into_iter().map(|path| root.join(path)).collect())
}

/// As the original's system says it.
fn words(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => err.to_string(),
    }
}

struct Search {
    deepest: Option<usize>,
    found: Vec<PathBuf>,
    is_wanted: Box<dyn Fn(&Path) -> bool>,
}

impl Search {
    /// Looks through a folder; `above` are the folders that it is in.
    fn folder(&mut self, root: &Path, below: &Path, above: &mut Vec<(u64, u64)>) {
        let Ok(entries) = fs::read_dir(root.join(below)) else {
            return;
        };
        for entry in entries.filter_map(Result::ok) {
            let path = below.join(entry.file_name());
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            // Most are plain files that nobody asked for.
            if kind.is_file() {
                if (self.is_wanted)(&path) {
                    self.found.push(path);
                }
                continue;
            }
            let Ok(about) = fs::metadata(entry.path()) else {
                continue;
            };
            if about.is_dir() {
                let id = (about.dev(), about.ino());
                let is_deep = self.deepest.is_some_and(|deepest| above.len() > deepest);
                if !above.contains(&id) && !is_deep {
                    above.push(id);
                    self.folder(root, &path, above);
                    above.pop();
                }
            } else if about.is_file() && (self.is_wanted)(&path) {
                self.found.push(path);
            }
        }
    }
}
