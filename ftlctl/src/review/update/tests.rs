//! Keys and what they do, as tables.

mod renames;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ftl_proto::v1;

use super::*;
use crate::review::document::{Document, Row};
use crate::review::sample;
use crate::review::state::Effect;

/// Presses keys; words in angle brackets are keys with a name. Gives what they ask for, in short.
fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let (mut rest, mut effects) = (keys, Vec::new());
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (key, length) = match named {
            Some(("Enter", _)) => (KeyEvent::from(KeyCode::Enter), 7),
            Some(("Esc", _)) => (KeyEvent::from(KeyCode::Esc), 5),
            Some(("Tab", _)) => (KeyEvent::from(KeyCode::Tab), 5),
            Some(("C-c", _)) => (KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), 5),
            _ => (KeyEvent::from(KeyCode::Char(first)), first.len_utf8()),
        };
        effects.extend(state.key(&key));
        rest = &rest[length..];
    }
    effects
}

fn state() -> State {
    sample::state(100, 24)
}

/// The diff of the file whose path holds this.
fn at(file: &str) -> State {
    let mut state = state();
    let holds = |entry: &v1::DiffEntry| String::from_utf8_lossy(&entry.path).contains(file);
    let place = state.document.entries.iter().position(holds).unwrap();
    state.reveal(place);
    press(&mut state, "<Enter>");
    state
}

/// The selection in short.
fn chosen(state: &State) -> String {
    let selection = state.choices.selection(&state.document);
    let paths = selection.paths.iter().map(|path| String::from_utf8_lossy(path).into_owned());
    let parts = selection.parts.iter().flat_map(|part| &part.hunks).map(|hunk| {
        let lines: Vec<_> = hunk.lines.iter().map(|line| format!("{}+{}", line.first, line.count)).collect();
        format!("{}[{}]", hunk.hunk, lines.join(","))
    });
    paths.chain(parts).collect::<Vec<_>>().join(" ")
}

/// Brings a review to the approving screen.
fn approving() -> State {
    let mut state = at("main.rs");
    let effects = press(&mut state, "ay");
    let [Effect::Preview(request, Purpose::Approve)] = effects.as_slice() else { panic!("{effects:?}") };
    let (header, entries) = sample::preview(&state);
    state.previewed((**request).clone(), Purpose::Approve, header, entries);
    assert!(matches!(state.mode, Mode::Approving(_)));
    state
}

#[test]
fn keys_choose_hunks_files_and_lines() {
    let table = [
        ("main.rs", "a", "h1[]"),
        ("main.rs", "a ", "src/main.rs"),
        ("main.rs", "a  ", "h1[]"),
        ("main.rs", "aa", "src/main.rs"),
        ("main.rs", "A", "src/main.rs"),
        ("main.rs", "AD", ""),
        ("main.rs", " ", "h1[]"),
        ("main.rs", "  ", ""),
        ("main.rs", "ad", "h1[]"),
        ("main.rs", "aau", "h1[]"),
        // The second hunk has two parts.
        ("main.rs", "nsa", "h2[0+3]"),
        ("main.rs", "nsn ", "h2[3+3]"),
        ("main.rs", "jjvja", "h1[1+2]"),
        ("main.rs", "jjjva", "h1[2+1]"),
        ("main.rs", "Ajjjvd", "h1[0+2,3+2] h2[]"),
        ("main.rs", "jjv<Esc>", ""),
        ("logo", "a", "assets/logo.png"),
        (".git/", "aA", ""),
        ("ci.yml", "A", ".github/workflows/ci.yml"),
    ];
    for (file, keys, expected) in table {
        let mut state = at(file);
        press(&mut state, keys);
        assert_eq!(chosen(&state), expected, "{file} {keys}");
    }
}

