//! `/opt/resource/check`: which versions the pool has.

fn main() -> std::process::ExitCode {
    programs::check::main()
}
