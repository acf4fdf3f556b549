//! What the review asks of the daemon.
//!
//! Owns the calls, and that a diff that is not whole is never taken for one. Every call runs beside the
//! screen and reports what it heard. Must not know the screen.

use std::cell::RefCell;
use std::rc::Rc;

use ftl_proto::v1;
use ftl_proto::v1::ask_service_client::AskServiceClient;
use ftl_proto::v1::diff_item::Item;
use ftl_proto::v1::egress_service_client::EgressServiceClient;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::review_service_client::ReviewServiceClient;
use ftl_proto::v1::session_service_client::SessionServiceClient;
use ftl_proto::v1::verify_service_client::VerifyServiceClient;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::connect::Client;
use crate::failure::Failure;
use crate::render::egress::{self, Columns};
use crate::render::style::Style;
use crate::render::{blame, check, escape, model};
use crate::review::document::Document;
use crate::review::glyphs;
use crate::review::page::{Line, Voice};
use crate::review::state::{Purpose, Source};

/// Bytes of a line that is not told before its end.
const LONGEST: usize = 64 * 1024;
/// Rows of the ledger that are shown.
const ROWS: u32 = 500;

/// Something that a call brought.
pub(super) enum Heard {
    /// One more entry of the diff.
    Entry(Box<v1::DiffEntry>),
    /// All entries have come.
    Complete,
    /// What a selection would do.
    Previewed(Box<v1::PreviewRequest>, Purpose, Box<(v1::DiffHeader, Vec<v1::DiffEntry>)>),
    /// It was applied.
    Approved(Box<v1::ApproveReply>),
    /// It was rejected; whether the agent goes on.
    Rejected(Box<v1::RejectReply>, bool),
    /// More lines of a page.
    Lines(u64, Vec<Line>),
    /// A page has all its lines, or failed with what the daemon said, escaped.
    PageOver(u64, Option<String>),
    /// What happens in the session is not heard any more; why, escaped.
    Deaf(String),
    /// The diff anew, and the session.
    Reloaded(Box<v1::Session>, Box<Document>),
    /// Where the session stands after something happened in it.
    Moved(Box<v1::Session>),
    /// A call failed, with what the daemon said, escaped.
    Failed(String),
}

/// Asks, and tells whoever holds the other end.
#[derive(Clone)]
pub(super) struct Remote {
    client: Rc<Clients>,
    heard: UnboundedSender<Heard>,
    session: String,
    /// What is asked for the page that is open.
    page: Rc<RefCell<Option<AbortHandle>>>,
}

struct Clients {
    reviews: ReviewServiceClient<Channel>,
    sessions: SessionServiceClient<Channel>,
    egress: EgressServiceClient<Channel>,
    verify: VerifyServiceClient<Channel>,
    ask: AskServiceClient<Channel>,
}

/// Asks for a diff and hears its header.
pub(super) async fn open(
    client: &Client,
    session: &v1::Session,
) -> Result<(v1::DiffHeader, Streaming<v1::DiffItem>), Failure> {
    let request = v1::GetDiffRequest { session: session.session.clone(), stat_only: false, contents: false };
    let mut items = client.reviews().get_diff(request).await?.into_inner();
    match items.message().await?.and_then(|item| item.item) {
        Some(Item::Header(header)) => Ok((header, items)),
        _ => Err(Failure::Protocol { what: "sent a diff without its header" }),
    }
}

/// All further entries, which must be as many as the header says.
pub(super) async fn entries(
    header: &v1::DiffHeader,
    mut items: Streaming<v1::DiffItem>,
    mut each: impl FnMut(v1::DiffEntry),
) -> Result<(), Failure> {
    let mut count = 0;
    while let Some(item) = items.message().await? {
        if let Some(Item::Entry(entry)) = item.item {
            count += 1;
            each(entry);
        }
    }
    if count == header.entries {
        Ok(())
    } else {
        Err(Failure::Protocol { what: "sent another number of changes than it announced" })
    }
}

// === impl Remote ===

