//! The egress proxy: the only way out of a sandbox.
//!
//! Owns every byte between a sandbox's pipe and the hosts it may reach: classification, TLS on both
//! sides, the one pipeline that every request passes. Must not know sessions, secrets' sources or
//! sandboxes: it is given a pipe and a guard that speaks for the session.
