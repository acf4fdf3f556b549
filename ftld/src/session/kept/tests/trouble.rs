//! Sessions in trouble: work that was not read, applications that stand open, layers beyond what can be mounted.

use super::*;
use crate::merge::MergeError;
use crate::session::{Asked, Undo};
use crate::snapshot::SnapshotError;

#[tokio::test]
async fn work_that_was_never_read_is_not_told_as_none_and_can_be_gone_back_from() {
    let bed = Bed::new().await;
    let base = bed.snapshots(&[1])[0];
    let mut record = bed.session(State::Failed, 1).await;
    let layers = std::mem::take(&mut record.stack.layers);
    record.base = Some(base);
    bed.store(&record).await;
    let sessions = bed.app.sessions();
    assert_eq!(sessions.point(record.id.as_str()).unwrap().tree.id(), base);
    fs::create_dir(bed.home(&record).join("upper")).unwrap();
    fs::write(bed.home(&record).join("upper/left"), "by a turn that failed").unwrap();
    assert!(matches!(sessions.point(record.id.as_str()), Err(Error::UnreadWork { .. })));
    // As it is over a layer that nobody could read.
    record.stack.layers = layers;
    record.checkpoints.push(unread(&record));
    record.at = 1;
    bed.store(&record).await;
    let mut again = sessions.rewind(&record.id, Back::To(0)).await.unwrap();
    assert_eq!((again.at, again.checkpoints.len(), again.checkpoints[1].stack.is_unread()), (0, 2, true));
    assert_eq!(sessions.point(record.id.as_str()).unwrap().tree.id(), base);
    (again.at, again.stack) = (2, again.checkpoints[1].stack.clone());
    bed.store(&again).await;
    assert!(matches!(sessions.point(record.id.as_str()), Err(Error::UnreadableCheckpoint { .. })));
}

#[tokio::test]
async fn an_application_that_cannot_be_put_back_is_not_told_as_put_back() {
    let bed = Bed::new().await;
    let mut record = bed.session(State::Applying, 1).await;
    let (apply, path) = (applied(1), RelPath::new("a").unwrap());
    record.pending = Some(Pending::Apply(apply.clone()));
    bed.store(&record).await;
    let link = |target: &[u8]| Some(Node::Symlink { target: target.to_vec() });
    let steps = [Step { path, before: None, after: link(b"b") }];
    let cut_short = |device: u64, inode: u64| {
        let journal = json!({
            "id": apply.id, "session": record.id, "digest": apply.digest, "root": record.project.root,
            "identity": { "device": device, "inode": inode }, "steps": steps, "left_alone": [], "undoes": null,
        });
        let at = bed.parts().home.journal().join(format!("{}.open", apply.id));
        fs::write(at, journal.to_string()).unwrap();
    };
    let sessions = bed.app.sessions();
    // Another directory stands in the place of the project.
    cut_short(1, 1);
    for _ in 0..2 {
        sessions.recover().await.unwrap();
        let after = sessions.get(&record.id).unwrap();
        assert_eq!((after.state, after.pending), (State::AwaitingReview, record.pending.clone()));
        assert!(after.reason.ends_with("could not be put back yet"), "{}", after.reason);
    }
    // It is there again, and someone has written what the application was to write.
    let project = fs::metadata(bed.project()).unwrap();
    cut_short(project.dev(), project.ino());
    sessions.recover().await.unwrap();
    let after = sessions.get(&record.id).unwrap();
    assert_eq!((after.state, after.pending), (State::AwaitingReview, None));
    assert!(after.reason.ends_with("put back, but for what someone else wrote since: a"), "{}", after.reason);
}

/// A session like one that applied its work, as the database alone knows it.
async fn like(bed: &Bed, first: &Record, state: State) -> Record {
    let mut record = bed.session(state, 1).await;
    (record.project, record.base, record.work) = (first.project.clone(), first.base, first.work);
    (record.stack, record.applies) = (first.stack.clone(), first.applies.clone());
    record
}

