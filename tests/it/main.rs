//! Tests against real repositories and servers.
