//! Lists of path patterns.
//!
//! A pattern is one or more components joined by `/`, matched at any depth against folded names; `*` stands
//! for any run of characters within one component. With a `/` at the end it means the named thing and all
//! beneath it, without one the pattern ends where the path ends. A list has one pattern per line, `#`
//! starts a comment, and `[name]` starts a class; what stands behind it is the class's reason, in words. `!`
//! before a name's glob excepts names that it fits.

use std::borrow::Cow;
use std::collections::HashMap;

/// A list, ready to be asked.
pub(super) struct Patterns {
    patterns: Vec<Pattern>,
    /// By last component, of those that have no `*` in it.
    exact: HashMap<&'static str, Vec<usize>>,
    /// The others.
    wild: Vec<usize>,
    /// Globs of names that the list is not about.
    except: Vec<&'static str>,
}

/// One line of a list.
pub(super) struct Pattern {
    /// The line as written.
    pub(super) text: &'static str,
    /// The class it stands under, empty before the first.
    pub(super) class: &'static str,
    /// The class's reason, for humans; empty when it has none.
    pub(super) reason: &'static str,
    /// Whether it means all beneath, too.
    pub(super) tree: bool,
    components: Vec<&'static str>,
}

impl Patterns {
    /// Reads a list.
    pub(super) fn parse(list: &'static str) -> Self {
        let mut this =
            Self { patterns: Vec::new(), exact: HashMap::new(), wild: Vec::new(), except: Vec::new() };
        let (mut class, mut reason) = ("", "");
        for line in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((name, words)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                (class, reason) = (name, words.trim());
                continue;
            }
            if let Some(glob) = line.strip_prefix('!') {
                this.except.push(glob);
                continue;
            }
            let components: Vec<_> = line.trim_end_matches('/').split('/').collect();
            let last = components.last().copied().unwrap_or("");
            match last.contains('*') {
                true => this.wild.push(this.patterns.len()),
                false => this.exact.entry(last).or_default().push(this.patterns.len()),
            }
            this.patterns.push(Pattern { text: line, class, reason, components, tree: line.ends_with('/') });
        }
        this
    }

    /// The first pattern that names a path, given as its folded components.
    pub(super) fn matching(&self, path: &[Cow<'_, str>]) -> Option<&Pattern> {
        (1..=path.len()).find_map(|length| {
            let (last, above) = path[..length].split_last()?;
            self.ending(above, last, |pattern| pattern.tree || length == path.len())
        })
    }

    /// The first pattern that names something beneath a path, by what the path is called.
    pub(super) fn leading(&self, path: &[Cow<'_, str>]) -> Option<&Pattern> {
        self.patterns.iter().find(|pattern| {
            (1..pattern.components.len()).any(|count| {
                let ends = path.len().checked_sub(count).map(|start| path[start..].iter());
                let globs = &pattern.components[..count];
                ends.is_some_and(|names| {
                    names.zip(globs).all(|(name, glob)| fits(name.as_bytes(), glob.as_bytes()))
                })
            })
        })
    }

    /// The first accepted pattern that names what is called `last` and stands beneath `above`.
    pub(super) fn ending(
        &self,
        above: &[Cow<'_, str>],
        last: &str,
        accept: impl Fn(&Pattern) -> bool,
    ) -> Option<&Pattern> {
        let exact = self.exact.get(last).into_iter().flatten();
        let mut candidates = exact.chain(&self.wild).map(|index| &self.patterns[*index]);
        candidates.find(|pattern| accept(pattern) && pattern.ends(above, last))
    }

    /// Whether the list is not about things of this name.
    pub(super) fn excepts(&self, name: &str) -> bool {
        self.except.iter().any(|glob| fits(name.as_bytes(), glob.as_bytes()))
    }
}

impl Pattern {
    fn ends(&self, above: &[Cow<'_, str>], last: &str) -> bool {
        let Some((glob, globs)) = self.components.split_last() else { return false };
        let Some(start) = above.len().checked_sub(globs.len()) else { return false };
        // The last component decides most often.
        fits(last.as_bytes(), glob.as_bytes())
            && above[start..].iter().zip(globs).all(|(name, glob)| fits(name.as_bytes(), glob.as_bytes()))
    }
}

/// Whether a name fits a glob in which `*` is the only special character.
fn fits(name: &[u8], glob: &[u8]) -> bool {
    let Some(star) = glob.iter().position(|byte| *byte == b'*') else { return name == glob };
    let Some(mut rest) = name.strip_prefix(&glob[..star]) else { return false };
    let mut parts = glob[star + 1..].split(|byte| *byte == b'*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The leftmost place leaves the most for what follows.
        match (0..=rest.len()).find(|at| rest[*at..].starts_with(part)) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &'static str, path: &str) -> bool {
        let path: Vec<_> = path.split('/').map(Cow::Borrowed).collect();
        Patterns::parse(list).matching(&path).is_some()
    }

    #[test]
    fn globs() {
        for (name, glob, expected) in [
            ("a.pem", "*.pem", true),
            ("pem", "*.pem", false),
            (".pem", "*.pem", true),
            ("x", "*", true),
            ("", "*", true),
            ("service-account-7.json", "service-account*.json", true),
            ("service-account.jso", "service-account*.json", false),
            ("a.tfstate.1.b", "*.tfstate.*", true),
            ("abab", "*ab*ab", true),
            ("aba", "*ab*ab", false),
            ("vite.config.ts", "*.config.ts", true),
            ("aXbXc", "a*b*c", true),
            ("ab", "a*b*c", false),
        ] {
            assert_eq!(fits(name.as_bytes(), glob.as_bytes()), expected, "{name} {glob}");
        }
    }

    #[test]
    fn a_pattern_ends_where_the_path_ends_unless_it_names_a_tree() {
        for (list, path, expected) in [
            ("Makefile", "Makefile", true),
            ("Makefile", "a/b/Makefile", true),
            ("Makefile", "Makefile/x", false),
            (".ssh/", ".ssh", true),
            (".ssh/", "home/.ssh/a/b", true),
            (".ssh/", "x.ssh", false),
            (".docker/config.json", "a/.docker/config.json", true),
            (".docker/config.json", "config.json", false),
            (".github/workflows/", ".github/workflows/x.yml", true),
            (".github/workflows/", ".github/x.yml", false),
        ] {
            assert_eq!(named(list, path), expected, "{list} {path}");
        }
    }

    #[test]
    fn classes_comments_and_exceptions() {
        let patterns = Patterns::parse("# one\n[a] why so\nx\n\n[b]\n*.y\n!a*.y\n");
        let class = |name: &'static str| {
            patterns.matching(&[Cow::Borrowed(name)]).map(|p| (p.class, p.reason, p.text))
        };
        assert_eq!(class("x"), Some(("a", "why so", "x")));
        assert_eq!(class("q.y"), Some(("b", "", "*.y")));
        assert_eq!(class("# one"), None);
        assert!(patterns.excepts("ab.y") && !patterns.excepts("b.y") && !patterns.excepts("x"));
    }
}
