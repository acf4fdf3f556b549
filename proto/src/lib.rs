//! The bindings of FTL's public API. Owns nothing but what `proto/ftl/v1/*.proto` says;
//! knows neither the daemon nor the client.

#![allow(clippy::all, missing_docs, unreachable_pub)]

/// Version 1 of the API: services, requests, replies and events.
pub mod v1 {
    tonic::include_proto!("ftl.v1");
}

/// The compiled descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ftl_descriptors.bin"));
