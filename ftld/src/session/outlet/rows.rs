//! The ledger as people read it: rows out of the audit log.
//!
//! Owns how a request and its end become one row, and that the log is never in memory as a whole. Must not
//! know how the log is kept.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use ftl_core::chain::Record;
use ftl_core::id::SessionId;

use super::ledger::{FORWARDED, REFUSED, SETTLED};
use crate::audit::{AuditError, AuditSink, Order};

/// One request of the ledger, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
    /// Session.
    pub session: String,
    /// Whether it was to be forwarded.
    pub allowed: bool,
    /// Method; empty for a name that was asked for.
    pub method: String,
    /// Host and port.
    pub authority: String,
    /// Path without query.
    pub path: String,
    /// The rule that decided.
    pub rule: String,
    /// Where that rule comes from; empty when there was none.
    pub source: String,
    /// Why it was refused.
    pub reason: String,
    /// Names of the credentials that travelled with it.
    pub credentials: Vec<String>,
    /// Status of the response; 0 when there was none.
    pub status: u32,
    /// Bytes of the request's body.
    pub bytes_up: u64,
    /// Bytes of the response's body.
    pub bytes_down: u64,
    /// How many requests the row stands for.
    pub count: u64,
    /// How it ended: `whole`, `broken`, `revoked` or a code as in `reason`; empty when it was refused at
    /// once, or has not ended.
    pub end: String,
    /// Whether it was allowed and nothing of it left.
    pub unsent: bool,
}

/// Which records or rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Beginning of the session's id; empty means every session.
    pub session: String,
    /// The project's directory; empty means every project.
    pub project: Vec<u8>,
    /// Not older than this, microseconds since the Unix epoch; 0 means any.
    pub since_us: i64,
    /// At most this many of the newest; 0 means all.
    pub limit: usize,
}

/// Rows that wait at once for the end of an older one while the log is read from its beginning. Beyond that
/// the oldest is shown as it is.
const WAITING: usize = 50_000;

/// The most that is kept in memory to be turned round. For more than these the log is read twice.
const KEPT: usize = 10_000;

/// What makes a request's end its own.
type Number = (Option<SessionId>, u64);

impl Wanted {
    /// Whether a record is of the session and the project, whatever its time.
    #[must_use]
    pub fn is_of(&self, record: &Record) -> bool {
        let session = record.session.as_ref().map_or("", SessionId::as_str);
        session.starts_with(&self.session)
            && (self.project.is_empty() || record.project.as_ref().is_some_and(|of| of.0 == self.project))
    }

    /// Few enough are wanted to be kept in memory and turned round.
    fn is_few(&self) -> bool {
        (1..=KEPT).contains(&self.limit)
    }

    fn limit(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }
}

/// The wanted records, oldest first, one by one until `show` breaks off. When only a few are wanted, only
/// that much of the log is read, from its end.
///
/// # Errors
/// When the log cannot be read.
pub fn records(
    audit: &dyn AuditSink,
    wanted: &Wanted,
    mut show: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), AuditError> {
    if !wanted.is_few() {
        let from = begin(audit, wanted, |_| true)?;
        return audit.read(
            Order::OldestFirst,
            &mut |record| match record.seq >= from && wanted.is_of(&record) {
                true => show(record),
                false => ControlFlow::Continue(()),
            },
        );
    }
    let mut found = Vec::new();
    audit.read(Order::NewestFirst, &mut |record| {
        if record.time_us < wanted.since_us || found.len() == wanted.limit() {
            return ControlFlow::Break(());
        }
        if wanted.is_of(&record) {
            found.push(record);
        }
        ControlFlow::Continue(())
    })?;
    let _all = found.into_iter().rev().try_for_each(show);
    Ok(())
}

/// The wanted rows, like [`records`].
///
/// # Errors
/// When the log cannot be read.
pub fn rows(
    audit: &dyn AuditSink,
    wanted: &Wanted,
    mut show: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), AuditError> {
    if !wanted.is_few() {
        return all(audit, wanted, show);
    }
    let mut found = Vec::new();
    newest(audit, wanted, |row| {
        found.push(row);
        ControlFlow::Continue(())
    })?;
    let _all = found.into_iter().rev().try_for_each(&mut show);
    Ok(())
}

