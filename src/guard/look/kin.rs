//! Which of the other pipelines started ours.

use std::collections::{BTreeMap, BTreeSet};

use gitlab::{Gitlab, GitlabError, Project};

use crate::rule::{Jobs, Kin, Other};

/// Finds out what the others have to do with our pipeline, which another one started.
pub(super) async fn find(
    gitlab: &Gitlab,
    project: &Project,
    own: u64,
    others: &mut [Other],
) -> Result<(), GitlabError> {
    let mut started: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for other in others.iter() {
        let bridges = match gitlab.bridges_of(project, other.pipeline.id).await {
            Ok(bridges) => bridges,
            // It is one of another project, or nobody's.
            Err(err) if err.is_refusal() => continue,
            Err(err) => return Err(err),
        };
        if !bridges.is_empty() {
            let children = bridges
                .into_iter()
                .filter_map(|bridge| bridge.downstream_pipeline);
            started.insert(other.pipeline.id, children.map(|child| child.id).collect());
        }
    }
    let ancestors = ancestors(own, &started);
    for other in others {
        let has_none = matches!(&other.jobs, Jobs::Read(jobs) if jobs.is_empty());
        if ancestors.contains(&other.pipeline.id) {
            other.kin = Kin::Ancestor;
        } else if has_none && started.contains_key(&other.pipeline.id) {
            other.kin = Kin::Parent;
        }
    }
    Ok(())
}

/// The pipelines that started this one, directly or not.
fn ancestors(own: u64, started: &BTreeMap<u64, BTreeSet<u64>>) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut open = vec![own];
    while let Some(child) = open.pop() {
        for (parent, children) in started {
            if children.contains(&child) && found.insert(*parent) {
                open.push(*parent);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_started_us_directly_or_not_is_an_ancestor() {
        let started = [(1, vec![2, 5]), (2, vec![3]), (4, vec![6])];
        let started = started.map(|(parent, children)| (parent, children.into_iter().collect()));

        assert_eq!(ancestors(3, &started.into()), BTreeSet::from([1, 2]));
    }
}
