//! Names of machines: whose they are, and which job they are for.

/// What all machines of all dispatchers begin with.
const PREFIX: &str = "hpd-job-";

/// What names are made of.
#[derive(Debug, Clone)]
pub struct Naming {
    /// Eight characters of the runner's token.
    pub runner: String,
    /// What tells runners with the same eight characters apart.
    pub runner_id: String,
    /// What tells this dispatcher from others.
    pub dispatcher: String,
}

impl Naming {
    /// The name of the machine for a job.
    pub fn of(&self, job: u64) -> String {
        format!("{PREFIX}{}-{job}{}", self.runner, self.end())
    }

    /// Whether a name is one of ours.
    pub fn is_own(&self, name: &str) -> bool {
        let job = name
            .strip_prefix(&format!("{PREFIX}{}-", self.runner))
            .and_then(|rest| rest.strip_suffix(&self.end()));
        job.is_some_and(|job| !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn end(&self) -> String {
        let id = self.runner_id.get(..4).unwrap_or(&self.runner_id);
        format!("-{}-{id}", self.dispatcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_machine_it_is_and_which_job_it_is_for() {
        let naming = |dispatcher: &str| Naming {
            runner: "abcdefgh".to_owned(),
            runner_id: "1234567890abcdef".to_owned(),
            dispatcher: dispatcher.to_owned(),
        };
        let own = naming("0123456789ab");

        let name = own.of(4711);

        assert_eq!(name, "hpd-job-abcdefgh-4711-0123456789ab-1234");
        assert!(own.is_own(&name));
        for other in [
            naming("ffffffffffff").of(4711),
            "hpd-job-abcdefgh-4711".to_owned(),
            "hpd-job-abcdefgh--0123456789ab-1234".to_owned(),
            "hpd-job-abcdefgh-4711x-0123456789ab-1234".to_owned(),
            "web".to_owned(),
        ] {
            assert!(!own.is_own(&other), "{other}");
        }
    }
}