#[test]
fn accepting_everything_leaves_out_what_must_be_named() {
    let mut state = state();
    press(&mut state, "*");
    let chosen = chosen(&state);
    assert!(chosen.contains("src/main.rs") && chosen.contains("config.toml"), "{chosen}");
    assert!(!chosen.contains("ci.yml") && !chosen.contains(".git/"), "{chosen}");
    assert!(state.message.as_ref().unwrap().1.contains("1 must be chosen one by one"));
}

#[test]
fn a_directory_brings_its_files_and_nothing_that_deserves_a_look() {
    let mut state = state();
    let is_source = |row: &Row| matches!(row, Row::Directory(path, _) if path == b"src");
    state.list.cursor = state.list.rows.iter().position(is_source).unwrap();
    press(&mut state, " ");
    assert_eq!(chosen(&state), "src/evil\u{202e}.rs src/main.rs src/old.rs");
    press(&mut state, " ");
    assert_eq!(chosen(&state), "");
}

#[test]
fn enter_never_approves() {
    let mut state = state();
    let effects = press(&mut state, &"<Enter>".repeat(200));
    assert!(effects.is_empty(), "{effects:?}");
    let mut state = approving();
    let effects = press(&mut state, &"<Enter>".repeat(200));
    assert!(effects.is_empty() && matches!(state.mode, Mode::Approving(_)));
    for keys in [
        "y<Enter>",
        "yes<Enter>",
        "approve<Enter>",
        "c0ffe<Enter>",
        "c0ffee",
        "0c0ffee<Enter>",
        "<Esc>c0ffee<Enter>",
    ] {
        let mut state = approving();
        let effects = press(&mut state, keys);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Approve(_))), "{keys}");
    }
}

