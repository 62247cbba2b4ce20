//! The order of tasks: each after those that it depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Task;

/// Tasks that depend on each other in a circle.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its tasks depend on each other in a circle, so that none of them can ever start: {}", .0.join(", "))]
pub struct Circle(pub Vec<String>);

/// Sorts tasks: of those that may come next always the one whose name is the smallest.
///
/// # Errors
/// [`Circle`] with the tasks that are in one, or that need one that is.
pub fn sorted(tasks: Vec<Arc<Task>>) -> Result<Vec<Arc<Task>>, Circle> {
    let mut left: BTreeMap<String, Arc<Task>> = BTreeMap::new();
    let mut needed: BTreeMap<String, usize> = BTreeMap::new();
    let mut after: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in tasks {
        needed.insert(task.name.clone(), task.depends_on.len());
        for before in &task.depends_on {
            after
                .entry(before.clone())
                .or_default()
                .push(task.name.clone());
        }
        left.insert(task.name.clone(), task);
    }
    let mut ready: std::collections::BTreeSet<String> = needed
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(name, _)| name.clone())
        .collect();
    let mut sorted = Vec::new();
    while let Some(name) = ready.pop_first() {
        sorted.extend(left.remove(&name));
        for next in after.get(&name).into_iter().flatten() {
            if let Some(n) = needed.get_mut(next) {
                *n -= 1;
                if *n == 0 {
                    ready.insert(next.clone());
                }
            }
        }
    }
    match left.is_empty() {
        true => Ok(sorted),
        false => Err(Circle(left.into_keys().collect())),
    }
}
