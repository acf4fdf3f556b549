//! A diff for people: unified hunks under one heading per path, then what they are together and their digest.
//!
//! Owns the look of every kind of entry. Must not know how the diff was got. Nothing is left out without
//! a word: binary content shows its hash, long lines say how much is missing, refused entries why.

use ftl_proto::v1;

use crate::render::escape::{self, name};
use crate::render::measure::{count, mode, plural, size};
use crate::render::style::{Style, Tone};
use crate::render::{event, json};

/// How much of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// One line per path.
    Stat,
    /// The hunks too.
    Full,
    /// The same of a part of the work: its hunks have other numbers than those of the whole.
    Part,
}

/// The whole diff, without a newline at its end.
pub(crate) fn diff(header: &v1::DiffHeader, entries: &[v1::DiffEntry], depth: Depth, style: Style) -> String {
    let mut page = Page { style, text: String::new(), cut: 0 };
    for entry in entries {
        page.entry(entry, depth);
    }
    if depth == Depth::Stat && !entries.is_empty() {
        page.push("");
    }
    page.summary(header, entries);
    page.text.truncate(page.text.trim_end().len());
    page.text
}

/// One hunk, without a newline at its end.
pub(crate) fn hunk(hunk: &v1::Hunk, style: Style) -> String {
    let mut page = Page { style, text: String::new(), cut: 0 };
    page.hunk(hunk, None);
    page.text.truncate(page.text.trim_end_matches('\n').len());
    page.text
}

/// An entry in one line: what becomes of which path.
pub(crate) fn heading(entry: &v1::DiffEntry) -> String {
    let mut page = Page { style: Style::Plain, text: String::new(), cut: 0 };
    page.heading(entry);
    page.text.trim_end().to_owned()
}

/// How many entries of a diff can be approved.
pub(crate) fn approvable(entries: &[v1::DiffEntry]) -> u64 {
    entries.iter().filter(|entry| entry.kind() != v1::EntryKind::Refused).count() as u64
}

struct Page {
    style: Style,
    text: String,
    /// Lines that were cut.
    cut: u64,
}

// === impl Page ===

impl Page {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn paint(&mut self, tone: Tone, line: &str) {
        let painted = self.style.paint(tone, line);
        self.push(&painted);
    }

    fn entry(&mut self, entry: &v1::DiffEntry, depth: Depth) {
        self.heading(entry);
        if entry.kind() == v1::EntryKind::Refused {
            self.paint(Tone::Bad, &format!("  refused, never applied: {}", name(&entry.reason)));
        }
        for fact in facts(entry) {
            self.push(&format!("  {fact}"));
        }
        self.marks(entry);
        if depth == Depth::Stat {
            return;
        }
        if !entry.elided.is_empty() {
            self.paint(Tone::Warning, &format!("  not shown: {}", name(&entry.elided)));
        }
        for (hunk, number) in entry.hunks.iter().zip(1..) {
            self.hunk(hunk, (depth == Depth::Full).then_some(number));
        }
        for conflict in &entry.conflicts {
            self.conflict(entry, conflict);
        }
        self.push("");
    }

    /// What a human should know of an entry before its lines.
    fn marks(&mut self, entry: &v1::DiffEntry) {
        let reasons = entry.risks.iter().zip(&entry.risk_reasons);
        let reasons: Vec<String> =
            reasons.map(|(risk, why)| format!("{}: {}", name(risk), name(why))).collect();
        if entry.needs_naming {
            let why = reasons.first().cloned().unwrap_or_default();
            self.paint(Tone::Warning, &format!("  must be named to be approved; {why}"));
        }
        for finding in &entry.findings {
            let line = if finding.line > 0 { format!(" in line {}", finding.line) } else { String::new() };
            let (id, class) = (name(&finding.id), name(&finding.class));
            let mut text = format!("  finding {id} ({class}){line}: {}", name(&finding.message));
            if !finding.accepted.is_empty() {
                text += &format!("; accepted: {}", name(&finding.accepted));
            } else if finding.holds {
                text += "; it holds the approval until it is accepted";
            }
            self.paint(if finding.holds { Tone::Bad } else { Tone::Warning }, &text);
        }
        if entry.merged {
            self.push("  joined with your own edits since the session began");
        }
    }