impl Remote {
    /// A remote that tells `heard` about this session.
    pub(super) fn new(client: &Client, session: &v1::Session, heard: UnboundedSender<Heard>) -> Self {
        let client = Rc::new(Clients {
            reviews: client.reviews(),
            sessions: client.sessions(),
            egress: client.egress(),
            verify: client.verify(),
            ask: client.ask(),
        });
        Self { client, heard, session: session.session.clone(), page: Rc::default() }
    }

    /// Hears the entries behind a header.
    pub(super) fn stream(&self, header: v1::DiffHeader, items: Streaming<v1::DiffItem>) {
        let heard = self.heard.clone();
        tokio::spawn(async move {
            let each = |entry| drop(heard.send(Heard::Entry(Box::new(entry))));
            let end = match entries(&header, items, each).await {
                Ok(()) => Heard::Complete,
                Err(failure) => Heard::Failed(told(&failure)),
            };
            let _ = heard.send(end);
        });
    }

    /// Hears when something happens in the session.
    pub(super) fn watch(&self, from: u64) {
        let (mut sessions, heard) = (self.client.sessions.clone(), self.heard.clone());
        let session = self.session.clone();
        tokio::spawn(async move {
            let request = v1::WatchRequest {
                session: session.clone(),
                from_seq: from,
                follow: true,
                until_idle: false,
                answers_egress: false,
            };
            let ended: Result<(), tonic::Status> = async {
                let mut events = sessions.watch(request).await?.into_inner();
                while let Some(event) = events.message().await? {
                    if !is_of_interest(event.kind.as_ref()) {
                        continue;
                    }
                    let request = v1::GetSessionRequest { session: session.clone(), project: Vec::new() };
                    let now = sessions.get(request).await?.into_inner();
                    let _ = heard.send(Heard::Moved(Box::new(now)));
                }
                Ok(())
            }
            .await;
            let why = ended
                .map_or_else(|status| format!(" ({})", escape::name(status.message())), |()| String::new());
            let _ =
                heard.send(Heard::Deaf(format!("what happens in the session is not heard any more{why}")));
        });
    }

    /// Asks what a selection would do.
    pub(super) fn preview(&self, request: v1::PreviewRequest, purpose: Purpose) {
        let mut reviews = self.client.reviews.clone();
        self.call(async move {
            let items = reviews.preview(request.clone()).await?.into_inner();
            let whole = crate::decide::collect(items).await?;
            Ok(Heard::Previewed(Box::new(request), purpose, Box::new(whole)))
        });
    }

    /// Approves.
    pub(super) fn approve(&self, request: v1::ApproveRequest) {
        let mut reviews = self.client.reviews.clone();
        self.call(async move { Ok(Heard::Approved(Box::new(reviews.approve(request).await?.into_inner()))) });
    }

    /// Rejects.
    pub(super) fn reject(&self, request: v1::RejectRequest) {
        let mut reviews = self.client.reviews.clone();
        self.call(async move {
            let go_on = request.go_on;
            Ok(Heard::Rejected(Box::new(reviews.reject(request).await?.into_inner()), go_on))
        });
    }

    /// Asks for the lines of a page, for a table of so many columns. What is asked for an earlier one ends.
    pub(super) fn page(&self, number: u64, source: Source, columns: usize) {
        let (client, heard) = (Rc::clone(&self.client), self.heard.clone());
        let (reviews, egress) = (client.reviews.clone(), client.egress.clone());
        let (verify, ask) = (client.verify.clone(), client.ask.clone());
        let session = self.session.clone();
        let asked = tokio::spawn(async move {
            let tell = |lines| drop(heard.send(Heard::Lines(number, lines)));
            let end = match source {
                Source::Ledger => ledger(egress, session, columns, tell).await,
                Source::Origins { path, hunk } => origins(reviews, (session, path, hunk), tell).await,
                Source::Checks(request) => checks(verify, *request, tell).await,
                Source::Answer(request) => answer(ask, *request, tell).await,
            };
            let failed = end.err().map(|failure| told(&failure));
            let _ = heard.send(Heard::PageOver(number, failed));
        });
        if let Some(earlier) = self.page.borrow_mut().replace(asked.abort_handle()) {
            earlier.abort();
        }
    }

