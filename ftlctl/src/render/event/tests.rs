//! What people read while a session runs.

use super::*;

fn shown(view: &mut View, kind: Kind) -> Vec<Piece> {
    view.event(&v1::Event { session: "s-1".into(), seq: 1, time_us: 5_000_000, kind: Some(kind) })
}

fn lines(view: &mut View, kinds: Vec<Kind>) -> Vec<String> {
    let pieces = kinds.into_iter().flat_map(|kind| shown(view, kind)).collect::<Vec<_>>();
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Line(line) | Piece::Said(line) => line,
            Piece::Text(text) => format!("<{text}>"),
        })
        .collect()
}

#[test]
fn a_stage_says_its_time_and_what_it_found() {
    let mut view = View::new(Style::Plain);
    let secret = v1::Exclusion { path: b".env".to_vec(), rule: ".env*".into(), source: "built in".into() };
    let taken = v1::SnapshotTaken { files: 1204, ignored: 3, secrets: vec![secret], ..Default::default() };
    let done = v1::StageFinished { stage: "snapshot".into(), elapsed_us: 12_300 };
    assert_eq!(
        lines(&mut view, vec![Kind::SnapshotTaken(taken), Kind::StageFinished(done)]),
        ["secret left out: .env (.env*, built in)", "snapshot 12 ms · 1,204 files · 3 ignored"]
    );
}

#[test]
fn a_tool_moves_and_then_stays_as_one_line() {
    let mut view = View::new(Style::Plain);
    let start = v1::ToolStarted { id: "1".into(), name: "Bash".into(), detail: "cargo test\nmore".into() };
    assert_eq!(lines(&mut view, vec![Kind::ToolStarted(start)]), [""; 0]);
    assert_eq!(view.status(5_000_010, 80).unwrap(), "… Bash  cargo test… · Bash 1");
    assert_eq!(view.status(8_200_000, 80).unwrap(), "… Bash  cargo test…  3 s · Bash 1");
    let end = v1::ToolFinished { id: "1".into(), ok: false, elapsed_us: 3_300_000 };
    assert_eq!(lines(&mut view, vec![Kind::ToolFinished(end)]), ["✗ Bash  cargo test…  3.3 s"]);
    assert_eq!(view.status(9_000_000, 80), None);
}

#[test]
fn a_tool_without_an_end_is_told_when_the_work_is_over() {
    let mut view = View::new(Style::Plain);
    let start = v1::ToolStarted { id: "1".into(), name: "Bash".into(), detail: "make".into() };
    let over = v1::StateChanged { state: v1::State::Capturing.into(), reason: String::new() };
    let kinds = vec![Kind::ToolStarted(start), Kind::StateChanged(over.clone()), Kind::StateChanged(over)];
    assert_eq!(lines(&mut view, kinds), ["· Bash  make  (its end was not told)"]);
}

#[test]
fn output_appears_by_lines_and_harmless() {
    let mut view = View::new(Style::Plain);
    let output = |data: &[u8]| Kind::Output(v1::Output { data: data.to_vec(), stderr: false });
    // A character split over two pieces is still one character.
    assert_eq!(lines(&mut view, vec![output(b"a\xc3"), output(b"\xa9\x1b[2J\nrest")]), ["│ aé\\x1b[2J"]);
    assert_eq!(view.end(), [Piece::Said("│ rest".into())]);
    assert_eq!(view.end(), []);
}

#[test]
fn text_is_streamed_and_not_repeated_at_the_end() {
    let mut view = View::new(Style::Plain);
    let text = |text: &str, fragment| Kind::AgentText(v1::AgentText { text: text.into(), fragment });
    let end = Kind::AgentFinished(v1::AgentFinished { ok: true, message: "Hello.".into(), exit_code: 0 });
    assert_eq!(
        lines(&mut view, vec![text("Hel", true), text("lo.", false), end.clone()]),
        ["<│ Hel>", "<lo.\n>"]
    );
    assert_eq!(lines(&mut View::new(Style::Plain), vec![end]), ["│ Hello."]);
}

#[test]
fn what_a_program_says_never_looks_like_our_own_line() {
    let mut view = View::new(Style::Plain);
    let text = |text: &str| Kind::AgentText(v1::AgentText { text: text.into(), fragment: true });
    let notice = Kind::Notice(v1::Notice { level: "info".into(), text: "x".into() });
    let kinds = vec![text("a\napplied"), text(" 4 paths\n"), text("approved"), notice, text("more")];
    let expected = ["<│ a\n│ applied>", "< 4 paths\n>", "<│ approved>", "note: x", "<│ more>"];
    assert_eq!(lines(&mut view, kinds), expected);
    view.broke_off();
    assert_eq!(lines(&mut view, vec![text("allowed")]), ["<│ allowed>"]);
}

#[test]
fn a_question_names_the_command_where_it_is_not_asked_and_then_its_end() {
    let asked = || {
        Kind::EgressAsked(v1::EgressAsked {
            ask: 7,
            method: "GET".into(),
            authority: "a.example:443".into(),
            path: "/x".into(),
            patience_ms: 30_000,
            ..Default::default()
        })
    };
    let answered = |answer: &str| Kind::EgressAnswered(v1::EgressAnswered { ask: 7, answer: answer.into() });
    let mut view = View::new(Style::Plain);
    let waiting = "waiting for you: GET a.example/x (30.0 s left)";
    let command = "\n  answer: ftlctl policy answer s-1 7 once|session|always|no";
    assert_eq!(
        lines(&mut view, vec![asked(), answered("nobody")]),
        [format!("{waiting}{command}"), "refused, nobody answered: GET a.example/x".to_owned()]
    );
    view.set_answers(true);
    assert_eq!(
        lines(&mut view, vec![asked(), answered("once"), answered("no")]),
        [waiting, "allowed once: GET a.example/x", "refused by the human: question 7"]
    );
}

#[test]
fn a_failure_is_never_quiet() {
    let mut view = View::new(Style::Plain);
    let end = v1::AgentFinished { ok: false, message: "\x1b]0;x\x07".into(), exit_code: 3 };
    let failed = v1::StateChanged { state: v1::State::Failed.into(), reason: "no kernel".into() };
    assert_eq!(
        lines(&mut view, vec![Kind::AgentFinished(end), Kind::StateChanged(failed)]),
        ["the agent ended with status 3: \\x1b]0;x\\x07", "failed: no kernel"]
    );
}

#[test]
fn what_left_is_said_once_where_a_review_says_it_too() {
    let totals = || Kind::EgressTotals(v1::EgressTotals { refused: 1, ..Default::default() });
    let state = |state: v1::State| {
        Kind::StateChanged(v1::StateChanged { state: state.into(), reason: String::new() })
    };
    let line = "network: 0 requests, 1 refused";
    let nothing: [&str; 0] = [];
    let mut view = View::new(Style::Plain);
    assert_eq!(lines(&mut view, vec![totals(), state(v1::State::AwaitingReview)]), [line]);
    view.set_reviewed(true);
    assert_eq!(lines(&mut view, vec![totals(), state(v1::State::AwaitingReview)]), nothing);
    assert_eq!(lines(&mut view, vec![totals(), state(v1::State::NoChanges)]), [line]);
}
