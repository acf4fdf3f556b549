//! Pages of lines: what opens one, what is heard for it, and what must be seen before an approval.
//!
//! Owns that lines which nobody waits for any more are not heard, and that a merge of the human's own edits is shown
//! as a whole before its digest can be typed. Must not know how a page is drawn.

use ftl_proto::v1;

use crate::render::{diff, escape};
use crate::review::glyphs;
use crate::review::page::{Line, Page, Subject, Voice};
use crate::review::state::{Approving, Effect, Focus, Mode, Source, State};

// === impl State ===

impl State {
    /// Opens a page, and asks for its lines.
    pub(super) fn open_page(&mut self, of: Subject, title: String, source: Source) -> Effect {
        self.pages += 1;
        self.mode = Mode::Page(Page::new(of, self.pages, title, self.page_size()));
        Effect::Page(self.pages, source)
    }

    /// Columns, and rows beneath a page's heading.
    pub(crate) fn page_size(&self) -> (u16, usize) {
        (self.size.0, self.body_height().saturating_sub(1))
    }

    /// Lines have come for a page. Escaped.
    pub(crate) fn lines(&mut self, number: u64, lines: Vec<Line>) {
        if let Mode::Page(page) = &mut self.mode
            && page.number == number
        {
            page.extend(lines);
        }
    }

    /// A page has all its lines, or there is a reason why it has not. The text is escaped.
    pub(crate) fn page_over(&mut self, number: u64, failed: Option<String>) {
        let Mode::Page(page) = &mut self.mode else { return };
        if page.number == number {
            page.is_whole = true;
            if let Some(failed) = failed {
                self.complain(failed);
            }
        }
    }

    /// Asks where the hunk under the cursor comes from, or in the list each of the file's.
    pub(super) fn origins(&mut self) -> Option<Effect> {
        let Some(entry) = self.entry() else {
            self.complain("put the cursor on a file first");
            return None;
        };
        let part = self.pane.index.part_at(self.pane.cursor).filter(|_| self.focus == Focus::Diff);
        let hunk = part.and_then(|(hunk, _)| entry.hunks.get(hunk)).map(|hunk| hunk.id.clone());
        let title = format!("where it comes from: {}", escape::name(&entry.path));
        let path = entry.path.clone();
        Some(self.open_page(Subject::Origins, title, Source::Origins { path, hunk }))
    }

    /// A key on a page.
    pub(super) fn page_key(&mut self, key: &str) -> Option<Effect> {
        let Mode::Page(page) = &mut self.mode else { return None };
        match (key, &page.of) {
            ("q" | "Esc", _) | ("L", Subject::Ledger) | ("b", Subject::Origins) => return self.close_page(),
            ("y", Subject::Merged(_)) if page.is_seen() => self.pass_merged(),
            ("y", Subject::Merged(_)) => self.complain("there is more below that was not seen: Space"),
            _ => page.scroll(key),
        }
        None
    }

    fn close_page(&mut self) -> Option<Effect> {
        let Mode::Page(page) = std::mem::replace(&mut self.mode, Mode::Review) else { return None };
        if let Subject::Merged(_) = page.of {
            self.say("nothing was approved");
        }
        (!page.is_whole).then_some(Effect::EndPage)
    }

    /// Whether the screen is a part of an approval.
    pub(crate) fn is_asked(&self) -> bool {
        match &self.mode {
            Mode::Approving(_) => true,
            Mode::Page(page) => matches!(page.of, Subject::Merged(_)),
            _ => false,
        }
    }

    /// From what was merged to the digest.
    fn pass_merged(&mut self) {
        if let Mode::Page(Page { of: Subject::Merged(approving), .. }) =
            std::mem::replace(&mut self.mode, Mode::Review)
        {
            self.mode = Mode::Approving(approving);
        }
    }

    /// Goes to an approval: by what would be written where the human has edited too, if there is any.
    pub(super) fn before_approval(&mut self, approving: Approving) {
        let lines = merged(&approving.entries);
        if lines.is_empty() {
            self.mode = Mode::Approving(Box::new(approving));
            return;
        }
        let title = "with your own edits, this would be written".to_owned();
        self.pages += 1;
        let of = Subject::Merged(Box::new(approving));
        let mut page = Page::new(of, self.pages, title, self.page_size());
        page.extend(lines);
        page.is_whole = true;
        self.mode = Mode::Page(page);
    }
}

/// What would be written where the human has changed something too.
pub(crate) fn merged(entries: &[v1::DiffEntry]) -> Vec<Line> {
    let both = entries.iter().filter(|entry| entry.merged || !entry.conflicts.is_empty());
    both.flat_map(|entry| {
        let mut lines = vec![Line::new(Voice::Heading, diff::heading(entry))];
        if !entry.elided.is_empty() {
            let why = format!("  not shown: {}", escape::name(&entry.elided));
            lines.push(Line::new(Voice::Warning, why));
        }
        for hunk in &entry.hunks {
            let v1::Hunk { old_start, old_lines, new_start, new_lines, .. } = hunk;
            let place = format!("@@ -{old_start},{old_lines} +{new_start},{new_lines} @@");
            lines.push(Line::new(Voice::Position, place));
            lines.extend(hunk.lines.iter().flat_map(shown));
        }
        lines.push(Line::plain(""));
        lines
    })
    .collect()
}

/// A line of a file, with a word on a newline that is missing.
fn shown(line: &v1::Line) -> Vec<Line> {
    let voice = match line.tag.as_str() {
        "+" => Voice::Added,
        "-" => Voice::Removed,
        _ => Voice::Plain,
    };
    let (text, is_ended) = match line.text.strip_suffix(b"\n") {
        Some(text) => (text, true),
        None => (line.text.as_slice(), false),
    };
    let laid = glyphs::lay(text, usize::MAX, false);
    let mut lines = vec![Line::new(voice, format!("{} {}", escape::name(&line.tag), laid.text))];
    if !is_ended {
        lines.push(Line::plain("\\ No newline at end of file"));
    }
    lines
}
