//! `pool`: the locks from a terminal, and from any CI.

fn main() -> std::process::ExitCode {
    programs::pool::main()
}
