//! What the review stands at: the diff, the choices, where the human looks, and what is asked of them.
//!
//! Owns the state and the questions about it that both keys and view ask. Must not know the terminal or the
//! daemon: what is to be done there is handed out as an [`Effect`].

use std::collections::{BTreeMap, HashSet};

use ftl_proto::v1;

use crate::review::choice::Choices;
use crate::review::document::{Document, Row as ListRow};
use crate::review::page::Page;
use crate::review::rows::{Index, Plan, Row};

/// Columns from which files and diff stand beside one another.
const BOTH: u16 = 76;

/// Where the keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    /// The list of files.
    List,
    /// The diff of one.
    Diff,
}

/// What a short message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something happened.
    Plain,
    /// Something could not be done.
    Bad,
}

/// A question that is answered by typing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// What to look for.
    Search,
    /// What to do.
    Command,
    /// Why the session is rejected.
    RejectWhy,
    /// Whether the agent is to go on with the reason.
    RejectGoOn {
        /// The reason.
        why: String,
    },
    /// What a model is asked.
    Model {
        /// The path that it is shown.
        path: Vec<u8>,
        /// The hunk's id, when it is about one.
        hunk: Option<String>,
    },
    /// Why a finding is let pass.
    FindingWhy {
        /// Its id.
        finding: String,
    },
    /// Whether to leave although there are choices.
    Quit,
}

/// The approving screen: only the daemon's own words.
#[derive(Debug)]
pub(crate) struct Approving {
    /// What the daemon says of the selection.
    pub(crate) header: v1::DiffHeader,
    /// Its entries, without lines.
    pub(crate) entries: Vec<v1::DiffEntry>,
    /// What was asked about, to be approved.
    pub(crate) request: v1::PreviewRequest,
    /// What was typed so far.
    pub(crate) typed: String,
    /// The first row of the list that is seen.
    pub(crate) top: usize,
}

/// What fills the screen.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Files and diff.
    Review,
    /// The keys, from this row on.
    Help(usize),
    /// A question below files and diff.
    Ask(Question, String),
    /// Findings, with the chosen one.
    Findings(usize),
    /// Conflicts: the chosen one, and the first row that is seen.
    Conflicts(usize, usize),
    /// Lines that were asked for.
    Page(Page),
    /// The daemon is being asked.
    Waiting(&'static str),
    /// The approval.
    Approving(Box<Approving>),
}

/// Why a preview is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To approve it.
    Approve,
    /// To see what conflicts.
    Conflicts,
}

/// What is edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edited {
    /// A hunk of an entry, by its place.
    Hunk(usize, usize),
    /// A conflict of a path.
    Conflict(Vec<u8>, u32),
}

/// Where the lines of a page come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// What left the sandbox.
    Ledger,
    /// Where a path's hunks come from, or one of them.
    Origins {
        /// The path.
        path: Vec<u8>,
        /// The hunk's id.
        hunk: Option<String>,
    },
    /// How the project's checks go on a selection.
    Checks(Box<v1::TestRequest>),
    /// What a model says.
    Answer(Box<v1::AskRequest>),
}

/// What the model cannot do by itself.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Leave; the work stays.
    Quit,
    /// Ask what a selection would do.
    Preview(Box<v1::PreviewRequest>, Purpose),
    /// Approve what was shown.
    Approve(Box<v1::ApproveRequest>),
    /// Say no.
    Reject(v1::RejectRequest),
    /// Ask for the lines of the page with this number.
    Page(u64, Source),
    /// Nobody waits for a page's lines any more.
    EndPage,
    /// Fetch the diff anew.
    Reload,
    /// Let the human edit bytes; the path is for the file's ending.
    Edit(Edited, Vec<u8>, Vec<u8>),
    /// Stop the process until the shell goes on with it.
    Suspend,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Two columns.
    pub(crate) side_by_side: bool,
    /// Every space is marked.
    pub(crate) spaces: bool,
    /// Long lines go on below.
    pub(crate) wrap: bool,
}

/// The list of files.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Its rows.
    pub(crate) rows: Vec<ListRow>,
    /// The chosen row.
    pub(crate) cursor: usize,
    /// The first row that is seen.
    pub(crate) top: usize,
    /// Directories whose files are not shown.
    pub(crate) folded: HashSet<Vec<u8>>,
}