/// The number of the oldest wanted record, where only records that count are counted.
fn begin(
    audit: &dyn AuditSink,
    wanted: &Wanted,
    counts: impl Fn(&Record) -> bool,
) -> Result<u64, AuditError> {
    if wanted.limit == 0 && wanted.since_us == 0 {
        return Ok(0);
    }
    let (mut from, mut counted) = (u64::MAX, 0);
    audit.read(Order::NewestFirst, &mut |record| {
        if record.time_us < wanted.since_us || counted == wanted.limit() {
            return ControlFlow::Break(());
        }
        if wanted.is_of(&record) && counts(&record) {
            counted += 1;
            from = record.seq;
        }
        ControlFlow::Continue(())
    })?;
    Ok(from)
}

fn is_row(record: &Record) -> bool {
    matches!(record.action.as_str(), FORWARDED | REFUSED)
}

/// The wanted rows, newest first. The end of a request comes before its beginning.
pub(super) fn newest(
    audit: &dyn AuditSink,
    wanted: &Wanted,
    mut show: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), AuditError> {
    let mut ends: HashMap<Number, Record> = HashMap::new();
    let mut shown = 0;
    audit.read(Order::NewestFirst, &mut |record| {
        if record.time_us < wanted.since_us || shown == wanted.limit() {
            return ControlFlow::Break(());
        }
        if !wanted.is_of(&record) {
            return ControlFlow::Continue(());
        }
        match record.action.as_str() {
            SETTLED => {
                ends.insert(number(&record), record);
                return ControlFlow::Continue(());
            }
            FORWARDED | REFUSED => {}
            _ => return ControlFlow::Continue(()),
        }
        let mut row = row(&record);
        if row.allowed
            && let Some(end) = ends.remove(&number(&record))
        {
            row.settle(&end);
        }
        shown += 1;
        show(row)
    })
}

/// Every wanted row, oldest first. A row is shown when it and all before it have ended.
fn all(
    audit: &dyn AuditSink,
    wanted: &Wanted,
    mut show: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), AuditError> {
    let mut waiting: VecDeque<(Row, bool)> = VecDeque::new();
    let mut shown = 0_usize;
    let mut open: HashMap<Number, usize> = HashMap::new();
    let mut broke = false;
    let from = begin(audit, wanted, is_row)?;
    audit.read(Order::OldestFirst, &mut |record| {
        if record.seq < from || !wanted.is_of(&record) {
            return ControlFlow::Continue(());
        }
        match record.action.as_str() {
            SETTLED => {
                let at = open.remove(&number(&record)).and_then(|at| at.checked_sub(shown));
                if let Some((row, ended)) = at.and_then(|at| waiting.get_mut(at)) {
                    row.settle(&record);
                    *ended = true;
                }
            }
            FORWARDED => {
                // A number comes again after the daemon was killed: the one before has no end.
                let before = open.insert(number(&record), shown + waiting.len());
                if let Some((_, ended)) =
                    before.and_then(|at| at.checked_sub(shown)).and_then(|at| waiting.get_mut(at))
                {
                    *ended = true;
                }
                waiting.push_back((row(&record), false));
            }
            REFUSED => waiting.push_back((row(&record), true)),
            _ => {}
        }
        while waiting.len() > WAITING || waiting.front().is_some_and(|(_, ended)| *ended) {
            let Some((row, _)) = waiting.pop_front() else { break };
            shown += 1;
            if show(row).is_break() {
                broke = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if !broke {
        let _all = waiting.into_iter().try_for_each(|(row, _)| show(row));
    }
    Ok(())
}

fn number(record: &Record) -> Number {
    (record.session.clone(), record.detail["request"].as_u64().unwrap_or_default())
}

fn row(record: &Record) -> Row {
    let text = |name: &str| record.detail[name].as_str().unwrap_or_default().to_owned();
    let names = record.detail["credentials"].as_array().into_iter().flatten();
    Row {
        time_us: record.time_us,
        session: record.session.clone().map(String::from).unwrap_or_default(),
        allowed: record.action == FORWARDED,
        method: text("method"),
        authority: text("authority"),
        path: text("path"),
        rule: text("rule"),
        source: text("source"),
        reason: text("reason"),
        credentials: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        count: record.detail["count"].as_u64().unwrap_or(1).max(1),
        ..Row::default()
    }
}

impl Row {
    fn settle(&mut self, end: &Record) {
        let number = |name: &str| end.detail[name].as_u64().unwrap_or_default();
        self.status = u32::try_from(number("status")).unwrap_or_default();
        (self.bytes_up, self.bytes_down) = (number("bytes_up"), number("bytes_down"));
        end.detail["end"].as_str().unwrap_or_default().clone_into(&mut self.end);
        self.unsent = end.detail["left"].as_bool() == Some(false);
        if self.unsent {
            self.credentials.clear();
        }
    }
}

#[cfg(test)]
mod tests;