    /// Ends what is asked for a page.
    pub(super) fn end_page(&self) {
        if let Some(asked) = self.page.borrow_mut().take() {
            asked.abort();
        }
    }

    /// Fetches the diff and the session anew.
    pub(super) fn reload(&self) {
        let (mut reviews, mut sessions) = (self.client.reviews.clone(), self.client.sessions.clone());
        let session = self.session.clone();
        self.call(async move {
            let request = v1::GetSessionRequest { session: session.clone(), project: Vec::new() };
            let now = sessions.get(request).await?.into_inner();
            let request = v1::GetDiffRequest { session, stat_only: false, contents: false };
            let items = reviews.get_diff(request).await?.into_inner();
            let (header, entries) = crate::decide::collect(items).await?;
            let mut document = Document::new(header);
            entries.into_iter().for_each(|entry| document.push(entry));
            document.is_complete = true;
            Ok(Heard::Reloaded(Box::new(now), Box::new(document)))
        });
    }

    fn call(&self, call: impl Future<Output = Result<Heard, Failure>> + Send + 'static) {
        let heard = self.heard.clone();
        tokio::spawn(async move {
            let end = call.await.unwrap_or_else(|failure| Heard::Failed(told(&failure)));
            let _ = heard.send(end);
        });
    }
}

/// What left the sandbox.
pub(super) async fn ledger(
    mut egress: EgressServiceClient<Channel>,
    session: String,
    columns: usize,
    tell: impl Fn(Vec<Line>),
) -> Result<(), Failure> {
    let request = v1::LedgerRequest { session, project: Vec::new(), limit: ROWS, since_us: 0 };
    let mut rows = egress.ledger(request).await?.into_inner();
    let mut page = Vec::new();
    while let Some(row) = rows.message().await? {
        page.push(row);
    }
    if page.is_empty() {
        tell(vec![Line::plain("nothing left the sandbox, and nothing tried")]);
        return Ok(());
    }
    let columns = Columns { session: false, wide: false, terminal: Some(columns) };
    let text = egress::page(&page, &columns, Style::Plain);
    let mut lines: Vec<Line> = text.lines().map(Line::plain).collect();
    for (line, row) in lines.iter_mut().skip(1).zip(&page) {
        if row.decision != "allowed" || row.unsent {
            line.voice = Voice::Warning;
        }
    }
    if let Some(headings) = lines.first_mut() {
        headings.voice = Voice::Heading;
    }
    tell(lines);
    Ok(())
}

/// Where a path's hunks come from, or one of them.
pub(super) async fn origins(
    mut reviews: ReviewServiceClient<Channel>,
    (session, path, hunk): (String, Vec<u8>, Option<String>),
    tell: impl Fn(Vec<Line>),
) -> Result<(), Failure> {
    let mut origins = reviews.blame(v1::BlameRequest { session, path }).await?.into_inner();
    let (mut number, mut found) = (0, false);
    while let Some(origin) = origins.message().await? {
        number += 1;
        // A file may be too large to be told by hunks.
        if hunk.as_ref().is_some_and(|hunk| *hunk != origin.hunk && !origin.hunk.is_empty()) {
            continue;
        }
        found = true;
        let lines = blame::lines(&origin, number).into_iter().enumerate();
        let voice = |at| if at == 0 { Voice::Heading } else { Voice::Plain };
        tell(lines.map(|(at, text)| Line::new(voice(at), text)).collect());
    }
    if !found {
        let text = "nothing is known of this hunk alone; in the list, b tells of all of the file";
        tell(vec![Line::new(Voice::Warning, text)]);
    }
    Ok(())
}

