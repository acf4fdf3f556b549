//! Journals that cannot be read.

use super::*;

/// A project whose application was cut short, with its journal in `journals`.
fn cut_short(journals: &Path, number: u8) -> Place {
    let place = Place::new();
    let probe = |point| if point == Point::Stepped(3) { Err(io::Error::other("stop")) } else { Ok(()) };
    let merge = Merge::with_probe(journals, Box::new(probe)).unwrap();
    let approval = place.approve(&[]);
    let plan = place.plan(&approval);
    merge.apply(&id(number), &place.root(), &plan, &approval, &place.store, &[]).unwrap_err();
    place
}

#[test]
fn one_unreadable_journal_holds_up_its_own_project_alone() {
    // Cut in the middle, as a disk leaves it, with and without what says the project; and not even text.
    for (kept, is_claimed) in [(0.9, false), (0.02, true), (0.0, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (bad, good) = (cut_short(dir.path(), 1), cut_short(dir.path(), 2));
        let journal = dir.path().join(format!("{}.open", id(1)));
        let mut bytes = fs::read(&journal).unwrap();
        bytes.truncate((bytes.len() as f64 * kept) as usize);
        bytes.extend(b"\xff\0");
        fs::write(&journal, &bytes).unwrap();
        let half = bad.nodes("project");

        let merge = Merge::open(dir.path()).unwrap();
        if is_claimed {
            merge.are_to([(id(1), bad.root().identity())]);
        }
        let recovered = merge.recover(&good.store).unwrap();
        assert_eq!(recovered.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [id(1), id(2)]);
        let failed = recovered[0].failed.as_ref().unwrap();
        assert!(failed.to_string().contains(&journal.display().to_string()), "{failed}");
        assert!(recovered[1].failed.is_none() && !recovered[1].restored.is_empty());

        // The other project goes on, this one does not, and nothing of it was touched.
        let apply = |place: &Place, number| {
            let approval = place.approve(&[]);
            let plan = place.plan(&approval);
            merge.apply(&id(number), &place.root(), &plan, &approval, &place.store, &[])
        };
        apply(&good, 3).unwrap();
        merge.undo(&id(3), &id(4), &good.root(), &good.store).unwrap();
        let refused = merge.bring_to_rest(&bad.root(), &bad.store).unwrap_err();
        assert!(matches!(&refused, MergeError::Unreadable { path, .. } if *path == journal), "{refused}");
        assert_eq!(bad.nodes("project"), half);
        // Contents that it may need are not known, so none may go.
        assert!(matches!(merge.needed(), Err(MergeError::Unreadable { .. })));

        // As the hint says.
        fs::remove_file(&journal).unwrap();
        merge.bring_to_rest(&bad.root(), &bad.store).unwrap();
    }
}

#[test]
fn a_journal_that_names_no_project_holds_up_all() {
    let dir = tempfile::tempdir().unwrap();
    let good = Place::new();
    fs::write(dir.path().join(format!("{}.open", id(1))), "no journal").unwrap();
    let refused = Merge::open(dir.path()).unwrap().bring_to_rest(&good.root(), &good.store).unwrap_err();
    assert!(matches!(refused, MergeError::Unreadable { .. }));
}
