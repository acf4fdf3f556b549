//! What stays outside a snapshot, and why.
//!
//! Owns the order of rules: names that secrets are kept under, which nothing overrides; the directories of
//! version control and of FTL; then `.ftlignore` files, `.gitignore` files and `.git/info/exclude`, the
//! deepest file first among those of one kind. The rules of a session are those of the host when the snapshot
//! was taken; what the agent writes into such a file changes nothing. Must not know what becomes of a path.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ftl_core::id::Hash;
use ftl_core::refuse::{protected, secret_at_end};
use ftl_core::tree::{RelPath, Tree};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};

/// The largest file of rules that is read.
pub(super) const LARGEST: u64 = 1 << 20;

/// The most that files of rules may hold together, in bytes.
pub(super) const LARGEST_TOGETHER: u64 = 16 << 20;
/// Matchers that are kept. One takes many times the memory of its text.
const MADE: usize = 1000;

/// A path that stays outside. A directory stands for all that is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exclusion {
    /// Which.
    pub path: RelPath,
    /// The rule as it is written, or what is wrong with the path.
    pub rule: String,
    /// The file that has the rule, beneath the project's root, or `built in`.
    pub source: String,
    /// What kind of rule.
    pub class: Class,
}

/// Why a path stays outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Its name is one that secrets are kept under, or it holds one.
    Secret,
    /// It belongs to version control or to FTL.
    BuiltIn,
    /// An ignore file names it.
    Ignored,
    /// A socket, FIFO, device or mount point.
    Special,
    /// It could not be read, or not without changing meanwhile.
    Unreadable,
}

/// The rules of a project at one moment.
#[derive(Debug, Default)]
pub struct Rules {
    files: Vec<File>,
    /// By directory; the root's key is empty.
    levels: BTreeMap<Vec<u8>, Level>,
    /// Bytes of the files' texts.
    size: u64,
    /// How many matchers were made.
    made: AtomicUsize,
    edition: Edition,
}

/// Which rules these are: another one after each change of them, and never one that was before. Rules that say
/// the same may have different ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Edition(Arc<()>);

impl PartialEq for Edition {
    fn eq(&self, other: &Self) -> bool {
        // Whoever compares holds both: nothing else can be at the same place.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The matchers of one directory, by [`Kind`].
type Level = BTreeMap<Kind, Matcher>;

/// A matcher that is made when it is asked for the first time: most directories' are not asked between two
/// walks.
#[derive(Debug)]
struct Matcher {
    /// Which of the files.
    file: usize,
    made: OnceLock<Gitignore>,
}

/// A file of rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct File {
    dir: Option<RelPath>,
    kind: Kind,
    text: String,
}

/// The kinds of files, the strongest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    /// `.ftlignore`.
    Ftl,
    /// `.gitignore`.
    Git,
    /// `.git/info/exclude`.
    Exclude,
}

/// The matchers above one directory, ready to be asked about what stands in it.
pub(super) struct Chain<'a>(Vec<(usize, Kind, &'a Gitignore)>);

impl Rules {
    /// Adds a file of rules that stands in `dir`. A line that is no pattern is skipped, as Git does.
    pub(super) fn add(&mut self, dir: Option<&RelPath>, kind: Kind, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        let has_rule = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
        if text.trim_start_matches('\u{feff}').lines().any(has_rule) {
            let key = dir.map_or(Vec::new(), |dir| dir.as_bytes().to_vec());
            let matcher = Matcher { file: self.files.len(), made: OnceLock::new() };
            self.levels.entry(key).or_default().insert(kind, matcher);
            self.size += text.len() as u64;
            self.files.push(File { dir: dir.cloned(), kind, text });
            self.edition = Edition::default();
        }
    }

    /// What tells these rules from those before and after a change.
    pub(super) fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Whether the files hold more than is accepted.
    pub(super) fn are_too_large(&self) -> bool {
        self.size > LARGEST_TOGETHER
    }

    /// Lets matchers go when many were made.
    pub(super) fn rest(&mut self) {
        if *self.made.get_mut() > MADE {
            *self.made.get_mut() = 0;
            self.levels.values_mut().flat_map(Level::values_mut).for_each(|matcher| {
                matcher.made.take();
            });
        }
    }

    fn made<'a>(&'a self, matcher: &'a Matcher) -> &'a Gitignore {
        matcher.made.get_or_init(|| {
            self.made.fetch_add(1, Ordering::Relaxed);
            self.files.get(matcher.file).map_or_else(Gitignore::empty, |file| read(&file.text))
        })
    }

