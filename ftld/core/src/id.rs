//! Names of things: hashes, sessions, snapshots, applications.
//!
//! Owns how an id looks and how it is read back. Must not know where ids come from: randomness and
//! content arrive as arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A BLAKE3 hash. Shown and read as 64 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// The manifest hash of a snapshot: equal trees have equal ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub Hash);

/// What a human approves: a hash over the base and the result of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub Hash);

/// A session: `s-` and ten characters of [`ALPHABET`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

/// One application of approved bytes to a project: `a-` and ten characters of [`ALPHABET`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApplyId(String);

/// Characters of random ids: no vowels, so that no word appears; none that look alike.
pub const ALPHABET: &[u8; 20] = b"bcdfghjkmnpqrstvwxz2";

/// An id that is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub wanted: &'static str,
}

// === impl Hash ===

impl Hash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The lower-case hexadecimal form.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.chars().take(80).collect(),
            wanted: "64 lower-case hexadecimal characters",
        };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (nibble(pair[0]).ok_or_else(error)? << 4) | nibble(pair[1]).ok_or_else(error)?;
        }
        Ok(Self(hash))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

// === impl SnapshotId, Digest ===

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

// === impl SessionId, ApplyId ===

macro_rules! random_id {
    ($name:ident, $prefix:literal, $wanted:literal) => {
        impl $name {
            /// An id from ten random bytes.
            #[must_use]
            pub fn from_random(random: [u8; 10]) -> Self {
                let letters = random.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
                Self($prefix.chars().chain(letters).collect())
            }

            /// The id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let letters = text.strip_prefix($prefix).unwrap_or("");
                if letters.len() == 10 && letters.bytes().all(|letter| ALPHABET.contains(&letter)) {
                    Ok(Self(text))
                } else {
                    Err(IdError { text: text.chars().take(80).collect(), wanted: $wanted })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

random_id!(SessionId, "s-", "a session id (`s-` and ten characters)");
random_id!(ApplyId, "a-", "the id of an application (`a-` and ten characters)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_as_it_is_shown() {
        let hash = Hash::of(b"content");
        assert_eq!(hash.to_hex().parse::<Hash>(), Ok(hash));
        for bad in ["", "00", &hash.to_hex().to_uppercase(), &hash.to_hex().replace(['a', 'b'], "g")] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let id = SessionId::from_random([0, 1, 2, 3, 19, 20, 21, 255, 7, 9]);
        assert_eq!(id.as_str().parse::<SessionId>(), Ok(id.clone()));
        for bad in ["", "s-", "s-aaaaaaaaaa", "a-bcdfghjkmn", "s-bcdfghjkm/", "s-bcdfghjkmnn", "../../etc"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
