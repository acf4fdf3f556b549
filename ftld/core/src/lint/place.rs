//! What kind of file a path is.
//!
//! Owns which language a file is in, by its name or its first line, and whether it is a test, an example or
//! prose, in which much is harmless that is not so elsewhere. Must not know what is searched for.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::refuse::fold;
use crate::tree::RelPath;

/// Languages, as far as the search tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Shell,
    Make,
    Docker,
    Yaml,
    Json,
    Python,
    JavaScript,
    Ruby,
    Go,
    Rust,
    /// C, C++, Java, Kotlin, C#, Swift, Scala, Dart, Groovy.
    Braces,
    Php,
    Perl,
    Lua,
    Elixir,
    Sql,
    PowerShell,
    Batch,
    /// Names and values, one to a line.
    Settings,
    Terraform,
    Prose,
    Markup,
    Style,
    /// What is made by programs: lock files, maps.
    Generated,
    Other,
}

/// A path as the search sees it.
pub(super) struct Place {
    pub(super) family: Family,
    /// It is a test or what a test needs.
    pub(super) test: bool,
    /// It shows how something is done.
    pub(super) example: bool,
    /// Strings of it are commands: a list of scripts, a build server's jobs.
    pub(super) scripts: bool,
    /// The path, folded.
    pub(super) path: String,
}

/// By what of a name decides, and what it is.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { endings: HashMap::new(), whole: Vec::new() };
    for line in include_str!("place.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((head, list)) = line.split_once(": ") else { continue };
        let Some((by, family)) = head.split_once(' ') else { continue };
        let Some(family) = Family::named(family) else { continue };
        for name in list.split(' ') {
            match by {
                "ending" => drop(names.endings.insert(name, family)),
                _ => names.whole.push((name, family)),
            }
        }
    }
    names
});

struct Names {
    endings: HashMap<&'static str, Family>,
    whole: Vec<(&'static str, Family)>,
}

const TEST_PARTS: [&str; 30] = [
    "test",
    "tests",
    "testing",
    "__tests__",
    "__mocks__",
    "__fixtures__",
    "__snapshots__",
    "spec",
    "specs",
    "fixture",
    "fixtures",
    "testdata",
    "test-data",
    "test_data",
    "testcases",
    "e2e",
    "integration-tests",
    "cypress",
    "mocks",
    "mock",
    "snapshots",
    "golden",
    "bench",
    "benches",
    "benchmarks",
    "fuzz",
    "unittests",
    "testutil",
    "testutils",
    "tests-integration",
];
const EXAMPLE_PARTS: [&str; 12] = [
    "docs",
    "doc",
    "example",
    "examples",
    "sample",
    "samples",
    "demo",
    "demos",
    "tutorial",
    "tutorials",
    "man",
    "website",
];

impl Family {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Shell" => Self::Shell,
            "Make" => Self::Make,
            "Docker" => Self::Docker,
            "Yaml" => Self::Yaml,
            "Json" => Self::Json,
            "Python" => Self::Python,
            "JavaScript" => Self::JavaScript,
            "Ruby" => Self::Ruby,
            "Go" => Self::Go,
            "Rust" => Self::Rust,
            "Braces" => Self::Braces,
            "Php" => Self::Php,
            "Perl" => Self::Perl,
            "Lua" => Self::Lua,
            "Elixir" => Self::Elixir,
            "Sql" => Self::Sql,
            "PowerShell" => Self::PowerShell,
            "Batch" => Self::Batch,
            "Settings" => Self::Settings,
            "Terraform" => Self::Terraform,
            "Prose" => Self::Prose,
            "Markup" => Self::Markup,
            "Style" => Self::Style,
            "Generated" => Self::Generated,
            _ => return None,
        })
    }
}

