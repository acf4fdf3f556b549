//! Every real agent program when something goes wrong with its model, when it is stopped, and over a restart.
//!
//! One table of situations for all of them. What the agents themselves do about a fault differs and is theirs;
//! what must hold for each is that the work arrives, or that the human is told why not.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use ftl_tests::leaks;
use ftl_tests::world::World;
use serde_json::Value;

use crate::agents::{AIDER, Agent, CLAUDE, CODEX, GEMINI, OPENCODE, of_type, prompts, world};

/// Something that goes wrong.
struct Situation {
    /// What the human asks for.
    task: &'static str,
    /// The file that is there when the agent has tried again.
    file: &'static str,
    /// Words that the human must be told when it has not; empty when it must.
    told: fn(&Agent) -> &'static [&'static str],
    /// Whether the model must have been asked once more than usual.
    is_repeated: bool,
}

/// The first is the session's task, the others are follow-ups in it.
const SITUATIONS: [Situation; 3] = [
    Situation {
        task: "Please do this.\nLIMIT 1\nWRITE /workspace/limit.txt one",
        file: "limit.txt",
        told: |_| &[],
        is_repeated: true,
    },
    Situation {
        task: "CUT 1\nWRITE /workspace/cut.txt two",
        file: "cut.txt",
        told: |agent| match agent.name {
            // It begins anew only before the first words.
            "gemini" => &["API Error"],
            _ => &[],
        },
        is_repeated: true,
    },
    Situation { task: "FAIL 402", file: "", told: |_| &["the script says so"], is_repeated: false },
];

/// The session after a turn in a situation.
fn is_survived(world: &World, agent: &Agent, situation: &Situation, session: Option<&str>) -> String {
    let before = session.map_or(0, |session| prompts(world, session, agent).len());
    let mut args = vec!["--json", "code", "--no-review"];
    args.extend(session.into_iter().flat_map(|session| ["--session", session]));
    args.push(situation.task);
    let said = world.run(&args);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap_or_else(|| panic!("{said:#?}"));
    let id = last["session"].as_str().unwrap_or_else(|| panic!("{said:#?}")).to_owned();
    let end = of_type(&lines, "agent_finished");
    assert_eq!(end.len(), 1, "{}: {lines:#?}", agent.name);
    let told = (situation.told)(agent);
    assert_eq!(end[0]["ok"], told.is_empty(), "{} {}: {lines:#?}", agent.name, situation.task);
    if told.is_empty() {
        let diff = world.json(0, ["diff", &id]).to_string();
        assert!(diff.contains(situation.file), "{} {}: {diff}", agent.name, situation.task);
    } else {
        assert_ne!(last["state"], "no_changes", "{}: {last}", agent.name);
        let reason = last["reason"].as_str().unwrap_or_default();
        for word in told {
            assert!(reason.contains(word), "{} {}: {last}", agent.name, situation.task);
        }
    }
    // Once for the fault, then for the call and its end; Aider's answer is its end.
    let whole = if agent.name == "aider" { 1 } else { 2 };
    let asked = prompts(world, &id, agent).len() - before;
    assert!(
        !situation.is_repeated || !told.is_empty() || asked > whole,
        "{} {}: {asked}",
        agent.name,
        situation.task
    );
    id
}

/// Starts a turn, reads what is told until a line fits, and gives the rest.
fn until(
    world: &World,
    args: &[&str],
    fits: impl Fn(&Value) -> bool,
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = world.ftlctl(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for line in lines.by_ref() {
        heard.push(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        if fits(heard.last().unwrap()) {
            return (child, lines);
        }
    }
    panic!("{:?} {heard:#?}", child.wait())
}

/// Commands of what runs beneath the daemon.
fn running(world: &World) -> Vec<String> {
    let commands = leaks::descendants(world.daemon_pid()).into_iter().filter_map(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).ok().map(|line| String::from_utf8_lossy(&line).into_owned())
    });
    commands.collect()
}

