//! Which ignored paths of a project hold the packages that its checks need.
//!
//! Owns the list of directories. What else is ignored stays outside a check as it stays outside a session. Must not
//! know where the paths lie or how they come into a sandbox.

use crate::tree::{RelPath, Tree};

/// A directory of packages, and the files of which one must stand beside it; none when its name says enough.
type Kind = (&'static str, &'static [&'static str]);

/// Files of a Python project.
const PYTHON: &[&str] = &["pyproject.toml", "requirements.txt", "setup.py", "setup.cfg", "Pipfile"];

/// The directories. Names that stand for something else in many projects need a file that says what they are.
const KINDS: &[Kind] = &[
    ("node_modules", &[]),
    ("bower_components", &["bower.json"]),
    (".yarn", &["yarn.lock", "package.json"]),
    (".pnp.cjs", &["package.json"]),
    (".pnp.loader.mjs", &["package.json"]),
    ("target", &["Cargo.toml", "pom.xml", "build.sbt"]),
    ("vendor", &["go.mod", "composer.json", "Gemfile", "Cargo.toml"]),
    (".bundle", &["Gemfile"]),
    (".venv", &[]),
    ("venv", PYTHON),
    ("env", PYTHON),
    ("__pypackages__", &[]),
    ("deps", &["mix.exs"]),
    ("_build", &["mix.exs"]),
    ("Pods", &["Podfile"]),
    ("elm-stuff", &["elm.json"]),
    (".stack-work", &["stack.yaml", "package.yaml"]),
    ("dist-newstyle", &[]),
];

/// The directories in which a Python environment keeps its programs, beneath the project's root, by the names that
/// are usual for one.
pub const ENVIRONMENTS: [&str; 3] = [".venv", "venv", "env"];

/// The directory of packages that an ignored path is, or lies in. `tree` is the project as it is without any
/// changes, so that whoever made changes does not choose what comes in.
#[must_use]
pub fn package_dir(path: &RelPath, tree: &Tree) -> Option<RelPath> {
    let mut all: Vec<RelPath> = path.ancestors().collect();
    all.push(path.clone());
    all.sort();
    all.into_iter().find(|path| {
        let parent = path.parent();
        let stands = |name: &&str| {
            RelPath::under(parent.as_ref(), name.as_bytes())
                .is_ok_and(|path| tree.get(&path).is_some_and(|entry| !entry.node.is_dir()))
        };
        KINDS
            .iter()
            .filter(|(name, _)| name.as_bytes() == path.name())
            .any(|(_, beside)| beside.is_empty() || beside.iter().any(&stands))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;
    use crate::tree::{Entry, Node};

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn tree(files: &[&str]) -> Tree {
        let node = || Node::File { mode: 0o644, size: 0, hash: Hash::of(b"") };
        let mut tree = Tree::new();
        for file in files {
            for dir in path(file).ancestors() {
                tree.insert(&dir, Entry { node: Node::Dir { mode: 0o755 }, mtime_ns: 0 });
            }
            tree.insert(&path(file), Entry { node: node(), mtime_ns: 0 });
        }
        tree
    }

    #[test]
    fn packages_are_told_from_what_else_is_ignored() {
        let tree = tree(&["Cargo.toml", "web/package.json", "api/setup.py", "notes/target.txt"]);
        for (ignored, found) in [
            ("node_modules", Some("node_modules")),
            ("web/node_modules", Some("web/node_modules")),
            // Some projects ignore what is in it, and not the directory.
            ("web/node_modules/left-pad", Some("web/node_modules")),
            ("web/node_modules/a/node_modules/b", Some("web/node_modules")),
            ("target", Some("target")),
            ("web/target", None),
            ("vendor", Some("vendor")),
            ("web/vendor", None),
            (".venv/bin", Some(".venv")),
            ("api/venv", Some("api/venv")),
            ("web/venv", None),
            ("dist", None),
            (".env", None),
            ("env", None),
            ("coverage/lcov.info", None),
            ("node_modules.bak", None),
        ] {
            assert_eq!(package_dir(&path(ignored), &tree), found.map(path), "{ignored}");
        }
    }
}
