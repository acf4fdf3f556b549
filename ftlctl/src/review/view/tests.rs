//! Screens as text, at three sizes. `UPDATE_EXPECT=1` writes what is drawn into the expected files; look at
//! them before they are kept.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use expect_test::{ExpectFile, expect_file};
use ftl_proto::v1;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier};

use crate::review::sample;
use crate::review::state::{Purpose, State};
use crate::review::view::draw;
use crate::review::view::theme::Theme;

/// Presses keys; words in angle brackets are keys with a name.
pub(super) fn press(state: &mut State, keys: &str) {
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let (code, length) = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((name, _)) => {
                let code = match name {
                    "Enter" => KeyCode::Enter,
                    "Esc" => KeyCode::Esc,
                    "Tab" => KeyCode::Tab,
                    "Down" => KeyCode::Down,
                    other => panic!("{other}"),
                };
                (code, name.len() + 2)
            }
            None => (KeyCode::Char(first), first.len_utf8()),
        };
        let _effect = state.key(&KeyEvent::new(code, KeyModifiers::NONE));
        rest = &rest[length..];
    }
}

fn drawn(state: &State, color: bool) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, state.size.0, state.size.1));
    draw(state, Theme { color }, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let (mut line, mut x) = (String::new(), 0);
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(unicode_width::UnicodeWidthStr::width(symbol).max(1)).unwrap();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn check(state: &State, expected: &ExpectFile) {
    expected.assert_eq(&text(&drawn(state, false)));
}

fn with_keys(columns: u16, rows: u16, keys: &str) -> State {
    let mut state = sample::state(columns, rows);
    press(&mut state, keys);
    state
}

/// The file whose name holds this, in the diff.
fn at(columns: u16, rows: u16, file: &str, keys: &str) -> State {
    let mut state = sample::state(columns, rows);
    let place =
        state.document.entries.iter().position(|entry| String::from_utf8_lossy(&entry.path).contains(file));
    state.reveal(place.unwrap());
    press(&mut state, "<Enter>");
    press(&mut state, keys);
    state
}

#[test]
fn files_and_diff_stand_beside_one_another() {
    check(&with_keys(100, 24, ""), &expect_file!["screens/first.100x24.txt"]);
    check(&with_keys(80, 24, "a"), &expect_file!["screens/first.80x24.txt"]);
}

#[test]
fn a_small_screen_has_one_of_them() {
    check(&with_keys(60, 15, ""), &expect_file!["screens/files.60x15.txt"]);
    check(&at(60, 15, "main.rs", ""), &expect_file!["screens/diff.60x15.txt"]);
}

#[test]
fn a_diff_is_shown_under_or_beside_one_another() {
    check(&at(100, 24, "main.rs", "a"), &expect_file!["screens/unified.100x24.txt"]);
    check(&at(120, 24, "main.rs", "="), &expect_file!["screens/beside.120x24.txt"]);
    check(&at(80, 24, "main.rs", "nsz"), &expect_file!["screens/folded.80x24.txt"]);
}

#[test]
fn hostile_text_is_spelt_out() {
    let state = at(100, 24, "evil", "");
    check(&state, &expect_file!["screens/hostile.100x24.txt"]);
    let shown = text(&drawn(&state, true));
    assert!(!shown.chars().any(|char| char.is_control() && char != '\n'));
    assert!(!shown.contains(['\u{202e}', '\u{200b}', '\u{430}']));
}

#[test]
fn what_has_no_lines_says_what_it_is() {
    for (name, expected) in [
        ("logo", expect_file!["screens/binary.80x24.txt"]),
        ("link", expect_file!["screens/link.80x24.txt"]),
        (".git/", expect_file!["screens/refused.80x24.txt"]),
        ("ci.yml", expect_file!["screens/risky.80x24.txt"]),
    ] {
        check(&at(80, 24, name, ""), &expected);
    }
}

#[test]
fn long_lines_are_scrolled_or_wrapped() {
    let mut entry = sample::file("min.js", v1::EntryKind::Modified, Vec::new());
    let long: String = (0..200).map(|number| format!("f({number});")).collect();
    entry.hunks = vec![sample::hunk("h", 1, &[&format!("+{long}"), "+short"])];
    let mut state = State::new(v1::Session::default(), v1::DiffHeader::default(), (60, 15));
    state.push(entry);
    state.list_again();
    press(&mut state, "<Enter>l");
    check(&state, &expect_file!["screens/scrolled.60x15.txt"]);
    press(&mut state, "W");
    check(&state, &expect_file!["screens/wrapped.60x15.txt"]);
}

#[test]
fn the_help_lists_the_keys() {
    check(&with_keys(80, 24, "?"), &expect_file!["screens/help.80x24.txt"]);
    check(&with_keys(80, 24, "?G"), &expect_file!["screens/help_end.80x24.txt"]);
}

#[test]
fn findings_conflicts_and_questions_have_their_places() {
    check(&with_keys(80, 24, "f"), &expect_file!["screens/findings.80x24.txt"]);
    check(&with_keys(80, 24, "fathe key is a fake"), &expect_file!["screens/why.80x24.txt"]);
    let mut state = with_keys(80, 24, "*");
    let (mut header, mut entries) = sample::preview(&state);
    header.conflicts = 1;
    entries[0].conflicts = vec![v1::Conflict {
        number: 1,
        line: 12,
        base: b"a = 1\n".to_vec(),
        ours: b"a = 2\n".to_vec(),
        theirs: b"a = 3\nb = 4\n".to_vec(),
        ..Default::default()
    }];
    state.previewed(v1::PreviewRequest::default(), Purpose::Approve, header, entries);
    check(&state, &expect_file!["screens/conflict.80x24.txt"]);
}

#[test]
fn nothing_of_the_agents_is_on_the_approving_screen() {
    let mut state = at(80, 24, "ci.yml", "A<Tab>]]]A");
    let (header, entries) = sample::preview(&state);
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    check(&state, &expect_file!["screens/approving.80x24.txt"]);
    state.resize((60, 15));
    check(&state, &expect_file!["screens/approving.60x15.txt"]);
    let shown = text(&drawn(&state, true));
    assert!(!shown.contains("configurable") && !shown.contains("run: make"), "{shown}");
}

#[test]
fn colour_only_adds_to_what_characters_say() {
    let state = at(100, 24, "main.rs", "a");
    assert_eq!(text(&drawn(&state, false)), text(&drawn(&state, true)));
    for cell in drawn(&state, false).content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
    let buffer = drawn(&state, true);
    let find = |what: &str| {
        let text = text(&buffer);
        let (y, line) = text.lines().enumerate().find(|(_, line)| line.contains(what)).unwrap();
        let x = line[..line.find(what).unwrap()].chars().count();
        buffer[(u16::try_from(x).unwrap(), u16::try_from(y).unwrap())].clone()
    };
    // Of the line that changed, the word that changed.
    assert!(find("8080").modifier.contains(Modifier::REVERSED));
    assert!(!find("let port = 8080").modifier.contains(Modifier::REVERSED));
    assert_eq!(find("let port = 8080").fg, Color::Green);
}

#[test]
fn only_the_rows_that_are_seen_are_drawn() {
    let lines: Vec<String> =
        (0..50_000).map(|number| format!("+let line_{number} = \"{number}\";")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let entry = sample::file("big.rs", v1::EntryKind::Added, vec![sample::hunk("h", 1, &lines)]);
    let mut state = State::new(v1::Session::default(), v1::DiffHeader::default(), (100, 30));
    state.push(entry);
    state.list_again();
    press(&mut state, "<Enter>");
    for key in ["", "G", "g", "n"] {
        press(&mut state, key);
        let before = crate::review::view::code::painted();
        drawn(&state, true);
        let painted = crate::review::view::code::painted() - before;
        assert!(painted <= 30, "{painted} lines were painted for a screen of 30 rows");
    }
    press(&mut state, "G");
    assert!(text(&drawn(&state, false)).contains("line_49999"));
}

#[test]
fn no_size_and_no_key_is_too_much() {
    for (columns, rows) in [(1, 1), (19, 5), (20, 6), (30, 8), (76, 10), (300, 100)] {
        for keys in
            ["", "<Enter>", "<Enter>=", "<Enter>W=wGlllg", "?", "f", "*y", "/x<Enter>n", ":nope<Enter>"]
        {
            let state = with_keys(columns, rows, keys);
            drawn(&state, true);
        }
        let mut state = with_keys(columns, rows, "*");
        let (header, entries) = sample::preview(&state);
        state.accepted.insert("f1".into(), "x".into());
        state.previewed(state.preview_request(), Purpose::Approve, header, entries);
        drawn(&state, true);
    }
}

#[test]
fn pages_have_a_heading_and_break_long_lines() {
    let mut state = with_keys(80, 24, "*");
    let (header, mut entries) = sample::preview(&state);
    let long = format!("+{}", "long ".repeat(30));
    entries[0].merged = true;
    entries[0].hunks =
        vec![sample::hunk("m", 1, &[" a = 1", "-key = 2", "+key = \u{202e}3", &long, "+end\\"])];
    state.accepted.insert("f1".into(), "x".into());
    state.previewed(state.preview_request(), Purpose::Approve, header, entries);
    check(&state, &expect_file!["screens/merged.80x24.txt"]);
    let mut state = with_keys(60, 15, "b");
    let line = |text: &str| crate::review::page::Line::plain(text);
    state.lines(1, vec![line("hunk 1  0123456789ab"), line("  turn 1  make the port configurable")]);
    check(&state, &expect_file!["screens/origins.60x15.txt"]);
}

#[test]
fn a_file_has_both_its_names() {
    let mut state = State::new(v1::Session::default(), v1::DiffHeader::default(), (100, 12));
    let mut new = sample::file("src/new_name.rs", v1::EntryKind::Renamed, Vec::new());
    new.renamed_from = "lib/old\u{1b}.rs".as_bytes().to_vec();
    state.push(sample::file("lib/old\u{1b}.rs", v1::EntryKind::Deleted, Vec::new()));
    state.push(new);
    state.list_again();
    check(&state, &expect_file!["screens/renamed.100x12.txt"]);
}
