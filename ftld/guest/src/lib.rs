//! What the daemon and its helper inside a sandbox say to each other.
//!
//! Owns the messages ([`protocol`]) and how they travel with file descriptors over one socket
//! ([`frame`]), how programs ([`stream`]) and a way out ([`relay`]) travel over a stream where descriptors
//! cannot, what both show of `/etc` ([`made_up`]), and what is hidden of the kernel's
//! tables ([`tables`]). Must not know namespaces, mounts or processes (the
//! program does), nor an async runtime.

mod arrived;
pub mod frame;
pub mod made_up;
pub mod protocol;
pub mod relay;
pub mod stream;
pub mod tables;
pub mod tree;
