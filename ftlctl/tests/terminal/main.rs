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
