//! The ledger as a table.
//!
//! Owns its columns, and what is cut where a terminal is narrow: the path, in its middle, and never a host.
//! Must not know where rows come from.

use ftl_proto::v1;

use super::{host, names, reason};
use crate::render::escape;
use crate::render::measure::{self, count, size};
use crate::render::style::{Style, Tone};
use crate::render::table::table;

/// How the ledger is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// Rows are of more than one session.
    pub(crate) session: bool,
    /// Whole values in every column.
    pub(crate) wide: bool,
    /// Columns of the terminal; none when whole values are read by something else.
    pub(crate) terminal: Option<usize>,
}

const WIDE: [&str; 10] =
    ["TIME", "DECISION", "METHOD", "HOST", "PATH", "STATUS", "UP", "DOWN", "CREDENTIALS", "RULE"];
const NARROW: [&str; 8] = ["TIME", "DECISION", "METHOD", "HOST", "PATH", "STATUS", "UP/DOWN", "NOTE"];

/// What is left of a path where the terminal is too narrow for all of it.
const LEAST: usize = 10;

/// What is left of a note there, with the gap beside it.
const NOTE: usize = 14;

/// Characters of a method that are shown in a narrow table.
const METHOD: usize = 10;

/// Rows under headings.
pub(crate) fn page(rows: &[v1::LedgerRow], columns: &Columns, style: Style) -> String {
    let narrow = columns.terminal.filter(|_| !columns.wide);
    let mut headings = if narrow.is_some() { NARROW.to_vec() } else { WIDE.to_vec() };
    let mut cells: Vec<_> = match narrow {
        Some(_) => {
            let is_one_day = rows.iter().all(|row| day(row) == rows.first().map_or_else(String::new, day));
            rows.iter().map(|row| short(row, is_one_day)).collect()
        }
        None => rows.iter().map(whole).collect(),
    };
    if columns.session {
        headings.insert(1, "SESSION");
        for (cells, row) in cells.iter_mut().zip(rows) {
            cells.insert(1, escape::name(&row.session));
        }
    }
    if let Some(terminal) = narrow {
        leave_out(&mut cells, &mut headings, terminal);
        if let Some(path) = headings.iter().position(|one| *one == "PATH") {
            fit(&mut cells, &headings, path, terminal);
        }
    }
    let text = table(&headings, &cells, Style::Plain, narrow);
    let tones = [Some(Tone::Heading)].into_iter().chain(rows.iter().map(tone));
    let painted = text.lines().zip(tones).map(|(line, tone)| match tone {
        Some(tone) => style.paint(tone, line),
        None => line.to_owned(),
    });
    painted.collect::<Vec<_>>().join("\n")
}

fn tone(row: &v1::LedgerRow) -> Option<Tone> {
    (row.decision != "allowed" || row.unsent).then_some(Tone::Warning)
}

/// Leaves out the columns that say nothing in any row, then those that a narrow terminal has no room for.
fn leave_out(cells: &mut [Vec<String>], headings: &mut Vec<&str>, terminal: usize) {
    for name in ["UP/DOWN", "STATUS", "METHOD"] {
        let Some(at) = headings.iter().position(|one| *one == name) else { continue };
        let path = headings.iter().position(|one| *one == "PATH").unwrap_or_default();
        let is_silent = cells.iter().all(|row| row[at] == "-");
        let note = width(cells, headings, headings.len() - 1);
        // The method goes only where not even the beginning of a note would fit.
        let note = if name == "METHOD" { note.saturating_sub(NOTE) } else { 0 };
        let is_tight = beside(cells, headings, path) - note + LEAST > terminal;
        if is_silent || is_tight {
            headings.remove(at);
            cells.iter_mut().for_each(|row| drop(row.remove(at)));
        }
    }
}

/// What a column takes, with the gap beside it.
fn width(cells: &[Vec<String>], headings: &[&str], column: usize) -> usize {
    let widths = cells.iter().map(|row| row[column].chars().count());
    2 + widths.chain([headings[column].len()]).max().unwrap_or_default()
}

/// What all columns but one take.
fn beside(cells: &[Vec<String>], headings: &[&str], path: usize) -> usize {
    let others = (0..headings.len()).filter(|column| *column != path);
    others.map(|column| width(cells, headings, column)).sum()
}

