//! What a change of a package's manifest touches.
//!
//! Owns which parts of a manifest run something, which name other packages, and which are only words about
//! the package. A part that is not known here counts as one that runs something, and a manifest that cannot
//! be read for sure as one that does both. Must not know where the contents come from.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::name::folded_stem;
use crate::tree::RelPath;

/// Levels of a document that are read.
const DEEPEST: u8 = 64;

/// What of a manifest differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Touched {
    /// It is no manifest, or it cannot be said: the name decides.
    #[default]
    Unknown,
    /// Only these.
    Parts {
        /// Something that a tool runs, or obeys.
        runs: bool,
        /// Which other packages it needs, or where they come from.
        depends: bool,
    },
}

/// What a part of a manifest is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Words,
    Runs,
    Depends,
}

/// How a manifest is written, and what its parts are.
struct Kind {
    file: &'static str,
    read: fn(&str) -> Option<Value>,
    /// Dotted names. The longest one that a changed part's name begins with decides.
    words: &'static [&'static str],
    depends: &'static [&'static str],
}

const NPM: Kind = Kind {
    file: "package.json",
    read: json,
    words: &[
        "version",
        "description",
        "keywords",
        "author",
        "contributors",
        "maintainers",
        "license",
        "homepage",
        "repository",
        "bugs",
        "funding",
        "private",
    ],
    depends: &[
        "dependencies",
        "devDependencies",
        "peerDependencies",
        "peerDependenciesMeta",
        "optionalDependencies",
        "bundleDependencies",
        "bundledDependencies",
        "overrides",
        "resolutions",
    ],
};

const COMPOSER: Kind = Kind {
    file: "composer.json",
    read: json,
    words: &[
        "version",
        "description",
        "keywords",
        "authors",
        "license",
        "homepage",
        "support",
        "funding",
        "readme",
        "time",
    ],
    depends: &["require", "require-dev", "conflict", "replace", "provide", "repositories"],
};

const CARGO: Kind = Kind {
    file: "cargo.toml",
    read: toml,
    words: &[
        "package.version",
        "package.description",
        "package.authors",
        "package.license",
        "package.license-file",
        "package.repository",
        "package.homepage",
        "package.documentation",
        "package.readme",
        "package.keywords",
        "package.categories",
        "package.publish",
    ],
    depends: &[
        "dependencies",
        "dev-dependencies",
        "build-dependencies",
        "target",
        "patch",
        "replace",
        "features",
        "workspace.dependencies",
    ],
};

const PYTHON: Kind = Kind {
    file: "pyproject.toml",
    read: toml,
    words: &[
        "project.version",
        "project.description",
        "project.readme",
        "project.authors",
        "project.maintainers",
        "project.license",
        "project.license-files",
        "project.keywords",
        "project.classifiers",
        "project.urls",
        "tool.poetry.version",
        "tool.poetry.description",
        "tool.poetry.authors",
        "tool.poetry.maintainers",
        "tool.poetry.license",
        "tool.poetry.keywords",
        "tool.poetry.classifiers",
        "tool.poetry.homepage",
        "tool.poetry.repository",
    ],
    depends: &[
        "project.dependencies",
        "project.optional-dependencies",
        "project.requires-python",
        "dependency-groups",
        "tool.poetry.dependencies",
        "tool.poetry.dev-dependencies",
        "tool.poetry.group",
        "tool.poetry.source",
    ],
};

const KINDS: [Kind; 4] = [NPM, COMPOSER, CARGO, PYTHON];

/// What a change of the whole contents touches; an absent side is empty. For anything but the whole
/// contents the answer would mean nothing.
#[must_use]
pub fn touched(path: &RelPath, before: &[u8], after: &[u8]) -> Touched {
    let name = folded_stem(path.name());
    let Some(kind) = KINDS.iter().find(|kind| name == kind.file) else { return Touched::Unknown };
    let read = |content: &[u8]| match content {
        [] => Some(Value::Map(Vec::new())),
        _ => (kind.read)(std::str::from_utf8(content).ok()?),
    };
    let (Some(before), Some(after)) = (read(before), read(after)) else { return Touched::Unknown };
    let mut parts = Vec::new();
    differing(kind, "", &before, &after, &mut parts);
    Touched::Parts { runs: parts.contains(&Part::Runs), depends: parts.contains(&Part::Depends) }
}

