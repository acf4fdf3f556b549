//! Plans by tables and by properties.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::diff::{After, Change, resulting};
use crate::id::{Hash, SnapshotId};
use crate::review::Review;
use crate::review::tests::approve;
use crate::tree::{Entry, Tree};

type Nodes = BTreeMap<RelPath, Node>;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn file(content: &str) -> Node {
    Node::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content.as_bytes()) }
}

fn dir(mode: u32) -> Node {
    Node::Dir { mode }
}

fn nodes(list: &[(&str, Node)]) -> Nodes {
    list.iter().map(|(at, node)| (path(at), node.clone())).collect()
}

fn tree(nodes: &Nodes) -> Arc<Tree> {
    let entry = |node: &Node| Entry { node: node.clone(), mtime_ns: 0 };
    Arc::new(nodes.iter().map(|(at, node)| (at.clone(), entry(node))).collect())
}

/// The approval of everything that turns `base` into `work`.
fn approval(base: &Nodes, work: &Nodes) -> Option<Approval> {
    let paths: BTreeSet<_> = base.keys().chain(work.keys()).collect();
    let changed = paths.into_iter().filter(|at| base.get(*at) != work.get(*at));
    let after = |at| work.get(at).map_or(After::Absent, |node| After::Node(node.clone()));
    let changes = changed.map(|at| Change::new(at, base.get(at), after(at))).collect();
    let review =
        Review::new(SessionId::from_random([3; 10]), b"/p", SnapshotId(Hash::of(b"")), tree(base), changes);
    let digest = review.digest()?.to_string();
    Some(approve(&review, &digest, &[]).unwrap())
}

fn look(host: &Nodes, at: &BTreeSet<RelPath>) -> Host {
    at.iter().map(|at| (at.clone(), host.get(at).cloned())).collect()
}

/// Where an approval looks.
fn looked_at(approval: &Approval) -> BTreeSet<RelPath> {
    to_observe(approval.changes().iter().map(|change| &change.path))
}

fn plan_for(base: &Nodes, work: &Nodes, host: &Nodes) -> Result<Plan, Conflicts> {
    let approval = approval(base, work).unwrap();
    plan(&approval, &look(host, &looked_at(&approval)))
}

/// A file system that forgives nothing.
fn perform(host: &mut Nodes, step: &Step) {
    assert_eq!(host.get(&step.path), step.before.as_ref(), "before {step:?}");
    assert_ne!(step.before, step.after, "a step that does nothing");
    if let Some(parent) = step.path.parent() {
        let Some(Node::Dir { mode }) = host.get(&parent) else { panic!("no directory for {step:?}") };
        assert_eq!(mode & 0o700, 0o700, "its owner cannot work in the directory of {step:?}");
    }
    match &step.after {
        Some(node) => {
            let both_dirs = is_dir(&step.before) == node.is_dir() || step.before.is_none();
            assert!(both_dirs, "{step:?} changes between directory and file in one step");
            host.insert(step.path.clone(), node.clone());
        }
        None => {
            assert!(!host.keys().any(|at| at.is_beneath(&step.path)), "{step:?} is not empty");
            host.remove(&step.path);
        }
    }
}

#[test]
fn a_host_that_changed_is_a_conflict_that_names_the_path() {
    let base = nodes(&[("a", file("a")), ("d", dir(0o755)), ("d/x", file("x"))]);
    let work = nodes(&[("a", file("A")), ("d", dir(0o755)), ("d/x", file("X")), ("n", file("n"))]);
    for (at, node, message) in [
        ("a", Some(file("edited")), "a was edited"),
        ("a", Some(Node::File { mode: 0o755, size: 1, hash: Hash::of(b"a") }), "a was edited"),
        ("a", None, "a is gone"),
        ("n", Some(file("mine")), "n is there now"),
        ("d", Some(Node::Symlink { target: b"/etc".into() }), "d is something else now"),
        ("d", None, "d is gone"),
    ] {
        let mut host = base.clone();
        host.retain(|other, _| at != "d" || !other.is_beneath(&path("d")));
        match node {
            Some(node) => drop(host.insert(path(at), node)),
            None => drop(host.remove(&path(at))),
        }
        let conflicts = plan_for(&base, &work, &host).unwrap_err();
        assert!(conflicts.to_string().contains(message), "{conflicts}");
    }
}

#[test]
fn a_path_that_is_already_as_approved_needs_no_step() {
    let base = nodes(&[("a", file("a")), ("b", file("b")), ("c", file("c"))]);
    let work = nodes(&[("a", file("A")), ("b", file("B"))]);
    let host = nodes(&[("a", file("a")), ("b", file("B"))]);
    let plan = plan_for(&base, &work, &host).unwrap();
    assert_eq!(plan.already(), [path("b"), path("c")]);
    assert_eq!(plan.steps().len(), 1);
}

#[test]
fn a_deletion_in_a_directory_that_became_a_link_is_a_conflict() {
    let base = nodes(&[("d", dir(0o755)), ("d/x", file("x"))]);
    let work = nodes(&[("d", dir(0o755))]);
    let host = nodes(&[("d", Node::Symlink { target: b"/etc".into() })]);
    assert!(plan_for(&base, &work, &host).is_err());
    let gone = nodes(&[]);
    assert_eq!(plan_for(&base, &work, &gone).unwrap().steps(), []);
}