fn a_stopped_turn_leaves_its_work_and_no_process(world: &World, agent: &Agent, session: &str) {
    let task = "WRITE /workspace/kept.txt kept\nSTALL\nWRITE /workspace/never.txt never";
    // Aider edits when an answer is whole, and asks for nothing more: it is stopped in the middle of its words.
    let (task, fits): (_, fn(&Value) -> bool) = match agent.name {
        "aider" => ("STALL\nWRITE /workspace/never.txt never", |line| {
            line["type"] == "agent_text" && line["text"] != ""
        }),
        _ => (task, |line| line["type"] == "tool_finished"),
    };
    let args = ["--json", "code", "--no-review", "--session", session, task];
    let (mut child, rest) = until(world, &args, fits);
    assert!(running(world).iter().any(|command| command.contains("model.py")), "{:#?}", running(world));
    world.ok(["stop", session]);
    let left: Vec<String> = running(world)
        .into_iter()
        .filter(|line| line.contains("model.py") || line.contains(agent.program))
        .collect();
    assert!(left.is_empty(), "{}: {left:#?}", agent.name);
    let rest: Vec<Value> = rest.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.wait().unwrap();
    let last = rest.last().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{}: {rest:#?}", agent.name);
    assert!(last["reason"].as_str().unwrap().contains("stopped"), "{}: {last}", agent.name);
    let diff = world.json(0, ["diff", session]).to_string();
    assert!(!diff.contains("never.txt"), "{}: {diff}", agent.name);
    assert!(agent.name == "aider" || diff.contains("kept.txt"), "{}: {diff}", agent.name);
}

fn its_conversation_survives_the_daemon(world: &World, agent: &Agent, session: &str) {
    world.ok(["daemon", "stop"]);
    let task = "WRITE /workspace/after.txt after";
    let lines = world.json_lines(0, ["code", "--no-review", "--session", session, task]);
    assert_eq!(of_type(&lines, "agent_finished")[0]["ok"], true, "{}: {lines:#?}", agent.name);
    let prompts = prompts(world, session, agent);
    let body = prompts.last().expect("a prompt")["body"].to_string();
    assert!(body.contains("Please do this.") && body.contains("after.txt"), "{}: {body}", agent.name);
    let diff = world.json(0, ["diff", session]).to_string();
    assert!(diff.contains("limit.txt") && diff.contains("after.txt"), "{}: {diff}", agent.name);
}

/// A conversation that failed at its beginning, which the agent may not have kept, is not in the way.
fn a_follow_up_comes_after_a_failed_beginning(agent: &Agent) {
    let world = world(agent);
    let first = world.json_lines(1, ["code", "--no-review", "FAIL 402"]);
    let last = first.last().unwrap();
    assert_eq!(last["state"], "failed", "{}: {first:#?}", agent.name);
    assert!(last["reason"].as_str().unwrap().contains("the script says so"), "{}: {last}", agent.name);
    let session = last["session"].as_str().unwrap();
    let lines = world
        .json_lines(0, ["code", "--no-review", "--session", session, "WRITE /workspace/hello.txt hello"]);
    assert_eq!(of_type(&lines, "agent_finished")[0]["ok"], true, "{}: {lines:#?}", agent.name);
    assert!(world.json(0, ["diff", session]).to_string().contains("hello.txt"), "{}", agent.name);
}

fn comes_through(agent: &Agent) {
    let world = world(agent);
    let mut session = None;
    for situation in &SITUATIONS {
        session = Some(is_survived(&world, agent, situation, session.as_deref()));
    }
    let session = session.expect("a session");
    a_stopped_turn_leaves_its_work_and_no_process(&world, agent, &session);
    its_conversation_survives_the_daemon(&world, agent, &session);
}

#[test]
fn claude_code_comes_through_faults_a_stop_and_a_restart() {
    comes_through(&CLAUDE);
}

#[test]
fn codex_comes_through_faults_a_stop_and_a_restart() {
    comes_through(&CODEX);
}

#[test]
fn opencode_comes_through_faults_a_stop_and_a_restart() {
    comes_through(&OPENCODE);
}

#[test]
fn gemini_comes_through_faults_a_stop_and_a_restart() {
    comes_through(&GEMINI);
}

#[test]
fn aider_comes_through_faults_a_stop_and_a_restart() {
    comes_through(&AIDER);
}

#[test]
fn claude_code_goes_on_after_a_first_turn_that_failed() {
    a_follow_up_comes_after_a_failed_beginning(&CLAUDE);
}

#[test]
fn codex_goes_on_after_a_first_turn_that_failed() {
    a_follow_up_comes_after_a_failed_beginning(&CODEX);
}

#[test]
fn opencode_goes_on_after_a_first_turn_that_failed() {
    a_follow_up_comes_after_a_failed_beginning(&OPENCODE);
}

#[test]
fn gemini_goes_on_after_a_first_turn_that_failed() {
    a_follow_up_comes_after_a_failed_beginning(&GEMINI);
}
