//! For how long those in line may have to wait, if everything goes as it usually does.
//!
//! Whoever holds a lock gives it back after as long as holds usually take; who has held it for longer than that is expected to go
//! on as those did who held it for that long before. The line is served in its order, and each in it holds what it gets for
//! as long as is usual. What a lock's metadata has to say is not looked into: who waits for such a lock may wait longer.

use std::time::Duration;

use crate::line::Need;
use crate::lock::LockName;

/// A lock, for this question.
#[derive(Debug, Clone)]
pub struct Lock<'a> {
    /// Its name.
    pub name: &'a LockName,
    /// When it is expected to be free, in seconds from now; `None` when nobody can tell, or it is never granted.
    pub free_in: Option<f64>,
    /// For how long it is usually held, in seconds; `None` where that is not known.
    pub usual: Option<f64>,
}

/// How much longer a hold goes on that has lasted for `age`, by how long others lasted: half of those that lasted longer than
/// this went on for at most so long. `None` where none lasted as long.
pub fn rest(age: Duration, others: &[Duration]) -> Option<Duration> {
    let mut longer: Vec<Duration> = others
        .iter()
        .filter_map(|lasted| lasted.checked_sub(age))
        .filter(|rest| !rest.is_zero())
        .collect();
    longer.sort_unstable();
    longer.get(longer.len().checked_sub(1)? / 2).copied()
}

/// For each in the line, in how many seconds it is expected to be served; `None` where nobody can tell. Who does not say what
/// it waits for is taken to want any lock.
pub fn waits(locks: &[Lock<'_>], line: &[Option<&Need>]) -> Vec<Option<f64>> {
    let mut free: Vec<Option<f64>> = locks.iter().map(|lock| lock.free_in).collect();
    line.iter()
        .map(|need| {
            let (count, among): (usize, Vec<usize>) = match need {
                Some(Need::Lock(name)) => (1, these(locks, std::slice::from_ref(name))),
                Some(Need::Any(want)) if !want.among.is_empty() => {
                    (want.count.get(), these(locks, &want.among))
                }
                Some(Need::Any(want)) => (want.count.get(), (0..locks.len()).collect()),
                None => (1, (0..locks.len()).collect()),
            };
            let mut soonest: Vec<(f64, usize)> = among
                .into_iter()
                .filter_map(|lock| Some((free[lock]?, lock)))
                .collect();
            soonest.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let taken = soonest.get(..count)?;
            let at = taken.last()?.0;
            for (_, lock) in taken {
                free[*lock] = locks[*lock].usual.map(|usual| at + usual);
            }
            Some(at)
        })
        .collect()
}

fn these(locks: &[Lock<'_>], names: &[LockName]) -> Vec<usize> {
    let all = locks.iter().enumerate();
    all.filter(|(_, lock)| names.contains(lock.name))
        .map(|(at, _)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::operation::Want;

    fn name(n: usize) -> LockName {
        LockName::new(&format!("env-{n}")).expect("a name")
    }

    fn any(count: usize) -> Need {
        Need::Any(Want {
            count: NonZeroUsize::new(count).expect("some"),
            ..Want::default()
        })
    }

    fn asked(free_in: &[Option<f64>], needs: &[Need]) -> Vec<Option<f64>> {
        let names: Vec<LockName> = (0..free_in.len()).map(name).collect();
        let locks: Vec<Lock<'_>> = names
            .iter()
            .zip(free_in)
            .map(|(name, free_in)| Lock {
                name,
                free_in: *free_in,
                usual: Some(100.0),
            })
            .collect();
        let needs: Vec<Option<&Need>> = needs.iter().map(Some).collect();
        waits(&locks, &needs)
    }

    #[test]
    fn each_in_turn_gets_what_is_free_first() {
        let line = [any(1), any(1), any(1), any(1)];
        assert_eq!(
            asked(&[Some(0.0), Some(30.0)], &line),
            [Some(0.0), Some(30.0), Some(100.0), Some(130.0)]
        );
    }

    #[test]
    fn one_lock_and_several_are_waited_for_as_they_are_wanted() {
        let line = [Need::Lock(name(1)), any(2), Need::Lock(name(0))];
        assert_eq!(
            asked(&[Some(10.0), Some(50.0)], &line),
            [Some(50.0), Some(150.0), Some(250.0)]
        );
    }

    #[test]
    fn what_nobody_can_tell_is_not_told() {
        assert_eq!(asked(&[None], &[any(1), Need::Lock(name(0))]), [None, None]);
        assert_eq!(asked(&[Some(5.0)], &[any(2), any(1)]), [None, Some(5.0)]);
        assert_eq!(asked(&[Some(5.0)], &[Need::Lock(name(7))]), [None]);
    }

    #[test]
    fn who_holds_for_longer_than_usual_goes_on_as_those_did_who_held_as_long() {
        let others: Vec<Duration> = [10, 20, 100, 200, 300].map(Duration::from_secs).into();
        let rest = |age| rest(Duration::from_secs(age), &others).map(|rest| rest.as_secs());
        assert_eq!(rest(0), Some(100));
        assert_eq!(rest(50), Some(150));
        assert_eq!(rest(250), Some(50));
        assert_eq!(rest(300), None);
    }
}
