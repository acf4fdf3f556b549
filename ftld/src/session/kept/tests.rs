//! What goes by itself and what stays, and what is told of what could be neither read nor put back: in a daemon
//! without sandboxes whose clock stands where a test puts it.

mod previews;
mod trouble;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, mpsc};

use async_trait::async_trait;
use ftl_core::chain::Verdict;
use ftl_core::diff::UpperNode;
use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::lifecycle::State;
use ftl_core::tree::RelPath;
use tempfile::TempDir;

use super::*;
use crate::app::{App, Ports, User};
use crate::audit::{AuditError, AuditSink, Order, Visit};
use crate::clock::Clock;
use crate::db::Commit;
use crate::home::{Home, HomeEnv};
use crate::sandbox::docker::endpoint::Surroundings;
use crate::sandbox::docker::engine::{Engines, Patience};
use crate::sandbox::{Limits, Owner, Sandbox, SandboxBackend, SandboxError, SandboxSpec};
use crate::session::record::{Apply, Checkpoint, Layer, Project, Spec, Work};
use crate::session::{Back, Removal, layers};

const DAY_US: i64 = 24 * 3600 * 1_000_000;
const NOW_US: i64 = 1000 * DAY_US;

/// Keeps what is recorded, and refuses when it is told to.
#[derive(Default)]
struct Log {
    entries: Mutex<Vec<Entry>>,
    /// The action that cannot be recorded.
    refused: Mutex<Option<&'static str>>,
    /// What happens at that moment.
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl AuditSink for Log {
    fn append(&self, entry: Entry, _: Sync) -> Result<(), AuditError> {
        if *self.refused.lock().unwrap() == Some(entry.action) {
            if let Some(then) = self.then.lock().unwrap().take() {
                then();
            }
            return Err(AuditError::Damaged { path: PathBuf::new(), what: "full".into() });
        }
        self.entries.lock().unwrap().push(entry);
        Ok(())
    }

    fn read(&self, _: Order, _: &mut Visit<'_>) -> Result<(), AuditError> {
        Ok(())
    }

    fn verify(&self) -> Result<Verdict, AuditError> {
        unreachable!("nobody asks")
    }
}

/// Stands still. Once it is told to, whoever asks but the one that cleans waits for that.
#[derive(Default)]
struct Still {
    now_us: AtomicI64,
    cleaned: Mutex<Option<mpsc::Receiver<()>>>,
}

const CLEANER: &str = "cleaner";

impl Clock for Still {
    fn now_us(&self) -> i64 {
        if std::thread::current().name() != Some(CLEANER)
            && let Some(cleaned) = self.cleaned.lock().unwrap().take()
        {
            // When all is well the cleaning waits for the one that asks, and this waits to no end.
            let _too_early = cleaned.recv_timeout(Duration::from_millis(500));
        }
        self.now_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

/// Has no sandbox.
struct NoSandboxes;

#[async_trait]
impl SandboxBackend for NoSandboxes {
    fn name(&self) -> &'static str {
        "native"
    }

    fn owner(&self) -> Result<Option<Owner>, SandboxError> {
        Ok(None)
    }

    async fn launch(&self, _: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        unreachable!("no session comes this far")
    }

    async fn sweep(&self, _: &SessionId, _: &Path) -> Result<(), SandboxError> {
        Ok(())
    }

    fn holds_work(&self, dir: &Path) -> bool {
        dir.join("away").exists()
    }

    async fn give_up(&self, _: &SessionId, dir: &Path) -> Result<(), SandboxError> {
        match fs::read_to_string(dir.join("away")).as_deref() {
            Ok("far") => Err(SandboxError::Container { why: "it is far".into(), remedy: String::new() }),
            _ => Ok(()),
        }
    }

    async fn doctor(&self, _: &Path, _: Limits) -> Vec<crate::sandbox::Check> {
        Vec::new()
    }
}

struct Bed {
    dir: TempDir,
    app: App,
    log: Arc<Log>,
    clock: Arc<Still>,
    made: AtomicI64,
}

impl Bed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = HomeEnv { ftl_home: Some(dir.path().join("ftl").into()), ..HomeEnv::default() };
        fs::create_dir(dir.path().join("project")).unwrap();
        fs::write(dir.path().join("project/a"), "content").unwrap();
        let (log, clock) = (Arc::new(Log::default()), Arc::new(Still::default()));
        clock.now_us.store(NOW_US, Ordering::SeqCst);
        let nowhere = Surroundings { system: dir.path().to_owned(), ..Surroundings::default() };
        let ports = Ports {
            clock: Arc::clone(&clock) as _,
            audit: Some(Arc::clone(&log) as _),
            sandboxes: [("native", Arc::new(NoSandboxes) as _)].into(),
            dial: Default::default(),
            engines: Arc::new(Engines::new(nowhere, Patience::default())),
            owner: None,
        };
        let app = App::build(Home::prepare(&env).unwrap(), User::default(), ports).await.unwrap();
        Self { dir, app, log, clock, made: AtomicI64::new(0) }
    }

