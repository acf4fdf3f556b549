//! Screens as text, at three sizes.
