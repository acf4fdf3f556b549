//! What may leave a sandbox, and to where.
//!
//! Owns the decisions of the egress proxy: what a host is, which requests the rules allow, which
//! addresses are never dialled, how first bytes are read, how names are answered. Must not know sockets,
//! TLS or credentials' values; whoever asks brings text and gets a value.
//!
//! Reading order: [`host`] (one canonical form for everything that names a host), [`path`] (the same for
//! a request's path), [`rule`] (one rule as text), [`preset`] and [`policy_file`] (many), [`policy`] (what
//! they say about a request), [`address`] (what is never dialled), [`dns`] and [`synthetic`] (names, without
//! asking anybody), [`sniff`] (first bytes), [`framing`] (where requests end), [`packed`]
//! (what bodies begin with), [`rate`], [`suggest`], [`asked`] (a human's
//! question about a request).

pub mod address;
pub mod asked;
pub mod dns;
pub mod framing;
pub mod host;
pub mod packed;
pub mod path;
pub mod policy;
pub mod policy_file;
pub mod preset;
pub mod rate;
pub mod rule;
pub mod sniff;
pub mod suggest;
pub mod synthetic;
