//! Reads a JSON object member by member, and says exactly what is wrong with it.
//!
//! Owns positions, duplicate and unknown members, and wrong types. Must not know any setting: whoever asks
//! for a member names it, and what was never asked for is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Where in a text something stands, both counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
}

/// What is wrong with a configuration. The text never holds a value from it, which might be secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("{at}: {message}")]
    Syntax {
        /// Where.
        at: Position,
        /// What the JSON reader says.
        message: String,
    },
    /// A setting that does not exist.
    #[error("{at}: `{field}` is not a setting; the nearest one is `{nearest}`")]
    Unknown {
        /// Where its value stands.
        at: Position,
        /// As it was written.
        field: String,
        /// The known name most like it.
        nearest: String,
    },
    /// A setting that is there more than once.
    #[error("{at}: `{field}` is set a second time")]
    Duplicate {
        /// Where its second value stands.
        at: Position,
        /// Which.
        field: String,
    },
    /// A value of another kind.
    #[error("{at}: `{field}` must be {wanted}, not {found}")]
    WrongType {
        /// Where.
        at: Position,
        /// Which.
        field: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that makes no sense.
    #[error("{at}: `{field}` {why}")]
    BadValue {
        /// Where.
        at: Position,
        /// Which.
        field: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A kind of value that a setting can have.
pub(super) trait Field<'a>: Sized {
    /// What to call it in a message.
    const WANTED: &'static str;

    /// Reads it from JSON text, which is well-formed.
    fn read(raw: &'a str) -> Option<Self>;
}

/// An object whose members are taken out one by one.
pub(super) struct Object<'a> {
    text: &'a str,
    /// All of it.
    raw: &'a str,
    /// The names that lead here, each followed by a dot.
    prefix: String,
    members: Vec<(String, &'a str)>,
    asked: Vec<&'static str>,
}

/// A value's place, for complaints about it.
pub(super) struct Place {
    at: Position,
    field: String,
}

// === impl Object ===

impl<'a> Object<'a> {
    /// The object that a whole text is.
    pub(super) fn whole(text: &'a str) -> Result<Self, ConfigError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(text, &error))?;
        Self::read(text, String::new(), raw.get())
    }

    /// A member's value and place.
    pub(super) fn take<T: Field<'a>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<(T, Place)>, ConfigError> {
        let Some((raw, place)) = self.member(name) else { return Ok(None) };
        match T::read(raw) {
            Some(value) => Ok(Some((value, place))),
            None => Err(wrong_type(place, T::WANTED, raw)),
        }
    }

    /// A member's value.
    pub(super) fn get<T: Field<'a>>(&mut self, name: &'static str) -> Result<Option<T>, ConfigError> {
        Ok(self.take(name)?.map(|(value, _)| value))
    }

    /// A member's value, when `good` accepts it; `why` says what is wrong otherwise.
    pub(super) fn checked<T: Field<'a>>(
        &mut self,
        name: &'static str,
        why: &'static str,
        good: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, ConfigError> {
        match self.take(name)? {
            Some((value, _)) if good(&value) => Ok(Some(value)),
            Some((_, place)) => Err(place.bad(why)),
            None => Ok(None),
        }
    }

    /// A member that is itself an object.
    pub(super) fn nested(&mut self, name: &'static str) -> Result<Option<Self>, ConfigError> {
        let Some((raw, place)) = self.member(name) else { return Ok(None) };
        Self::read(self.text, place.field, raw).map(Some)
    }

    /// The members' names, when they are not settings but names of things.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// Complains about the object as a whole.
    pub(super) fn bad(&self, why: &'static str) -> ConfigError {
        let field = self.prefix.trim_end_matches('.').to_owned();
        ConfigError::BadValue { at: position(self.text, self.raw), field, why }
    }

    /// All members as objects, when their names are not settings but names of things.
    pub(super) fn into_objects(self) -> Result<BTreeMap<String, Self>, ConfigError> {
        let open = |(name, raw): (String, &'a str)| {
            Ok((name.clone(), Self::read(self.text, format!("{}{}", self.prefix, shown(&name)), raw)?))
        };
        self.members.into_iter().map(open).collect()
    }

    /// All members as strings, when their names are not settings but names of things.
    pub(super) fn into_strings(self) -> Result<BTreeMap<String, String>, ConfigError> {
        let read = |(name, raw): (String, &'a str)| match String::read(raw) {
            Some(value) => Ok((name, value)),
            None => {
                let place =
                    Place { at: position(self.text, raw), field: format!("{}{}", self.prefix, shown(&name)) };
                Err(wrong_type(place, String::WANTED, raw))
            }
        };
        self.members.into_iter().map(read).collect()
    }

    /// All members as strings that `fits` accepts with their names; `why` says what is wrong with one that it
    /// does not.
    pub(super) fn into_checked(
        self,
        why: &'static str,
        fits: impl Fn(&str, &str) -> bool,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let places: BTreeMap<String, Place> = self
            .members
            .iter()
            .map(|(name, raw)| {
                let field = format!("{}{}", self.prefix, shown(name));
                (name.clone(), Place { at: position(self.text, raw), field })
            })
            .collect();
        let all = self.into_strings()?;
        for (name, place) in places {
            if all.get(&name).is_some_and(|value| !fits(&name, value)) {
                return Err(place.bad(why));
            }
        }
        Ok(all)
    }

    /// Complains about a member that must be there and is not.
    pub(super) fn lacks(&self, name: &str) -> ConfigError {
        let at = position(self.text, self.raw);
        ConfigError::BadValue { at, field: format!("{}{name}", self.prefix), why: "must be set" }
    }

    /// Complains about members that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some((name, raw)) = self.members.first() else { return Ok(()) };
        let likeness = |known: &&&str| strsim::jaro_winkler(known, &name.to_lowercase());
        let nearest = self.asked.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        Err(ConfigError::Unknown {
            at: position(self.text, raw),
            field: format!("{}{}", self.prefix, shown(name)),
            nearest: nearest.map_or_else(String::new, |nearest| format!("{}{nearest}", self.prefix)),
        })
    }

    /// Opens an object that stands at `path` (empty for the whole text).
    fn read(text: &'a str, path: String, raw: &'a str) -> Result<Self, ConfigError> {
        if !raw.starts_with('{') {
            let field = if path.is_empty() { "the configuration".to_owned() } else { path };
            return Err(wrong_type(Place { at: position(text, raw), field }, "an object", raw));
        }
        let members = serde_json::Deserializer::from_str(raw)
            .deserialize_map(Members)
            .map_err(|error| ConfigError::Syntax { at: position(text, raw), message: plain(&error) })?;
        let prefix = if path.is_empty() { path } else { path + "." };
        let object = Self { text, raw, prefix, members, asked: Vec::new() };
        object.duplicate().map_or(Ok(object), Err)
    }

    fn duplicate(&self) -> Option<ConfigError> {
        let mut seen = BTreeSet::new();
        let (name, raw) = self.members.iter().find(|(name, _)| !seen.insert(name))?;
        Some(ConfigError::Duplicate {
            at: position(self.text, raw),
            field: format!("{}{}", self.prefix, shown(name)),
        })
    }

    fn member(&mut self, name: &'static str) -> Option<(&'a str, Place)> {
        self.asked.push(name);
        let index = self.members.iter().position(|(found, _)| found == name)?;
        let (_, raw) = self.members.remove(index);
        Some((raw, Place { at: position(self.text, raw), field: format!("{}{name}", self.prefix) }))
    }
}

