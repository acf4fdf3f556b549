//! The vault: credentials' real values, and where they come from.
//!
//! Owns the sources (the project's `.env` files, the credentials file, the environment by name, commands,
//! the keyring) and what of them belongs to a session. Must not know requests or sandboxes.
