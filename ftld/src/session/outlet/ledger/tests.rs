//! What is counted and told, and when.

use std::ops::ControlFlow;

use ftl_core::credential::CredentialName;
use ftl_core::egress::host::Authority;
use ftl_core::egress::policy::Source;
use ftl_core::egress::rule::Scheme;

use super::super::{Row, Wanted, rows};
use ftl_core::egress::policy::Reason;

use super::*;
use crate::audit::JsonlAudit;

struct Stopped;

impl Clock for Stopped {
    fn now_us(&self) -> i64 {
        1
    }

    fn monotonic_us(&self) -> u64 {
        1
    }
}

struct Bench {
    ledger: Ledger,
    audit: Arc<JsonlAudit>,
    facts: mpsc::Receiver<Kind>,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let audit = Arc::new(JsonlAudit::open(dir.path(), 0).unwrap());
    let session = SessionId::from_random([1; 10]);
    let ledger = Ledger::new(session, Bytes(b"/p".to_vec()), Arc::clone(&audit) as _, Arc::new(Stopped));
    let (sender, facts) = mpsc::channel(16);
    ledger.begin_turn(sender);
    Bench { ledger, audit, facts, _dir: dir }
}

fn intent(path: &str) -> Intent {
    Intent {
        method: "GET".into(),
        scheme: Scheme::Https,
        authority: Authority::parse("a.example.com", Some(443)).unwrap(),
        path: path.into(),
        rule: "allow a.example.com".into(),
        source: Source::Once,
        generation: 1,
        credentials: vec![CredentialName::parse("KEY").unwrap()],
    }
}

fn refused(stage: Stage) -> Refused {
    Refused {
        what: What::Request { method: "GET".into(), path: "/x".into() },
        authority: Some(Authority::parse("a.example.com", Some(443)).unwrap()),
        reason: Reason::PrivateAddress,
        rule: None,
        detail: String::new(),
        credential: None,
        would_allow: None,
        stage,
    }
}

impl Bench {
    fn rows(&self) -> Vec<Row> {
        let mut found = Vec::new();
        rows(&*self.audit, &Wanted::default(), |row| {
            found.push(row);
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }
}

#[test]
fn a_request_that_never_left_is_one_row_and_uses_no_credential() {
    let mut bench = bench();
    let id = bench.ledger.record(&intent("/x")).unwrap();
    let outcome = Outcome { status: 0, up: 5, down: 0, end: End::Refused(Reason::PrivateAddress) };
    bench.ledger.settle(id, &outcome);
    bench.ledger.refused(&refused(Stage::Recorded));
    let rows = bench.rows();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert!(rows[0].allowed && rows[0].unsent && rows[0].credentials.is_empty());
    assert_eq!((rows[0].end.as_str(), rows[0].bytes_up, rows[0].status), ("private_address", 0, 0));
    assert_eq!(rows[0].source, "once");
    let fact = bench.facts.try_recv().unwrap();
    assert!(matches!(fact, Kind::EgressRefused { count: 1, .. }), "the human is told: {fact:?}");
    assert!(bench.facts.try_recv().is_err());
    let [Kind::EgressTotals { requests: 0, refused: 1, bytes_up: 0, authorities, credentials, .. }] =
        &bench.ledger.end_turn()[..]
    else {
        panic!("other totals")
    };
    assert!(authorities.is_empty() && credentials.is_empty());
}

#[test]
fn a_credential_is_told_of_when_it_leaves() {
    let mut bench = bench();
    let id = bench.ledger.record(&intent("/x")).unwrap();
    assert!(bench.facts.try_recv().is_err(), "not before");
    bench.ledger.leaving(id);
    assert!(matches!(bench.facts.try_recv(), Ok(Kind::CredentialUsed { .. })));
    bench.ledger.settle(id, &Outcome { status: 0, up: 5, down: 0, end: End::Refused(Reason::Timeout) });
    bench.ledger.refused(&refused(Stage::Left));
    let rows = bench.rows();
    assert_eq!((rows.len(), rows[0].unsent, rows[0].end.as_str()), (1, false, "timeout"));
    assert_eq!((rows[0].credentials.len(), rows[0].bytes_up), (1, 5));
    let totals = bench.ledger.end_turn();
    assert!(matches!(totals[..], [Kind::EgressTotals { requests: 1, refused: 0, bytes_up: 5, .. }]));
}

#[test]
fn what_a_sandbox_sends_is_recorded_in_bounded_lines() {
    let bench = bench();
    let long = "x".repeat(8000);
    let intent = Intent {
        method: format!("M\u{1b}{long}"),
        rule: format!("allow a.example.com/{long}"),
        ..intent(&format!("/{long}"))
    };
    bench.ledger.record(&intent).unwrap();
    bench.ledger.refused(&Refused {
        what: What::Request { method: long.clone(), path: format!("/{long}") },
        rule: Some(long),
        ..refused(Stage::Arrived)
    });
    let rows = bench.rows();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row.path.len() < 600 && row.method.len() < 100 && row.rule.len() < 1100, "{row:#?}");
        assert!(row.path.contains("…("), "{row:#?}");
        assert!(!row.method.contains('\u{1b}'));
    }
}
