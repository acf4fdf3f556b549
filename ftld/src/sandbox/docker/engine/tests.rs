//! Engines that are none: what is said of each, and how soon.

use super::*;
