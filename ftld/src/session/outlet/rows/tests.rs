//! Rows out of a log on a real file system, read from both ends.

use std::sync::Arc;

use super::*;
use crate::audit::{Entry, JsonlAudit, Sync};

struct Log {
    audit: Arc<JsonlAudit>,
    now_us: i64,
    _dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Segments are small, so that requests and their ends are in different ones.
        let audit = Arc::new(JsonlAudit::open_with(dir.path(), 0, 700).unwrap());
        Self { audit, now_us: 0, _dir: dir }
    }

    fn add(&mut self, session: u8, action: &'static str, detail: serde_json::Value) {
        self.now_us += 1;
        let session = Some(SessionId::from_random([session; 10]));
        let entry = Entry { time_us: self.now_us, action, session, project: None, detail };
        self.audit.append(entry, Sync::Kernel).unwrap();
    }

    fn forwarded(&mut self, session: u8, request: u64, path: &str) {
        let detail = serde_json::json!({ "request": request, "path": path, "credentials": ["K"] });
        self.add(session, FORWARDED, detail);
    }

    fn settled(&mut self, session: u8, request: u64, status: u16) {
        let detail =
            serde_json::json!({ "request": request, "status": status, "end": "whole", "left": true });
        self.add(session, SETTLED, detail);
    }

    fn rows(&self, wanted: &Wanted) -> Vec<Row> {
        let mut found = Vec::new();
        rows(&*self.audit, wanted, |row| {
            found.push(row);
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }
}

fn log() -> Log {
    let mut log = Log::new();
    log.forwarded(1, 1, "/long");
    log.forwarded(1, 2, "/short");
    log.settled(1, 2, 204);
    log.forwarded(2, 1, "/other");
    log.add(1, REFUSED, serde_json::json!({ "reason": "not_allowed", "path": "/no", "count": 3 }));
    log.settled(1, 1, 200);
    // The daemon was killed, and its numbers begin anew.
    log.forwarded(1, 1, "/again");
    log.settled(1, 1, 500);
    let unsent = serde_json::json!({ "request": 2, "status": 0, "end": "private_address", "left": false });
    log.forwarded(1, 2, "/unsent");
    log.add(1, SETTLED, unsent);
    log.forwarded(1, 3, "/open");
    log
}

#[test]
fn a_request_and_its_end_are_one_row_from_both_ends_of_the_log() {
    let log = log();
    let every = log.rows(&Wanted::default());
    let told: Vec<_> = every.iter().map(|row| (row.path.as_str(), row.status, row.end.as_str())).collect();
    let expected = [
        ("/long", 200, "whole"),
        ("/short", 204, "whole"),
        ("/other", 0, ""),
        ("/no", 0, ""),
        ("/again", 500, "whole"),
        ("/unsent", 0, "private_address"),
        ("/open", 0, ""),
    ];
    assert_eq!(told, expected);
    let unsent: Vec<_> = every.iter().filter(|row| row.unsent).map(|row| row.path.as_str()).collect();
    assert_eq!(unsent, ["/unsent"]);
    assert!(every[5].credentials.is_empty() && every[0].credentials == ["K"]);
    for limit in (1..10).chain([KEPT + 1]) {
        let wanted = Wanted { limit, ..Wanted::default() };
        let newest = &every[every.len().saturating_sub(limit)..];
        assert_eq!(log.rows(&wanted), newest, "{limit}");
        // As many as are not kept in memory.
        let mut streamed = Vec::new();
        all(&*log.audit, &wanted, |row| {
            streamed.push(row);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(streamed, newest, "{limit}");
    }
    assert_eq!(log.rows(&Wanted { since_us: 1, ..Wanted::default() }), every);
    assert_eq!(log.rows(&Wanted { since_us: 7, ..Wanted::default() }), every[4..]);
}

#[test]
fn only_the_wanted_session_is_shown() {
    let log = log();
    let other = SessionId::from_random([2; 10]).as_str().to_owned();
    let rows = log.rows(&Wanted { session: other, ..Wanted::default() });
    assert_eq!(rows.iter().map(|row| row.path.as_str()).collect::<Vec<_>>(), ["/other"]);
    assert!(log.rows(&Wanted { project: b"/p".to_vec(), ..Wanted::default() }).is_empty());
}

#[test]
fn records_are_the_newest_ones_in_their_order() {
    let log = log();
    let mut found = Vec::new();
    records(&*log.audit, &Wanted { limit: 3, ..Wanted::default() }, |record| {
        found.push(record.action);
        ControlFlow::Continue(())
    })
    .unwrap();
    found.retain(|action| action != "segment_begun");
    assert_eq!(found.last().unwrap(), FORWARDED);
    let mut first = None;
    records(&*log.audit, &Wanted::default(), |record| {
        first = Some(record.seq);
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(first, Some(1), "the reading ends where the reader does");
}
