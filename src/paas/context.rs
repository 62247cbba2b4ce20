//! The Docker context that a machine builds and runs: three files.

/// What a machine builds and runs. It has secrets: the job's token, its variables, passwords of registries.
#[derive(Clone, PartialEq, Eq)]
pub struct Context {
    /// The image's recipe.
    pub dockerfile: String,
    /// The settings of the inner runner.
    pub runner_toml: String,
    /// The job.
    pub job_json: String,
}

impl Context {
    /// Puts the job below the image that has the inner runner.
    pub fn new(image: &str, runner_toml: &str, job_json: String) -> Context {
        const FOLDER: &str = "/etc/gitlab-runner/";
        // Only Heptapod's runner has this command.
        let call = [
            "/usr/bin/gitlab-runner",
            "exec-fetched-job",
            "--config",
            "/etc/gitlab-runner/runner.toml",
            "/etc/gitlab-runner/job.json",
        ];
        let call = call.map(|word| format!("\"{word}\"")).join(", ");
        Context {
            dockerfile: format!(
                "FROM {image}\nCOPY runner.toml {FOLDER}\nCOPY job.json {FOLDER}\nENV DEBUG=true\nENTRYPOINT [{call}]\n"
            ),
            runner_toml: runner_toml.to_owned(),
            job_json,
        }
    }

    /// The files by their names.
    pub fn files(&self) -> [(&'static str, &str); 3] {
        [
            ("Dockerfile", &self.dockerfile),
            ("job.json", &self.job_json),
            ("runner.toml", &self.runner_toml),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_the_job_where_the_inner_runner_looks_for_it() {
        let context = Context::new("registry.example/runner:1", "x", "{}".to_owned());

        assert_eq!(
            context.dockerfile,
            "FROM registry.example/runner:1\n\
             COPY runner.toml /etc/gitlab-runner/\n\
             COPY job.json /etc/gitlab-runner/\n\
             ENV DEBUG=true\n\
             ENTRYPOINT [\"/usr/bin/gitlab-runner\", \"exec-fetched-job\", \"--config\", \
             \"/etc/gitlab-runner/runner.toml\", \"/etc/gitlab-runner/job.json\"]\n"
        );
    }
}
