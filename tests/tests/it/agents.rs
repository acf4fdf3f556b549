//! Real agent programs, driven against a scripted model on the sandbox's own loopback.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ftl_tests::repo;
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

/// An agent, as its own words and habits go.
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    /// Beneath the directory of the tests' agents.
    pub(crate) program: &'static str,
    pub(crate) model: Option<&'static str>,
    pub(crate) base_url: &'static str,
    /// Name of the tool that writes a file.
    pub(crate) writes_with: &'static str,
    /// Where the agent sends its prompts.
    pub(crate) endpoint: &'static str,
    /// Header with its key.
    pub(crate) key_header: &'static str,
    pub(crate) key_prefix: &'static str,
    /// Whether it counts tokens by what the model says, rather than itself.
    pub(crate) counts: bool,
}

pub(crate) const CLAUDE: Agent = Agent {
    name: "claude-code",
    program: "node_modules/.bin/claude",
    model: None,
    base_url: "http://127.0.0.1:8099",
    writes_with: "Write",
    endpoint: "/v1/messages",
    key_header: "x-api-key",
    key_prefix: "",
    counts: true,
};

pub(crate) const CODEX: Agent = Agent {
    name: "codex",
    program: "node_modules/.bin/codex",
    model: None,
    base_url: "http://127.0.0.1:8099/v1",
    writes_with: "command",
    endpoint: "/v1/responses",
    key_header: "authorization",
    key_prefix: "Bearer ",
    counts: true,
};

pub(crate) const OPENCODE: Agent = Agent {
    name: "opencode",
    program: "node_modules/.bin/opencode",
    model: Some("anthropic/claude-sonnet-4-5"),
    base_url: "http://127.0.0.1:8099/v1",
    writes_with: "write",
    endpoint: "/v1/messages",
    key_header: "x-api-key",
    key_prefix: "",
    counts: true,
};

pub(crate) const GEMINI: Agent = Agent {
    name: "gemini",
    program: "node_modules/.bin/gemini",
    model: Some("gemini-2.5-flash"),
    base_url: "http://127.0.0.1:8099",
    writes_with: "write_file",
    endpoint: "/v1beta/models/",
    key_header: "x-goog-api-key",
    key_prefix: "",
    counts: true,
};

pub(crate) const AIDER: Agent = Agent {
    name: "aider",
    program: "aider/bin/aider",
    model: Some("openai/some-model"),
    base_url: "http://127.0.0.1:8099/v1",
    writes_with: "edit",
    endpoint: "/v1/chat/completions",
    key_header: "authorization",
    key_prefix: "Bearer ",
    counts: false,
};

/// Starts the model before each turn and waits until it listens.
const SETUP: &str = "rm -f \"$HOME/ready\"; mkfifo \"$HOME/ready\"; \
    /usr/bin/python3 model.py --port 8099 --log \"$HOME/model.log\" > \"$HOME/ready\" 2>/dev/null & \
    read answer < \"$HOME/ready\" && test \"$answer\" = 'listening 8099'";

/// A world whose agent talks to the scripted model, and whose daemon has real keys in its environment.
pub(crate) fn world(agent: &Agent) -> World {
    let world = World::new(Who::Me);
    let program = repo::tools().join("agents").join(agent.program);
    assert!(program.exists(), "{} is not installed: run `tests/run`", program.display());
    let model = fs::read_to_string(repo::root().join("tests/stub/stub_llm.py")).unwrap();
    let project_config = json!({ "agent": agent.name, "setup": SETUP }).to_string();
    world.files(&[("model.py", &model), (".ftlconfig", &project_config), ("a.txt", "one\n")]);
    let mut settings = json!({ "path": program, "model_base_url": agent.base_url });
    if let Some(model) = agent.model {
        settings["model"] = model.into();
    }
    world.config(&json!({ "agents": { agent.name: settings } }));
    let mut start = world.ftlctl(["daemon", "start"]);
    for variable in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "FTL_MODEL_KEY"] {
        start.env(variable, "sk-the-real-one");
    }
    let started = start.output().unwrap();
    assert!(started.status.success(), "{started:#?}");
    world
}

pub(crate) fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The requests that the model got for its answers.
pub(crate) fn prompts(world: &World, session: &str, agent: &Agent) -> Vec<Value> {
    let log = world.run(["exec", session, "--", "sh", "-c", "cat \"$HOME/model.log\""]);
    assert_eq!(log.code, 0, "{log:#?}");
    let requests =
        log.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of the log"));
    requests
        .filter(|request| request["path"].as_str().is_some_and(|path| path.starts_with(agent.endpoint)))
        .collect()
}

