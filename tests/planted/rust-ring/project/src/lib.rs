//! Samples of sensors.

mod ring;

pub use ring::Ring;
