//! Which jobs are kept.

use super::{Effect, Now, State};
use crate::job::JobId;

impl State {
    /// Forgets the jobs of a pipeline that are not to be kept. Jobs of a pipeline that is not defined are.
    pub(super) fn sweep(&mut self, pipeline: &str, now: Now) {
        let Some(definition) = self.definitions.get(pipeline).cloned() else {
            return;
        };
        let (period, count) = (definition.retention_period, definition.retention_count);
        if period.is_none() && count.is_none() {
            return;
        }
        let newest_first = self
            .by_pipeline
            .get(pipeline)
            .into_iter()
            .flat_map(|jobs| jobs.values().rev());
        let mut old: Vec<(JobId, String)> = Vec::new();
        for (at, id) in newest_first.enumerate() {
            let job = &self.jobs[id];
            if !job.is_finished() {
                continue;
            }
            if let Some(period) = period.filter(|period| now.wall.since(job.created) > *period) {
                let period = humantime::format_duration(period);
                old.push((*id, format!("Retention period of {period} reached")));
            } else if let Some(count) = count.filter(|count| at >= *count) {
                old.push((*id, format!("Retention count of {count} reached")));
            }
        }
        for (id, reason) in old {
            self.forget(id, reason);
        }
    }

    pub(super) fn sweep_all(&mut self, now: Now) {
        let kept = |definition: &crate::definition::Pipeline| {
            definition.retention_period.is_some() || definition.retention_count.is_some()
        };
        let definitions = self.definitions.clone();
        for definition in definitions.values().filter(|definition| kept(definition)) {
            self.sweep(&definition.name, now);
        }
    }

    fn forget(&mut self, id: JobId, reason: String) {
        let pipeline = self.jobs[&id].pipeline.clone();
        self.remove(id);
        self.effects.push(Effect::Remove {
            job: id,
            pipeline,
            reason,
        });
    }
}