fn a_file_arrives_and_a_follow_up_continues(agent: &Agent) {
    let world = world(agent);
    let lines = world.json_lines(
        0,
        ["code", "--no-review", "Please do this.\nWRITE /workspace/hello.txt hello from the model"],
    );
    let last = lines.last().unwrap();
    assert_eq!(last["state"], "awaiting_review", "{lines:#?}");

    let started = of_type(&lines, "tool_started");
    assert_eq!(started.len(), 1, "{lines:#?}");
    assert_eq!(started[0]["name"], agent.writes_with, "{}", started[0]);
    assert!(started[0]["detail"].as_str().unwrap().contains("/workspace/hello.txt"), "{}", started[0]);
    let finished = of_type(&lines, "tool_finished");
    assert_eq!(
        (finished.len(), &finished[0]["ok"], &finished[0]["id"]),
        (1, &true.into(), &started[0]["id"])
    );
    let said: String =
        of_type(&lines, "agent_text").iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(said.matches("All steps are done.").count(), 1, "{said}");
    let usage = of_type(&lines, "usage");
    let usage = usage.last().expect("usage");
    // Two requests of a hundred tokens in and twelve out.
    let used = (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap());
    assert!(used == (200, 24) || (!agent.counts && used.0 > 100 && used.1 > 1), "{usage}");
    let end = of_type(&lines, "agent_finished");
    assert_eq!((end.len(), &end[0]["ok"], &end[0]["exit_code"]), (1, &true.into(), &0.into()), "{lines:#?}");

    let session = last["session"].as_str().unwrap();
    let second = world
        .json_lines(0, ["code", "--no-review", "--session", session, "WRITE /workspace/more.txt and more"]);
    let last = second.last().unwrap();
    assert_eq!(
        (&last["session"], &last["state"]),
        (&session.into(), &"awaiting_review".into()),
        "{second:#?}"
    );
    let usage = of_type(&second, "usage");
    let used = usage.last().expect("usage")["input_tokens"].as_u64().unwrap();
    assert!(used == 200 || (!agent.counts && used > 100), "what this turn used: {second:#?}");

    let prompts = prompts(&world, session, agent);
    let newest = prompts.last().expect("a prompt");
    let body = newest["body"].to_string();
    assert!(
        body.contains("Please do this.") && body.contains("more.txt"),
        "the conversation goes on: {body}"
    );
    for prompt in &prompts {
        let key = &prompt["headers"][agent.key_header];
        assert_eq!(*key, format!("{}ftl-placeholder-not-a-key", agent.key_prefix), "{}", prompt["headers"]);
        assert!(!prompt.to_string().contains("sk-the-real-one"));
    }

    let diff = world.json(0, ["diff", session]);
    let paths: Vec<&Value> = diff["entries"].as_array().unwrap().iter().map(|entry| &entry["path"]).collect();
    assert_eq!(paths, ["hello.txt", "more.txt"], "{diff:#}");
    let blame = world.json(0, ["blame", session, "more.txt"]);
    let origin = &blame["origins"][0];
    assert_eq!((&origin["turns"][0]["turn"], &origin["turns"][1]), (&2.into(), &Value::Null), "{blame:#}");
    assert_eq!((&origin["calls"][0]["tool"], &origin["calls"][0]["turn"]), (&started[0]["name"], &2.into()));
    assert_eq!((&origin["calls"][1], &origin["other_calls"]), (&Value::Null, &0.into()), "{blame:#}");
    world.json(0, ["approve", session, "--digest", last["digest"].as_str().unwrap()]);
    assert_eq!(fs::read_to_string(world.project().join("hello.txt")).unwrap(), "hello from the model\n");
    assert_eq!(fs::read_to_string(world.project().join("more.txt")).unwrap(), "and more\n");
}

#[test]
fn a_file_that_claude_code_writes_arrives_and_a_follow_up_continues_its_conversation() {
    a_file_arrives_and_a_follow_up_continues(&CLAUDE);
}

#[test]
fn a_file_that_codex_writes_arrives_and_a_follow_up_continues_its_conversation() {
    a_file_arrives_and_a_follow_up_continues(&CODEX);
}

#[test]
fn a_file_that_opencode_writes_arrives_and_a_follow_up_continues_its_conversation() {
    a_file_arrives_and_a_follow_up_continues(&OPENCODE);
}

#[test]
fn a_file_that_gemini_writes_arrives_and_a_follow_up_continues_its_conversation() {
    a_file_arrives_and_a_follow_up_continues(&GEMINI);
}

#[test]
fn a_file_that_aider_writes_arrives_and_a_follow_up_continues_its_conversation() {
    a_file_arrives_and_a_follow_up_continues(&AIDER);
}