/// The parts that differ, from the outside in for as long as a table has parts of several sorts.
fn differing(kind: &Kind, at: &str, before: &Value, after: &Value, parts: &mut Vec<Part>) {
    if before == after {
        return;
    }
    let (Value::Map(old), Value::Map(new)) = (before, after) else {
        return parts.push(kind.part(at).unwrap_or(Part::Runs));
    };
    if let Some(part) = kind.part(at) {
        return parts.push(part);
    }
    let empty = Value::Map(Vec::new());
    let names: BTreeSet<&str> = old.iter().chain(new).map(|(name, _)| name.as_str()).collect();
    for name in names {
        // A name with a dot in it would look like a table's part.
        let path = match at {
            _ if name.contains('.') => "?".to_owned(),
            "" => name.to_owned(),
            _ => format!("{at}.{name}"),
        };
        let (one, other) = (member(old, name), member(new, name));
        match (one.unwrap_or(&empty), other.unwrap_or(&empty)) {
            (one @ Value::Map(_), other @ Value::Map(_)) if kind.is_above(&path) => {
                differing(kind, &path, one, other, parts);
            }
            _ if one == other => {}
            _ => parts.push(kind.part(&path).unwrap_or(Part::Runs)),
        }
    }
}

fn member<'a>(map: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    map.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

impl Kind {
    fn part(&self, at: &str) -> Option<Part> {
        if self.words.contains(&at) {
            return Some(Part::Words);
        }
        self.depends.contains(&at).then_some(Part::Depends)
    }

    /// Whether a part of this name has parts that are known.
    fn is_above(&self, at: &str) -> bool {
        let beneath = |name: &&str| name.strip_prefix(at).is_some_and(|rest| rest.starts_with('.'));
        self.words.iter().chain(self.depends).any(beneath)
    }
}

/// A document of either format. A name that stands there twice is an error: readers disagree on which one
/// counts.
#[derive(PartialEq)]
enum Value {
    Plain(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value| matches!(value, Value::Map(_)))
}

fn toml(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(text).ok()?;
    Some(from_toml(&toml::Value::Table(table), 0))
}