#[test]
fn steps_come_in_an_order_that_can_be_done() {
    let base = nodes(&[("d", dir(0o555)), ("d/x", file("x")), ("f", file("f"))]);
    let work = nodes(&[("d", file("d")), ("f", dir(0o500)), ("f/g", file("g"))]);
    let plan = plan_for(&base, &work, &base).unwrap();
    let shown = plan.steps().iter().map(|step| {
        let name = |node: &Option<Node>| match node {
            None => "-".to_owned(),
            Some(Node::Dir { mode }) => format!("dir {mode:o}"),
            Some(_) => "file".to_owned(),
        };
        format!("{} {} > {}", step.path, name(&step.before), name(&step.after))
    });
    let expected = [
        "d dir 555 > dir 755",
        "f file > -",
        "d/x file > -",
        "d dir 755 > -",
        "f - > dir 700",
        "d - > file",
        "f/g - > file",
        "f dir 700 > dir 500",
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn a_plan_is_of_its_own_approval_only() {
    let base = nodes(&[("d", dir(0o500)), ("d/a", file("a")), ("b", file("b"))]);
    let work = nodes(&[("d", dir(0o500)), ("d/a", file("A")), ("b", file("B"))]);
    let paths: BTreeSet<_> = base.keys().collect();
    let changed = paths.into_iter().filter(|at| base.get(*at) != work.get(*at));
    let changes = changed.map(|at| Change::new(at, base.get(at), After::Node(work[at].clone()))).collect();
    let review =
        Review::new(SessionId::from_random([3; 10]), b"/p", SnapshotId(Hash::of(b"")), tree(&base), changes);
    let digest = review.digest().unwrap().to_string();
    let (all, one) =
        (approve(&review, &digest, &[]).unwrap(), approve(&review, &digest, &[path("b")]).unwrap());
    let plan_of = |approval: &Approval| plan(approval, &look(&base, &looked_at(approval))).unwrap();
    assert!(plan_of(&all).is_of(&all));
    assert!(plan_of(&one).is_of(&all));
    assert!(!plan_of(&all).is_of(&one));
}

fn any_nodes() -> impl Strategy<Value = Nodes> {
    let at = proptest::collection::vec(prop_oneof![Just("a"), Just("a-"), Just("b"), Just("c")], 1..4);
    let node = prop_oneof![
        (0u8..3).prop_map(|content| file(&content.to_string())),
        Just(Node::Symlink { target: b"x".into() }),
        prop_oneof![Just(0o755), Just(0o500), Just(0o711)].prop_map(dir),
    ];
    proptest::collection::vec((at, node), 0..14).prop_map(|list| {
        let mut nodes = Nodes::new();
        for (names, node) in list {
            let at = path(&names.join("/"));
            // Only what stands in directories makes a tree.
            if at.ancestors().all(|above| nodes.get(&above).is_none_or(Node::is_dir)) {
                for above in at.ancestors() {
                    nodes.entry(above).or_insert(dir(0o755));
                }
                if node.is_dir() || !nodes.keys().any(|other| other.is_beneath(&at)) {
                    nodes.insert(at, node);
                }
            }
        }
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_to_the_work_and_back_from_every_point(base in any_nodes(), work in any_nodes()) {
        let Some(approval) = approval(&base, &work) else { return Ok(()) };
        let tree: Tree = base.iter().map(|(at, node)| (at.clone(), Entry { node: node.clone(), mtime_ns: 0 })).collect();
        prop_assert_eq!(&resulting(&tree, approval.changes()), &work);

        let observed: BTreeSet<_> = looked_at(&approval);
        let plan = plan(&approval, &look(&base, &observed)).unwrap();
        for done in 0..=plan.steps().len() {
            let mut host = base.clone();
            plan.steps()[..done].iter().for_each(|step| perform(&mut host, step));
            let back = rollback(plan.steps(), &look(&host, &observed));
            prop_assert_eq!(&back.foreign, &[]);
            back.steps.iter().for_each(|step| perform(&mut host, step));
            prop_assert_eq!(&host, &base);
        }
        let mut host = base.clone();
        plan.steps().iter().for_each(|step| perform(&mut host, step));
        prop_assert_eq!(&host, &work);
        prop_assert_eq!(outcome(plan.steps()), look(&work, &plan.steps().iter().map(|s| s.path.clone()).collect()));
        reverse(plan.steps()).iter().for_each(|step| perform(&mut host, step));
        prop_assert_eq!(&host, &base);
    }

    #[test]
    fn what_someone_else_wrote_is_foreign(base in any_nodes(), work in any_nodes(), at in 0usize..8) {
        let Some(approval) = approval(&base, &work) else { return Ok(()) };
        let mut host = look(&base, &looked_at(&approval));
        let plan = plan(&approval, &host).unwrap();
        let Some(step) = plan.steps().get(at) else { return Ok(()) };
        host.insert(step.path.clone(), Some(file("by someone else")));
        prop_assert_eq!(rollback(plan.steps(), &host).foreign, vec![step.path.clone()]);
    }
}
