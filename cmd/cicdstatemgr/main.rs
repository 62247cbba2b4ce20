//! `cicdstatemgr`: a document for each run of a pipeline.

fn main() -> std::process::ExitCode {
    programs::cicdstatemgr::main()
}
