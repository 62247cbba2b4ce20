//! The names of locks and pools, parsed once and valid ever after.

use std::fmt;

use git::object::Oid;
use terminal::harmless::{is_hidden, one_line};

/// The two folders of a pool: which one a lock is in says whether it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holding {
    /// Somebody holds the lock: it is in `claimed/`.
    Claimed,
    /// The lock is free: it is in `unclaimed/`.
    Unclaimed,
}

impl Holding {
    /// The name of the folder.
    pub fn folder(self) -> &'static str {
        match self {
            Holding::Claimed => "claimed",
            Holding::Unclaimed => "unclaimed",
        }
    }
}

/// The commit that moved a lock to `claimed/`, by which its holder proves that it is his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimId(pub Oid);

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lock: one path component that is not hidden, has no control characters, no spaces at its ends and at most
/// 255 bytes.
///
/// It is a name in the pool that is spoken of. Where several pools are spoken of at once, a lock of another one has that pool
/// before it, as in `db/blue`: its full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName(String);

impl LockName {
    /// Checks `name` as it stands. Spaces at its ends are refused: a file that holds a name may have such around it, so that
    /// a lock with them could be claimed and not be given back.
    ///
    /// # Errors
    /// [`NameError`], which tells what is wrong with it.
    pub fn new(name: &str) -> Result<LockName, NameError> {
        check_component(name)?;
        if name.starts_with('.') {
            return Err(NameError::Hidden(name.to_owned()));
        }
        if is_gits_own(name) {
            return Err(NameError::Reserved(name.to_owned()));
        }
        if name.trim() != name {
            return Err(NameError::Spaces(name.to_owned()));
        }
        Ok(LockName(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LockName {
    /// Reads a name or a full name.
    ///
    /// # Errors
    /// [`NameError`], which tells what is wrong with it.
    pub fn read(name: &str) -> Result<LockName, NameError> {
        match name.rsplit_once('/') {
            None => LockName::new(name),
            Some((its, name)) => Ok(LockName::new(name)?.full(&PoolName::new(its)?)),
        }
    }

    /// Reads a name or a full name, as it is seen from `pool`.
    ///
    /// # Errors
    /// [`NameError`], which tells what is wrong with it.
    pub fn seen_from(pool: &PoolName, name: &str) -> Result<LockName, NameError> {
        let name = LockName::read(name)?;
        Ok(match name.pool() {
            Some(its) => name.bare().of(&its, pool),
            None => name,
        })
    }

    /// A lock of the pool `its`, as it is seen from `pool`.
    #[must_use]
    pub fn of(&self, its: &PoolName, pool: &PoolName) -> LockName {
        match its == pool {
            true => self.bare(),
            false => self.full(its),
        }
    }

    /// Its full name, where the pool that is spoken of is this one.
    #[must_use]
    pub fn full(&self, pool: &PoolName) -> LockName {
        match self.0.contains('/') {
            true => self.clone(),
            false => LockName(format!("{pool}/{}", self.0)),
        }
    }

    /// The pool of a full name; `None` for a lock of the pool that is spoken of.
    pub fn pool(&self) -> Option<PoolName> {
        let (pool, _) = self.0.rsplit_once('/')?;
        Some(PoolName(pool.to_owned()))
    }

    /// The name in its own pool.
    #[must_use]
    pub fn bare(&self) -> LockName {
        LockName(self.name().to_owned())
    }

    fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl LockName {
    /// Whether all of the name is seen. A lock whose name is not is taken for another one, so that no new ones are made.
    pub fn is_visible(&self) -> bool {
        !self.0.contains(is_hidden)
    }
}

/// For people: what is not seen in the name is shown. The name itself is [`LockName::as_str`].
impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.0))
    }
}

/// Where a pool is: the path of its folder from the repository's root, such as `aws` or `team-a/aws`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

impl PoolName {
    /// Checks `path`; slashes at its ends and repeated ones are dropped.
    ///
    /// # Errors
    /// [`NameError`], which tells what is wrong with it.
    pub fn new(path: &str) -> Result<PoolName, NameError> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err(NameError::Empty);
        }
        for part in &parts {
            check_component(part)?;
            if matches!(*part, "." | "..") {
                return Err(NameError::Hidden((*part).to_owned()));
            }
            if is_gits_own(part) {
                return Err(NameError::Reserved((*part).to_owned()));
            }
        }
        Ok(PoolName(parts.join("/")))
    }

    /// The path as text, with no slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of one of the pool's two folders.
    pub fn folder(&self, holding: Holding) -> String {
        format!("{}/{}", self.0, holding.folder())
    }

    /// The path of a lock's file while it is held or free; of a lock with a full name that in its own pool.
    pub fn file(&self, holding: Holding, lock: &LockName) -> String {
        let (pool, name) = lock.0.rsplit_once('/').unwrap_or((&self.0, &lock.0));
        format!("{pool}/{}/{name}", holding.folder())
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the name of a lock or a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than file systems take.
    #[error("it has {0} bytes, and 255 is the most")]
    TooLong(usize),
    /// A path, not a name.
    #[error("`{0}` has a slash in it, and a name is one path component")]
    Slash(String),
    /// Would break lines, terminals or C programs.
    #[error("{0:?} has a control character in it")]
    Control(String),
    /// Hidden files are not locks, and `.` and `..` are other folders.
    #[error("`{0}` starts with a dot, and hidden files and folders are left alone")]
    Hidden(String),
    /// It would not be the same after it has been written to a file and read.
    #[error("{0:?} starts or ends with a space")]
    Spaces(String),
    /// Git has the name for its own folder, or Windows would take it for that.
    #[error("`{0}` is a name that Git keeps for itself")]
    Reserved(String),
}

