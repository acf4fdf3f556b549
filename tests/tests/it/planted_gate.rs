//! The planted bugs before the real gate: the daemon, a scripted agent that lays a solution in, and a model's service
//! that answers what was recorded.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ftl_tests::model::{Answer, Model};
use ftl_tests::planted::{Case, Side};
use ftl_tests::world::{Who, World, said};
use serde_json::{Value, json};

/// Sessions at once.
const AT_ONCE: usize = 2;

/// What the gate said of one solution.
struct Said {
    ready: bool,
    why: String,
    /// What came of each generated file in the end.
    verdicts: BTreeMap<String, String>,
    /// What the files printed.
    printed: String,
}

/// A daemon whose tester gets the recorded answers.
struct Gate {
    world: World,
    _model: Model,
}

impl Gate {
    fn new(cases: &[Case]) -> Self {
        let model = Model::start(vec![Answer::Fails(404, Vec::new(), "{}".to_owned())]);
        let recorded: Vec<(String, Vec<String>)> =
            cases.iter().map(|case| (first_line(&case.task).to_owned(), case.replies.clone())).collect();
        model.choose(move |asked| {
            let (prompt, body) = (asked.prompt(), asked.body.to_string());
            let (_, replies) = recorded.iter().find(|(task, _)| prompt.contains(task.as_str()))?;
            let reply = if body.contains("You adapt tests") { replies.get(1) } else { replies.first() };
            Some(
                reply.map_or_else(|| Answer::text("There is nothing to adapt."), |reply| Answer::text(reply)),
            )
        });
        let world = World::new(Who::Me);
        world.config(&json!({
            "tester": "ollama/qwen",
            "models": {"ollama": {"base_url": model.url()}},
            "tool_dirs": [sysroot()],
        }));
        world.ok(["daemon", "start"]);
        Self { world, _model: model }
    }

    /// Has the agent lay in a solution, and hears the gate.
    fn ask(&self, case: &Case, side: Side) -> Said {
        let project = self.world.root().join(format!("{}-{side:?}", case.name));
        case.lay(Side::Before, &project);
        let mut code = self.world.ftlctl(["--json", "code", "--no-review", "--agent", "shell"]);
        let done = said(code.arg(script(case, side)).current_dir(&project).output().expect("ftlctl runs"));
        let lines: Vec<Value> = done.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let gate = lines.last().map(|last| last["gate"].clone()).unwrap_or_default();
        assert!(done.code == 0 && gate.is_object(), "{} {side:?}: {done:#?}", case.name);
        let ended =
            lines.iter().filter(|line| line["type"] == "check_ended" && line["generated"].is_string());
        let (mut verdicts, mut printed) = (BTreeMap::new(), String::new());
        for one in ended {
            let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            printed += &format!("{}: {}: {}\n", word("check"), word("verdict"), word("tail"));
            verdicts.insert(word("check"), word("verdict"));
        }
        Said {
            ready: gate["ready"] == true,
            why: gate["why"].as_str().unwrap_or_default().to_owned(),
            verdicts,
            printed,
        }
    }
}

/// Where the Rust tool-chain is; a human with another home than the world's would name it.
fn sysroot() -> String {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    String::from_utf8(out.stdout).expect("a path").trim().to_owned()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The task as a comment, and the solution's files.
fn script(case: &Case, side: Side) -> String {
    let packed = Command::new("sh")
        .args(["-c", "tar -cz -C \"$1\" . | base64", "sh"])
        .arg(case.solution(side))
        .output()
        .expect("sh runs");
    assert!(packed.status.success(), "{}", case.name);
    let task: String = case.task.lines().map(|line| format!("# {line}\n")).collect();
    format!("{task}base64 -d <<'END' | tar -xz\n{}END\n", String::from_utf8_lossy(&packed.stdout))
}

/// Asks the gate about all of these, and gives what it said, in their order.
fn asked(cases: &[Case], sides: &[Side]) -> Vec<(Case, Side, Said)> {
    let gate = Gate::new(cases);
    let jobs: Vec<(&Case, Side)> =
        cases.iter().flat_map(|case| sides.iter().map(move |side| (case, *side))).collect();
    let next = AtomicUsize::new(0);
    let heard = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((case, side)) = jobs.get(at) else { return };
                    let said = gate.ask(case, *side);
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push((at, said));
                }
            });
        }
    });
    let mut heard = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    heard.sort_by_key(|(at, _)| *at);
    let both = heard.into_iter().map(|(at, said)| (jobs[at].0.clone(), jobs[at].1, said));
    both.collect()
}

/// What the gate ought to have said and did not.
fn faults(case: &Case, side: Side, said: &Said) -> Option<String> {
    let good = said.ready == case.ready(side)
        && case.verdicts(side).is_none_or(|verdicts| verdicts == said.verdicts)
        && (side != Side::Wrong || case.is_hostile() || said.verdicts.values().any(|word| word == "failed"));
    (!good).then(|| {
        let Said { ready, why, verdicts, printed } = said;
        format!("{} {side:?} ({}): ready {ready}, {why}: {verdicts:?}\n{printed}", case.name, case.bug)
    })
}

fn count(heard: &[(Case, Side, Said)], what: impl Fn(&Case, Side, &Said) -> bool) -> usize {
    heard.iter().filter(|(case, side, said)| what(case, *side, said)).count()
}

fn language(name: &str) {
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| case.language == name).collect();
    let heard = asked(&cases, &[Side::Right, Side::Wrong]);
    let passed = count(&heard, |_, side, said| side == Side::Right && said.ready);
    let caught = count(&heard, |_, side, said| {
        side == Side::Wrong && !said.ready && said.verdicts.values().any(|word| word == "failed")
    });
    let held = count(&heard, |case, side, said| side == Side::Right && !said.ready && case.faulty.is_some());
    let unrun: usize = heard
        .iter()
        .map(|(_, _, said)| said.verdicts.values().filter(|word| *word == "could_not_run").count())
        .sum();
    println!(
        "planted bugs, {name}: {} tasks; right work ready {passed}, held by a test that is itself wrong {held}; \
         wrong work caught {caught}; files that could not run {unrun}",
        cases.len()
    );
    let faults: Vec<String> =
        heard.iter().filter_map(|(case, side, said)| faults(case, *side, said)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert_eq!(passed + held, cases.len());
    assert_eq!(caught, cases.len());
}

#[test]
fn python() {
    language("python");
}

#[test]
fn javascript() {
    language("javascript");
}

#[test]
fn rust() {
    language("rust");
}

#[test]
fn cpp() {
    language("cpp");
}

#[test]
fn java() {
    language("java");
}

#[test]
fn go() {
    language("go");
}

#[test]
fn work_that_lies_about_its_tests_is_not_ready() {
    let cases = Case::hostile();
    let heard = asked(&cases, &[Side::Wrong]);
    let held = count(&heard, |_, _, said| !said.ready);
    let believed: Vec<&str> =
        heard.iter().filter(|(_, _, said)| said.ready).map(|(case, ..)| case.name.as_str()).collect();
    println!("hostile work: {} kinds; held {held}; believed {believed:?}", cases.len());
    let faults: Vec<String> =
        heard.iter().filter_map(|(case, side, said)| faults(case, *side, said)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
