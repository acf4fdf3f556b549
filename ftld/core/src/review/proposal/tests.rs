//! Parts of a session's work over a project that moves on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::diff::{UpperNode, UpperTree, between};
use crate::hunk::{self, Limits};
use crate::landed::{self, Landed};
use crate::select::HunkName;
use crate::three;
use crate::tree::{Entry, Tree};

const ROOT: &[u8] = b"/project";

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A session's base and work, a project, and what was applied.
struct Place {
    base: Tree,
    upper: UpperTree,
    landed: Landed,
    host: BTreeMap<RelPath, Node>,
    contents: RefCell<HashMap<Hash, Vec<u8>>>,
}

impl Contents for Place {
    fn stored(&self, hash: Hash) -> Option<Vec<u8>> {
        self.contents.borrow().get(&hash).cloned()
    }

    fn on_host(&self, path: &RelPath, hash: Hash) -> Option<Vec<u8>> {
        assert_eq!(self.host.get(path)?.hash(), Some(hash));
        self.stored(hash)
    }
}

impl Place {
    fn new(base: &[(&str, &str)], work: &[(&str, Option<&str>)]) -> Self {
        let mut place = Self {
            base: Tree::default(),
            upper: UpperTree::new(),
            landed: Landed::new(),
            host: BTreeMap::new(),
            contents: RefCell::default(),
        };
        for (name, text) in base {
            let node = place.file(text);
            for above in path(name).ancestors() {
                let dir = Node::Dir { mode: 0o755 };
                place.base.insert(&above, Entry { node: dir.clone(), mtime_ns: 0 });
                place.host.insert(above, dir);
            }
            place.base.insert(&path(name), Entry { node: node.clone(), mtime_ns: 0 });
            place.host.insert(path(name), node);
        }
        for (name, text) in work {
            let node = match text.map(|text| place.file(text)) {
                Some(Node::File { mode, size, hash }) => UpperNode::File { mode, size, hash },
                _ => UpperNode::Whiteout,
            };
            for above in path(name).ancestors() {
                place.upper.entry(above).or_insert(UpperNode::Dir { mode: 0o755, opaque: false });
            }
            place.upper.insert(path(name), node);
        }
        place
    }

    fn file(&self, text: &str) -> Node {
        let hash = Hash::of(text.as_bytes());
        self.contents.borrow_mut().insert(hash, text.as_bytes().to_vec());
        Node::File { mode: 0o644, size: text.len() as u64, hash }
    }

    fn edit(&mut self, name: &str, text: &str) {
        let node = self.file(text);
        self.host.insert(path(name), node);
    }

    fn review(&self) -> Review {
        let now = landed::base(&self.base, &self.landed);
        let upper = landed::upper(&self.base, &self.upper, &self.landed);
        let changes = between(&now, &upper, &|_, _| false).changes;
        let session = SessionId::from_random([7; 10]);
        Review::new(session, ROOT, SnapshotId(Hash::of(b"")), Arc::new(now), changes)
    }

    fn propose(&self, wanted: &Wanted) -> Result<Proposal, ProposeError> {
        let review = self.review();
        let selected = review.select(wanted, &|_| None)?;
        let host: Host = merge::to_observe(selected.0.iter().map(|change| &change.path))
            .into_iter()
            .map(|path| (path.clone(), self.host.get(&path).cloned()))
            .collect();
        Proposal::new(&review, ROOT, selected, wanted, &host, self)
    }

    fn apply(&mut self, proposal: &Proposal) {
        let approval = proposal.approve(&proposal.digest().unwrap().to_string()).unwrap();
        let host = merge::to_observe(approval.changes().iter().map(|change| &change.path))
            .into_iter()
            .map(|path| (path.clone(), self.host.get(&path).cloned()))
            .collect();
        let steps = merge::plan(&approval, &host).unwrap().steps().to_vec();
        let entry = |node: &Node| Entry { node: node.clone(), mtime_ns: 0 };
        let now: Tree = self.host.iter().map(|(path, node)| (path.clone(), entry(node))).collect();
        let tried = proposal.onto(&now, 0, &|_, _| false).unwrap();
        let review = self.review();
        for (hash, content) in proposal.made() {
            self.contents.borrow_mut().insert(*hash, content.clone());
        }
        for step in &steps {
            match &step.after {
                Some(node) => self.host.insert(step.path.clone(), node.clone()),
                None => self.host.remove(&step.path),
            };
        }
        let tried: BTreeMap<_, _> = tried.iter().map(|(path, entry)| (path, entry.node.clone())).collect();
        assert_eq!(tried, self.host, "what is tried is what lands");
        self.landed.extend(merge::outcome(&steps));
        self.landed.extend(proposal.contributed(&review, &steps));
    }

