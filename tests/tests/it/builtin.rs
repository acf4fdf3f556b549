//! FTL's own agent: the real daemon and sandbox against a model's service that is strict about what it is asked.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use ftl_tests::model::{Answer, Asked, Model};
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

/// A key that must be in one header, and nowhere else.
const KEY: &str = "sk-proj-4f8Qm2XcT9vRk7LwZp3NbYh6JdSg1AeU";

/// A world whose agent's model is this service, with these further settings of the agent.
fn world(model: &Model, provider: &str, more: &Value) -> World {
    let mut world = World::new(Who::Me);
    world.set("OPENAI_API_KEY", KEY);
    world.set("ANTHROPIC_API_KEY", KEY);
    let mut settings = json!({"model": format!("{provider}/some-model")});
    for (name, value) in more.as_object().into_iter().flatten() {
        settings[name] = value.clone();
    }
    let url = match provider {
        "anthropic" => format!("http://{}", model.address()),
        _ => model.url(),
    };
    world.config(&json!({"agents": {"builtin": settings}, "models": {provider: {"base_url": url}}}));
    world.files(&[("a.txt", "one\ntwo\ntwo\n")]);
    world
}

fn calls(list: &[(&'static str, Value)]) -> Answer {
    Answer::Calls("I will. ".to_owned(), list.to_vec())
}

/// Runs a task, whatever comes of it, and gives all that was told.
fn code(world: &World, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["--json", "code", "--no-review", "--agent", "builtin"];
    if args.contains(&"--session") {
        all.truncate(3);
    }
    let said = world.run([&all, args].concat());
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said:#?}"))).collect()
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The requests since the last call, none of which any service would refuse.
fn asked(model: &Model) -> Vec<Asked> {
    let asked = model.asked();
    for one in &asked {
        assert_eq!(one.fault, "", "{one:?}");
        assert!(!one.body.to_string().contains(KEY));
    }
    asked
}

/// The texts of the results that a request brings last.
fn results(asked: &Asked) -> Vec<String> {
    let messages = asked.body["messages"].as_array().unwrap();
    let parts: Vec<Value> = match messages.last().unwrap()["role"].as_str() {
        Some("tool") => {
            let tail = messages.iter().rev().take_while(|message| message["role"] == "tool");
            tail.map(|message| message["content"].clone()).collect::<Vec<_>>().into_iter().rev().collect()
        }
        _ => messages.last().unwrap()["content"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|part| part["content"].clone())
            .collect(),
    };
    parts.iter().map(|part| part.as_str().unwrap().to_owned()).collect()
}

/// How the last turn ended, and what the agent said of it.
fn end(lines: &[Value]) -> String {
    lines.iter().filter(|line| line["type"] != "agent_text").map(|line| format!("{line}\n")).collect()
}

fn a_task_with_every_tool(provider: &str) {
    let model = Model::start(vec![
        calls(&[
            ("list", json!({})),
            ("read", json!({"path": "a.txt"})),
            ("search", json!({"pattern": "on[e]"})),
        ]),
        calls(&[("edit", json!({"path": "a.txt", "old_text": "two\n", "new_text": "2\n"}))]),
        calls(&[
            ("edit", json!({"path": "a.txt", "old_text": "one\ntwo\n", "new_text": "one\n2\n"})),
            ("write", json!({"path": "new/b.txt", "content": "b\n"})),
            ("bash", json!({"command": "cat a.txt new/b.txt; seq 1 100000; env; exit 3"})),
        ]),
        Answer::text("All done."),
    ]);
    let world = world(&model, provider, &json!({}));
    let lines = code(&world, &["Change it."]);
    let last = lines.last().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{}", end(&lines));
    let requests = asked(&model);
    assert_eq!(requests.len(), 4, "{}", end(&lines));
    let first = requests[0].body["messages"].to_string();
    assert!(first.contains("Change it.") && first.contains("| a.txt"), "{first}");
    let looked = results(&requests[1]);
    assert_eq!(looked.len(), 3, "{looked:?}");
    assert!(looked[0].contains("a.txt\n") && looked[1] == "one\ntwo\ntwo\n", "{looked:?}");
    assert!(looked[2].contains("a.txt:1:one"), "{looked:?}");
    let refused = results(&requests[2]);
    assert!(refused[0].contains("old_text occurs 2 times"), "the failing edit is told: {refused:?}");
    let done = results(&requests[3]);
    assert_eq!((done[0].as_str(), done.len()), ("done", 3), "{done:?}");
    assert!(done[2].starts_with("one\n2\ntwo\nb\n1\n") && done[2].ends_with("[exit status 3]"), "{done:?}");
    assert!(done[2].contains("bytes were left out here") && done[2].len() < 40_000);
    assert!(!done[2].contains(KEY), "no key is in the sandbox");

    let tools: Vec<(&str, bool)> = of_type(&lines, "tool_finished")
        .iter()
        .zip(["list", "read", "search", "edit", "edit", "write", "bash"])
        .map(|(line, name)| (name, line["ok"] == true))
        .collect();
    assert_eq!(tools.iter().filter(|(_, ok)| *ok).count(), 5, "{tools:?}");
    let said: String =
        of_type(&lines, "agent_text").iter().filter_map(|line| line["text"].as_str()).collect();
    assert!(said.ends_with("All done."), "{said}");
    let usage = of_type(&lines, "usage");
    assert_eq!((&usage[0]["input_tokens"], &usage[0]["output_tokens"]), (&json!(480), &json!(136)));
    let session = last["session"].as_str().unwrap();
    let diff = world.json(0, ["diff", session]);
    let paths: Vec<&str> =
        diff["entries"].as_array().unwrap().iter().filter_map(|entry| entry["path"].as_str()).collect();
    assert!(paths.contains(&"a.txt") && paths.contains(&"new/b.txt"), "{paths:?}");

    // Every request is recorded before it and after it, and the key is nowhere.
    let mut records = world.json_lines(0, ["logs", "--all"]);
    records.sort_by_key(|record| record["seq"].as_u64());
    let actions: Vec<&str> = records
        .iter()
        .filter_map(|record| record["action"].as_str())
        .filter(|action| action.starts_with("model_"))
        .collect();
    assert_eq!(actions, ["model_asked", "model_answered"].repeat(4));
    let found = Command::new("grep").args(["-rlF", KEY]).arg(world.ftl_home()).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");

    // A follow-up goes on, also after the daemon was started anew.
    world.ok(["daemon", "stop"]);
    model.answer(vec![Answer::text("Still here.")]);
    code(&world, &["--session", session, "And now?"]);
    let again = asked(&model);
    let whole = again[0].body["messages"].to_string();
    assert!(
        whole.contains("Change it.") && whole.contains("All done.") && whole.contains("And now?"),
        "{whole}"
    );
}

#[test]
fn a_task_with_every_tool_over_anthropics_protocol() {
    a_task_with_every_tool("anthropic");
}

#[test]
fn a_task_with_every_tool_over_openais_protocol() {
    a_task_with_every_tool("openai");
}

#[test]
fn a_task_of_ollamas_needs_no_key() {
    let model = Model::start(vec![
        calls(&[("write", json!({"path": "b.txt", "content": "b\n"}))]),
        Answer::text("Done."),
    ]);
    let world = world(&model, "ollama", &json!({}));
    let lines = code(&world, &["Write b."]);
    assert_eq!(lines.last().unwrap()["state"], "awaiting_review", "{}", end(&lines));
    assert!(asked(&model).iter().all(|one| one.header("authorization").is_empty()));
}

#[test]
fn a_call_reaches_nothing_but_the_sandbox_and_a_tool_that_is_not_there_is_told() {
    let model = Model::start(vec![Answer::text("x")]);
    let world = world(&model, "openai", &json!({}));
    let secret = world.root().join("secret.txt");
    std::fs::write(&secret, "the host's\n").unwrap();
    let link = json!({"command": format!("ln -s {} link; cat link", secret.display())});
    model.answer(vec![
        calls(&[
            ("read", json!({"path": secret})),
            ("write", json!({"path": world.root().join("made.txt"), "content": "x"})),
            ("bash", link),
            ("read", json!({"path": "link"})),
            ("fly", json!({})),
            ("read", json!({"path": 7})),
        ]),
        Answer::text("Done."),
    ]);
    let lines = code(&world, &["Leave."]);
    let requests = asked(&model);
    assert_eq!(requests.len(), 2, "{}", end(&lines));
    let told = results(&requests[1]);
    assert!(told[0].contains("there is no file"), "{told:?}");
    assert!(told[4].contains("there is no tool \"fly\"; the tools are read"), "{told:?}");
    assert!(told[5].contains("path must be a string"), "{told:?}");
    assert!(!told.concat().contains("the host's"), "{told:?}");
    assert!(!world.root().join("made.txt").exists());
}

#[test]
fn limits_end_an_instruction_and_what_was_done_stays() {
    let again = || calls(&[("bash", json!({"command": "echo x >> b.txt"}))]);
    let model = Model::start(vec![again()]);
    let world = world(&model, "openai", &json!({"max_requests": 3}));
    let lines = code(&world, &["Go on for ever."]);
    assert_eq!(asked(&model).len(), 3, "{}", end(&lines));
    assert!(end(&lines).contains("the limit of 3 requests"), "{}", end(&lines));
    assert!(end(&lines).contains("price is not known"), "{}", end(&lines));
    let session = lines.last().unwrap()["session"].as_str().unwrap();
    assert_eq!(world.json(0, ["diff", session])["entries"][0]["path"], "b.txt");
    world.ok(["daemon", "stop"]);
    world.config(&json!({
        "agents": {"builtin": {"model": "openai/some-model", "max_tokens": 150}},
        "models": {"openai": {"base_url": model.url()}}
    }));
    let lines = code(&world, &["--session", session, "Go on."]);
    assert_eq!(asked(&model).len(), 1, "{}", end(&lines));
    assert!(end(&lines).contains("the limit of 150 tokens"), "{}", end(&lines));
}

#[test]
fn a_busy_service_a_cut_answer_and_a_refusal() {
    let slow_down = || {
        let body = json!({"error": {"message": "slow down"}}).to_string();
        Answer::Fails(429, vec![("retry-after", "0".to_owned())], body)
    };
    let broken = || Answer::Breaks(vec!["It is ".to_owned()]);
    let model = Model::start(vec![slow_down(), broken(), Answer::text("Whole.")]);
    let world = world(&model, "openai", &json!({}));
    let lines = code(&world, &["Try."]);
    assert_eq!(asked(&model).len(), 3, "{}", end(&lines));
    assert!(end(&lines).contains("slow down") && end(&lines).contains("asked again"), "{}", end(&lines));
    let finished = of_type(&lines, "agent_finished");
    assert_eq!(finished[0]["ok"], true, "{}", end(&lines));

    model.answer(vec![broken()]);
    let lines = code(&world, &["Try."]);
    assert_eq!(asked(&model).len(), 3, "an answer that always breaks off is given up: {}", end(&lines));
    assert!(end(&lines).contains("the answer breaks off"), "{}", end(&lines));

    let body = json!({"error": {"message": format!("bad key {KEY}")}}).to_string();
    model.answer(vec![Answer::Fails(401, Vec::new(), body)]);
    let lines = code(&world, &["Try."]);
    assert!(end(&lines).contains("ftlctl auth OPENAI_API_KEY"), "{}", end(&lines));
    assert!(!end(&lines).contains(KEY));

    // A service that sends the key back brings it neither to the sandbox nor into the conversation.
    model.answer(vec![calls(&[("write", json!({"path": "k.txt", "content": KEY}))])]);
    let lines = code(&world, &["Try."]);
    assert!(end(&lines).contains("sent the key back"), "{}", end(&lines));
    assert!(of_type(&lines, "tool_started").is_empty());
    let found = Command::new("grep").args(["-rlF", KEY]).arg(world.ftl_home()).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
}

#[test]
fn stopping_it_in_the_middle_of_an_answer_keeps_its_work_and_its_conversation() {
    let model = Model::start(vec![
        calls(&[("write", json!({"path": "b.txt", "content": "b\n"}))]),
        Answer::Stops(vec!["I am ".to_owned(), "thinking".to_owned()]),
    ]);
    let world = world(&model, "openai", &json!({}));
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "builtin", "Think."]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut session = String::new();
    for line in lines.by_ref() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(id) = line["session"].as_str() {
            session = id.to_owned();
        }
        if line["type"] == "agent_text" && line["text"].as_str().is_some_and(|text| text.contains("thinking"))
        {
            break;
        }
    }
    if session.is_empty() {
        session = world.json_lines(0, ["sessions"])[0]["session"].as_str().unwrap().to_owned();
    }
    world.ok(["stop", &session]);
    let rest: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(rest.last().unwrap()["state"], "awaiting_review", "{}", end(&rest));
    child.wait().unwrap();
    let records = world.json_lines(0, ["logs", "--all"]);
    assert!(records.iter().any(|record| record["detail"]["outcome"] == "left"), "{records:?}");
    let _first = asked(&model);
    model.answer(vec![Answer::text("Here.")]);
    code(&world, &["--session", &session, "Go on."]);
    let whole = asked(&model)[0].body["messages"].to_string();
    assert!(whole.contains("Think.") && whole.contains("b.txt") && whole.contains("Go on."), "{whole}");
}

#[test]
fn whoever_has_named_no_model_is_told_what_to_type() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let error = &world.json(3, ["code", "--no-review", "--agent", "builtin", "x"])["error"];
    assert_eq!(error["code"], "no-model", "{error}");
    assert!(error["hint"].as_str().unwrap().contains(r#"{"agents": {"builtin": {"model": "#), "{error}");
    let said = world.run(["doctor"]);
    assert!(said.out.contains("agent builtin"), "{said:?}");
}

/// The key in pieces, as a service may stream it.
fn in_pieces() -> Answer {
    let pieces = ["It is ", &KEY[..9], &KEY[9..20], &KEY[20..], ", as you know."];
    Answer::Says(pieces.map(str::to_owned).to_vec())
}

#[test]
fn a_key_that_comes_back_in_pieces_reaches_no_event_and_no_conversation() {
    let model = Model::start(vec![in_pieces()]);
    let world = world(&model, "openai", &json!({}));
    let lines = code(&world, &["What is it?"]);
    let said: String =
        of_type(&lines, "agent_text").iter().filter_map(|line| line["text"].as_str()).collect();
    assert!(said.contains("It is ") && !said.contains(&KEY[20..]), "{said}");
    assert!(end(&lines).contains("sent the key back"), "{}", end(&lines));
    let found = Command::new("grep").args(["-rlF", &KEY[9..]]).arg(world.ftl_home()).output().unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
}

#[test]
fn a_request_that_a_killed_daemon_left_open_is_closed_at_the_next_start() {
    let model = Model::start(vec![Answer::Stops(vec!["I am ".to_owned(), "thinking".to_owned()])]);
    let world = world(&model, "openai", &json!({}));
    let mut command = world.ftlctl(["--json", "code", "--no-review", "--agent", "builtin", "Think."]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = lines.map_while(Result::ok).filter(|line| line.contains("thinking"));
    told.next().expect("it thinks");
    let killed = Command::new("kill").args(["-9", &world.daemon_pid().to_string()]).status().unwrap();
    assert!(killed.success());
    drop(told);
    child.wait().unwrap();
    world.ok(["daemon", "start"]);
    let records = world.json_lines(0, ["logs", "--all"]);
    let of = |action: &str| records.iter().filter(|one| one["action"] == action).collect::<Vec<_>>();
    let (asked, answered) = (of("model_asked"), of("model_answered"));
    assert_eq!((asked.len(), answered.len()), (1, 1), "{records:#?}");
    assert_eq!(answered[0]["detail"]["outcome"], "the daemon ended", "{}", answered[0]);
    assert_eq!(answered[0]["session"], asked[0]["session"], "{}", answered[0]);
    world.ok(["daemon", "stop"]);
    world.ok(["daemon", "start"]);
    let again = world.json_lines(0, ["logs", "--all"]);
    assert_eq!(again.iter().filter(|one| one["action"] == "model_answered").count(), 1, "once");
}
