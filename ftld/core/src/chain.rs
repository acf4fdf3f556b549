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

/// The action of the record that begins every segment but the first; see [`Key::binding`].
pub const SEGMENT_BEGUN: &str = "segment_begun";

/// The action of a record that says what was wrong with the log when it was opened. What it says is wrong
/// for good: later records do not bring back what is missing.
pub const GAP: &str = "log_gap";

/// Problems are listed up to this many; one early change makes no flood.
const MOST_PROBLEMS: usize = 20;

impl Key {
    /// The `prev` of a log's first record.
    #[must_use]
    pub fn genesis(&self) -> Hash {
        self.mac(&[b"ftl-audit-genesis"])
    }

    /// Seals a record onto the chain: its line without the line end, as [`Sealed`] is read, and its `mac`.
    ///
    /// # Errors
    /// When its particulars cannot be written as JSON.
    pub fn seal(&self, prev: Hash, record: &Record) -> Result<(Vec<u8>, Hash), serde_json::Error> {
        let mut line = serde_json::to_vec(record)?;
        let mac = self.mac(&[b"record", &prev.0, &line]);
        // The record is an object; its place in the chain are two more fields of it.
        line.pop();
        line.extend_from_slice(b",\"prev\":");
        serde_json::to_writer(&mut line, &prev)?;
        line.extend_from_slice(b",\"mac\":");
        serde_json::to_writer(&mut line, &mac)?;
        line.push(b'}');
        Ok((line, mac))
    }

    /// The particulars of the record that begins a segment after `count` records, the last of which has
    /// this `mac`.
    #[must_use]
    pub fn binding(&self, count: u64, mac: Hash) -> serde_json::Value {
        serde_json::json!({ "records": count, "mac": mac })
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

    /// Whether a head was made with this key.
    #[must_use]
    pub fn made(&self, head: &Head) -> bool {
        self.head(head.count, head.mac) == *head
    }

    /// Begins to judge a whole log against its head; its lines come one by one.
    #[must_use]
    pub fn verifier(&self, head: Option<Head>) -> Verifier {
        let prev = self.genesis();
        let at_head = (head.map(|head| head.count) == Some(0)).then_some(prev);
        let verdict = Verdict::default();
        Verifier { key: self.clone(), head, verdict, number: 0, prev, at_head, begins: None }
    }
}

/// A log that is being judged.
///
/// A log that is longer than its head says is intact as long as its chain holds: a crash may fall between
/// the record and the head. A shorter one is truncated.
pub struct Verifier {
    key: Key,
    head: Option<Head>,
    verdict: Verdict,
    /// Of the record that was read last, as it should be.
    number: u64,
    prev: Hash,
    /// The `mac` where the head points.
    at_head: Option<Hash>,
    /// The segment whose first line comes next.
    begins: Option<u64>,
}

impl Verifier {
    /// The next line is the first of a segment, counted from 1.
    pub fn begin_segment(&mut self, segment: u64) {
        self.begins = (segment > 1).then_some(segment);
    }

    /// Something is wrong with the log's files.
    pub fn problem(&mut self, problem: String) {
        self.verdict.add(problem);
    }

    /// The next line, without its end.
    pub fn line(&mut self, line: &[u8]) {
        self.verdict.records += 1;
        self.number += 1;
        let begins = self.begins.take();
        match serde_json::from_slice::<Sealed>(line) {
            Err(error) => self.verdict.add(format!("record {} cannot be read: {error}", self.number)),
            Ok(sealed) => self.record(&sealed, begins),
        }
        if self.head.is_some_and(|head| head.count == self.number) {
            self.at_head = Some(self.prev);
        }
    }