    fn text(&self, name: &str) -> Option<String> {
        let hash = self.host.get(&path(name))?.hash()?;
        Some(String::from_utf8(self.stored(hash)?).unwrap())
    }

    fn hunks(&self, name: &str) -> usize {
        let review = self.review();
        let Some(change) = review.changes().iter().find(|change| change.path == path(name)) else { return 0 };
        let read =
            |node: Option<&Node>| node.map_or(Vec::new(), |node| self.stored(node.hash().unwrap()).unwrap());
        hunk::hunks(&read(change.before.as_ref()), &read(change.result()), Limits::default()).hunks.len()
    }
}

fn whole(paths: &[&str]) -> Wanted {
    Wanted { paths: paths.iter().map(|text| path(text)).collect(), ..Wanted::default() }
}

fn part(name: &str, hunks: &[u32]) -> Wanted {
    let choices = hunks.iter().map(|number| Choice::whole(HunkName::Number(*number))).collect();
    Wanted { parts: [(path(name), choices)].into(), ..Wanted::default() }
}

fn lines(from: u32, to: u32) -> String {
    (from..=to).map(|line| format!("line {line}\n")).collect()
}

fn two_changes() -> Place {
    let old = lines(1, 30);
    let new = old.replace("line 3\n", "line 3 of the agent\n").replace("line 25\n", "line 25 of the agent\n");
    Place::new(&[("f", &old), ("g", "1\n")], &[("f", Some(&new)), ("g", Some("2\n"))])
}

#[test]
fn one_hunk_lands_and_the_other_is_left() {
    let mut place = two_changes();
    let proposal = place.propose(&part("f", &[2])).unwrap();
    place.apply(&proposal);
    assert_eq!(place.text("f").unwrap(), lines(1, 30).replace("line 25\n", "line 25 of the agent\n"));
    assert_eq!((place.text("g").unwrap().as_str(), place.hunks("f")), ("1\n", 1));
    let rest = place.propose(&Wanted::default()).unwrap();
    place.apply(&rest);
    assert!(place.text("f").unwrap().contains("line 3 of the agent") && place.review().changes().is_empty());
}

#[test]
fn a_hunk_of_a_file_under_another_name_lands_over_what_it_was() {
    let old = lines(1, 30);
    let new = old.replace("line 3\n", "3\n").replace("line 25\n", "25\n");
    let mut place = Place::new(&[("old", &old)], &[("old", None), ("new", Some(&new))]);
    let renamed = [(path("new"), place.file(&old))].into();
    let proposal = place.propose(&Wanted { renamed, ..part("new", &[2]) }).unwrap();
    place.apply(&proposal);
    assert_eq!(place.text("new").unwrap(), old.replace("line 25\n", "25\n"));
    assert_eq!((place.hunks("new"), place.text("old").unwrap()), (1, old));
    place.apply(&place.propose(&Wanted::default()).unwrap());
    assert_eq!((place.text("new").unwrap(), place.text("old")), (new, None));
    assert!(place.review().changes().is_empty());
}

#[test]
fn a_file_under_another_name_comes_as_a_whole_by_either_name() {
    let (old, new) = (lines(1, 30), lines(1, 31));
    let renames = BTreeMap::from([(path("new"), path("old")), (path("x/other"), path("y"))]);
    for by in ["new", "old"] {
        let mut place = Place::new(&[("old", &old)], &[("old", None), ("new", Some(&new))]);
        let mut wanted = Wanted { paths: vec![path(by)], ..Wanted::default() };
        wanted.bring_other_names(&renames);
        assert_eq!(wanted.along.len(), 1);
        // What must be named is not brought along, and told.
        let must = |change: &Change| (change.path != path(by)).then(|| "it must be named".to_owned());
        let (changes, left_out) = place.review().select(&wanted, &must).unwrap();
        assert_eq!((changes.len(), left_out.len()), (1, 1));
        assert_ne!(left_out[0].path, path(by));
        let proposal = place.propose(&wanted).unwrap();
        place.apply(&proposal);
        assert_eq!((place.text("new"), place.text("old")), (Some(new.clone()), None), "{by}");
    }
    let mut both = Wanted { paths: vec![path("new"), path("old")], ..Wanted::default() };
    both.bring_other_names(&renames);
    let mut above = Wanted { paths: vec![path("x")], ..Wanted::default() };
    above.bring_other_names(&renames);
    assert!(both.along.is_empty() && above.along.is_empty(), "only who names a file means all of it");
}