/// Cuts the paths so that the other columns fit beside them.
fn fit(cells: &mut [Vec<String>], headings: &[&str], path: usize, terminal: usize) {
    let room = terminal.saturating_sub(beside(cells, headings, path)).max(LEAST);
    for row in cells {
        row[path] = cut_middle(&row[path], room);
    }
}

/// At most `room` characters, with `…` in the middle where something is missing.
fn cut_middle(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let (front, back) = (room / 2, room.saturating_sub(1) - room / 2);
    let (begin, end) = (text.chars().take(front), text.chars().skip(length - back));
    begin.chain(['…']).chain(end).collect()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn decision(row: &v1::LedgerRow) -> String {
    let decision = if row.unsent { "not sent".to_owned() } else { escape::name(&row.decision) };
    match row.count {
        0 | 1 => decision,
        times => format!("{decision} ×{}", count(times)),
    }
}

fn status(row: &v1::LedgerRow) -> String {
    if row.status == 0 { "-".to_owned() } else { row.status.to_string() }
}

/// Whether the human has allowed this request alone, and no rule.
fn once(row: &v1::LedgerRow) -> bool {
    row.source == "once"
}

/// Why it did not leave, or not come to its end.
fn why(row: &v1::LedgerRow) -> String {
    match row.end.as_str() {
        "" | "whole" => reason(&row.reason),
        end => reason(end),
    }
}

/// The day in UTC: `2023-11-14`.
fn day(row: &v1::LedgerRow) -> String {
    measure::second(row.time_us).chars().take(10).collect()
}

/// A size in few characters: `512`, `2.0K`.
fn brief(bytes: u64) -> String {
    let size = size(bytes);
    let (number, unit) = size.split_once(' ').unwrap_or((&size, ""));
    format!("{number}{}", unit.trim_end_matches('B').trim_end_matches('i'))
}

fn short(row: &v1::LedgerRow, is_one_day: bool) -> Vec<String> {
    let mut notes = vec![names(&row.credentials)];
    if once(row) {
        notes.push("allowed once by you".to_owned());
    }
    notes.push(why(row));
    notes.retain(|note| !note.is_empty());
    let moved = row.bytes_up + row.bytes_down > 0;
    let second = measure::second(row.time_us);
    vec![
        // The rest is in the wide table.
        second.get(if is_one_day { 11..19 } else { 5..19 }).unwrap_or(&second).to_owned(),
        decision(row),
        or_dash(escape::summary(&row.method, METHOD)),
        host(&row.authority),
        or_dash(escape::name(&row.path)),
        status(row),
        if moved { format!("{}/{}", brief(row.bytes_up), brief(row.bytes_down)) } else { "-".to_owned() },
        or_dash(notes.join("; ")),
    ]
}

fn whole(row: &v1::LedgerRow) -> Vec<String> {
    let rule = if once(row) { "allowed once by you".to_owned() } else { escape::name(&row.rule) };
    let rule = match (rule.is_empty(), why(row)) {
        (true, why) => why,
        (false, why) if why.is_empty() => rule,
        (false, why) => format!("{rule} ({why})"),
    };
    vec![
        measure::second(row.time_us),
        decision(row),
        or_dash(escape::name(&row.method)),
        host(&row.authority),
        or_dash(escape::name(&row.path)),
        status(row),
        size(row.bytes_up),
        size(row.bytes_down),
        or_dash(names(&row.credentials)),
        rule,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<v1::LedgerRow> {
        let allowed = v1::LedgerRow {
            time_us: 1_700_000_000_000_042,
            session: "s-bcdfghjkmn".into(),
            decision: "allowed".into(),
            method: "POST".into(),
            authority: "api.anthropic.com:443".into(),
            path: "/v1/messages/0123456789abcdef/events/0123456789abcdef".into(),
            rule: "allow api.anthropic.com".into(),
            source: "agent claude-code".into(),
            credentials: vec!["ANTHROPIC_API_KEY".into()],
            status: 200,
            bytes_up: 2048,
            bytes_down: 1_258_292,
            count: 1,
            end: "whole".into(),
            ..Default::default()
        };
        let once = v1::LedgerRow {
            path: "/x\ny".into(),
            rule: "allow POST api.anthropic.com/x".into(),
            source: "once".into(),
            credentials: Vec::new(),
            ..allowed.clone()
        };
        let unsent = v1::LedgerRow {
            path: "/y".into(),
            status: 0,
            bytes_up: 0,
            bytes_down: 0,
            credentials: Vec::new(),
            end: "private_address".into(),
            unsent: true,
            ..allowed.clone()
        };
        let refused = v1::LedgerRow {
            decision: "refused".into(),
            rule: String::new(),
            source: String::new(),
            reason: "not_allowed".into(),
            end: String::new(),
            unsent: false,
            count: 3,
            ..unsent.clone()
        };
        vec![allowed, once, unsent, refused]
    }

    #[test]
    fn usual_rows_fit_a_terminal() {
        let columns = Columns { session: false, wide: false, terminal: Some(100) };
        let shown = page(&rows(), &columns, Style::Plain);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let expected = "\
TIME      DECISION    METHOD  HOST               PATH         STATUS  UP/DOWN    NOTE
22:13:20  allowed     POST    api.anthropic.com  /v1/m…bcdef  200     2.0K/1.2M  ANTHROPIC_API_KEY
22:13:20  allowed     POST    api.anthropic.com  /x\\ny        200     2.0K/1.2M  allowed once by you
22:13:20  not sent    POST    api.anthropic.com  /y           -       -          private address
22:13:20  refused ×3  POST    api.anthropic.com  /y           -       -          not allowed";
        assert_eq!(shown, expected);
        // More than one day.
        let mut rows = rows();
        rows[0].time_us = 0;
        let shown = page(&rows, &columns, Style::Plain);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        assert!(shown.contains("01-01 00:00:00") && shown.contains("11-14 22:13:20"), "{shown}");
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns_and_silent_ones_go_first() {
        let columns = Columns { session: true, wide: false, terminal: Some(80) };
        let shown = page(&rows()[..2], &columns, Style::Plain);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(!shown.contains("UP/DOWN") && shown.contains("HOST"), "{shown}");
        let silent = page(&rows()[2..], &Columns { session: false, ..columns }, Style::Plain);
        assert!(silent.starts_with("TIME      DECISION    METHOD  HOST               PATH"), "{silent}");
        assert!(!silent.contains("STATUS"), "{silent}");
    }

    #[test]
    fn whole_values_are_shown_where_there_is_no_terminal_or_it_is_asked_for() {
        let piped = page(&rows(), &Columns { session: true, wide: false, terminal: None }, Style::Plain);
        let wide = page(&rows(), &Columns { session: true, wide: true, terminal: Some(80) }, Style::Plain);
        assert_eq!(piped, wide);
        let lines: Vec<&str> = wide.lines().collect();
        assert!(lines[0].starts_with("TIME                  SESSION       DECISION"), "{wide}");
        assert!(lines[1].contains("/v1/messages/0123456789abcdef/events/0123456789abcdef"), "{wide}");
        assert!(lines[1].starts_with("2023-11-14 22:13:20Z  s-bcdfghjkmn  allowed"), "{wide}");
        assert!(lines[1].ends_with("allow api.anthropic.com"), "{wide}");
        assert!(lines[2].contains("/x\\n") && lines[2].ends_with("allowed once by you"), "{wide}");
        assert!(
            lines[3].contains("not sent") && lines[3].ends_with("allow api.anthropic.com (private address)")
        );
        assert!(lines[4].ends_with("not allowed"), "{wide}");
    }

    #[test]
    fn what_did_not_leave_is_coloured() {
        let columns = Columns { session: false, wide: false, terminal: Some(100) };
        let shown = page(&rows(), &columns, Style::Color);
        let yellow: Vec<bool> = shown.lines().map(|line| line.starts_with("\x1b[33m")).collect();
        assert_eq!(yellow, [false, false, false, true, true]);
    }

    #[test]
    fn a_path_is_cut_in_its_middle() {
        assert_eq!(cut_middle("/abcdef", 7), "/abcdef");
        assert_eq!(cut_middle("/abcdefg", 7), "/ab…efg");
        assert_eq!(cut_middle("/ééééééé", 4), "/é…é");
    }
}