    fn parts(&self) -> &Arc<Parts> {
        self.app.sessions().parts()
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// Stores a session of this state, as old as this, with a home and a layer.
    async fn session(&self, state: State, days: i64) -> Record {
        let number = u8::try_from(self.made.fetch_add(1, Ordering::SeqCst)).unwrap();
        let id = SessionId::from_random([number / 8, number % 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        let root = self.project().as_os_str().as_encoded_bytes().into();
        let spec = Spec { sandbox: "native".into(), ..Spec::default() };
        let mut record = Record::new(id, Project { root, dev: 1, ino: 1 }, spec, 0);
        (record.state, record.updated_us) = (state, NOW_US - days * DAY_US);
        (record.frozen, record.turns) = (1, 1);
        record.stack.layers.push(Layer { name: layers::name(&record.id, 1), bytes: 0 });
        fs::create_dir_all(self.home(&record).join("home")).unwrap();
        fs::create_dir(self.layer(&record)).unwrap();
        self.store(&record).await;
        record
    }

    async fn store(&self, record: &Record) {
        let bytes = crate::db::encode(record, "session record").unwrap();
        let commit = Commit { record: Some((record.id.clone(), bytes)), ..Commit::default() };
        self.parts().db.commit_durably(commit).await.unwrap();
    }

    fn home(&self, record: &Record) -> PathBuf {
        self.parts().home.sessions().join(record.id.as_str())
    }

    fn layer(&self, record: &Record) -> PathBuf {
        self.parts().home.layers().join(&record.stack.layers[0].name)
    }

    /// Whether all of a session is there; none of it is otherwise.
    fn is_there(&self, record: &Record) -> bool {
        let there = self.app.sessions().get(&record.id).is_ok();
        assert_eq!((self.home(record).exists(), self.layer(record).exists()), (there, there), "{record:?}");
        there
    }

    fn recorded(&self, action: &str) -> Vec<Entry> {
        let entries = self.log.entries.lock().unwrap();
        entries.iter().filter(|entry| entry.action == action).cloned().collect()
    }

    /// Lists snapshots of the project as it was at these ages, oldest first. Gives their ids.
    fn snapshots(&self, days: &[i64]) -> Vec<SnapshotId> {
        let of = |days: &i64| {
            fs::write(self.project().join("a"), format!("{days} days old")).unwrap();
            let taken = self.parts().store.take(&self.project(), NOW_US * 1000).unwrap();
            let row = SnapshotRow {
                snapshot: taken.id,
                project: self.project().as_os_str().as_encoded_bytes().into(),
                created_us: NOW_US - days * DAY_US,
                files: taken.files,
                bytes: taken.bytes,
                pulled_us: 0,
            };
            self.parts().db.list_snapshot(&row).unwrap();
            taken.id
        };
        days.iter().map(of).collect()
    }

    fn listed(&self) -> BTreeSet<SnapshotId> {
        self.parts().db.snapshots("").unwrap().into_iter().map(|row| row.snapshot).collect()
    }
}

#[tokio::test]
async fn a_session_that_ended_long_ago_goes_with_all_it_has_and_one_that_waits_stays() {
    let bed = Bed::new().await;
    let mut all = Vec::new();
    for state in State::ALL {
        for days in [29, 31] {
            all.push(bed.session(state, days).await);
        }
    }
    let config = StoreConfig::default();
    assert_eq!(forget_over(bed.app.sessions(), &config).await.unwrap(), 4);
    for record in &all {
        let is_old = record.updated_us < NOW_US - 30 * DAY_US;
        assert_eq!(bed.is_there(record), !(is_old && record.state.has_ended()), "{record:?}");
    }
    let recorded = bed.recorded("session_removed");
    assert_eq!(recorded.len(), 4);
    assert!(recorded.iter().all(|entry| entry.detail["retention"] == true), "{recorded:?}");
    let week = StoreConfig { keep_ended_days: Some(7), ..config };
    assert_eq!(forget_over(bed.app.sessions(), &week).await.unwrap(), 4);
}

#[tokio::test]
async fn nothing_goes_without_its_record_nor_what_was_never_read_nor_what_others_share() {
    let bed = Bed::new().await;
    let (unread, half) = (bed.session(State::Failed, 90).await, bed.session(State::Merged, 90).await);
    fs::create_dir(bed.home(&unread).join("upper")).unwrap();
    fs::write(bed.home(&unread).join("upper/left"), "by a turn that failed").unwrap();
    let [apply, journal] = [7, 8].map(|number| ApplyId::from_random([number; 10]));
    bed.store(&Record { pending: Some(Pending::Undo { apply, journal }), ..half.clone() }).await;
    let (over, mut heir) = (bed.session(State::Rejected, 90).await, bed.session(State::NoChanges, 1).await);
    heir.stack.layers.push(over.stack.layers[0].clone());
    bed.store(&heir).await;
    let config = StoreConfig::default();

    *bed.log.refused.lock().unwrap() = Some("session_removed");
    assert!(matches!(forget_over(bed.app.sessions(), &config).await, Err(Error::Audit(_))));
    assert!(bed.is_there(&over));
    *bed.log.refused.lock().unwrap() = None;
    assert_eq!(forget_over(bed.app.sessions(), &config).await.unwrap(), 1);
    assert!(bed.is_there(&unread) && bed.is_there(&half) && bed.is_there(&heir));
    assert!(!bed.home(&over).exists() && bed.app.sessions().get(&over.id).is_err());
    assert!(bed.layer(&over).exists(), "the layer is the other session's as well");
}

#[tokio::test]
async fn sessions_that_ended_longest_ago_go_when_all_have_too_much_on_disk() {
    let bed = Bed::new().await;
    let (old, new) = (bed.session(State::Merged, 9).await, bed.session(State::Merged, 2).await);
    let waits = bed.session(State::AwaitingReview, 20).await;
    for record in [&old, &new, &waits] {
        let home = bed.home(record).join("home");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("cache"), vec![1; 900 << 10]).unwrap();
    }
    let with =
        |max_sessions_mb| StoreConfig { max_sessions_mb: Some(max_sessions_mb), ..StoreConfig::default() };
    assert_eq!(forget_over(bed.app.sessions(), &with(3)).await.unwrap(), 0);
    assert_eq!(forget_over(bed.app.sessions(), &with(2)).await.unwrap(), 1);
    assert!(!bed.is_there(&old) && bed.is_there(&new) && bed.is_there(&waits));
    assert_eq!(bed.recorded("session_removed").len(), 1);
    assert_eq!(forget_over(bed.app.sessions(), &with(1)).await.unwrap(), 1);
    assert!(!bed.is_there(&new) && bed.is_there(&waits));
}

fn applied(number: u8) -> Apply {
    let (id, digest) = (ApplyId::from_random([number; 10]), Digest(Hash::of(b"approved")));
    Apply { id, digest, time_us: 0, steps: Vec::new(), took: Vec::new(), undone: false, by: String::new() }
}

/// A checkpoint of what a session has, which nobody could read.
fn unread(record: &Record) -> Checkpoint {
    Checkpoint {
        number: 1,
        parent: 0,
        turn: 1,
        time_us: 0,
        text: String::new(),
        digest: None,
        entries: 0,
        stack: record.stack.clone(),
    }
}

#[tokio::test]
async fn what_was_never_read_stays_whatever_became_of_its_session() {
    let bed = Bed::new().await;
    let rejected = bed.session(State::Rejected, 90).await;
    fs::create_dir(bed.home(&rejected).join("upper")).unwrap();
    fs::write(bed.home(&rejected).join("upper/left"), "by a turn that failed").unwrap();
    // Its work lies where nobody can list it.
    let closed = bed.session(State::NoChanges, 90).await;
    fs::write(bed.home(&closed).join("upper"), "no directory").unwrap();
    let mut frozen = bed.session(State::Failed, 90).await;
    frozen.checkpoints.push(unread(&frozen));
    bed.store(&frozen).await;
    assert_eq!(forget_over(bed.app.sessions(), &StoreConfig::default()).await.unwrap(), 0);
    assert!(bed.is_there(&rejected) && bed.is_there(&closed) && bed.is_there(&frozen));
    let asked = bed.app.sessions().remove(&closed.id, false).await;
    assert!(matches!(asked, Err(Error::Refused(_))), "{asked:?}");
    bed.app.sessions().remove(&rejected.id, false).await.unwrap();
    bed.app.sessions().remove(&closed.id, true).await.unwrap();
    assert!(!bed.is_there(&rejected) && !bed.is_there(&closed));
}

#[tokio::test]
async fn what_is_only_on_another_machine_stays_until_it_is_discarded_there() {
    let bed = Bed::new().await;
    let failed = bed.session(State::Failed, 90).await;
    fs::write(bed.home(&failed).join("away"), "far").unwrap();
    assert_eq!(forget_over(bed.app.sessions(), &StoreConfig::default()).await.unwrap(), 0);
    let asked = bed.app.sessions().remove(&failed.id, false).await;
    assert!(matches!(asked, Err(Error::Refused(_))), "{asked:?}");
    let discarded = bed.app.sessions().remove(&failed.id, true).await;
    assert!(matches!(discarded, Err(Error::Sandbox(_))), "{discarded:?}");
    assert!(bed.is_there(&failed) && bed.home(&failed).join("away").exists());
    fs::write(bed.home(&failed).join("away"), "near").unwrap();
    bed.app.sessions().remove(&failed.id, true).await.unwrap();
    assert!(!bed.is_there(&failed));
}

#[tokio::test]
async fn a_session_that_changed_since_it_was_looked_at_stays() {
    let bed = Bed::new().await;
    let record = bed.session(State::Rejected, 90).await;
    let early = Removal::Over { before_us: record.updated_us };
    assert!(matches!(bed.app.sessions().forget(&record.id, early).await, Err(Error::Refused(_))));
    assert!(bed.is_there(&record));
}

#[tokio::test]
async fn a_snapshot_that_is_fetched_again_is_here_since_then() {
    let bed = Bed::new().await;
    bed.snapshots(&[40]);
    let db = &bed.parts().db;
    let taken = db.snapshots("").unwrap().remove(0);
    let fetched = SnapshotRow { project: b"/elsewhere".as_slice().into(), pulled_us: 5, ..taken.clone() };
    let again = SnapshotRow { pulled_us: 9, ..fetched.clone() };
    db.list_snapshot(&fetched).unwrap();
    db.list_snapshot(&again).unwrap();
    db.list_snapshot(&SnapshotRow { pulled_us: 9, ..taken.clone() }).unwrap();
    let rows = db.snapshots("").unwrap();
    assert!(rows.len() == 2 && rows.contains(&again) && rows.contains(&taken), "{rows:?}");
}

#[tokio::test]
async fn snapshots_go_by_the_retention_only_after_that_is_recorded() {
    let bed = Bed::new().await;
    let ids = bed.snapshots(&[90, 80, 40, 2]);
    let mut record = bed.session(State::AwaitingReview, 80).await;
    record.base = Some(ids[1]);
    bed.store(&record).await;
    let config = StoreConfig { keep_last: Some(1), ..StoreConfig::default() };

    *bed.log.refused.lock().unwrap() = Some("retention_begun");
    assert!(matches!(retain(bed.parts(), &config, false), Err(Error::Audit(_))));
    assert_eq!(bed.listed().len(), 4);
    *bed.log.refused.lock().unwrap() = None;
    let cleaned = retain(bed.parts(), &config, false).unwrap();
    assert_eq!(cleaned.snapshots.len(), 2);
    assert_eq!(bed.listed(), BTreeSet::from([ids[1], ids[3]]), "what waits for review needs the second");
    let recorded = bed.recorded("retention_begun");
    let named: Vec<SnapshotId> = serde_json::from_value(recorded[0].detail["snapshots"].clone()).unwrap();
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([ids[0], ids[2]]));
    assert_eq!(recorded.len(), 1);
    // There is nothing more to do, and nothing more to tell.
    assert_eq!(retain(bed.parts(), &config, false).unwrap().snapshots.len(), 0);
    assert_eq!(bed.recorded("retention_begun").len(), 1);
}

#[tokio::test]
async fn a_look_removes_the_sessions_first_and_then_what_only_they_needed() {
    let bed = Bed::new().await;
    let ids = bed.snapshots(&[90, 1]);
    let mut record = bed.session(State::Rejected, 89).await;
    record.base = Some(ids[0]);
    bed.store(&record).await;
    fs::write(bed.parts().home.root().join("config"), r#"{"store": {"keep_last": 1}}"#).unwrap();
    look(bed.app.sessions(), false).await.unwrap();
    assert!(!bed.is_there(&record));
    assert_eq!(bed.listed(), BTreeSet::from([ids[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_base_of_a_session_whose_start_fails_stays_until_its_record_names_it() {
    let bed = Bed::new().await;
    let (cleaned, over) = mpsc::channel();
    let (go, begin) = mpsc::channel();
    let parts = Arc::clone(bed.parts());
    let cleaner = std::thread::Builder::new().name(CLEANER.into()).spawn(move || {
        begin.recv().unwrap();
        let cleaning = Cleaning { policy: Policy::All, project: Vec::new(), dry_run: false };
        clean(&parts, &cleaning).unwrap();
        // The session may have come to rest before.
        let _nobody_waits = cleaned.send(());
    });
    // The start fails between the snapshot and the first record that names it.
    *bed.log.refused.lock().unwrap() = Some("sandbox_begun");
    let clock = Arc::clone(&bed.clock);
    *bed.log.then.lock().unwrap() = Some(Box::new(move || {
        *clock.cleaned.lock().unwrap() = Some(over);
        go.send(()).unwrap();
    }));
    let spec = Spec { agent: "shell".into(), task: "true".into(), ..Spec::default() };
    let id = bed.app.sessions().start(&bed.project(), spec).await.unwrap();
    cleaner.unwrap().join().unwrap();
    let record = bed.app.sessions().get(&id).unwrap();
    let base = record.base.unwrap();
    assert_eq!((record.state, bed.listed().contains(&base)), (State::Failed, true), "the base is gone");
    assert!(bed.parts().store.tree(base).is_ok());
}

#[tokio::test]
async fn what_came_back_by_an_undoing_stays_and_one_session_in_trouble_keeps_no_other() {
    let bed = Bed::new().await;
    let base = bed.snapshots(&[1])[0];
    // Its origin took back what it came with, and nobody told it.
    let mut heir = bed.session(State::NoChanges, 90).await;
    let upper = vec![(RelPath::new("a").unwrap(), UpperNode::Whiteout)];
    let work = captured::put(bed.parts(), None, Work { upper, ..Work::default() }).unwrap();
    (heir.base, heir.work, heir.came_with) = (Some(base), Some(work), vec![applied(1)]);
    // What it came with is gone as well, and it cannot be looked at.
    let mut lost = bed.session(State::NoChanges, 90).await;
    (lost.base, lost.came_with) = (Some(SnapshotId(Hash::of(b"lost"))), vec![applied(1)]);
    let over = bed.session(State::NoChanges, 90).await;
    for record in [&heir, &lost] {
        bed.store(record).await;
    }
    let journal = bed.parts().home.journal().join(format!("{}.undone", applied(1).id));
    fs::write(journal, b"").unwrap();
    assert_eq!(forget_over(bed.app.sessions(), &StoreConfig::default()).await.unwrap(), 1);
    assert!(bed.is_there(&heir) && bed.is_there(&lost) && !bed.is_there(&over));
    assert_eq!(bed.app.sessions().get(&heir.id).unwrap().state, State::AwaitingReview);
}