#[test]
fn the_whole_digest_approves_a_part_that_nothing_was_done_to_and_no_other() {
    let mut place = two_changes();
    let whole = place.review().digest().unwrap().to_string();
    let plain = place.propose(&part("f", &[1])).unwrap();
    assert_ne!(plain.digest().unwrap().to_string(), whole);
    assert_eq!(plain.approve(&whole[..12]).unwrap().digest().to_string(), whole);

    let edited = Choice { edited: Some(b"mine\n".to_vec()), ..Choice::whole(HunkName::Number(1)) };
    let wanted = Wanted { parts: [(path("f"), vec![edited])].into(), ..Wanted::default() };
    let edited = place.propose(&wanted).unwrap();
    assert!(matches!(edited.approve(&whole), Err(ApproveRefused::Digest { .. })));

    place.edit("f", &lines(0, 30));
    let merged = place.propose(&part("f", &[2])).unwrap();
    assert!(matches!(merged.approve(&whole), Err(ApproveRefused::Moved(_))));
    assert!(merged.approve(&merged.digest().unwrap().to_string()).is_ok());
    assert!(matches!(merged.approve(&"0".repeat(64)), Err(ApproveRefused::Digest { .. })));
}

#[test]
fn edits_of_the_human_stay_and_are_not_taken_for_the_sessions() {
    let mut place = two_changes();
    place.edit("f", &(lines(0, 30) + "end\n"));
    let proposal = place.propose(&part("f", &[2])).unwrap();
    assert!(proposal.items()[0].merged && proposal.items()[0].conflicts.is_empty());
    place.apply(&proposal);
    let landed = (lines(0, 30) + "end\n").replace("line 25\n", "line 25 of the agent\n");
    assert_eq!(place.text("f").unwrap(), landed);
    assert_eq!(place.hunks("f"), 1, "only the other hunk is left");
    place.apply(&place.propose(&Wanted::default()).unwrap());
    assert_eq!(place.text("f").unwrap(), landed.replace("line 3\n", "line 3 of the agent\n"));
    assert!(place.review().changes().is_empty());
}

#[test]
fn what_the_human_writes_in_place_of_a_hunk_counts_as_the_humans() {
    let mut place = two_changes();
    let edited = Choice { edited: Some(lines(1, 2).into_bytes()), ..Choice::whole(HunkName::Number(1)) };
    let wanted = Wanted { parts: [(path("f"), vec![edited])].into(), ..Wanted::default() };
    place.apply(&place.propose(&wanted).unwrap());
    let mine = lines(1, 2) + &lines(7, 30);
    assert_eq!((place.text("f").unwrap(), place.hunks("f")), (mine.clone(), 1));
    place.apply(&place.propose(&Wanted::default()).unwrap());
    assert_eq!(place.text("f").unwrap(), mine.replace("line 25\n", "line 25 of the agent\n"));
    assert!(place.review().changes().is_empty());
}

#[test]
fn a_conflict_waits_for_a_decision_and_each_decision_does_what_it_says() {
    let decide = |decision: Option<Decision>| {
        let mut place = two_changes();
        place.edit("f", &lines(1, 30).replace("line 3\n", "line 3 of the human\n"));
        let resolutions = decision
            .map(|decision| Resolution { path: path("f"), number: 1, decision })
            .into_iter()
            .collect();
        (place.propose(&Wanted { resolutions, ..Wanted::default() }).unwrap(), place)
    };
    let (open, _) = decide(None);
    assert_eq!((open.digest(), open.open()), (None, 1));
    assert_eq!(open.items()[0].conflicts[0].line, 3);
    assert_eq!(open.approve(&"0".repeat(64)), Err(ApproveRefused::Open { at: vec![path("f")] }));
    for (decision, expected) in [
        (Decision::Ours, "line 3 of the human\n"),
        (Decision::Theirs, "line 3 of the agent\n"),
        (Decision::Both, "line 3 of the human\nline 3 of the agent\n"),
        (Decision::Edited(b"3\n".to_vec()), "3\n"),
    ] {
        let (proposal, mut place) = decide(Some(decision));
        place.apply(&proposal);
        let text = lines(1, 30).replace("line 3\n", expected).replace("line 25\n", "line 25 of the agent\n");
        assert_eq!(place.text("f").unwrap(), text);
        assert!(place.review().changes().is_empty(), "what was decided does not come back");
    }
}

