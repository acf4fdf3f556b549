//! How much is looked at for a preview: what is new to it, once.

use super::*;
use crate::session::{Asked, looked::Looked};

const FILES: u64 = 200;

/// A session whose work gives `FILES` files other contents, moves one, and adds one.
async fn changed(bed: &Bed) -> SessionId {
    let name = |number: u64| bed.project().join(format!("d{}/f{number}", number % 7));
    let long = |text: &str| (0..40).map(|line| format!("{text} {line}\n")).collect::<String>();
    for number in 0..FILES {
        fs::create_dir_all(name(number).parent().unwrap()).unwrap();
        fs::write(name(number), format!("{number} of the session\n")).unwrap();
    }
    fs::write(bed.project().join("new-name"), long("kept")).unwrap();
    let then = bed.snapshots(&[1])[0];
    for number in 0..FILES {
        fs::write(name(number), format!("{number} of the project\n")).unwrap();
    }
    fs::rename(bed.project().join("new-name"), bed.project().join("old-name")).unwrap();
    bed.app.sessions().propose(&bed.project(), &then.to_string()).await.unwrap()
}

#[tokio::test]
async fn each_content_is_read_once_and_nothing_twice() {
    let bed = Bed::new().await;
    let id = changed(&bed).await;
    let (sessions, looked) = (bed.app.sessions(), bed.parts().looked.of(&id));
    let preview = || sessions.preview(&id, Asked::default());
    let first = preview().await.unwrap();
    let paths = first.proposal.items().len() as u64;
    assert!(paths > FILES);
    let (compared, read) = looked.counts();
    // A file that is found under another name is compared with what it was, too.
    assert!(compared <= paths + 1, "{compared} comparisons for {paths} paths");
    assert!(read <= 2 * paths + 4, "{read} contents read for {paths} paths");
    assert_eq!(first.appraiser.renamed_paths().len(), 1);
    let again = preview().await.unwrap();
    assert_eq!(again.proposal, first.proposal);
    let renamed = read_for(&looked, read);
    assert_eq!((looked.counts().0, renamed), (compared, 0), "nothing changed, so nothing is looked at");
    // One file moves on: that one is looked at, and nothing else.
    fs::write(bed.project().join("d3/f3"), "3 of the project\nand the human's\n").unwrap();
    let moved = preview().await.unwrap();
    assert_eq!(moved.proposal.open(), 1);
    assert_eq!(looked.counts().0, compared + 1);
}

/// Contents read since there were `before`.
fn read_for(looked: &Looked, before: u64) -> u64 {
    looked.counts().1 - before
}

#[tokio::test]
async fn an_approval_after_a_preview_looks_at_nothing_again() {
    let bed = Bed::new().await;
    let id = changed(&bed).await;
    let (sessions, looked) = (bed.app.sessions(), bed.parts().looked.of(&id));
    let digest = sessions.preview(&id, Asked::default()).await.unwrap().proposal.digest().unwrap();
    let before = looked.counts();
    sessions.approve(&id, digest.to_string(), Asked::default()).await.unwrap();
    assert_eq!(looked.counts(), before);
    assert_eq!(fs::read_to_string(bed.project().join("d3/f3")).unwrap(), "3 of the session\n");
}
