//! What the status line says at which moment, and how wide.

use super::*;

const SECOND: i64 = 1_000_000;

fn happen(progress: &mut Progress, at: i64, kind: Kind) {
    progress.event(&v1::Event { session: "s-1".into(), seq: 1, time_us: at * SECOND, kind: Some(kind) });
}

fn state(state: v1::State) -> Kind {
    Kind::StateChanged(v1::StateChanged { state: state.into(), reason: String::new() })
}

fn tool(id: &str, name: &str, detail: &str) -> Kind {
    Kind::ToolStarted(v1::ToolStarted { id: id.into(), name: name.into(), detail: detail.into() })
}

fn usage(input: u64, output: u64, cost: u64) -> Kind {
    Kind::Usage(v1::Usage { input_tokens: input, output_tokens: output, cost_micro_usd: cost })
}

fn turn() -> Kind {
    Kind::TurnStarted(v1::TurnStarted { turn: 1, text: "x".into() })
}

fn status(progress: &Progress, at: i64, columns: usize) -> String {
    let line = progress.status(at * SECOND, columns).unwrap_or_default();
    assert!(surface::width(&line) < columns, "{line}");
    line
}

/// A turn that works with tools.
fn working() -> Progress {
    let mut progress = Progress::default();
    happen(&mut progress, 100, turn());
    happen(&mut progress, 100, state(v1::State::Working));
    for (id, name) in [("1", "Read"), ("2", "Read"), ("3", "Edit")] {
        happen(&mut progress, 101, tool(id, name, "a.rs"));
        progress.ended(&v1::ToolFinished { id: id.into(), ok: true, elapsed_us: 1 });
    }
    happen(&mut progress, 105, usage(12_345, 678, 41_200));
    happen(&mut progress, 110, tool("4", "Bash", "cargo test --workspace"));
    progress
}

#[test]
fn the_status_names_the_tool_the_counts_and_the_cost() {
    let progress = working();
    assert_eq!(
        status(&progress, 122, 120),
        "… Bash  cargo test --workspace  12 s · Read 2, Edit 1, Bash 1 · 12.3k in, 678 out · turn 22 s · $0.0412"
    );
    assert_eq!(status(&progress, 110, 120).split(" · ").next(), Some("… Bash  cargo test --workspace"));
}

#[test]
fn what_matters_least_goes_first_where_there_is_no_room() {
    let progress = working();
    let table = [
        (100, "… Bash  cargo test --workspace  12 s · 12.3k in, 678 out · turn 22 s · $0.0412"),
        (80, "… Bash  cargo test --workspace  12 s · turn 22 s · $0.0412"),
        (60, "… Bash  cargo test --workspace  12 s · $0.0412"),
        (40, "… Bash  cargo test --workspace  12 s"),
        (30, "… Bash  cargo test -…  12 s"),
        (14, "… Ba…  12 s"),
    ];
    for (columns, expected) in table {
        assert_eq!(status(&progress, 122, columns), expected, "{columns}");
    }
    for columns in 0..140 {
        let line = progress.status(122 * SECOND, columns).unwrap();
        assert!(surface::width(&line) < columns.max(1), "{columns}: {line}");
    }
}

#[test]
fn silence_is_told_quietly() {
    let mut progress = Progress::default();
    happen(&mut progress, 100, state(v1::State::Working));
    happen(&mut progress, 103, Kind::AgentText(v1::AgentText { text: "x".into(), fragment: true }));
    assert_eq!(status(&progress, 105, 80), "… working  5 s");
    assert_eq!(status(&progress, 130, 80), "… working, quiet 27 s  30 s");
    happen(&mut progress, 131, Kind::AgentText(v1::AgentText { text: "y".into(), fragment: true }));
    assert_eq!(status(&progress, 132, 80), "… working  32 s");
}

#[test]
fn where_nothing_moves_silence_is_told_ever_more_rarely() {
    let mut progress = working();
    let told: Vec<i64> = (110..3000).filter(|at| progress.beat(at * SECOND).is_some()).collect();
    assert_eq!(told, [170, 290, 530, 1010, 1610, 2210, 2810]);
    happen(&mut progress, 3000, usage(1, 1, 0));
    assert_eq!(progress.beat(3059 * SECOND), None);
    assert_eq!(
        progress.beat(3060 * SECOND).unwrap(),
        "still at it: Bash  cargo test --workspace, nothing said for 1 min 00 s"
    );
    happen(&mut progress, 4000, state(v1::State::AwaitingReview));
    progress.rest();
    assert_eq!(progress.beat(9000 * SECOND), None);
}

#[test]
fn what_earlier_turns_took_counts_once() {
    let mut progress = working();
    // The agent tells the turn's sum again, and it is larger by now.
    happen(&mut progress, 111, usage(20_000, 1_000, 50_000));
    happen(&mut progress, 120, turn());
    happen(&mut progress, 121, usage(1_000, 500, 10_000));
    let line = status(&progress, 122, 120);
    assert!(line.contains("21.0k in, 1.5k out") && line.contains("$0.0600"), "{line}");
    assert!(line.contains("turn 2 s") && !line.contains("Read"), "{line}");
}

#[test]
fn a_name_of_the_agents_is_one_harmless_line() {
    let mut progress = Progress::default();
    happen(&mut progress, 1, tool("1", "Ba\x1b[2Jsh", "a\nb\u{202e}"));
    let line = status(&progress, 5, 120);
    assert!(line.starts_with("… Ba\\x1b[2Jsh  a…"), "{line}");
    assert!(!line.contains(['\x1b', '\n', '\u{202e}']), "{line}");
}

#[test]
fn tools_beside_each_other_are_counted() {
    let mut progress = Progress::default();
    happen(&mut progress, 1, tool("1", "Read", "a"));
    happen(&mut progress, 1, tool("2", "Read", "b"));
    assert_eq!(status(&progress, 3, 60), "… Read  b (+1)  2 s · Read 2");
    let gone = progress.unfinished();
    assert_eq!(gone.iter().map(|tool| tool.label.as_str()).collect::<Vec<_>>(), ["Read  a", "Read  b"]);
}