impl Place {
    /// The place that a path is; a file without an ending is known by its first line.
    pub(super) fn of(path: &RelPath, content: &[u8]) -> Self {
        let parts: Vec<_> = path.components().map(|part| fold(part).into_owned()).collect();
        let name = parts.last().cloned().unwrap_or_default();
        let example = ["example", "sample", "template", "dist", "tmpl", "tpl", "default"];
        let decorated =
            name.rsplit('.').next().is_some_and(|ending| example.contains(&ending)) && name.contains('.');
        let bare = if decorated { name.rsplit_once('.').map_or("", |(front, _)| front) } else { &name };
        let family = by_name(bare).or_else(|| by_ending(bare)).or_else(|| by_first_line(content));
        let family = family.unwrap_or(Family::Other);
        let dirs = &parts[..parts.len().saturating_sub(1)];
        let within = |list: &[&str]| dirs.iter().any(|part| list.contains(&part.as_str()));
        Self {
            family,
            test: within(&TEST_PARTS) || is_test_name(bare),
            example: family == Family::Prose
                || decorated
                || within(&EXAMPLE_PARTS)
                || bare.contains("example"),
            scripts: has_scripts(family, bare, dirs),
            path: parts.join("/"),
        }
    }

    /// Whether what is shown here need not be real.
    pub(super) fn shows(&self) -> bool {
        self.test || self.example
    }
}

fn by_name(name: &str) -> Option<Family> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        // `readme*` and the like have an ending that says no more.
        Some(start) => {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
        }
        None => match pattern.split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
            None => name == pattern,
        },
    };
    NAMES.whole.iter().find(|(pattern, _)| fits(pattern)).map(|(_, family)| *family)
}

fn by_ending(name: &str) -> Option<Family> {
    let (_, ending) = name.rsplit_once('.')?;
    NAMES.endings.get(ending).copied()
}

fn by_first_line(content: &[u8]) -> Option<Family> {
    let line = content.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
    let programs = [
        ("python", Family::Python),
        ("node", Family::JavaScript),
        ("deno", Family::JavaScript),
        ("bun", Family::JavaScript),
        ("ruby", Family::Ruby),
        ("perl", Family::Perl),
        ("php", Family::Php),
        ("lua", Family::Lua),
        ("pwsh", Family::PowerShell),
        ("sh", Family::Shell),
    ];
    programs.iter().find(|(program, _)| line.contains(program)).map(|(_, family)| *family)
}

fn is_test_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let middle = [".test.", ".spec.", ".tests.", ".e2e.", ".stories.", ".bench."];
    stem.starts_with("test_")
        || ["_test", "_tests", "_spec", "-test", "-spec"].iter().any(|end| stem.ends_with(end))
        || middle.iter().any(|part| name.contains(part))
        || ["conftest", "tests", "test", "testutil", "testutils"].contains(&stem)
        || (["java", "kt", "cs", "swift", "php", "scala"]
            .iter()
            .any(|end| name.ends_with(&format!(".{end}")))
            && ["test", "tests", "testcase", "it"]
                .iter()
                .any(|end| stem.ends_with(end) && stem.len() > end.len() + 2 && *end != "it"))
}

/// Whether a file of data is one whose strings are run.
fn has_scripts(family: Family, name: &str, dirs: &[String]) -> bool {
    match family {
        Family::Json => [
            "package.json",
            "composer.json",
            "deno.json",
            "tasks.json",
            "devcontainer.json",
            "nx.json",
            "project.json",
            "settings.json",
        ]
        .contains(&name),
        Family::Yaml => {
            let prose = ["openapi", "swagger", "locale", "i18n", "translation"];
            !dirs.iter().any(|dir| prose.iter().any(|word| dir.contains(word)))
        }
        Family::Settings => {
            [
                "pyproject.toml",
                "makefile.toml",
                "tox.ini",
                "mise.toml",
                ".mise.toml",
                "netlify.toml",
                "fly.toml",
                "cargo.toml",
                "setup.cfg",
                "pixi.toml",
                "poe_tasks.toml",
            ]
            .contains(&name)
                || name.ends_with(".service")
        }
        _ => false,
    }
}