    fn conflict(&mut self, entry: &v1::DiffEntry, conflict: &v1::Conflict) {
        let decided = conflict.decision.map(|_| match conflict.decision() {
            v1::Decision::Ours => "yours is kept",
            v1::Decision::Theirs => "the session's is taken",
            v1::Decision::Both => "yours is kept, and the session's follows",
            v1::Decision::Edited | v1::Decision::Unspecified => "something else is written",
        });
        let (path, number) = (name(&entry.path), conflict.number);
        let open =
            if conflict.whole.is_empty() { "--ours, --theirs or --both" } else { "--ours or --theirs" };
        let end = decided.map_or_else(|| format!("decide with {open} {path}:{number}"), str::to_owned);
        let place = match conflict.whole.as_str() {
            "" => format!("at line {}", conflict.line),
            why => format!("of the whole path: {}", name(why)),
        };
        self.paint(Tone::Warning, &format!("conflict {number} {place}; {end}"));
        if !conflict.whole.is_empty() {
            return;
        }
        let sides = [
            ("<<<<<<< yours", &conflict.ours),
            ("||||||| what the session began with", &conflict.base),
            ("======= the session's", &conflict.theirs),
        ];
        for (label, text) in sides {
            self.paint(Tone::Position, label);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                self.line(&v1::Line { tag: " ".to_owned(), text: line.to_vec(), changed: Vec::new() });
            }
        }
        self.paint(Tone::Position, ">>>>>>>");
    }

    fn heading(&mut self, entry: &v1::DiffEntry) {
        let kind = match entry.kind() {
            v1::EntryKind::Added | v1::EntryKind::Modified | v1::EntryKind::Deleted => String::new(),
            v1::EntryKind::Refused => " (refused)".to_owned(),
            other => format!(" ({})", json::entry_kind(other)),
        };
        let mut line = self
            .style
            .paint(Tone::Heading, &format!("{:<8} {}{kind}", json::change(entry), name(&entry.path)));
        if entry.added_lines + entry.removed_lines > 0 {
            let added = self.style.paint(Tone::Added, &format!("+{}", count(entry.added_lines)));
            let removed = self.style.paint(Tone::Removed, &format!("-{}", count(entry.removed_lines)));
            line += &format!("  {added} {removed}");
        }
        if !entry.risks.is_empty() {
            let risks: Vec<String> = entry.risks.iter().map(name).collect();
            line += &format!("  {}", self.style.paint(Tone::Warning, &format!("[{}]", risks.join(", "))));
        }
        self.push(&line);
    }

    fn hunk(&mut self, hunk: &v1::Hunk, number: Option<usize>) {
        let mut position =
            format!("@@ -{},{} +{},{} @@", hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines);
        if let Some(number) = number {
            position += &format!(" hunk {number}");
        }
        self.paint(Tone::Position, &position);
        for line in &hunk.lines {
            self.line(line);
        }
    }

    fn line(&mut self, line: &v1::Line) {
        let tone = match line.tag.as_str() {
            "+" => Some(Tone::Added),
            "-" => Some(Tone::Removed),
            _ => None,
        };
        let (content, ended) = match line.text.strip_suffix(b"\n") {
            Some(content) => (content, true),
            None => (line.text.as_slice(), false),
        };
        // White space that nobody would see at the end of an added line gets a colour of its own.
        let (body, tail) = match tone {
            Some(Tone::Added) if self.style == Style::Color => {
                content.split_at(content.trim_ascii_end().len())
            }
            _ => (content, &[][..]),
        };
        let shown = escape::line(body, self.style);
        let mut text = format!("{}{}", name(&line.tag), shown.text);
        if let Some(tone) = tone {
            text = self.style.paint(tone, &text);
        }
        if shown.hidden > 0 {
            self.cut += 1;
            let hidden = plural((shown.hidden + tail.len()) as u64, "character", "characters");
            text += &self.style.paint(Tone::Warning, &format!("…+{hidden}"));
        } else if !tail.is_empty() {
            let tail = escape::line(tail, Style::Plain);
            text += &self.style.paint(Tone::Hidden, &tail.text);
        }
        self.push(&text);
        if !ended {
            self.push("\\ No newline at end of file");
        }
    }

    fn summary(&mut self, header: &v1::DiffHeader, entries: &[v1::DiffEntry]) {
        let good = approvable(entries);
        let refused = entries.len() as u64 - good;
        let mut summary =
            if entries.is_empty() { "no changes".to_owned() } else { plural(good, "change", "changes") };
        if refused > 0 {
            summary += &format!(", {} refused", count(refused));
        }
        if header.ignored > 0 {
            let ignored = plural(header.ignored, "ignored path", "ignored paths");
            summary += &format!("; {ignored} also changed and will not be applied");
        }
        self.paint(Tone::Heading, &summary);
        for unread in &header.unread {
            self.paint(Tone::Warning, &format!("not read: {}", name(unread)));
        }
        if self.cut > 0 {
            let lines = plural(self.cut, "line was", "lines were");
            self.paint(
                Tone::Warning,
                &format!("{lines} cut at {} columns; --json has them whole", escape::COLUMNS),
            );
        }
        for left in &header.left_out {
            let line = format!("left out: {} must be named ({})", name(&left.path), name(&left.reason));
            self.paint(Tone::Warning, &line);
        }
        if header.findings > 0 {
            let findings = plural(header.findings, "finding holds", "findings hold");
            self.paint(Tone::Bad, &format!("{findings} the approval; let one pass with --accept ID='why'"));
        }
        if header.conflicts > 0 {
            let paths = plural(header.conflicts, "path has", "paths have");
            self.paint(
                Tone::Bad,
                &format!("{paths} conflicts that wait for a decision; nothing can be approved"),
            );
            return;
        }
        if header.digest.is_empty() {
            // Two states side by side are nothing to approve.
            if refused > 0 && !header.session.is_empty() {
                self.push("nothing here can be approved");
            }
            return;
        }
        self.push(&format!("digest  {}", name(&header.digest)));
    }
}