#[test]
fn decisions_about_nothing_are_refused() {
    let place = two_changes();
    let resolutions = vec![Resolution { path: path("f"), number: 0, decision: Decision::Ours }];
    let error = place.propose(&Wanted { resolutions, ..Wanted::default() }).unwrap_err();
    assert_eq!(error, ProposeError::NoConflict { path: path("f"), number: 0 });
}

#[test]
fn what_is_gone_on_one_side_is_decided_as_a_whole() {
    let decided = |decision| {
        let mut place = two_changes();
        place.host.remove(&path("g"));
        let resolutions = vec![Resolution { path: path("g"), number: 0, decision }];
        place.propose(&Wanted { resolutions, ..whole(&["g"]) }).map(|proposal| {
            place.apply(&proposal);
            assert!(place.review().changes().iter().all(|change| change.path == path("f")));
            place.text("g")
        })
    };
    assert_eq!(decided(Decision::Ours), Ok(None));
    assert_eq!(decided(Decision::Theirs), Ok(Some("2\n".to_owned())));
    assert!(matches!(decided(Decision::Both), Err(ProposeError::OneSide { .. })));
}

#[test]
fn a_directory_that_the_human_removed_is_made_again_only_where_that_was_shown() {
    let mut place = Place::new(&[("d/e/old", "1\n")], &[("d/e/new", Some("2\n"))]);
    let shown = place.review().digest().unwrap().to_string();
    place.host.clear();
    let proposal = place.propose(&Wanted::default()).unwrap();
    let paths: Vec<_> = proposal.items().iter().map(|item| item.change.path.to_string()).collect();
    assert_eq!(paths, ["d", "d/e", "d/e/new"]);
    assert!(matches!(proposal.approve(&shown), Err(ApproveRefused::Moved(_))));
    place.apply(&proposal);
    assert!(place.text("d/e/new").is_some() && place.review().changes().is_empty());
}

#[test]
fn what_must_be_named_is_left_out_until_it_is() {
    let work =
        [("a", Some("1\n")), ("ci/run.yml", Some("1\n")), ("ci/sub/x", Some("1\n")), ("z/b", Some("1\n"))];
    let place = Place::new(&[("f", "1\n")], &work);
    let review = place.review();
    let risky = |change: &Change| {
        let is_risky =
            change.path.as_bytes().starts_with(b"ci/") && change.result().is_some_and(|node| !node.is_dir());
        is_risky.then(|| "it runs".to_owned())
    };
    let selected = |paths: &[&str]| {
        let (changes, left) = review.select(&whole(paths), &risky).unwrap();
        let changes: Vec<_> = changes.iter().map(|change| change.path.to_string()).collect();
        (changes.join(" "), left.iter().map(|left| left.path.to_string()).collect::<Vec<_>>().join(" "))
    };
    let told = |changes: &str, left: &str| (changes.to_owned(), left.to_owned());
    assert_eq!(selected(&[]), told("a z z/b", "ci/run.yml ci/sub/x"), "no directory for nothing");
    assert_eq!(selected(&["ci", "a"]), told("a", "ci/run.yml ci/sub/x"));
    assert_eq!(selected(&["ci/run.yml"]), told("ci ci/run.yml", ""));
    let (_, left) = review.select(&Wanted::default(), &risky).unwrap();
    let unnamed = Proposal {
        left_out: left,
        ..Proposal::made_of((review.session(), ROOT, review.base()), vec![], BTreeMap::new())
    };
    assert!(
        matches!(unnamed.approve(&"0".repeat(64)), Err(ApproveRefused::Unnamed { left }) if left.len() == 2)
    );
}

#[test]
fn a_file_that_must_be_named_is_not_replaced_because_something_named_stands_in_its_place() {
    let place = Place::new(&[("f", "1\n")], &[("f/g", Some("1\n")), ("z", Some("1\n"))]);
    let review = place.review();
    let risky = |change: &Change| (change.path == path("f")).then(|| "it runs".to_owned());
    for (paths, expected) in [(&["f/g"][..], ""), (&[], "z"), (&["f/g", "z"], "z"), (&["f", "f/g"], "f f/g")]
    {
        let (changes, left) = review.select(&whole(paths), &risky).unwrap();
        let changes: Vec<_> = changes.iter().map(|change| change.path.to_string()).collect();
        assert_eq!(changes.join(" "), expected, "{paths:?}");
        assert_eq!(left.len(), if expected == "f f/g" { 0 } else { 2 });
    }
}

