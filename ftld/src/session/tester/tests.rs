//! The gate's order: when tests are asked for, when the gate is, and how often the agent hears of it.

use ftl_core::event::Bytes;
use ftl_core::id::Hash;

use super::*;
use crate::session::record::{Project, Spec, TestsSpec};

fn record(number: u8, tests: TestsSpec) -> Record {
    let project = Project { root: Bytes::from(&b"/p"[..]), dev: 1, ino: 1 };
    Record::new(SessionId::from_random([number; 10]), project, Spec { tests, ..Spec::default() }, 0)
}

fn with_tester() -> Record {
    record(1, TestsSpec { model: Some("a/b".into()), fix: 2, ..TestsSpec::default() })
}

fn signals(tests: &Tests) -> Vec<&'static str> {
    let mut heard = tests.heard.lock().unwrap();
    let name = |signal| match signal {
        Signal::Write(_) => "write",
        Signal::Gate(_) => "gate",
    };
    std::iter::from_fn(|| heard.as_mut().unwrap().try_recv().ok()).map(name).collect()
}

fn waiting(mut record: Record, digest: &[u8]) -> Record {
    (record.state, record.digest) = (State::AwaitingReview, Some(Digest(Hash::of(digest))));
    record
}

#[test]
fn tests_are_asked_for_when_a_turn_begins_and_the_gate_once_when_there_is_work() {
    let (tests, record) = (Tests::default(), with_tester());
    tests.begin(&record);
    assert_eq!(signals(&tests), ["write"]);
    tests.at_rest(&Record { state: State::Working, ..record.clone() });
    assert_eq!(signals(&tests), [""; 0]);
    assert!(tests.is_due(&record.id));
    let waiting = waiting(record.clone(), b"work");
    tests.at_rest(&waiting);
    tests.at_rest(&waiting);
    assert_eq!(signals(&tests), ["gate"]);
    assert!(tests.is_due(&record.id));
}

#[test]
fn without_work_or_without_a_tester_there_is_nothing_to_wait_for() {
    let (tests, with) = (Tests::default(), with_tester());
    tests.begin(&with);
    tests.at_rest(&Record { state: State::NoChanges, ..with.clone() });
    assert!(!tests.is_due(&with.id));
    let without = record(2, TestsSpec::default());
    tests.begin(&without);
    tests.at_rest(&waiting(without.clone(), b"work"));
    assert!(!tests.is_due(&without.id));
    assert_eq!(signals(&tests), ["write"]);
}

#[test]
fn a_turn_that_mends_has_the_tests_of_the_task_and_a_stopped_agent_is_not_sent_on() {
    let (tests, record) = (Tests::default(), with_tester());
    tests.begin(&record);
    tests.at_rest(&waiting(record.clone(), b"work"));
    assert_eq!(signals(&tests), ["write", "gate"]);
    tests.change(&record.id, |job| (job.is_fixing, job.is_asked, job.rounds) = (true, false, 1));
    tests.begin(&record);
    assert_eq!(signals(&tests), [""; 0]);
    let stopped = Record { reason: "stopped by the human".into(), ..waiting(record.clone(), b"more") };
    tests.at_rest(&stopped);
    assert_eq!(signals(&tests), ["gate"]);
    assert_eq!(tests.lock()[&record.id].rounds, 0);
    tests.begin(&record);
    assert_eq!((signals(&tests), tests.lock()[&record.id].rounds), (vec!["write"], 2));
}

#[tokio::test]
async fn whoever_waits_for_tests_goes_on_when_they_are_there_or_the_session_is_not() {
    let (tests, record) = (Tests::default(), with_tester());
    tests.written(&record.id).await;
    for ends in [true, false] {
        tests.begin(&record);
        let done = async {
            match ends {
                true => tests.change(&record.id, |job| job.is_writing = false),
                false => tests.forget(&record.id),
            }
        };
        tokio::join!(tests.written(&record.id), done);
    }
}
