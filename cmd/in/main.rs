//! `/opt/resource/in DESTINATION`: the lock that a version is about.

fn main() -> std::process::ExitCode {
    programs::get::main()
}