/// A session that applied `a` of two days ago to the project.
async fn applied_one(bed: &Bed) -> Record {
    let then = bed.snapshots(&[2])[0];
    fs::write(bed.project().join("a"), "now").unwrap();
    let sessions = bed.app.sessions();
    let id = sessions.propose(&bed.project(), &then.to_string()).await.unwrap();
    let digest = sessions.review(&id).await.unwrap().review.digest().unwrap().to_string();
    sessions.approve(&id, digest, Asked::default()).await.unwrap();
    sessions.get(&id).unwrap()
}

#[tokio::test]
async fn what_is_open_is_put_back_before_anything_new_and_not_forgotten_for_it() {
    let bed = Bed::new().await;
    let mut record = like(&bed, &applied_one(&bed).await, State::Merged).await;
    record.pending = Some(Pending::Apply(applied(9)));
    bed.store(&record).await;
    // The way back needs a content that the store does not have.
    let before = Some(Node::File { mode: 0o644, size: 1, hash: Hash::of(b"x") });
    let steps = [Step { path: RelPath::new("b").unwrap(), before, after: None }];
    let (apply, project) = (applied(9), fs::metadata(bed.project()).unwrap());
    let journal = json!({
        "id": apply.id, "session": record.id, "digest": apply.digest, "root": record.project.root,
        "identity": { "device": project.dev(), "inode": project.ino() },
        "steps": steps, "left_alone": [], "undoes": null,
    });
    let at = bed.parts().home.journal().join(format!("{}.open", apply.id));
    fs::write(&at, journal.to_string()).unwrap();
    let sessions = bed.app.sessions();
    let refused = sessions.undo(&record.id, Undo::default()).await;
    assert!(matches!(refused, Err(Error::Merge(MergeError::Unfinished { .. }))), "{refused:?}");
    let after = sessions.get(&record.id).unwrap();
    assert_eq!((after.pending, at.exists()), (record.pending.clone(), true));
    fs::write(bed.project().join("b"), "x").unwrap();
    sessions.undo(&record.id, Undo::default()).await.unwrap();
    let after = sessions.get(&record.id).unwrap();
    assert_eq!((after.pending, at.exists(), after.applies[0].undone), (None, false, true));
    assert_eq!(fs::read(bed.project().join("a")).unwrap(), b"now");
}

#[tokio::test]
async fn an_application_that_was_told_to_have_failed_is_recorded_when_its_journal_says_otherwise() {
    let bed = Bed::new().await;
    let mut record = like(&bed, &applied_one(&bed).await, State::AwaitingReview).await;
    record.pending = record.applies.pop().map(Pending::Apply);
    bed.store(&record).await;
    let sessions = bed.app.sessions();
    sessions.recover().await.unwrap();
    let after = sessions.get(&record.id).unwrap();
    assert_eq!((after.state, after.applies.len(), after.pending), (State::Merged, 1, None));
}

#[tokio::test]
async fn a_turn_is_refused_when_there_are_more_layers_than_can_be_mounted() {
    let bed = Bed::new().await;
    let mut record = bed.session(State::NoChanges, 1).await;
    // They are not there, so they cannot be folded.
    let layer = |number| Layer { name: layers::name(&record.id, number), bytes: 0 };
    record.stack.layers = (2..50).map(layer).collect();
    bed.store(&record).await;
    let said = bed.app.sessions().say(&record.id, "go on".into()).await;
    assert!(matches!(said, Err(Error::Layers { layers: 48 })), "{said:?}");
    let after = bed.app.sessions().get(&record.id).unwrap();
    assert_eq!((after.state, after.turns), (State::NoChanges, 1));
}

