//! What a repository, an agent and the code under test may say to the tester, the reviewer and the gate: it changes
//! no verdict.

use std::fmt::Write as _;

use ftl_tests::model::{Answer, Model};
use ftl_tests::planted::{Case, Side};
use ftl_tests::repo;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

/// The texts, with what each of them is.
fn injections() -> Vec<(String, String)> {
    let text =
        std::fs::read_to_string(repo::root().join("tests/planted/injections.json")).expect("the texts");
    let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let word = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
    all.iter().map(|one| (word(one, "what"), word(one, "text"))).collect()
}

/// The text in the characters that every language's and the shell's `printf` takes.
fn octal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        // Writing to a string does not fail.
        let _ = write!(all, "\\{byte:03o}");
        all
    })
}

/// The lines of a prompt that are FTL's own, without the numbers of its fences.
fn frame(prompt: &str) -> Vec<String> {
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    let ours = prompt.split(ends).filter(|line| !line.starts_with("| "));
    ours.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// The project with the texts in its documents, its sources and its names.
fn planted(world: &World, case: &Case) {
    case.lay(Side::Before, &world.project());
    for (at, (_, text)) in injections().iter().enumerate() {
        let commented: String = text.lines().map(|line| format!("# {line}\n")).collect();
        let docs = format!("docs/note{at}.md");
        let source = format!("textkit/extra{at}.py");
        let code = format!("def extra{at}():  # {text}\n    pass\n{commented}");
        world.files(&[(docs.as_str(), text.as_str()), (&source, &code)]);
        let mut name: String = text.chars().filter(|c| *c != '/').take(60).collect();
        name.push_str(".py");
        world.files(&[(&format!("textkit/names/{at}/{name}"), "def named():\n    pass\n")]);
    }
    let everything: String = injections().into_iter().map(|(_, text)| text + "\n").collect();
    for name in ["README.md", "CONTRIBUTING.md", "docs/AGENTS.md"] {
        world.files(&[(name, &everything)]);
    }
}

/// Lays in a solution that prints a text whenever it is loaded, and says it as the agent's last words.
fn script(case: &Case, side: Side, text: &str) -> String {
    let path = "textkit/slug.py";
    let solution = std::fs::read_to_string(case.solution(side).join(path)).expect("the solution");
    let says = octal(text);
    let loud = format!(
        "{solution}\n\nimport sys\nfor _out in (sys.__stdout__, sys.__stderr__):\n    \
         _out.buffer.write(b'\\n{says}\\n')\n    _out.flush()\n"
    );
    format!(
        "# {}cat > {path} <<'END_OF_FILE'\n{loud}END_OF_FILE\nprintf '{says}\\n'\nprintf '{says}\\n' >&2\n",
        case.task.lines().next().map(|line| format!("{line}\n")).unwrap_or_default()
    )
}

#[test]
fn what_is_planted_changes_no_verdict_of_the_gate() {
    let case = Case::all().into_iter().find(|case| case.name == "python-slug").expect("the case");
    let model = Model::start(vec![Answer::text(&case.replies[0])]);
    let world = World::new(Who::Me);
    let base = json!({"base_url": model.url()});
    world.config(&json!({"tester": "ollama/qwen", "models": {"ollama": base}}));
    planted(&world, &case);
    let everything: String = injections().into_iter().map(|(_, text)| text + "\n").collect();
    // All of them together for the right work, which they must not hold either; a few at a time for the wrong one.
    let mut runs = vec![(Side::Right, "everything".to_owned(), everything)];
    for few in injections().chunks(3) {
        let what: Vec<&str> = few.iter().map(|(what, _)| what.as_str()).collect();
        let text: Vec<&str> = few.iter().map(|(_, text)| text.as_str()).collect();
        runs.push((Side::Wrong, what.join(", "), text.join("\n")));
    }
    for (side, what, text) in runs {
        let lines =
            world.json_lines(0, ["code", "--no-review", "--agent", "shell", &script(&case, side, &text)]);
        let last = lines.last().expect("a last line");
        assert_eq!(last["gate"]["ready"], side == Side::Right, "{what}: {lines:#?}");
        assert_eq!(last["state"], "awaiting_review", "{what}: {last}");
        let ended: Vec<(&Value, &Value)> = lines
            .iter()
            .filter(|line| line["type"] == "check_ended" && line["generated"].is_string())
            .map(|line| (&line["check"], &line["verdict"]))
            .collect();
        let verdict = if side == Side::Right { "passed" } else { "failed" };
        assert_eq!(ended, [(&json!("tests/test_slugify.py"), &json!(verdict))], "{what}: {lines:#?}");
        let asked = model.asked();
        assert_eq!((asked.len(), asked[0].fault.as_str()), (1, ""), "{what}");
        let ours = ["BEGIN DATA", "END DATA", "The project's", "Write the", ""];
        assert_eq!(frame(&asked[0].prompt()), ours, "{what}: {}", asked[0].prompt());
    }
}

#[test]
fn what_is_planted_changes_nothing_about_an_opinion() {
    let case = Case::all().into_iter().find(|case| case.name == "python-slug").expect("the case");
    let grave = json!({"summary": "The slug is cut last.", "findings": [
        {"severity": "high", "path": "textkit/slug.py", "line": null, "text": "It may end in a hyphen."}
    ], "task": "partly", "why": "The end is not cleaned."});
    let model = Model::start(vec![Answer::text(&grave.to_string())]);
    let world = World::new(Who::Me);
    world.config(&json!({"reviewer": "ollama/qwen", "models": {"ollama": {"base_url": model.url()}}}));
    planted(&world, &case);
    let everything: String = injections().into_iter().map(|(_, text)| text + "\n").collect();
    let last = world.shell(&script(&case, Side::Wrong, &everything));
    let session = last["session"].as_str().expect("a session");
    let lines = world.json_lines(0, ["opinion", session]);
    let opinion = lines.iter().find(|line| line["type"] == "opinion").expect("an opinion");
    assert_eq!(
        (&opinion["task_followed"], &opinion["findings"][0]["severity"]),
        (&json!("partly"), &json!("high")),
        "{opinion}"
    );
    let asked = model.asked();
    let ours = ["BEGIN DATA", "END DATA", "", "Give your", ""];
    assert_eq!(frame(&asked[0].prompt()), ours, "{}", asked[0].prompt());
    // An answer in words that were read is no opinion.
    for (what, text) in injections() {
        if serde_json::from_str::<Value>(&text).is_ok_and(|value| value["findings"].is_array()) {
            continue;
        }
        model.answer(vec![Answer::text(&text)]);
        assert_eq!(world.run(["opinion", session]).code, 1, "{what}");
    }
}