#[test]
fn the_digests_beginning_and_enter_approve_what_was_previewed() {
    let mut state = approving();
    let effects = press(&mut state, "C0FFEE<Enter>");
    let [Effect::Approve(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(request.digest, "c0ffee".repeat(10));
    assert_eq!(request.selection.as_ref().unwrap().parts[0].hunks[0].hunk, "h1");
    assert!(request.paths.is_empty());
    assert!(matches!(state.mode, Mode::Waiting(_)));
    // While the daemon is asked, keys do nothing.
    assert!(press(&mut state, "y*A<Enter>").is_empty());
}

#[test]
fn pasted_text_approves_nothing() {
    let mut state = approving();
    state.paste("c0ffee\n");
    let Mode::Approving(approving) = &state.mode else { panic!() };
    assert_eq!(approving.typed, "");
    state.mode = Mode::Ask(Question::RejectWhy, String::new());
    state.paste("why\nnot");
    assert!(matches!(&state.mode, Mode::Ask(_, typed) if typed == "why"));
}

#[test]
fn a_preview_with_paths_that_were_not_chosen_is_not_approved() {
    let mut state = at("main.rs");
    press(&mut state, "A");
    let (header, mut entries) = sample::preview(&state);
    entries.push(sample::file("src", v1::EntryKind::Added, Vec::new()));
    state.previewed(state.preview_request(), Purpose::Approve, header.clone(), entries.clone());
    assert!(matches!(state.mode, Mode::Approving(_)), "a directory that a path needs");
    entries.push(sample::file("stranger", v1::EntryKind::Added, Vec::new()));
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    assert!(matches!(state.mode, Mode::Review));
    assert!(state.message.as_ref().unwrap().1.contains("1 path that you did not choose"));
}

#[test]
fn a_finding_holds_the_approval_until_it_has_a_reason() {
    let mut state = at("config.toml");
    press(&mut state, "A");
    let (header, entries) = sample::preview(&state);
    state.previewed(state.preview_request(), Purpose::Approve, header.clone(), entries.clone());
    assert!(matches!(state.mode, Mode::Findings(0)));
    press(&mut state, "a<Enter>");
    assert!(state.accepted.is_empty());
    press(&mut state, "aa fake key<Enter><Esc>");
    assert_eq!(state.accepted["f1"], "a fake key");
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    let Mode::Approving(approving) = &state.mode else { panic!() };
    assert_eq!(approving.request.accepted[0].why, "a fake key");
}

#[test]
fn conflicts_are_decided_one_by_one() {
    let mut state = at("main.rs");
    press(&mut state, "A");
    let (mut header, mut entries) = sample::preview(&state);
    header.conflicts = 2;
    entries[0].conflicts = (1..=3)
        .map(|number| v1::Conflict {
            number,
            whole: if number == 3 { "one side is gone".into() } else { String::new() },
            ..Default::default()
        })
        .collect();
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    press(&mut state, "ob");
    // There are no lines to take from both.
    press(&mut state, "b");
    let decided = |state: &State| -> Vec<_> {
        state.preview_request().resolutions.iter().map(|one| (one.number, one.decision())).collect()
    };
    assert_eq!(decided(&state), [(1, v1::Decision::Ours), (2, v1::Decision::Both)]);
    let effects = press(&mut state, "ty");
    assert!(matches!(effects.as_slice(), [Effect::Preview(_, Purpose::Approve)]));
    assert_eq!(decided(&state).len(), 3);
    // Another choice in the file makes other bytes: what was decided about the old ones goes.
    state.mode = Mode::Review;
    press(&mut state, "D");
    assert!(decided(&state).is_empty());
}

#[test]
fn leaving_asks_only_when_something_would_be_lost() {
    let mut state = state();
    assert!(matches!(press(&mut state, "q").as_slice(), [Effect::Quit]));
    press(&mut state, "a");
    assert!(press(&mut state, "q").is_empty());
    assert!(press(&mut state, "<Enter>").is_empty() && matches!(state.mode, Mode::Review));
    assert!(matches!(press(&mut state, "qy").as_slice(), [Effect::Quit]));
    assert!(matches!(press(&mut state, "<C-c>").as_slice(), [Effect::Quit]));
}

#[test]
fn a_rejection_has_a_reason_and_an_end() {
    let table = [
        ("Rtoo slow<Enter>y", Some(("too slow", true))),
        ("Rtoo slow<Enter>n", Some(("too slow", false))),
        ("R<Enter>n", Some(("", false))),
        ("R<Enter>y", None),
        ("Rx<Enter><Enter>", None),
        ("Rx<Enter><Esc>", None),
        ("Rx<Esc>", None),
        (":reject<Enter>x<Enter>n", Some(("x", false))),
    ];
    for (keys, expected) in table {
        let effects = press(&mut state(), keys);
        let said = effects.iter().find_map(|effect| match effect {
            Effect::Reject(request) => Some((request.why.as_str(), request.go_on)),
            _ => None,
        });
        assert_eq!(said, expected, "{keys}");
    }
}

#[test]
fn search_goes_around_all_files() {
    let mut state = at("main.rs");
    press(&mut state, "/PORT<Enter>");
    assert!(state.message.as_ref().unwrap().1.contains("no PORT"));
    press(&mut state, "/port<Enter>");
    let seen = |state: &State| {
        let texts: Vec<_> = state
            .row_texts(state.pane.cursor)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        texts.join("|")
    };
    assert_eq!(seen(&state), "    let port = 80;");
    press(&mut state, "n");
    assert_eq!(seen(&state), "    let port = 8080;");
    press(&mut state, "nn");
    assert_eq!(seen(&state), "    let port = 80;");
    press(&mut state, "N");
    assert_eq!(seen(&state), "\tstart(port); ");
    press(&mut state, "/gone<Enter>");
    assert_eq!((seen(&state).as_str(), state.entry().unwrap().path.as_slice()), ("gone", &b"src/old.rs"[..]));
    // Without a search the same key goes from hunk to hunk.
    press(&mut state, "<Esc>pp");
    assert_eq!(state.entry().unwrap().path, b"src/main.rs");
}

#[test]
fn a_match_in_a_long_line_is_brought_onto_the_screen() {
    let mut state = state();
    let line = format!("+{}needle", "x".repeat(500));
    state.push(sample::file(
        "z.txt",
        v1::EntryKind::Added,
        vec![sample::hunk("z", 1, &[&line, "+short needle"])],
    ));
    press(&mut state, "/needle<Enter>");
    assert!(state.pane.left > 400, "{}", state.pane.left);
    press(&mut state, "n");
    assert_eq!(state.pane.left, 0);
}

#[test]
fn the_cursor_is_always_on_the_screen() {
    let mut state = sample::state(80, 10);
    for keys in ["G", "g", "<Enter>G", "k", "<Tab>GG", "<Enter>nnn", "pp", "]", "[", "=", "W", "G", "z", "Z"]
    {
        press(&mut state, keys);
        let height = state.body_height();
        assert!(state.list.cursor >= state.list.top && state.list.cursor < state.list.top + height, "{keys}");
        assert!(state.pane.cursor >= state.pane.top, "{keys}");
        assert!(state.pane.cursor < state.pane.top + height, "{keys}");
        assert!(state.pane.cursor < state.pane.index.rows.len().max(1), "{keys}");
    }
}

#[test]
fn work_that_changed_is_told_and_not_approved() {
    let mut state = approving();
    state.grow_stale("the session's work is another now".into());
    assert!(matches!(state.mode, Mode::Review));
    assert!(press(&mut state, "y").is_empty());
    assert!(state.message.as_ref().unwrap().1.contains("r loads the diff anew"));
    let effects = press(&mut state, "r");
    assert!(matches!(effects.as_slice(), [Effect::Reload]));
    let mut document = Document::new(v1::DiffHeader { digest: "new".into(), ..Default::default() });
    let mut entries = sample::entries();
    entries.retain(|entry| entry.path != b"link");
    entries.into_iter().for_each(|entry| document.push(entry));
    document.is_complete = true;
    state.reloaded(state.session.clone(), document);
    assert_eq!((chosen(&state).as_str(), state.stale.is_none()), ("h1[]", true));
    assert_eq!(state.entry().unwrap().path, b"src/main.rs");
}

#[test]
fn an_incomplete_diff_cannot_be_approved() {
    let mut state = state();
    state.document.is_complete = false;
    assert!(press(&mut state, "*").is_empty() && chosen(&state).is_empty());
    assert!(press(&mut state, "ay").is_empty());
    let mut state = self::state();
    assert!(press(&mut state, "y").is_empty(), "nothing is chosen");
}

#[test]
fn what_is_shown_while_the_diff_comes_is_listed_afterwards() {
    let node = |kind: &str| Some(v1::Node { r#type: kind.into(), ..Default::default() });
    let mut state = State::new(v1::Session::default(), v1::DiffHeader::default(), (80, 24));
    state.push(v1::DiffEntry { path: b"d".to_vec(), after: node("directory"), ..Default::default() });
    state.list_again();
    assert_eq!(state.pane.file, Some(0));
    state.push(v1::DiffEntry { path: b"d/f".to_vec(), after: node("file"), ..Default::default() });
    state.list_again();
    assert_eq!(state.pane.file, Some(1));
}

#[test]
fn an_edited_hunk_is_accepted_with_its_new_lines() {
    let mut state = at("main.rs");
    let effects = press(&mut state, "e");
    let [Effect::Edit(what, bytes, path)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(String::from_utf8_lossy(bytes), "fn main() {\n    let port = 8080;\n\tstart(port); \n}\n");
    assert_eq!(path, b"src/main.rs");
    state.edited(what.clone(), Some(b"mine\n".to_vec()));
    let selection = state.choices.selection(&state.document);
    assert_eq!(selection.parts[0].hunks[0].edited.as_deref(), Some(&b"mine\n"[..]));
}

#[test]
fn a_click_moves_and_chooses_nothing() {
    let mut state = state();
    let click = |column, row| MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row,
        modifiers: KeyModifiers::NONE,
    };
    let main = state.list.rows.len() - 4;
    state.mouse(&click(5, u16::try_from(main + 2).unwrap()));
    let path = state.entry().unwrap().path.clone();
    state.mouse(&click(60, 4));
    assert_eq!((state.focus, state.pane.cursor), (Focus::Diff, 1));
    assert_eq!((chosen(&state).as_str(), path.as_slice()), ("", &b"src/main.rs"[..]));
    let wheel = |kind| MouseEvent { kind, column: 60, row: 5, modifiers: KeyModifiers::NONE };
    state.mouse(&wheel(MouseEventKind::ScrollDown));
    assert_eq!(state.pane.cursor, 4);
    state.mouse(&wheel(MouseEventKind::ScrollUp));
    assert_eq!(state.pane.cursor, 1);
}

/// A review whose choice was joined with the human's own edits, with so many lines to look at.
fn merged(lines: usize) -> State {
    let mut state = at("main.rs");
    press(&mut state, "A");
    let (header, mut entries) = sample::preview(&state);
    let lines: Vec<String> = (0..lines).map(|number| format!("+line {number}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    entries[0].merged = true;
    entries[0].hunks = vec![sample::hunk("m", 1, &lines)];
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    state
}

#[test]
fn a_merge_is_seen_to_its_end_before_the_digest_is_asked_for() {
    let mut state = merged(50);
    assert!(matches!(&state.mode, Mode::Page(page) if !page.is_seen()));
    // Neither the digest nor Enter nor the end alone leads on.
    assert!(press(&mut state, "c0ffee<Enter>yGy").is_empty());
    assert!(matches!(state.mode, Mode::Page(_)));
    press(&mut state, "g  ");
    assert!(press(&mut state, "y").is_empty());
    assert!(matches!(state.mode, Mode::Approving(_)));
    let effects = press(&mut state, "c0ffee<Enter>");
    let [Effect::Approve(request)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(request.shown, state.document.header.digest);
    let mut state = merged(1);
    state.grow_stale("the session's work is another now".into());
    assert!(matches!(state.mode, Mode::Review));
    let mut state = merged(1);
    assert!(press(&mut state, "<Esc>").is_empty());
    assert!(matches!(state.mode, Mode::Review));
}

#[test]
fn a_preview_of_other_work_is_not_approved() {
    let mut state = at("main.rs");
    press(&mut state, "A");
    assert_eq!(state.preview_request().shown, state.document.header.digest);
    let (header, entries) = sample::preview(&state);
    for whole in [String::new(), "0".repeat(64)] {
        let header = v1::DiffHeader { whole, ..header.clone() };
        state.previewed(state.preview_request(), Purpose::Approve, header, entries.clone());
        assert!(matches!(state.mode, Mode::Review));
    }
}

#[test]
fn a_page_hears_only_what_was_asked_for_it() {
    let mut state = at("main.rs");
    let effects = press(&mut state, "nb");
    let [Effect::Page(number, Source::Origins { path, hunk })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((path.as_slice(), hunk.as_deref()), (&b"src/main.rs"[..], Some("h2")));
    let line = || vec![crate::review::page::Line::plain("x")];
    let seen = |state: &State| match &state.mode {
        Mode::Page(page) => page.shown().count(),
        _ => panic!("no page"),
    };
    state.lines(number - 1, line());
    assert_eq!(seen(&state), 0);
    state.lines(*number, line());
    assert_eq!(seen(&state), 1);
    // Whoever leaves before the end asks no more.
    assert!(matches!(press(&mut state, "b").as_slice(), [Effect::EndPage]));
    state.page_over(*number, Some("late".into()));
    assert!(state.message.is_none());
    let effects = press(&mut state, "L");
    let [Effect::Page(number, Source::Ledger)] = effects.as_slice() else { panic!("{effects:?}") };
    state.page_over(*number, None);
    assert!(press(&mut state, "L").is_empty());
    // In the list the key is about all of the file.
    let effects = press(&mut state, "<Tab>b");
    assert!(
        matches!(effects.as_slice(), [Effect::Page(_, Source::Origins { hunk: None, .. })]),
        "{effects:?}"
    );
}
