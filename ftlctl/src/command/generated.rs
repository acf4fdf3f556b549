//! `ftlctl tests`: the tests that a model has written for a session, what came of them, and keeping them.

use ftl_proto::v1;
use serde_json::{Value, json};

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::style::{Style, Tone};
use crate::render::{check, escape, json as shared};

/// Shows them, or puts them into the session's work.
pub(crate) async fn run(context: &Context, args: args::Tests) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let id = session.session.clone();
    if args.keep.is_some() {
        let paths = args.keep.unwrap_or_default();
        let request = v1::KeepGeneratedRequest { session: id.clone(), paths };
        let kept = client.verify().keep_generated(request).await?.into_inner();
        let session = kept.session.unwrap_or_default();
        if context.output.is_json() {
            context.output.json(&shared::outcome(&session))?;
        } else {
            context.output.line("the tests are a part of the session's work now")?;
            context.output.line(&format!("review: ftlctl review {id}"))?;
        }
        return Ok(Outcome::DONE);
    }
    let request = v1::ListGeneratedRequest { session: id.clone() };
    let reply = client.verify().list_generated(request).await?.into_inner();
    if context.output.is_json() {
        context.output.json(&value(&session, &reply))?;
        return Ok(Outcome::DONE);
    }
    let is_of_now = session.gate.as_ref().is_some_and(|gate| gate.digest == reply.digest);
    for line in lines(&reply, is_of_now, context.output.style) {
        context.output.line(&line)?;
    }
    if !reply.tests.is_empty() {
        context.output.line(&format!("keep them: ftlctl tests {id} --keep"))?;
    }
    Ok(Outcome::DONE)
}

/// What is shown of them.
fn lines(reply: &v1::ListGeneratedReply, is_of_now: bool, style: Style) -> Vec<String> {
    if reply.model.is_empty() {
        return vec![
            "no tests were written for this session; a session with a tester has them (--tests MODEL)"
                .to_owned(),
        ];
    }
    let model = escape::name(&reply.model);
    if !reply.why.is_empty() {
        return vec![
            style.paint(Tone::Warning, &format!("{model} wrote no tests: {}", escape::name(&reply.why))),
        ];
    }
    let when = match (reply.digest.is_empty(), is_of_now) {
        (true, _) => "not tried yet",
        (false, true) => "tried on the work as it is",
        (false, false) => "tried on other work than there is now",
    };
    let mut lines = vec![format!("written by {model} for {}, {when}", escape::name(&reply.framework))];
    for test in &reply.tests {
        lines.push(String::new());
        let (verdict, why) = (check::named(test.verdict()), escape::name(&test.why));
        let tone = match test.verdict() {
            v1::CheckVerdict::Passed => Tone::Good,
            v1::CheckVerdict::Failed => Tone::Bad,
            _ => Tone::Warning,
        };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        lines.push(
            style.paint(tone, &format!("{} {}{why}", escape::name(&test.path), verdict.replace('_', " "))),
        );
        lines.push(format!("  checks: {}", escape::name(&test.covers)));
        for line in String::from_utf8_lossy(&test.contents).lines() {
            lines.push(format!("  | {}", escape::name(line)));
        }
        if test.verdict() != v1::CheckVerdict::Passed && !test.tail.is_empty() {
            lines.push("  output:".to_owned());
            for line in String::from_utf8_lossy(&test.tail).lines() {
                lines.push(format!("  > {}", escape::name(line)));
            }
        }
    }
    if !reply.notes.is_empty() {
        lines.push(String::new());
        lines.push(format!("{model} says: {}", escape::name(&reply.notes)));
    }
    lines
}

fn value(session: &v1::Session, reply: &v1::ListGeneratedReply) -> Value {
    let test = |test: &v1::GeneratedTest| {
        let mut value = shared::bytes("tail", &test.tail);
        value["path"] = test.path.clone().into();
        value["contents"] = String::from_utf8_lossy(&test.contents).into_owned().into();
        value["covers"] = test.covers.clone().into();
        value["verdict"] = check::named(test.verdict()).into();
        value["why"] = test.why.clone().into();
        value
    };
    json!({
        "session": session.session, "model": reply.model, "framework": reply.framework, "why": reply.why,
        "notes": reply.notes, "digest": reply.digest, "tests": reply.tests.iter().map(test).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_and_a_sandbox_say_stays_behind_its_bar() {
        let test = v1::GeneratedTest {
            path: "tests/\u{1b}[2Ja.py".into(),
            contents: b"x\n\x1b[1Aready: all passed\n".to_vec(),
            covers: "limits\nready: yes".into(),
            verdict: v1::CheckVerdict::Failed.into(),
            why: "it ended with status 1".into(),
            tail: b"AssertionError\r\x1b[2Kready".to_vec(),
        };
        let reply = v1::ListGeneratedReply {
            model: "a/b".into(),
            framework: "pytest".into(),
            tests: vec![test],
            digest: "d".into(),
            ..Default::default()
        };
        let lines = lines(&reply, true, Style::Plain);
        assert!(!lines.iter().any(|line| line.contains(['\u{1b}', '\n', '\r'])), "{lines:?}");
        assert_eq!(lines[0], "written by a/b for pytest, tried on the work as it is");
        assert!(lines[2].ends_with("failed: it ended with status 1"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("  > AssertionError")), "{lines:?}");
        let untried = v1::ListGeneratedReply { tests: Vec::new(), digest: String::new(), ..reply.clone() };
        assert_eq!(super::lines(&untried, false, Style::Plain), ["written by a/b for pytest, not tried yet"]);
        let none = v1::ListGeneratedReply { why: "no key".into(), ..reply };
        assert_eq!(super::lines(&none, false, Style::Plain), ["a/b wrote no tests: no key"]);
    }
}
