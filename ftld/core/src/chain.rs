//! The audit log's chain: every record carries a keyed hash over itself and the record before it.
//!
//! Owns the record's form and the verdict over a whole log. Must not know where the log lies or how it
//! is made durable.

use serde::{Deserialize, Serialize};

use crate::event::Bytes;
use crate::id::{Hash, SessionId};

/// One record before it is sealed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// 1 for the log's first record, without gaps.
    pub seq: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// What is about to happen, or happened: `approved`, `apply_begun` and so on.
    pub action: String,
    /// Session it belongs to.
    pub session: Option<SessionId>,
    /// Project it belongs to.
    pub project: Option<Bytes>,
    /// Its particulars.
    pub detail: serde_json::Value,
}

/// A record with its place in the chain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    /// Keyed hash of the record before; of nothing for the first.
    pub prev: Hash,
    /// Keyed hash of `prev` and the record.
    pub mac: Hash,
}

/// How far the log reached when it was last written, kept apart from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Records.
    pub count: u64,
    /// The last record's `mac`; of nothing for an empty log.
    pub mac: Hash,
    /// Keyed hash of the two, so that a made-up head is noticed.
    pub seal: Hash,
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Lines read.
    pub records: u64,
    /// What is wrong, one sentence each; empty when the log is intact.
    pub problems: Vec<String>,
}

/// The chain's key, 32 random bytes that only the daemon's user can read.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

/// Problems are listed up to this many; one early change makes no flood.
const MOST_PROBLEMS: usize = 20;

impl Key {
    /// The `prev` of a log's first record.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        self.mac(&[b"ftl-audit-genesis"])
    }

    /// Seals a record onto the chain.
    #[must_use]
    pub fn seal(&self, prev: Hash, record: Record) -> Sealed {
        let mac = self.link(prev, &record);
        Sealed { record, prev, mac }
    }

    /// The head after `count` records.
    #[must_use]
    pub fn head(&self, count: u64, mac: Hash) -> Head {
        Head { count, mac, seal: self.mac(&[b"head", &count.to_le_bytes(), &mac.0]) }
    }

    fn link(&self, prev: Hash, record: &Record) -> Hash {
        // serde_json writes struct fields in their order and map keys sorted, so equal records have
        // equal bytes.
        let body = serde_json::to_vec(record).unwrap_or_default();
        self.mac(&[b"record", &prev.0, &body])
    }

    fn mac(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Judges a whole log, line by line, against its head.
    ///
    /// A log that is longer than its head says is intact as long as its chain holds: a crash may fall
    /// between the record and the head. A shorter one is truncated.
    #[must_use]
    pub fn verify<'a>(&self, lines: impl Iterator<Item = &'a [u8]>, head: Option<Head>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut prev = self.genesis();
        let mut at_head = (head.map(|head| head.count) == Some(0)).then_some(prev);
        for line in lines {
            verdict.records += 1;
            let number = verdict.records;
            match serde_json::from_slice::<Sealed>(line) {
                Err(error) => verdict.add(format!("record {number} cannot be read: {error}")),
                Ok(sealed) => {
                    if sealed.record.seq != number {
                        verdict.add(format!("record {number} says that it is record {}", sealed.record.seq));
                    }
                    if sealed.prev != prev {
                        verdict.add(format!("record {number} does not follow the record before it"));
                    }
                    if self.link(sealed.prev, &sealed.record) != sealed.mac {
                        verdict.add(format!("record {number} was changed"));
                    }
                    prev = sealed.mac;
                }
            }
            if head.is_some_and(|head| head.count == number) {
                at_head = Some(prev);
            }
        }
        self.judge_head(&mut verdict, head, at_head);
        verdict
    }

    fn judge_head(&self, verdict: &mut Verdict, head: Option<Head>, at_head: Option<Hash>) {
        match (head, at_head) {
            (None, _) if verdict.records > 0 => verdict.add("the log's head is missing".into()),
            (None, _) => {}
            (Some(head), _) if self.head(head.count, head.mac) != head => {
                verdict.add("the log's head was changed".into());
            }
            (Some(head), None) => verdict.add(format!(
                "the log was truncated: it held {} records and holds {}",
                head.count, verdict.records
            )),
            (Some(head), Some(mac)) if mac != head.mac => {
                verdict.add(format!("record {} is not the one that was written", head.count));
            }
            (Some(_), Some(_)) => {}
        }
    }
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }

    fn add(&mut self, problem: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(key: &Key, count: u64) -> (Vec<Vec<u8>>, Head) {
        let mut prev = key.genesis();
        let lines = (1..=count)
            .map(|seq| {
                let record = Record {
                    seq,
                    time_us: 1_000 + i64::try_from(seq).unwrap(),
                    action: "approved".into(),
                    session: Some(SessionId::from_random([1; 10])),
                    project: Some(Bytes(vec![b'/', 0xff])),
                    detail: serde_json::json!({ "z": 1, "a": [seq] }),
                };
                let sealed = key.seal(prev, record);
                prev = sealed.mac;
                serde_json::to_vec(&sealed).unwrap()
            })
            .collect();
        (lines, key.head(count, prev))
    }

    fn verify(key: &Key, lines: &[Vec<u8>], head: Option<Head>) -> Verdict {
        key.verify(lines.iter().map(Vec::as_slice), head)
    }

    #[test]
    fn an_untouched_log_is_intact_and_so_is_one_ahead_of_its_head() {
        let key = Key([7; 32]);
        let (lines, head) = log(&key, 5);
        assert!(verify(&key, &lines, Some(head)).is_intact());
        let (longer, _) = log(&key, 6);
        assert!(verify(&key, &longer, Some(head)).is_intact());
        assert!(verify(&key, &[], None).is_intact());
    }

    #[test]
    fn a_changed_removed_swapped_or_cut_record_is_found() {
        let key = Key([7; 32]);
        let (lines, head) = log(&key, 5);
        let damaged: Vec<(&str, Vec<Vec<u8>>)> = vec![
            ("removed from the middle", [&lines[..2], &lines[3..]].concat()),
            ("removed from the front", lines[1..].to_vec()),
            ("removed from the end", lines[..4].to_vec()),
            ("all removed", Vec::new()),
            (
                "swapped",
                vec![
                    lines[1].clone(),
                    lines[0].clone(),
                    lines[2].clone(),
                    lines[3].clone(),
                    lines[4].clone(),
                ],
            ),
            ("cut", {
                let mut cut = lines.clone();
                cut[4].truncate(10);
                cut
            }),
        ];
        for (what, lines) in damaged {
            assert!(!verify(&key, &lines, Some(head)).is_intact(), "{what}");
        }
        for index in 0..lines.len() {
            let mut changed = lines.clone();
            let text = String::from_utf8(changed[index].clone()).unwrap().replace("approved", "rejected");
            changed[index] = text.into_bytes();
            assert!(!verify(&key, &changed, Some(head)).is_intact(), "changed record {index}");
        }
        assert!(!verify(&Key([8; 32]), &lines, Some(head)).is_intact(), "another key");
        assert!(!verify(&key, &lines, Some(Head { count: 4, ..head })).is_intact(), "made-up head");
        assert!(!verify(&key, &lines, None).is_intact(), "missing head");
    }
}
