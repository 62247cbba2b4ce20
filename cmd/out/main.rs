//! `/opt/resource/out SOURCES`: one operation on the pool.

fn main() -> std::process::ExitCode {
    programs::out::main()
}