#[test]
fn kiro_is_given_its_task_as_the_last_argument_and_told_to_resume() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    // A stand-in: the program itself is in no registry.
    let program = repo::tools().join("stand-ins/kiro-cli");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, "#!/bin/sh\nprintf '<%s>' \"$@\" >> args.txt\necho >> args.txt\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = json!({ "path": program, "model_base_url": "http://127.0.0.1:1" });
    world.config(&json!({ "agents": { "kiro": settings } }));
    let first = world.json(0, ["code", "--no-review", "--agent", "kiro", "--", "-x $HOME"]);
    let session = first["session"].as_str().unwrap();
    let last = world.json(0, ["code", "--no-review", "--session", session, "more"]);
    world.json(0, ["approve", session, "--digest", last["digest"].as_str().unwrap()]);
    let options = "<chat><--no-interactive><--trust-all-tools>";
    let expected = format!("{options}<--><-x $HOME>\n{options}<--resume><--><more>\n");
    assert_eq!(fs::read_to_string(world.project().join("args.txt")).unwrap(), expected);
}

#[test]
fn an_agent_without_a_key_is_refused_with_the_command_that_keeps_one() {
    for (name, key, url) in [
        ("claude-code", "ANTHROPIC_API_KEY", None),
        ("codex", "OPENAI_API_KEY", None),
        ("codex", "OPENAI_API_KEY", Some("https://models.example.com/v1")),
        ("opencode", "ANTHROPIC_API_KEY", None),
        ("gemini", "GEMINI_API_KEY", None),
        ("aider", "ANTHROPIC_API_KEY", None),
    ] {
        let world = World::new(Who::Me);
        world.files(&[("a.txt", "one\n")]);
        if let Some(url) = url {
            world.config(&json!({ "agents": { name: { "model_base_url": url } } }));
        }
        let said = world.run(["code", "--agent", name, "add a flag"]);
        assert_eq!(said.code, 3, "{said:#?}");
        assert!(said.err.contains(&format!("{name} needs a key of its vendor")), "{said:#?}");
        assert!(said.err.contains(&format!("ftlctl auth {key}")), "the hint is missing: {said:#?}");
        let error = world.json(3, ["code", "--agent", name, "add a flag"]);
        assert!(error["error"]["message"].to_string().contains("needs a key"), "{error}");
        assert_eq!(world.ok(["--json", "sessions"]), "", "no session is left of what was refused");
    }
}

#[test]
fn the_humans_own_settings_come_as_copies_without_credentials_and_only_where_the_human_says_so() {
    const TOKEN: &str = "ghp_R8vK2mXq4TzL9wYb6NcHs3PdJf7GuA1eWo5i";
    let world = World::new(Who::Me);
    let wanted = json!({ "agent": "claude-code", "agents": { "claude-code": { "own_settings": true } } });
    world.files(&[("a.txt", "one\n")]);
    let home = world.home();
    for (name, text) in [
        (".claude/CLAUDE.md", format!("Use tabs.\nmy token is {TOKEN}\n")),
        (".claude/settings.json", format!(r#"{{"model": "m", "env": {{"T": "{TOKEN}"}}}}"#)),
        (".claude/.credentials.json", format!(r#"{{"accessToken": "{TOKEN}"}}"#)),
        (".codex/auth.json", TOKEN.to_owned()),
    ] {
        fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
        fs::write(home.join(name), text).unwrap();
    }
    let program = repo::tools().join("stand-ins/claude");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let script = "#!/bin/sh\nfind \"$HOME\" -type f -path '*/.c*' | sort >&2\ncat \"$HOME/.claude/\"* >&2\n\
        echo mine > \"$HOME/.claude/CLAUDE.md\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |own: bool| {
        let claude = json!({ "path": program, "model_base_url": "http://127.0.0.1:1", "own_settings": own });
        world.config(&json!({ "agents": { "claude-code": claude } }));
        let said = world.run(["--json", "code", "--no-review", "--agent", "claude-code", "x"]);
        said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let lines = run(true);
    let told: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert!(
        told.contains("copies of 2 files") && told.contains("settings.json is copied without: env"),
        "{told}"
    );
    let heard: String = of_type(&lines, "output")
        .iter()
        .filter_map(|line| line["data"].as_str().or(line["text"].as_str()))
        .collect();
    assert!(heard.contains("Use tabs.") && heard.contains("\"model\": \"m\""), "{told}");
    assert!(
        !told.contains(TOKEN) && !heard.contains(".credentials.json") && !heard.contains("auth.json"),
        "{told}"
    );
    let own = fs::read_to_string(home.join(".claude/CLAUDE.md")).unwrap();
    assert!(own.starts_with("Use tabs."), "the human's own stays as it is");
    let without: String = run(false).iter().map(|line| format!("{line}\n")).collect();
    assert!(!without.contains("Use tabs.") && !without.contains("copies of"), "{without}");

    // A project cannot ask for it.
    world.files(&[(".ftlconfig", &wanted.to_string())]);
    let said = world.run(["code", "--no-review", "x"]);
    assert!(said.code != 0 && said.err.contains("agents"), "{said:#?}");
}