/// What is to be known about an entry besides its lines.
pub(crate) fn facts(entry: &v1::DiffEntry) -> Vec<String> {
    let mut facts = Vec::new();
    let (before, after) = (entry.before.as_ref(), entry.after.as_ref());
    match (before, after) {
        (Some(before), Some(after)) => {
            if before.r#type != after.r#type {
                facts.push(format!("type {} → {}", name(&before.r#type), name(&after.r#type)));
            }
            if before.mode != after.mode && before.r#type != "symlink" && after.r#type != "symlink" {
                facts.push(format!("mode {} → {}", mode(before.mode), mode(after.mode)));
            }
        }
        (None, Some(after)) if after.r#type == "directory" => facts.push("directory".to_owned()),
        (None, Some(after)) if after.r#type == "file" && after.mode != 0o644 => {
            facts.push(format!("mode {}", mode(after.mode)));
        }
        (Some(before), None) if before.r#type != "file" => facts.push(name(&before.r#type)),
        _ => {}
    }
    if !entry.renamed_from.is_empty() {
        facts.push(format!("was {} before", name(&entry.renamed_from)));
    }
    for (label, node) in [("was", before), ("now", after)] {
        let Some(node) = node else { continue };
        if node.r#type == "symlink" {
            facts.push(format!("{label} a link to {}", name(&node.target)));
        } else if node.r#type == "file" && opaque(entry) {
            facts.push(format!("{label} {}, blake3 {}", size(node.size), event::short(&node.blake3)));
        }
    }
    facts
}

/// Whether the content is judged by size and hash because no lines are shown.
fn opaque(entry: &v1::DiffEntry) -> bool {
    let changed = match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => before.blake3 != after.blake3,
        _ => false,
    };
    entry.kind() == v1::EntryKind::Binary
        || !entry.elided.is_empty()
        || changed && entry.kind() == v1::EntryKind::Refused
}

#[cfg(test)]
mod tests;
