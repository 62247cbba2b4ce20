//! All programs in one, for the images and the release: which of them it is, is the name by which it is called.
//!
//! Nearly all of each program is the library and what that is built on, so that one with four names is a third of the size
//! of four. The image of the resource has it with the four programs of the lock pool (`--no-default-features`), the one of
//! the tools with all.
fn main() -> std::process::ExitCode {
    programs::called()
}