    /// The matchers that decide about what stands in `dir`.
    pub(super) fn chain(&self, dir: Option<&RelPath>) -> Chain<'_> {
        let above = dir.into_iter().cloned().chain(dir.into_iter().flat_map(|dir| dir.ancestors()));
        let levels =
            above.filter_map(|dir| Some((dir.as_bytes().len() + 1, self.levels.get(dir.as_bytes())?)));
        let root = self.levels.get(&b""[..]).map(|level| (0, level));
        let mut chain: Vec<_> = levels
            .chain(root)
            .flat_map(|(start, level)| {
                level.iter().map(move |(kind, matcher)| (start, *kind, self.made(matcher)))
            })
            .collect();
        // The sort is stable: within a kind the deepest stays first.
        chain.sort_by_key(|(_, kind, _)| *kind);
        Chain(chain)
    }

    /// Whether a file of rules stands in a directory or beneath it.
    pub(super) fn any_beneath(&self, dir: &RelPath) -> bool {
        let mut from = self.levels.range(dir.as_bytes().to_vec()..).map(|(key, _)| key.as_slice());
        let beneath =
            |key: &[u8]| key.strip_prefix(dir.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
        from.by_ref()
            .take_while(|key| key.starts_with(dir.as_bytes()))
            .any(|key| key == dir.as_bytes() || beneath(key))
    }

    /// Whether an ignore file leaves a new path out. Paths beneath a directory that is left out are not
    /// asked about.
    #[must_use]
    pub fn ignores(&self, path: &RelPath, is_dir: bool) -> bool {
        self.chain(path.parent().as_ref()).ignored(path, is_dir).is_some()
    }

    /// Whether a session's path is left out of its diff: [`Rules::ignores`] it and the base does not have it.
    #[must_use]
    pub fn leaves_out(&self, base: &Tree, path: &RelPath, is_dir: bool) -> bool {
        !base.contains_key(path) && self.ignores(path, is_dir)
    }

    /// A hash over the rules: equal rules have equal ones, in whatever order their files were met.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut files: Vec<String> =
            self.files.iter().map(|file| format!("{:?} {:?} {:?}", file.dir, file.kind, file.text)).collect();
        files.sort();
        Hash::of(files.join("\n").as_bytes())
    }

    /// The rules as bytes.
    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.files)
    }

    /// Reads them back.
    pub(super) fn from_bytes(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut rules = Self::default();
        for file in serde_json::from_slice::<Vec<File>>(bytes)? {
            rules.add(file.dir.as_ref(), file.kind, file.text.as_bytes());
        }
        Ok(rules)
    }
}

/// The protected name that a component is taken for and no snapshot has. FTL's files of rules are read by
/// agents, only never written.
pub(super) fn forbidden(component: &[u8]) -> Option<&'static str> {
    protected(component).filter(|name| !matches!(*name, ".ftlconfig" | ".ftlignore"))
}

impl Chain<'_> {
    /// Why a path stays outside a snapshot, if it does.
    pub(super) fn verdict(&self, path: &RelPath, is_dir: bool) -> Option<Exclusion> {
        let built_in = |rule: &str, class| {
            Some(Exclusion {
                path: path.clone(),
                rule: rule.to_owned(),
                source: "built in".to_owned(),
                class,
            })
        };
        if let Some(name) = forbidden(path.name()) {
            return built_in(name, Class::BuiltIn);
        }
        if let Some(pattern) = secret_at_end(path, is_dir) {
            return built_in(pattern, Class::Secret);
        }
        let (rule, source) = self.ignored(path, is_dir)?;
        Some(Exclusion { path: path.clone(), rule, source, class: Class::Ignored })
    }

    /// The line that leaves a path out, and its file.
    fn ignored(&self, path: &RelPath, is_dir: bool) -> Option<(String, String)> {
        for (start, kind, matcher) in &self.0 {
            let within = Path::new(OsStr::from_bytes(&path.as_bytes()[*start..]));
            match matcher.matched(within, is_dir) {
                Match::None => {}
                Match::Whitelist(_) => return None,
                Match::Ignore(glob) => {
                    let dir = String::from_utf8_lossy(&path.as_bytes()[..*start]);
                    return Some((glob.original().to_owned(), format!("{dir}{}", kind.name())));
                }
            }
        }
        None
    }
}

impl Kind {
    /// The file's path in its directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ftl => ".ftlignore",
            Self::Git => ".gitignore",
            Self::Exclude => ".git/info/exclude",
        }
    }

    /// The kind of a file in any directory.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b".ftlignore" => Some(Self::Ftl),
            b".gitignore" => Some(Self::Git),
            _ => None,
        }
    }
}