/// At most so many names are told of that may have been meant.
const MOST_MEANT: usize = 3;

/// Which of the names that there are may have been meant by one that there is not: those with the fewest slips, if these are
/// few for its length.
pub fn meant<'a>(name: &LockName, there: impl Iterator<Item = &'a LockName>) -> Vec<LockName> {
    let plain = |name: &LockName| {
        name.as_str()
            .to_lowercase()
            .replace(['-', '_', '.', ' '], "")
    };
    let wanted = plain(name);
    let letters = wanted.chars().count();
    // In a short name one letter makes another word.
    let most = (letters / 3).clamp(1, 3).min(letters.saturating_sub(1));
    let slips = there.map(|other| (strsim::osa_distance(&wanted, &plain(other)), other));
    let mut near: Vec<(usize, &LockName)> = slips.filter(|(slips, _)| *slips <= most).collect();
    near.sort();
    let fewest = near.first().map_or(0, |(slips, _)| *slips);
    let nearest = near.into_iter().take_while(|(slips, _)| *slips == fewest);
    nearest
        .take(MOST_MEANT)
        .map(|(_, name)| name.clone())
        .collect()
}

/// What to say of names that may have been meant, behind what has been said of the one that there is not.
pub fn or_meant(names: &[LockName]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Whether a name means `.git`, on Windows too, where it has a short form and may be followed by what does not count.
/// No Git takes such a name into a tree.
fn is_gits_own(name: &str) -> bool {
    let rest = [".git", "git~1"].iter().find_map(|own| {
        let start = name.get(..own.len())?;
        start.eq_ignore_ascii_case(own).then(|| &name[own.len()..])
    });
    rest.is_some_and(|rest| {
        rest.starts_with(['\\', ':']) || rest.chars().all(|c| matches!(c, ' ' | '.'))
    })
}

fn check_component(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 255 {
        return Err(NameError::TooLong(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control(name.to_owned()));
    }
    if name.contains('/') {
        return Err(NameError::Slash(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_accents_and_quotes_are_names() {
        for name in [
            "env-1",
            "a b",
            "Ünïcode",
            "it's \"quoted\"",
            "$(rm)",
            "-rf",
            "a.b",
            "~",
        ] {
            assert_eq!(LockName::new(name).as_ref().map(LockName::as_str), Ok(name));
        }
        assert!(LockName::new(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn a_lock_of_another_pool_has_its_pool_before_its_name() {
        let pool = |name: &str| PoolName::new(name).expect("a pool");
        let (aws, db) = (pool("aws"), pool("team/db"));
        let seen = |name: &str| LockName::seen_from(&aws, name).expect("a lock");

        let own = seen("env-1");
        assert_eq!(seen("aws/env-1"), own);
        assert_eq!((own.pool(), own.full(&aws).as_str()), (None, "aws/env-1"));
        let other = seen("/team//db/blue");
        assert_eq!(other.as_str(), "team/db/blue");
        assert_eq!(
            (other.pool(), other.bare().as_str()),
            (Some(db.clone()), "blue")
        );
        assert_eq!(other.full(&aws), other);
        assert_eq!(aws.file(Holding::Claimed, &other), "team/db/claimed/blue");
        assert_eq!(aws.file(Holding::Claimed, &own), "aws/claimed/env-1");
        for name in ["db/", "/", "../x", "db/.git", "a/../b", "db/ x"] {
            assert!(LockName::seen_from(&aws, name).is_err(), "{name}");
        }
        // Two names that look alike are of two locks, wherever they are seen from.
        assert_eq!(LockName::seen_from(&db, "blue"), Ok(other.of(&db, &db)));
    }

    #[test]
    fn what_was_probably_meant_is_what_differs_by_the_fewest_slips() {
        let there: Vec<LockName> = ["env-1", "env-2", "staging", "Prod-EU", "x"]
            .iter()
            .filter_map(|name| LockName::new(name).ok())
            .collect();
        for (name, expected) in [
            ("env_1", &["env-1"][..]),
            ("env-3", &["env-1", "env-2"]),
            ("stagign", &["staging"]),
            ("stages", &[]),
            ("prodeu", &["Prod-EU"]),
            ("y", &[]),
            ("production", &[]),
        ] {
            let name = LockName::new(name).expect("a name");
            let meant = meant(&name, there.iter());
            let meant: Vec<&str> = meant.iter().map(LockName::as_str).collect();
            assert_eq!(meant, expected, "{name}");
        }
        let two = &there[..2];
        assert_eq!(or_meant(two), "; did you mean `env-1` or `env-2`?");
        assert_eq!(or_meant(&[]), "");
    }

    #[test]
    fn a_name_that_could_leave_the_pool_is_refused() {
        for name in [
            "", ".", "..", ".gitkeep", "../x", "a/b", "a\nb", "a\0b", "a\u{7f}", "\u{9b}", " ",
            " a", "a ", "a\u{a0}",
        ] {
            assert!(LockName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(
            LockName::new(&"x".repeat(256)),
            Err(NameError::TooLong(256))
        );
    }

    #[test]
    fn a_name_that_no_git_takes_is_refused() {
        for name in [
            "git~1", "GIT~1", "git~1.", "Git~1 . ", "git~1:x", "git~1\\x",
        ] {
            assert_eq!(
                LockName::new(name),
                Err(NameError::Reserved(name.to_owned()))
            );
            assert_eq!(
                PoolName::new(&format!("a/{name}/b")),
                Err(NameError::Reserved(name.to_owned()))
            );
        }
        for name in ["git~1x", "git~2", "git~10", "x-git~1", "git"] {
            assert!(LockName::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_pool_may_be_in_a_subfolder_and_slashes_at_its_ends_do_not_count() {
        assert_eq!(
            PoolName::new("/team-a//aws/").map(|pool| pool.to_string()),
            Ok("team-a/aws".into())
        );
        for path in [
            "", "/", "a/../b", "..", ".git", "a/.GIT/b", ".git ", ".git:x", "a\nb",
        ] {
            assert!(PoolName::new(path).is_err(), "{path:?}");
        }
    }
}
