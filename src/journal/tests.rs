#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn open(folder: &Path) -> Result<(Journal<u32>, Vec<u32>, usize), JournalError> {
    let mut records = Vec::new();
    let (journal, dropped) = Journal::open(
        &folder.join("journal"),
        &folder.join("lock"),
        &mut |record| {
            records.push(record);
            Ok(())
        },
    )?;
    Ok((journal, records, dropped))
}

#[test]
fn what_was_added_is_read_again_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, before, _) = open(folder.path()).unwrap();
    journal.add(&[1, 2], true).unwrap();
    journal.add(&[3], false).unwrap();
    drop(journal);

    let (_, records, dropped) = open(folder.path()).unwrap();

    assert_eq!((before, records, dropped), (vec![], vec![1, 2, 3], 0));
}

#[test]
fn a_line_that_was_cut_off_anywhere_is_dropped_and_what_follows_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, _, _) = open(folder.path()).unwrap();
    journal.add(&[1], true).unwrap();
    let first = fs::read(&path).unwrap().len();
    journal.add(&[2_000_000], true).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for end in first..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();

        let (mut journal, records, dropped) = open(folder.path()).unwrap();
        journal.add(&[3], true).unwrap();
        drop(journal);

        assert_eq!((records, dropped), (vec![1], end - first));
        assert_eq!(open(folder.path()).unwrap().1, [1, 3], "{end}");
    }
}

#[test]
fn a_damaged_line_before_a_good_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, _, _) = open(folder.path()).unwrap();
    journal.add(&[1, 2, 3], true).unwrap();
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.len() / 3 + 2;
    bytes[second] ^= 1;
    fs::write(&path, bytes).unwrap();

    let err = open(folder.path()).unwrap_err();

    assert!(
        matches!(err, JournalError::Damaged { line: 2, .. }),
        "{err}"
    );
}

#[test]
fn a_record_that_cannot_be_is_refused_if_others_follow() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(folder.path()).unwrap();
    journal.add(&[1, 2], true).unwrap();
    drop(journal);

    let opened = Journal::<u32>::open(
        &folder.path().join("journal"),
        &folder.path().join("lock"),
        &mut |record| match record {
            1 => Err("no".to_owned()),
            _ => Ok(()),
        },
    );

    let err = opened.err().unwrap();
    assert!(
        matches!(&err, JournalError::Damaged { line: 1, fault, .. } if fault == "no"),
        "{err}"
    );
}

#[test]
fn a_disk_that_takes_nothing_leaves_no_half_line() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(folder.path()).unwrap();
    journal.add(&[1], true).unwrap();
    // A file that can be read alone takes nothing.
    let path = folder.path().join("journal");
    let writable = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
    assert!(journal.add(&[2], true).is_err());
    journal.file = writable;
    journal.add(&[3], true).unwrap();
    drop(journal);

    assert_eq!(open(folder.path()).unwrap().1, [1, 3]);
}

#[test]
fn only_one_has_it_and_nobody_else_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _, _) = open(folder.path()).unwrap();

    let err = open(folder.path()).unwrap_err().to_string();

    assert!(err.contains(&std::process::id().to_string()), "{err}");
    for file in ["journal", "lock"] {
        let about = fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }
    drop(journal);
    open(folder.path()).unwrap();
}

#[test]
fn it_is_written_anew_with_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _, _) = open(folder.path()).unwrap();
    journal.add(&[1, 2, 3], true).unwrap();

    journal.rewrite([3].into_iter()).unwrap();
    journal.add(&[4], true).unwrap();

    drop(journal);
    assert_eq!(open(folder.path()).unwrap().1, [3, 4]);
    assert!(!folder.path().join("journal.new").exists());
}

#[test]
fn a_file_is_replaced_by_one_that_nobody_else_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();

    replace(&path, b"new").unwrap();

    assert_eq!(fs::read(&path).unwrap(), b"new");
    let about = fs::metadata(&path).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