    fn record(&mut self, sealed: &Sealed, begins: Option<u64>) {
        let record = &sealed.record;
        let unchanged = self.key.link(sealed.prev, record) == sealed.mac;
        if let Some(segment) = begins {
            let bound = record.action == SEGMENT_BEGUN
                && record.detail == self.key.binding(record.seq.saturating_sub(1), sealed.prev);
            if !bound {
                self.verdict.add(format!("segment {segment} does not say what it follows"));
            } else if unchanged && record.seq > self.number {
                // What it follows is sealed in it, so what comes after the gap can be judged.
                let missing = record.seq - self.number;
                self.verdict.add(format!("{missing} records before segment {segment} are missing"));
                (self.number, self.prev) = (record.seq, sealed.prev);
            }
        }
        let number = self.number;
        if record.seq != number {
            self.verdict.add(format!("record {number} says that it is record {}", record.seq));
        }
        if sealed.prev != self.prev {
            self.verdict.add(format!("record {number} does not follow the record before it"));
        }
        if !unchanged {
            self.verdict.add(format!("record {number} was changed"));
        }
        if record.action == GAP {
            let what = record.detail["what"].as_str().unwrap_or("the log was damaged");
            self.verdict.add(format!("before record {number}: {what}"));
        }
        self.prev = sealed.mac;
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        let records = self.number;
        match (self.head, self.at_head) {
            (None, _) if records > 0 => self.verdict.add("the log's head is missing".into()),
            (None, _) => {}
            (Some(head), _) if !self.key.made(&head) => {
                self.verdict.add("the log's head was changed".into());
            }
            (Some(head), None) if head.count > records => {
                self.verdict.add(truncated(head.count, records));
            }
            (Some(head), at_head) if at_head != Some(head.mac) => {
                self.verdict.add(format!("record {} is not the one that was written", head.count));
            }
            (Some(_), _) => {}
        }
        self.verdict
    }
}

/// What is said of a log that is shorter than its head says.
#[must_use]
pub fn truncated(held: u64, holds: u64) -> String {
    format!("the log was truncated: it held {held} records and holds {holds}")
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
                let (line, mac) = key.seal(prev, &record).unwrap();
                prev = mac;
                line
            })
            .collect();
        (lines, key.head(count, prev))
    }

    fn verify(key: &Key, lines: &[Vec<u8>], head: Option<Head>) -> Verdict {
        let mut verifier = key.verifier(head);
        lines.iter().for_each(|line| verifier.line(line));
        verifier.finish()
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

    /// Segments of these lengths, and the head.
    fn segments(key: &Key, lengths: &[u64]) -> (Vec<Vec<Vec<u8>>>, Head) {
        let (mut prev, mut seq) = (key.genesis(), 0);
        let mut segments = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            let mut lines = Vec::new();
            for line in 0..*length {
                let begins = index > 0 && line == 0;
                let detail = if begins { key.binding(seq, prev) } else { serde_json::json!({}) };
                let action = if begins { SEGMENT_BEGUN } else { "applied" }.to_owned();
                seq += 1;
                let record = Record { seq, time_us: 1, action, session: None, project: None, detail };
                let (line, mac) = key.seal(prev, &record).unwrap();
                prev = mac;
                lines.push(line);
            }
            segments.push(lines);
        }
        (segments, key.head(seq, prev))
    }

    fn judge(key: &Key, segments: &[(u64, &[Vec<u8>])], head: Head) -> Verdict {
        let mut verifier = key.verifier(Some(head));
        for (number, lines) in segments {
            verifier.begin_segment(*number);
            lines.iter().for_each(|line| verifier.line(line));
        }
        verifier.finish()
    }

    #[test]
    fn the_chain_goes_through_segments_and_a_missing_one_is_named() {
        let key = Key([7; 32]);
        let (all, head) = segments(&key, &[3, 4, 2]);
        let all: Vec<(u64, &[Vec<u8>])> = (1..).zip(all.iter().map(Vec::as_slice)).collect();
        assert_eq!(judge(&key, &all, head), Verdict { records: 9, problems: Vec::new() });
        let verdict = judge(&key, &[all[0], all[2]], head);
        assert_eq!(verdict.problems, ["4 records before segment 3 are missing"]);
        let verdict = judge(&key, &all[1..], head);
        assert_eq!(verdict.problems, ["3 records before segment 2 are missing"]);
        assert!(!judge(&key, &[all[1], all[0], all[2]], head).is_intact(), "swapped");
        assert!(!judge(&key, &[all[0], all[1]], head).is_intact(), "the last one is missing");
        let headless = [all[0], (2, &all[1].1[1..]), all[2]];
        assert!(!judge(&key, &headless, head).is_intact(), "a segment without its beginning");
    }

    #[test]
    fn a_gap_that_was_noted_stays_told() {
        let key = Key([7; 32]);
        let detail = serde_json::json!({ "what": truncated(5, 0) });
        let action = GAP.to_owned();
        let record = Record { seq: 1, time_us: 1, action, session: None, project: None, detail };
        let (line, mac) = key.seal(key.genesis(), &record).unwrap();
        let verdict = verify(&key, &[line], Some(key.head(1, mac)));
        assert_eq!(verdict.problems, [format!("before record 1: {}", truncated(5, 0))]);
    }

    #[test]
    fn a_line_is_what_a_sealed_record_is_written_as() {
        let key = Key([7; 32]);
        let (lines, _) = log(&key, 3);
        for line in lines {
            let sealed: Sealed = serde_json::from_slice(&line).unwrap();
            assert_eq!(serde_json::to_vec(&sealed).unwrap(), line);
        }
    }
}
