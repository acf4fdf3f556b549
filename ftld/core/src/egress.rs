//! What may leave a sandbox, and to where.
//!
//! Owns the decisions of the egress proxy: what a host is, which requests the rules allow, which
//! addresses are never dialled, how first bytes are read, how names are answered. Must not know sockets,
//! TLS or credentials' values; whoever asks brings text and gets a value.
//!
//! Reading order: [`host`] (one canonical form for everything that names a host).

pub mod host;
