//! `heptapod-paas-runner-register`: a runner is made known to GitLab, and added to the configuration.

fn main() -> std::process::ExitCode {
    programs::heptapod_paas_runner_register::main()
}