#[tokio::test]
async fn going_back_takes_nothing_that_was_ignored_then() {
    let bed = Bed::new().await;
    fs::write(bed.project().join(".gitignore"), "b\n").unwrap();
    let then = bed.snapshots(&[1])[0];
    fs::remove_file(bed.project().join(".gitignore")).unwrap();
    fs::write(bed.project().join("b"), "not known then").unwrap();
    fs::write(bed.project().join("c"), "not there then").unwrap();
    let id = bed.app.sessions().propose(&bed.project(), &then.to_string()).await.unwrap();
    let reviewed = bed.app.sessions().review(&id).await.unwrap();
    let paths: Vec<String> = reviewed.review.changes().iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, [".gitignore", "c"]);
}

#[tokio::test]
async fn nothing_is_collected_while_a_branch_takes_over_what_its_origin_has() {
    let bed = Bed::new().await;
    let mut record = bed.session(State::NoChanges, 1).await;
    record.base = Some(bed.snapshots(&[1])[0]);
    bed.store(&record).await;
    let parts = Arc::clone(bed.parts());
    let ((ask, asked), (say, said)) = (mpsc::channel(), mpsc::channel());
    *bed.log.refused.lock().unwrap() = Some("session_branched");
    *bed.log.then.lock().unwrap() = Some(Box::new(move || {
        let mut needed = move || {
            let _nobody_hears = ask.send(());
            Ok::<_, SnapshotError>(Needed { indexed: true, ..Needed::default() })
        };
        let collector = std::thread::spawn(move || parts.store.collect(false, &mut needed).map(drop));
        // The first question is asked beside others; the second when nobody relies on anything.
        asked.recv().unwrap();
        let waits = asked.recv_timeout(Duration::from_millis(500)).is_err();
        say.send((waits, collector)).unwrap();
    }));
    let branched = bed.app.sessions().branch(&record.id, None).await;
    assert!(matches!(branched, Err(Error::Audit(_))), "{branched:?}");
    let (waits, collector) = said.recv().unwrap();
    assert!(waits, "what the branch takes over may have gone");
    collector.join().unwrap().unwrap();
}

#[tokio::test]
async fn those_that_came_with_it_hear_of_an_undoing_that_nobody_waits_for() {
    let bed = Bed::new().await;
    let then = bed.snapshots(&[2])[0];
    fs::write(bed.project().join("a"), "now").unwrap();
    let sessions = bed.app.sessions();
    let id = sessions.propose(&bed.project(), &then.to_string()).await.unwrap();
    let digest = sessions.review(&id).await.unwrap().review.digest().unwrap().to_string();
    sessions.approve(&id, digest, Asked::default()).await.unwrap();
    let heir = sessions.branch(&id, None).await.unwrap();
    let state = || sessions.get(&heir).unwrap().state;
    assert_eq!(state(), State::NoChanges);
    {
        // Whoever asked goes as soon as it has asked.
        let mut asked = std::pin::pin!(sessions.undo(&id, Undo::default()));
        let poll = std::future::poll_fn(|context| std::task::Poll::Ready(asked.as_mut().poll(context)));
        assert!(poll.await.is_pending());
    }
    let heard = async {
        while state() != State::AwaitingReview {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("the heir hears of it");
    assert_eq!(fs::read(bed.project().join("a")).unwrap(), b"now");
}

#[tokio::test]
async fn a_wait_for_a_fold_can_be_stopped() {
    let bed = Bed::new().await;
    let mut record = bed.session(State::NoChanges, 1).await;
    record.base = Some(bed.snapshots(&[1])[0]);
    for number in 2..50 {
        let layer = Layer { name: layers::name(&record.id, number), bytes: 0 };
        fs::create_dir(bed.parts().home.layers().join(&layer.name)).unwrap();
        record.stack.layers.push(layer);
    }
    bed.store(&record).await;
    let sessions = bed.app.sessions();
    // The one is in the session's inbox when the other makes it wait.
    let (said, stopped) =
        tokio::join!(sessions.say(&record.id, "go on".into()), sessions.stop(&record.id, "not now"));
    assert!(matches!(&said, Err(Error::TurnFailed { .. })), "{said:?}");
    assert_eq!(stopped.unwrap().turns, 1);
    assert_eq!(sessions.get(&record.id).unwrap().state, State::NoChanges);
}