fn from_toml(value: &toml::Value, depth: u8) -> Value {
    match value {
        _ if depth > DEEPEST => Value::Plain(String::new()),
        toml::Value::Table(table) => Value::Map(
            table.iter().map(|(name, value)| (name.clone(), from_toml(value, depth + 1))).collect(),
        ),
        toml::Value::Array(list) => {
            Value::List(list.iter().map(|value| from_toml(value, depth + 1)).collect())
        }
        other => Value::Plain(format!("{other:?}")),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Plain(format!("\"{value}")))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Plain("null".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom("a name stands there twice"));
            }
            members.push((name, value));
        }
        Ok(Value::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str, before: &str, after: &str) -> &'static str {
        match touched(&RelPath::new(name).unwrap(), before.as_bytes(), after.as_bytes()) {
            Touched::Unknown => "unknown",
            Touched::Parts { runs: false, depends: false } => "nothing",
            Touched::Parts { runs: true, depends: false } => "runs",
            Touched::Parts { runs: false, depends: true } => "depends",
            Touched::Parts { runs: true, depends: true } => "both",
        }
    }

    #[test]
    fn what_an_npm_manifest_touches() {
        let base = r#"{"name":"a","version":"1.0.0","scripts":{"test":"x"},"dependencies":{"b":"1"}}"#;
        for (after, expected) in [
            (r#"{"name":"a","version":"1.0.1","scripts":{"test":"x"},"dependencies":{"b":"1"}}"#, "nothing"),
            (
                r#"{ "dependencies": {"b":"1"}, "scripts": {"test":"x"}, "name":"a", "version":"1.0.0" }"#,
                "nothing",
            ),
            (r#"{"name":"a","version":"1.0.0","scripts":{"test":"y"},"dependencies":{"b":"1"}}"#, "runs"),
            (r#"{"name":"a","version":"1.0.0","scripts":{"test":"x"},"dependencies":{"b":"2"}}"#, "depends"),
            (r#"{"name":"a","version":"1.0.0"}"#, "both"),
            (r#"{"name":"a","scripts":{"test":"x"},"dependencies":{"b":"1"},"version":7}"#, "nothing"),
            (
                r#"{"name":"a","version":"1.0.0","scripts":{"test":"x"},"dependencies":{"b":"1"},"jest":{}}"#,
                "runs",
            ),
            // What some reader takes for the first and another for the last.
            (
                r#"{"scripts":{"test":"y"},"name":"a","version":"1.0.0","scripts":{"test":"x"},"dependencies":{"b":"1"}}"#,
                "unknown",
            ),
            (
                r#"{"name":"a","version":"1.0.0","Scripts":{"test":"x"},"scripts":{"test":"x"},"dependencies":{"b":"1"}}"#,
                "runs",
            ),
            ("{", "unknown"),
            ("[]", "unknown"),
            ("\u{feff}{}", "unknown"),
        ] {
            assert_eq!(parts("package.json", base, after), expected, "{after}");
        }
        let other = "{\"dependencies.x\":1}";
        assert_eq!(parts("package.json", "{}", other), "runs");
        assert_eq!(parts("package.json", "", r#"{"version":"1"}"#), "nothing");
        assert_eq!(parts("package.json", "", r#"{"dependencies":{"a":"1"}}"#), "depends");
    }

    #[test]
    fn what_other_manifests_touch() {
        let cargo = "[package]\nname = \"a\"\nversion = \"1\"\n";
        for (name, before, after, expected) in [
            ("Cargo.toml", cargo, "[package]\nname = \"a\"\nversion = \"2\"\n", "nothing"),
            ("Cargo.toml", cargo, "[package]\nname = \"a\"\nversion = \"1\"\nbuild = \"x.rs\"\n", "runs"),
            ("x/CARGO.TOML", cargo, "package = 3", "runs"),
            ("Cargo.toml", "", "[dependencies]\nserde = \"1\"\n", "depends"),
            ("Cargo.toml", "", "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n", "depends"),
            ("Cargo.toml", "", "[workspace]\nmembers = []\n[workspace.dependencies]\na = \"1\"\n", "both"),
            ("Cargo.toml", cargo, "[package", "unknown"),
            ("pyproject.toml", "", "[project]\nversion = \"1\"\nkeywords = []\n", "nothing"),
            ("pyproject.toml", "", "[project]\ndependencies = [\"a\"]\n", "depends"),
            ("pyproject.toml", "", "[build-system]\nrequires = [\"a\"]\n", "runs"),
            ("pyproject.toml", "", "[tool.pytest.ini_options]\naddopts = \"-p x\"\n", "runs"),
            (
                "pyproject.toml",
                "",
                "[tool.poetry]\nversion = \"1\"\n[tool.poetry.dependencies]\na = \"1\"\n",
                "depends",
            ),
            ("composer.json", "{}", r#"{"require":{"a/b":"1"}}"#, "depends"),
            ("composer.json", "{}", r#"{"scripts":{"post-install-cmd":"x"}}"#, "runs"),
            ("composer.json", "{}", r#"{"description":"x"}"#, "nothing"),
            ("README.md", "", "x", "unknown"),
            ("Makefile", "", "x", "unknown"),
        ] {
            assert_eq!(parts(name, before, after), expected, "{name} {after}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(parts("package.json", "", &deep), "unknown");
        assert_eq!(parts("Cargo.toml", "", &format!("a = {deep}")), "unknown");
    }
}