/// The diff of one file.
#[derive(Debug, Default)]
pub(crate) struct Pane {
    /// The file, by its place.
    pub(crate) file: Option<usize>,
    /// Its rows.
    pub(crate) index: Index,
    /// The chosen row.
    pub(crate) cursor: usize,
    /// The first row that is seen.
    pub(crate) top: usize,
    /// Screen lines of that row that are above the screen, where lines are wrapped.
    pub(crate) above: usize,
    /// Columns that are left of the screen.
    pub(crate) left: usize,
    /// The other end of a selection of lines.
    pub(crate) anchor: Option<usize>,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    /// The session as the daemon told it.
    pub(crate) session: v1::Session,
    /// What is looked at.
    pub(crate) document: Document,
    /// What was chosen.
    pub(crate) choices: Choices,
    /// How conflicts are decided, by path and number.
    pub(crate) resolutions: BTreeMap<(Vec<u8>, u32), (v1::Decision, Vec<u8>)>,
    /// Why findings are let pass, by their ids.
    pub(crate) accepted: BTreeMap<String, String>,
    /// The newest preview's entries, for its conflicts and findings.
    pub(crate) preview: Vec<v1::DiffEntry>,
    /// The list of files.
    pub(crate) list: List,
    /// The diff of one of them.
    pub(crate) pane: Pane,
    /// Folded hunks, by file and hunk.
    pub(crate) folded: HashSet<(usize, usize)>,
    /// Where the keys go.
    pub(crate) focus: Focus,
    /// How it is shown.
    pub(crate) options: Options,
    /// What is looked for.
    pub(crate) search: Option<Vec<u8>>,
    /// What fills the screen.
    pub(crate) mode: Mode,
    /// What happened last.
    pub(crate) message: Option<(Tone, String)>,
    /// Why what is shown is not the session's work any more.
    pub(crate) stale: Option<String>,
    /// Columns and rows of the screen.
    pub(crate) size: (u16, u16),
    /// What is typed now was typed before the human could see what it would be an answer to.
    pub(crate) is_early: bool,
    /// Pages that were opened so far.
    pub(crate) pages: u64,
    /// Whether the list's rows are those of all entries.
    is_listed: bool,
}

// === impl State ===

impl State {
    /// A review of which only the header has come.
    pub(crate) fn new(session: v1::Session, header: v1::DiffHeader, size: (u16, u16)) -> Self {
        Self {
            session,
            document: Document::new(header),
            choices: Choices::default(),
            resolutions: BTreeMap::new(),
            accepted: BTreeMap::new(),
            preview: Vec::new(),
            list: List::default(),
            pane: Pane::default(),
            folded: HashSet::new(),
            focus: Focus::List,
            options: Options::default(),
            search: None,
            mode: Mode::Review,
            message: None,
            stale: None,
            size,
            is_early: false,
            pages: 0,
            is_listed: false,
        }
    }

    /// Takes an entry. The list is made when it is looked at next.
    pub(crate) fn push(&mut self, entry: v1::DiffEntry) {
        self.document.push(entry);
        self.is_listed = false;
    }

    /// Makes the list, and keeps the cursor on its file.
    pub(crate) fn list_again(&mut self) {
        if self.is_listed {
            return;
        }
        self.is_listed = true;
        self.list.rows = self.document.rows(&self.list.folded);
        // What was shown while the diff came may be a directory that is not listed any more.
        let file = self.pane.file.filter(|place| !self.document.is_implied(*place));
        let place = |row: &ListRow| matches!(row, ListRow::File(place, _) if Some(*place) == file);
        let first = self.list.rows.iter().position(|row| matches!(row, ListRow::File(..)));
        let last = self.list.rows.len().saturating_sub(1);
        let cursor = self.list.rows.iter().position(place);
        self.list.cursor = match (cursor, file) {
            (Some(cursor), _) => cursor,
            (None, Some(_)) => self.list.cursor.min(last),
            (None, None) => first.unwrap_or(0),
        };
        self.follow_list();
    }

    /// The list changes when directories are folded.
    pub(crate) fn refold(&mut self) {
        self.is_listed = false;
        let cursor = self.list.cursor;
        self.list.rows = self.document.rows(&self.list.folded);
        self.is_listed = true;
        self.list.cursor = cursor.min(self.list.rows.len().saturating_sub(1));
    }

    /// The row of the list that is chosen.
    pub(crate) fn list_row(&self) -> Option<&ListRow> {
        self.list.rows.get(self.list.cursor)
    }

    /// Shows the file that the list's cursor is on.
    pub(crate) fn follow_list(&mut self) {
        if let Some(ListRow::File(place, _)) = self.list_row() {
            let place = *place;
            if self.pane.file != Some(place) {
                self.open(place);
            }
        }
    }

    /// Shows a file from its beginning, with the cursor on its first hunk.
    pub(crate) fn open(&mut self, place: usize) {
        self.pane = Pane { file: Some(place), ..Pane::default() };
        self.index_again();
        self.pane.cursor = self.pane.index.head(0, 0).unwrap_or(0);
        self.scroll();
    }

    /// Moves the list's cursor to a file, unfolding what hides it.
    pub(crate) fn reveal(&mut self, place: usize) {
        let Some(entry) = self.document.entries.get(place) else { return };
        let directory = crate::review::document::split(&entry.path).0.to_vec();
        if self.list.folded.remove(&directory) {
            self.refold();
        }
        let row = |row: &ListRow| matches!(row, ListRow::File(found, _) if *found == place);
        if let Some(cursor) = self.list.rows.iter().position(row) {
            self.list.cursor = cursor;
        }
        if self.pane.file != Some(place) {
            self.open(place);
        }
    }

