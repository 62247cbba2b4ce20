//! `heptapod-paas-runner`: a machine for each job of a GitLab runner.

fn main() -> std::process::ExitCode {
    programs::heptapod_paas_runner::main()
}
