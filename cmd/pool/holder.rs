//! Who we are, as others see it in commits and in the line.

use pool_resource::message::Origin;

/// Who acts: what was `given`, else what the environment says of a CI's build, else user and machine.
pub fn origin(given: Option<&str>, env: &impl Fn(&str) -> Option<String>) -> Origin {
    let prefix = given.map(str::to_owned).or_else(|| env("POOL_HOLDER"));
    Origin {
        prefix: prefix.unwrap_or_else(|| format!("{}@{}", user(), machine())),
        ..Origin::default()
    }
}

fn user() -> String {
    whoami::username().unwrap_or_else(|_| "somebody".to_owned())
}

fn machine() -> String {
    whoami::hostname().unwrap_or_else(|_| "somewhere".to_owned())
}