#[test]
fn taking_back_keeps_what_the_human_wrote_since() {
    let mut place = two_changes();
    let before = place.host.clone();
    let proposal = place.propose(&Wanted::default()).unwrap();
    place.apply(&proposal);
    let steps: Vec<Step> = proposal
        .items()
        .iter()
        .map(|item| Step {
            path: item.change.path.clone(),
            before: item.change.before.clone(),
            after: item.change.result().cloned(),
        })
        .collect();
    let undo = |place: &Place| {
        let host = place.host.iter().map(|(path, node)| (path.clone(), Some(node.clone()))).collect();
        let session = SessionId::from_random([7; 10]);
        Proposal::undo((&session, ROOT, SnapshotId(Hash::of(b""))), &steps, &host, place).unwrap()
    };
    let plain = undo(&place);
    assert!(plain.items().iter().all(|item| item.change.result() == before.get(&item.change.path)));
    let text = place.text("f").unwrap() + "human\n";
    place.edit("f", &text);
    let merged = undo(&place);
    let file = |text: String| Hash::of(text.as_bytes());
    assert_eq!(merged.items()[0].change.result().unwrap().hash(), Some(file(lines(1, 30) + "human\n")));
    let text = text.replace("line 3 of the agent", "line 3 of both");
    place.edit("f", &text);
    let open = undo(&place);
    assert_eq!((open.digest(), open.items()[0].conflicts[0].line), (None, 3));
}

/// One thing that happens to a file under review.
#[derive(Clone, Debug)]
enum Happening {
    /// The human adds a line of their own in front of this one.
    Human(usize),
    /// The hunks with these numbers are taken, as far as there are so many.
    Take(Vec<u32>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0usize..40).prop_map(Happening::Human),
        proptest::collection::vec(1u32..4, 1..3).prop_map(Happening::Take),
    ]
}

proptest! {
    #[test]
    fn in_any_order_everything_lands_once_and_no_line_of_the_human_is_lost(
        changed in proptest::collection::btree_map(0u32..40, 0u8..3, 1..8),
        happenings in proptest::collection::vec(happening(), 0..8),
    ) {
        let old = lines(0, 39);
        let new: String = (0..40u32).map(|line| match changed.get(&line) {
            None => format!("line {line}\n"),
            Some(0) => String::new(),
            Some(1) => format!("agent {line}\n"),
            Some(_) => format!("agent {line}\nline {line}\n"),
        }).collect();
        let mut place = Place::new(&[("f", &old)], &[("f", Some(&new))]);
        let both = vec![Resolution { path: path("f"), number: 0, decision: Decision::Both }];
        let settle = |place: &mut Place, wanted: Wanted| {
            let proposal = place.propose(&wanted).unwrap();
            if proposal.open() == 0 {
                place.apply(&proposal);
            } else {
                let proposal = place.propose(&Wanted { resolutions: both.clone(), ..wanted }).unwrap();
                place.apply(&proposal);
            }
        };
        let (mut written, mut at_once) = (Vec::new(), true);
        for (number, happening) in happenings.iter().enumerate() {
            match happening {
                Happening::Human(at) => {
                    let text = place.text("f").unwrap_or_default();
                    let mut now: Vec<&str> = text.split_inclusive('\n').collect();
                    let mine = format!("human {number}\n");
                    now.insert((*at).min(now.len()), &mine);
                    let now = now.concat();
                    place.edit("f", &now);
                    written.push(mine);
                }
                Happening::Take(hunks) => {
                    let there = place.hunks("f");
                    let hunks: BTreeSet<u32> = hunks.iter().copied().filter(|n| *n as usize <= there).collect();
                    if !hunks.is_empty() {
                        at_once = false;
                        settle(&mut place, part("f", &hunks.into_iter().collect::<Vec<_>>()));
                    }
                }
            }
        }
        let host = place.text("f").unwrap();
        if place.hunks("f") > 0 {
            settle(&mut place, Wanted::default());
        }
        prop_assert!(place.review().changes().is_empty(), "the session has nothing left");
        let text = place.text("f").unwrap_or_default();
        let end: Vec<&str> = text.split_inclusive('\n').collect();
        for line in &written {
            prop_assert_eq!(end.iter().filter(|one| *one == line).count(), 1, "{}", line);
        }
        for line in new.split_inclusive('\n').filter(|line| line.starts_with("agent")) {
            prop_assert!(end.contains(&line), "{}", line);
        }
        if at_once {
            let merged = three::merge(old.as_bytes(), host.as_bytes(), new.as_bytes(), Limits::default()).unwrap();
            if let Some(clean) = merged.clean() {
                prop_assert_eq!(text.as_bytes(), &clean[..]);
            }
        }
        if written.is_empty() {
            prop_assert_eq!(&text, &new);
        }
    }
}
