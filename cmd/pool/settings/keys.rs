//! The keys of a source that the command line can set.

/// The keys that are one text each: the environment has them as `POOL_` and the key in capitals.
pub const TEXTS: [&str; 19] = [
    "uri",
    "branch",
    "private_key",
    "private_key_user",
    "private_key_passphrase",
    "signing_key",
    "signing_key_passphrase",
    "username",
    "password",
    "retry_delay",
    "order",
    "ticket_renewal",
    "connect_timeout",
    "silence_timeout",
    "attempt_timeout",
    "fault_timeout",
    "ca_cert",
    "known_hosts",
    "prometheus_push_gateway",
];

/// Those that are on or off.
pub const SWITCHES: [&str; 3] = ["skip_ssl_verification", "strict_host_keys", "forward_agent"];

/// Those that can be in a file, which is named by the key and `_file`.
pub const IN_FILES: [&str; 7] = [
    "private_key",
    "private_key_passphrase",
    "signing_key",
    "signing_key_passphrase",
    "password",
    "ca_cert",
    "known_hosts",
];

/// Those that only a settings file can have.
pub const NESTED: [&str; 3] = ["pool", "https_tunnel", "git_config"];

/// Those that are secrets, and prove to a server who we are.
pub const CREDENTIALS: [&str; 5] = [
    "private_key",
    "private_key_passphrase",
    "signing_key",
    "signing_key_passphrase",
    "password",
];

/// Those that say which servers are the right ones.
pub const TRUST: [&str; 2] = ["ca_cert", "known_hosts"];

/// Those by which connections go elsewhere, or to anybody.
pub const DETOURS: [&str; 4] = [
    "git_config",
    "https_tunnel",
    "skip_ssl_verification",
    "forward_agent",
];
