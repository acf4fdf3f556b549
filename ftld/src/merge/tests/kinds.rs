//! The three ways in which a project is written to, for tests that must hold of each of them.
//!
//! Owns what each begins from and how it is approved and carried out. Must not know what goes wrong meanwhile.

use ftl_core::merge::Host;
use ftl_core::review::{Contents, Proposal, Wanted};

use super::*;

/// A way to write to a project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A session's work, on a project that is as the session's base.
    Plain,
    /// The same, joined with what the human has written meanwhile.
    Merged,
    /// Back from the work, around what the human has written since.
    Undo,
}

pub(super) const KINDS: [Kind; 3] = [Kind::Plain, Kind::Merged, Kind::Undo];

/// The application that [`Kind::Undo`] takes back.
const DONE: u8 = 200;
/// A file that the session changes at its end, and the human at its beginning.
const LINES: [&str; 4] =
    ["1\n2\n3\n4\n5\n", "ours\n2\n3\n4\n5\n", "1\n2\n3\n4\ntheirs\n", "ours\n2\n3\n4\ntheirs\n"];

/// The contents of a place, for merges.
struct Held<'a>(&'a Place);

impl Contents for Held<'_> {
    fn stored(&self, hash: Hash) -> Option<Vec<u8>> {
        self.0.store.0.lock().unwrap().get(&hash).cloned()
    }

    fn on_host(&self, path: &RelPath, hash: Hash) -> Option<Vec<u8>> {
        let content = self.0.root().content(path, u64::MAX).unwrap()?;
        (Hash::of(&content) == hash).then_some(content)
    }
}

impl Place {
    /// A place in which a kind of writing can be done.
    pub(super) fn of(kind: Kind) -> Self {
        let mut place = Self::new();
        place.kind = kind;
        if kind == Kind::Plain {
            return place;
        }
        let [base, ours, theirs, _] = LINES;
        for at in ["both", "d/both", "many/both"] {
            write(&place.project(), at, base);
            write(&place.path("work"), at, theirs);
        }
        place.keep("project");
        place.base = Some(place.nodes("project"));
        if kind == Kind::Undo {
            let approval = place.select(&[]);
            let plan = place.plan(&approval);
            place.merge().apply(&id(DONE), &place.root(), &plan, &approval, &place.store, &[]).unwrap();
        }
        let edit = if kind == Kind::Undo { LINES[3] } else { ours };
        for at in ["both", "d/both", "many/both"] {
            write(&place.project(), at, edit);
        }
        write(&place.project(), "mine", "the user's");
        place
    }

    /// What stands in `both` once all is written.
    pub(super) fn joined(&self) -> &'static str {
        if self.kind == Kind::Undo { LINES[1] } else { LINES[3] }
    }

    /// Directories of the project that are written to, or go.
    pub(super) fn dirs(&self) -> [&'static str; 3] {
        if self.kind == Kind::Undo { ["d", "new", "to-dir"] } else { ["d", "old", "to-file"] }
    }

    /// A file that is replaced, and its content before.
    pub(super) fn replaced(&self) -> (&'static str, &'static str) {
        ("edited", if self.kind == Kind::Undo { "new" } else { "old" })
    }

    /// Approves what the kind writes; its contents go to the store.
    pub(super) fn approve(&self, only: &[RelPath]) -> Approval {
        if self.kind == Kind::Undo { self.select_undo() } else { self.select(only) }
    }

    /// Does it.
    pub(super) fn carry_out(
        &self,
        merge: &Merge,
        number: u8,
        (plan, approval): (&Plan, &Approval),
        store: &dyn Blobs,
    ) -> Result<Applied, MergeError> {
        if self.kind == Kind::Undo {
            return merge.undo_onto((&id(DONE), &id(number)), &self.root(), store, (plan, approval));
        }
        merge.apply(&id(number), &self.root(), plan, approval, store, &[])
    }

    fn select(&self, only: &[RelPath]) -> Approval {
        self.keep("work");
        let work = self.nodes("work");
        let base = self.base.clone().unwrap_or_else(|| self.nodes("project"));
        let paths: BTreeSet<_> = base.keys().chain(work.keys()).collect();
        let changed = paths.into_iter().filter(|path| base.get(*path) != work.get(*path));
        let after = |path| work.get(path).map_or(After::Absent, |node: &Node| After::Node(node.clone()));
        let changes = changed.map(|path| Change::new(path, base.get(path), after(path)));
        let entry = |node: &Node| Entry { node: node.clone(), mtime_ns: 0 };
        let tree = base.iter().map(|(path, node)| (path.clone(), entry(node))).collect();
        let (session, id) = (SessionId::from_random([1; 10]), SnapshotId(Hash::of(b"")));
        let review = Review::new(session, b"/project", id, Arc::new(tree), changes.collect());
        let wanted = Wanted { paths: only.to_vec(), ..Wanted::default() };
        let selected = review.select(&wanted, &|_| None).unwrap();
        let host = self.seen(selected.0.iter().map(|change| &change.path));
        let proposal = Proposal::new(&review, b"/project", selected, &wanted, &host, &Held(self)).unwrap();
        self.approved(&proposal)
    }

    fn select_undo(&self) -> Approval {
        let steps = self.merge().steps_to_undo(&id(DONE), &self.root()).unwrap();
        let host = self.seen(steps.iter().map(|step| &step.path));
        let of = (&SessionId::from_random([1; 10]), &b"/project"[..], SnapshotId(Hash::of(b"")));
        let proposal = Proposal::undo(of, &steps, &host, &Held(self)).unwrap();
        self.approved(&proposal)
    }

    /// Names the digest that was shown, as a human does.
    fn approved(&self, proposal: &Proposal) -> Approval {
        for (hash, content) in proposal.made() {
            self.store.0.lock().unwrap().insert(*hash, content.clone());
        }
        proposal.approve(&proposal.digest().unwrap().to_string()).unwrap()
    }

    fn seen<'a>(&self, paths: impl Iterator<Item = &'a RelPath>) -> Host {
        self.root().observe(&to_observe(paths)).unwrap()
    }

    /// Keeps all contents of a tree.
    fn keep(&self, name: &str) {
        for (path, node) in self.nodes(name) {
            if let Node::File { .. } = node {
                let file = self.path(name).join(OsStr::from_bytes(path.as_bytes()));
                self.store.keep(&File::open(file).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn each_kind_writes_what_it_says_and_nothing_of_the_humans_is_lost() {
    for kind in KINDS {
        let place = Place::of(kind);
        let approval = place.approve(&[]);
        let plan = place.plan(&approval);
        place.carry_out(&place.merge(), 1, (&plan, &approval), &place.store).unwrap();
        let mut expected = match kind {
            Kind::Undo => place.base.clone().unwrap(),
            _ => place.nodes("work"),
        };
        if kind != Kind::Plain {
            for at in ["both", "d/both", "many/both", "mine"] {
                let content = fs::read_to_string(place.project().join(at)).unwrap();
                assert_eq!(content, if at == "mine" { "the user's" } else { place.joined() }, "{kind:?}");
                let seen = place.nodes("project");
                expected.insert(path(at), seen[&path(at)].clone());
            }
        }
        assert_eq!(place.nodes("project"), expected, "{kind:?}");
    }
}
