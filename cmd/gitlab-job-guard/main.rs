//! `gitlab-job-guard`: a job of a GitLab pipeline waits until its turn has come.

fn main() -> std::process::ExitCode {
    programs::gitlab_job_guard::main()
}
