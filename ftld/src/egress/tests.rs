//! Tests of the whole way out, in process: a sandbox's connections on one side, real TLS hosts on the
//! other.

mod agreement;
mod answers;
mod bench;
mod bodies;
mod changes;
mod credentials;
mod names;
mod protocols;
mod raw;
mod upgrades;
