//! `prunner`: pipelines of tasks, started over HTTP.

fn main() -> std::process::ExitCode {
    programs::prunner::main()
}