/// How the project's checks go on a selection.
pub(super) async fn checks(
    mut verify: VerifyServiceClient<Channel>,
    request: v1::TestRequest,
    tell: impl Fn(Vec<Line>),
) -> Result<(), Failure> {
    use v1::test_event::Event;
    let mut events = verify.test(request).await?.into_inner();
    let mut output = Lines::default();
    while let Some(event) = events.message().await? {
        let Some(event) = event.event else { continue };
        if !matches!(event, Event::Output(_)) {
            tell(output.rest());
        }
        let heading = |text: String| vec![Line::new(Voice::Heading, text)];
        let verdict = |good: bool, text: String| {
            vec![Line::new(if good { Voice::Added } else { Voice::Warning }, text)]
        };
        tell(match event {
            Event::Begun(begun) => vec![Line::plain(check::begun(&begun))],
            Event::Waits(_) => vec![Line::plain("waiting for other checks to end")],
            Event::Notice(notice) => vec![Line::plain(check::notice(&notice, Style::Plain))],
            Event::Started(started) => heading(check::started(&started, Style::Plain)),
            Event::Output(part) => output.push(&part.data),
            Event::Ended(ended) => {
                let passed = ended.verdict() == v1::CheckVerdict::Passed;
                let mut lines = Vec::new();
                if ended.remembered && !passed {
                    // It did not run before our eyes.
                    lines.extend(output.push(&ended.tail));
                    lines.extend(output.rest());
                }
                let told = check::ended(&ended, Style::Plain);
                lines.extend(told.lines().flat_map(|line| verdict(passed, line.to_owned())));
                lines
            }
            Event::Word(word) => verdict(word.ready, check::word(&word, Style::Plain)),
        });
    }
    Ok(())
}

/// What a model says.
pub(super) async fn answer(
    mut ask: AskServiceClient<Channel>,
    request: v1::AskRequest,
    tell: impl Fn(Vec<Line>),
) -> Result<(), Failure> {
    use v1::ask_event::Kind;
    let mut events = ask.ask(request).await?.into_inner();
    let (mut said, mut name) = (Lines::behind("│ "), String::new());
    while let Some(event) = events.message().await? {
        tell(match event.kind {
            Some(Kind::Asked(asked)) => {
                let lines = model::asked_lines(&asked);
                name = asked.model;
                lines.into_iter().map(|line| Line::new(Voice::Heading, line)).collect()
            }
            Some(Kind::Text(text)) => said.push(text.as_bytes()),
            Some(Kind::Again(again)) => vec![Line::new(Voice::Warning, model::again_line(&again))],
            Some(Kind::End(end)) => {
                let mut lines = said.rest();
                lines.push(Line::new(Voice::Heading, model::end_line(&name, &end)));
                lines
            }
            None => Vec::new(),
        });
    }
    Ok(())
}

/// Foreign bytes as lines, each told when it is whole.
#[derive(Default)]
struct Lines {
    /// What stands before each.
    before: &'static str,
    /// The beginning of the next one.
    begun: Vec<u8>,
}

impl Lines {
    fn behind(before: &'static str) -> Self {
        Self { before, ..Self::default() }
    }

    /// The lines that some more bytes end.
    fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        self.begun.extend_from_slice(bytes);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            // A line without an end is told in pieces.
            return if self.begun.len() > LONGEST { self.rest() } else { Vec::new() };
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        whole.split_inclusive(|byte| *byte == b'\n').map(|line| self.line(line)).collect()
    }

    /// The last line, where there is one that has not ended.
    fn rest(&mut self) -> Vec<Line> {
        let rest = std::mem::take(&mut self.begun);
        if rest.is_empty() { Vec::new() } else { vec![self.line(&rest)] }
    }

    fn line(&self, line: &[u8]) -> Line {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Line::plain(format!("{}{}", self.before, glyphs::lay(line, usize::MAX, false).text))
    }
}

/// A failure in one line.
pub(super) fn told(failure: &Failure) -> String {
    match failure {
        Failure::Daemon { status } if status.code() == tonic::Code::Unimplemented => {
            "the daemon cannot preview a selection: `ftlctl approve` takes the whole".to_owned()
        }
        failure => escape::name(failure.to_string()),
    }
}

/// Whether what is reviewed may be something else afterwards.
fn is_of_interest(kind: Option<&Kind>) -> bool {
    matches!(
        kind,
        Some(
            Kind::StateChanged(_)
                | Kind::TurnStarted(_)
                | Kind::WorkCaptured(_)
                | Kind::Applied(_)
                | Kind::Undone(_)
                | Kind::Rewound(_)
                | Kind::Rejected(_)
        )
    )
}