    /// Finds the rows of the shown file again, after a choice or another way to show it. The cursor stays on
    /// its line.
    pub(crate) fn index_again(&mut self) {
        let Some(place) = self.pane.file else { return };
        let Some(entry) = self.document.entries.get(place) else { return };
        let folded = self.folded.iter().filter(|(file, _)| *file == place).map(|(_, hunk)| *hunk).collect();
        let side_by_side = self.options.side_by_side && self.room_for_two();
        let width = usize::from(self.diff_width()).saturating_sub(3);
        let plan = Plan { side_by_side, folded: &folded, width, session: &self.session.session };
        let at = self.pane.index.rows.get(self.pane.cursor).copied();
        let distance = self.pane.cursor.saturating_sub(self.pane.top);
        let choices = self.choices.of(entry);
        self.pane.index = Index::build(entry, &choices, plan);
        let index = &self.pane.index;
        let cursor = match at {
            Some(Row::Head { hunk, piece }) => index.head(hunk, piece).or_else(|| index.head(hunk, 0)),
            Some(row) => row.hunk().and_then(|hunk| index.find(hunk, row.lines().next().unwrap_or(0))),
            None => None,
        };
        let last = index.rows.len().saturating_sub(1);
        self.pane.cursor = cursor.unwrap_or(self.pane.cursor).min(last);
        self.pane.top = self.pane.cursor.saturating_sub(distance);
        self.pane.anchor = self.pane.anchor.filter(|anchor| *anchor <= last);
    }

    /// The entry that is shown.
    pub(crate) fn entry(&self) -> Option<&v1::DiffEntry> {
        self.document.entries.get(self.pane.file?)
    }

    /// Whether both files and diff fit on the screen.
    pub(crate) fn shows_both(&self) -> bool {
        self.size.0 >= BOTH
    }

    /// Columns of the list.
    pub(crate) fn list_width(&self) -> u16 {
        if self.shows_both() { (self.size.0 * 3 / 8).clamp(28, 48) } else { self.size.0 }
    }

    /// Columns of the diff.
    pub(crate) fn diff_width(&self) -> u16 {
        if self.shows_both() { self.size.0 - self.list_width() - 1 } else { self.size.0 }
    }

    /// Rows of files and diff: two above them and one below are taken.
    pub(crate) fn body_height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(3)).max(1)
    }

    /// Whether two columns of code are of any use.
    pub(crate) fn room_for_two(&self) -> bool {
        self.diff_width() >= 40
    }

    /// Every finding that holds the approval, with the place in which it stands; those of a preview too.
    pub(crate) fn findings(&self) -> Vec<(&[u8], &v1::Finding)> {
        let mut seen = HashSet::new();
        let entries = self.preview.iter().chain(&self.document.entries);
        let mut findings: Vec<_> = entries
            .flat_map(|entry| entry.findings.iter().map(|one| (entry.path.as_slice(), one)))
            .filter(|(_, finding)| seen.insert(finding.id.as_str()))
            .collect();
        findings.sort_by_key(|(path, finding)| (!finding.holds, *path, finding.line));
        findings
    }

    /// Whether a finding holds the approval and is not accepted.
    pub(crate) fn is_open(&self, finding: &v1::Finding) -> bool {
        finding.holds && !self.accepted.contains_key(&finding.id)
    }

    /// Every conflict of the newest preview.
    pub(crate) fn conflicts(&self) -> Vec<(&[u8], &v1::Conflict)> {
        let of = |entry: &'_ v1::DiffEntry| -> Vec<usize> { (0..entry.conflicts.len()).collect() };
        let entries = self.preview.iter();
        entries
            .flat_map(|entry| {
                of(entry).into_iter().map(move |at| (entry.path.as_slice(), &entry.conflicts[at]))
            })
            .collect()
    }

    /// The decision about a conflict so far.
    pub(crate) fn decision(&self, path: &[u8], conflict: &v1::Conflict) -> Option<v1::Decision> {
        let decided = self.resolutions.get(&(path.to_vec(), conflict.number));
        decided.map(|(decision, _)| *decision)
    }

    /// What is asked of the daemon about the choices.
    pub(crate) fn preview_request(&self) -> v1::PreviewRequest {
        let resolutions = self.resolutions.iter().map(|((path, number), (decision, bytes))| v1::Resolution {
            path: path.clone(),
            number: *number,
            decision: (*decision).into(),
            bytes: bytes.clone(),
        });
        let accepted = self
            .accepted
            .iter()
            .map(|(finding, why)| v1::Accepted { finding: finding.clone(), why: why.clone() });
        v1::PreviewRequest {
            session: self.session.session.clone(),
            selection: Some(self.choices.selection(&self.document)),
            resolutions: resolutions.collect(),
            accepted: accepted.collect(),
            stat_only: true,
            shown: self.document.header.digest.clone(),
            merged_hunks: true,
            contents: false,
        }
    }

    /// Says what happened.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.message = Some((Tone::Plain, text.into()));
    }

    /// Says what could not be done.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.message = Some((Tone::Bad, text.into()));
    }
}
