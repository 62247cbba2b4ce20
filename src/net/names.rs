//! Names of hosts and users in a static program, which brings a C library of its own.
//!
//! glibc opens a library of the system for each service in `/etc/nsswitch.conf` that is not built in, such as `resolve`,
//! `sss` or `systemd`. Such a library needs the glibc that it was built with. Under another one the process crashes: a
//! program with the glibc of Debian 12 did so in Debian 11 and Debian 13, where `/etc/nsswitch.conf` has `resolve`.

/// Lets a static program look up hosts in `/etc/hosts` and by DNS alone, and users in `/etc/passwd`: glibc has these
/// services built in. `/etc/nsswitch.conf` is not asked. Another program is left as it is.
///
/// This crate does so before it looks up a host. A program that looks up users does it first of all.
pub fn keep_to_built_in_services() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(glibc::configure);
    }
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod glibc {
    use std::ffi::{CStr, c_char, c_int};

    const SERVICES: [(&CStr, &CStr); 3] = [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
    ];

    #[allow(
        unsafe_code,
        reason = "no crate has this function of glibc's <nss.h>, which is there since 2.0"
    )]
    pub(super) fn configure() {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
        }
        for (database, services) in SERVICES {
            // SAFETY: both are strings that end with a zero and are never freed; the function copies what it needs.
            let failed = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
            // It fails without memory, and for a database that glibc does not know.
            assert_eq!(failed, 0, "glibc takes the services of {database:?}");
        }
    }
}