impl Place {
    /// The complaint that the value here makes no sense.
    pub(super) fn bad(self, why: &'static str) -> ConfigError {
        ConfigError::BadValue { at: self.at, field: self.field, why }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

// === kinds of values ===

impl Field<'_> for String {
    const WANTED: &'static str = "a string";

    fn read(raw: &str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }
}

impl Field<'_> for bool {
    const WANTED: &'static str = "true or false";

    fn read(raw: &str) -> Option<Self> {
        raw.parse().ok()
    }
}

impl Field<'_> for u64 {
    const WANTED: &'static str = "a whole number";

    fn read(raw: &str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }
}

impl Field<'_> for Vec<String> {
    const WANTED: &'static str = "a list of strings";

    fn read(raw: &str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }
}

/// Collects an object's members in their order, duplicates too.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, raw.get()));
        }
        Ok(members)
    }
}

// === messages ===

fn wrong_type(place: Place, wanted: &'static str, raw: &str) -> ConfigError {
    let found = match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') if wanted.starts_with("a list") => "a list of other things",
        Some(b'[') => "a list",
        Some(b'"') if wanted.starts_with('"') => "another string",
        // Only an escape that is half a character makes a string unreadable.
        Some(b'"') if wanted == String::WANTED => "text that is not Unicode",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ if wanted == u64::WANTED => "another number",
        _ => "a number",
    };
    ConfigError::WrongType { at: place.at, field: place.field, wanted, found }
}

fn syntax(text: &str, error: &serde_json::Error) -> ConfigError {
    // The reader counts bytes in a line, and names the end of the text as column 0 of a line of its own.
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or("");
    let before = line.as_bytes().get(..error.column().saturating_sub(1)).unwrap_or(line.as_bytes());
    let column = String::from_utf8_lossy(before).chars().count() + 1;
    ConfigError::Syntax { at: Position { line: error.line().max(1), column }, message: plain(error) }
}

/// The reader's message without the position at its end.
fn plain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.clone(), |(message, _)| message.to_owned())
}

/// Where `part`, a piece of `text`, stands in it.
fn position(text: &str, part: &str) -> Position {
    let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.get(..offset).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// A foreign name, short enough for a message, and without what a terminal would obey.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}
