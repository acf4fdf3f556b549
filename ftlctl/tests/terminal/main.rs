//! `ftlctl` on a terminal, against a daemon that says what the test wants: what only a human at a
//! keyboard meets. What the real daemon answers is tested elsewhere.

#[cfg(test)]
mod daemon;
#[cfg(test)]
mod keyboard;

#[cfg(test)]
mod tests {
    use ftl_proto::v1;
    use ftl_proto::v1::event::Kind;

    use crate::daemon::{Call, Daemon};
    use crate::keyboard::Keyboard;

    fn asked(ask: u64) -> Kind {
        Kind::EgressAsked(v1::EgressAsked {
            ask,
            method: "POST".into(),
            authority: format!("h{ask}.example:443"),
            path: "/\x1b[2Jx".into(),
            rule: format!("allow POST h{ask}.example/"),
            patience_ms: 60_000,
        })
    }

    fn answered(ask: u64, answer: &str) -> Kind {
        Kind::EgressAnswered(v1::EgressAnswered { ask, answer: answer.into() })
    }

    fn answer(call: &Call) -> (u64, v1::EgressAnswer) {
        let Call::Answer(request) = call else { panic!("{call:?}") };
        (request.ask, request.answer())
    }

    #[test]
    fn a_question_is_put_to_the_human_and_answered_by_its_number() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "ftlctl code x");
        let Call::Watch(watch) = daemon.call() else { panic!() };
        assert!(watch.answers_egress && watch.follow);
        // What is typed before a question is no answer to it.
        keyboard.kind("o\r");
        keyboard.wait_for("o\r\n");
        daemon.tell(asked(1));
        keyboard.wait_for("allow POST h1.example/\\x1b[2Jx? [o]nce [s]ession [a]lways [N]o: ");
        daemon.tell(Kind::Notice(v1::Notice { level: "info".into(), text: "held back".into() }));
        // What is not understood is asked again.
        keyboard.kind("what\r");
        keyboard.wait_for("[N]o: ");
        keyboard.kind("always\r");
        assert_eq!(answer(&daemon.call()), (1, v1::EgressAnswer::Always));
        keyboard.wait_for("note: held back");
        daemon.tell(answered(1, "always"));
        keyboard.wait_for("allowed from now on: POST h1.example/");
        // An answer from elsewhere takes the question away; the next one is put then.
        daemon.tell(asked(2));
        keyboard.wait_for("allow POST h2.example/");
        daemon.tell(asked(3));
        daemon.tell(answered(2, "once"));
        keyboard.wait_for("allowed once: POST h2.example/");
        keyboard.wait_for("allow POST h3.example/");
        keyboard.wait_for("[N]o: ");
        keyboard.kind("\r");
        assert_eq!(answer(&daemon.call()), (3, v1::EgressAnswer::No));
        daemon.tell(answered(3, "no"));
        daemon.end(v1::State::NoChanges);
        assert_eq!(keyboard.ended(), 0);
    }

    #[test]
    fn without_a_terminal_nobody_is_asked_and_the_command_is_named() {
        let daemon = Daemon::start();
        let child = daemon.command(&["code", "x"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let Call::Watch(watch) = daemon.call() else { panic!() };
        assert!(!watch.answers_egress);
        daemon.tell(asked(7));
        daemon.tell(answered(7, "nobody"));
        daemon.end(v1::State::NoChanges);
        let said = child.wait_with_output().unwrap();
        let out = String::from_utf8(said.stdout).unwrap();
        assert!(out.contains("ftlctl policy answer s-1 7 once|session|always|no"), "{out}");
        assert!(!out.contains("[o]nce") && !out.contains('\x1b'), "{out}");
    }

    fn working() -> Kind {
        Kind::StateChanged(v1::StateChanged { state: v1::State::Working.into(), reason: String::new() })
    }

    fn text(text: &str, fragment: bool) -> Kind {
        Kind::AgentText(v1::AgentText { text: text.into(), fragment })
    }

    fn tool() -> Kind {
        Kind::ToolStarted(v1::ToolStarted {
            id: "1".into(),
            name: "Bash".into(),
            detail: "cargo test".into(),
        })
    }

    #[test]
    fn a_status_line_tells_what_runs_and_leaves_nothing_behind() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "ftlctl code x");
        daemon.call();
        daemon.tell(working());
        daemon.tell(text("I look", true));
        daemon.tell(tool());
        daemon.tell(Kind::Usage(v1::Usage { input_tokens: 1200, output_tokens: 30, cost_micro_usd: 5000 }));
        // Below the text that may go on, from where the cursor goes back to it.
        keyboard.wait_for("│ ");
        keyboard.wait_for("I look");
        keyboard.wait_for("\x1bD\x1bM\x1b7\x1b[B\r… Bash  cargo test");
        keyboard.wait_for(" · Bash 1 · 1.2k in, 30 out · $0.0050\x1b8");
        daemon.tell(text(" at it.", false));
        keyboard.wait_for("\x1b[J at it.\r\n");
        daemon.tell(Kind::ToolFinished(v1::ToolFinished { id: "1".into(), ok: true, elapsed_us: 2_000_000 }));
        keyboard.wait_for("\x1b[J");
        keyboard.wait_for("2.0 s");
        daemon.end(v1::State::NoChanges);
        keyboard.wait_for("no changes");
        assert_eq!(keyboard.ended(), 0);
    }

    #[test]
    fn plain_lines_have_every_fact_once_and_nothing_moves() {
        for (line, term) in [("ftlctl --plain code x", ""), ("ftlctl code x", "TERM=dumb ")] {
            let daemon = Daemon::start();
            let mut keyboard = Keyboard::open(&daemon, &format!("{term}{line}"));
            daemon.call();
            daemon.tell(working());
            daemon.tell(text("I look", true));
            daemon.tell(text(" at it.", false));
            daemon.tell(tool());
            daemon.tell(Kind::ToolFinished(v1::ToolFinished {
                id: "1".into(),
                ok: false,
                elapsed_us: 2_000_000,
            }));
            daemon.end(v1::State::NoChanges);
            assert_eq!(keyboard.ended(), 0);
            assert_eq!(keyboard.seen(), "│ I look at it.\r\n✗ Bash  cargo test  2.0 s\r\nno changes\r\n");
        }
    }

    #[test]
    fn a_long_wait_is_told_on_the_desktop_and_an_agent_cannot_do_that() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "ftlctl code x");
        daemon.call();
        daemon.tell(working());
        daemon.tell(text("\x1b]9;evil\x1b\\\x1b]777;notify;evil;evil\x07", false));
        let evil = b"\x1b]99;;evil\x1b\\\n".to_vec();
        daemon.tell(Kind::Output(v1::Output { data: evil, stderr: false }));
        // It took longer than what is set.
        keyboard.wait_for("… working  1 s");
        daemon.end(v1::State::NoChanges);
        keyboard.wait_for("\x1b]9;FTL: s-1 is done. There is nothing to review.\x1b\\");
        keyboard.wait_for("no changes");
        assert_eq!(keyboard.ended(), 0);
        assert_eq!(keyboard.seen().matches("\x1b]").count(), 1, "{}", keyboard.seen());
    }

    #[test]
    fn nothing_is_told_on_a_desktop_of_short_work() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "ftlctl code x");
        daemon.call();
        daemon.end(v1::State::NoChanges);
        keyboard.wait_for("no changes");
        assert_eq!(keyboard.ended(), 0);
        assert!(!keyboard.seen().contains("\x1b]"), "{}", keyboard.seen());
    }

    #[test]
    fn a_value_is_never_seen_and_the_terminal_is_as_it_was() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "ftlctl auth codex; echo code $?; stty -a");
        keyboard.wait_for("value of OPENAI_API_KEY (not shown): ");
        keyboard.kind("hunter2\r");
        let Call::Set(set) = daemon.call() else { panic!() };
        assert_eq!((set.name.as_str(), set.value.as_str()), ("OPENAI_API_KEY", "hunter2"));
        assert!(set.project.is_empty());
        keyboard.wait_for("code 0");
        keyboard.wait_for(" echo ");
        assert_eq!(keyboard.ended(), 0);
        assert!(!keyboard.seen().contains("hunter2"), "{}", keyboard.seen());
    }

    #[test]
    fn leaving_a_prompt_keeps_nothing_and_turns_echo_on_again() {
        let daemon = Daemon::start();
        let mut keyboard = Keyboard::open(&daemon, "trap : INT; ftlctl auth codex; echo code $?; stty -a");
        keyboard.wait_for("(not shown): ");
        keyboard.kind("hunt\x03");
        keyboard.wait_for("no value was kept");
        keyboard.wait_for("code 1");
        keyboard.wait_for(" echo ");
        assert_eq!(keyboard.ended(), 0);
        assert!(!keyboard.seen().contains("hunt"), "{}", keyboard.seen());
        assert!(daemon.is_quiet());
    }

    #[test]
    fn verdicts_and_missing_consent_have_their_exit_codes() {
        let daemon = Daemon::start();
        let code = |line: &[&str]| daemon.command(line).output().unwrap().status.code();
        assert_eq!(code(&["policy", "test", "https://allowed.example/"]), Some(0));
        assert_eq!(code(&["policy", "test", "https://other.example/"]), Some(3));
        assert_eq!(code(&["policy", "suggest", "--apply"]), Some(4));
        assert_eq!(code(&["policy", "suggest", "--apply", "--yes"]), Some(0));
        let Call::Add(added) = daemon.call() else { panic!() };
        assert_eq!((added.rule.as_str(), added.scope()), ("allow GET a.example/", v1::RuleScope::Project));
        assert_eq!(added.project, b"/p");
        assert_eq!(code(&["policy", "allow", "GET", "a.example/v1/", "--session", "s-"]), Some(0));
        let Call::Add(added) = daemon.call() else { panic!() };
        assert_eq!((added.rule.as_str(), added.scope()), ("allow GET a.example/v1/", v1::RuleScope::Session));
        assert_eq!(added.session, "s-1");
        assert_eq!(code(&["secret", "rm", "K"]), Some(1));
    }
}