fn read(text: &str) -> Gitignore {
    // Paths are handed in relative to the file's directory.
    let mut builder = GitignoreBuilder::new("");
    for line in text.trim_start_matches('\u{feff}').lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn rules(files: &[(&str, Kind, &str)]) -> Rules {
        let mut rules = Rules::default();
        for (dir, kind, text) in files {
            rules.add((!dir.is_empty()).then(|| path(dir)).as_ref(), *kind, text.as_bytes());
        }
        Rules::from_bytes(&rules.to_bytes().unwrap()).unwrap()
    }

    fn verdict(rules: &Rules, at: &str) -> Option<String> {
        let (at, is_dir) = at.strip_suffix('/').map_or((at, false), |at| (at, true));
        let found = rules.chain(path(at).parent().as_ref()).verdict(&path(at), is_dir)?;
        Some(format!("{:?} {} {}", found.class, found.source, found.rule))
    }

    #[test]
    fn every_exclusion_names_its_rule() {
        let rules = rules(&[
            ("", Kind::Git, "target/\n*.log\n/top\n!keep.log\n# note\n[bad\n"),
            ("", Kind::Exclude, "scratch\n"),
            ("a", Kind::Git, "!deep.log\nx*\n"),
            ("", Kind::Ftl, "!node_modules/\nbig.bin\n"),
            ("web", Kind::Git, "node_modules/\n"),
        ]);
        for (at, expected) in [
            ("target/", Some("Ignored .gitignore target/")),
            ("target", None),
            ("a/b/target/", Some("Ignored .gitignore target/")),
            ("b/x.log", Some("Ignored .gitignore *.log")),
            ("keep.log", None),
            ("top", Some("Ignored .gitignore /top")),
            ("a/top", None),
            ("a/deep.log", None),
            ("a/b/xyz", Some("Ignored a/.gitignore x*")),
            ("ab/xyz", None),
            ("a/scratch", Some("Ignored .git/info/exclude scratch")),
            ("a/big.bin", Some("Ignored .ftlignore big.bin")),
            ("web/node_modules/", None),
            (".git/", Some("BuiltIn built in .git")),
            ("sub/.GIT", Some("BuiltIn built in .git")),
            (".gitignore", None),
            (".ftlconfig", None),
            (".ftlignore", None),
            (".ftl/", Some("BuiltIn built in .ftl")),
            ("sub/.hg/", Some("BuiltIn built in .hg")),
            (".svn/", Some("BuiltIn built in .svn")),
            (".JJ/", Some("BuiltIn built in .jj")),
            (".bzr/", Some("BuiltIn built in .bzr")),
            (".hgignore", None),
            ("src/credentials/", None),
            ("src/credentials", Some("Secret built in credentials")),
            ("a/.server.key.swp", Some("Secret built in *.key")),
            ("a/.Env.local", Some("Secret built in .env*")),
            ("a/.ssh/", Some("Secret built in .ssh/")),
        ] {
            assert_eq!(verdict(&rules, at).as_deref(), expected, "{at}");
        }
    }

    #[test]
    fn no_ignore_file_brings_a_secret_or_git_back() {
        let rules = rules(&[("", Kind::Ftl, "!.env\n!.git/\n!*.pem\n")]);
        assert!(verdict(&rules, ".env").unwrap().starts_with("Secret"));
        assert!(verdict(&rules, ".git/").unwrap().starts_with("BuiltIn"));
        assert!(verdict(&rules, "a/server.pem").unwrap().starts_with("Secret"));
        // A secret's name is no reason to hide what an agent makes; only the user's own rules do that.
        assert!(!rules.ignores(&path(".env"), false));
    }

    #[test]
    fn few_matchers_of_many_files_are_kept_and_all_decide() {
        let mut rules = Rules::default();
        for n in 0..3 * MADE {
            rules.add(Some(&path(&format!("d{n}"))), Kind::Git, format!("*.{n}\n").as_bytes());
        }
        assert_eq!(*rules.made.get_mut(), 0);
        for n in 0..3 * MADE {
            assert!(rules.ignores(&path(&format!("d{n}/x.{n}")), false));
            assert!(!rules.ignores(&path(&format!("d{n}/x.{}", n + 1)), false));
            rules.rest();
            assert!(*rules.made.get_mut() <= MADE);
        }
    }

    #[test]
    fn equal_rules_have_one_digest() {
        let (one, two) = (("", Kind::Git, "*.log\n"), ("a", Kind::Ftl, "x\n"));
        assert_eq!(rules(&[one, two]).digest(), rules(&[two, one]).digest());
        assert_ne!(rules(&[one, two]).digest(), rules(&[one]).digest());
    }

    #[test]
    fn a_path_of_the_base_is_never_left_out() {
        let rules = rules(&[("", Kind::Git, "*.log\n")]);
        let node = ftl_core::tree::Node::Symlink { target: b"x".into() };
        let base: Tree = [(path("a.log"), ftl_core::tree::Entry { node, mtime_ns: 0 })].into();
        assert!(!rules.leaves_out(&base, &path("a.log"), false));
        assert!(rules.leaves_out(&base, &path("b.log"), false));
    }
}
