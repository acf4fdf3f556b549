//! `ftlctl test`: the project's checks on what was selected, before it lands.

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_proto::v1::test_event::Event;
use serde_json::{Value, json};

use crate::args;
use crate::choice::{self, Meant};
use crate::connect::Client;
use crate::context::Context;
use crate::decide;
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::event::View;
use crate::render::{check, json};

/// Tries the selection and says what the gate says.
pub(crate) async fn run(context: &Context, args: args::Test) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let root = project::path(&session.project);
    let meant = Meant::read(&args.choose, root, &context.environment.cwd)?;
    let word = tried(context, &client, &session, meant, args.again).await?;
    if !word.ready {
        return Ok(Outcome::Exit(Exit::Failed));
    }
    let command = decide::approve_command(&session.session, &word.digest);
    context.output.line(&format!("approve: {command}{}", choice::words(&args.choose)))?;
    Ok(Outcome::DONE)
}

/// Tries what is meant and shows how that goes. The checks end with this client.
pub(crate) async fn tried(
    context: &Context,
    client: &Client,
    session: &v1::Session,
    meant: Meant,
    again: bool,
) -> Result<v1::ChecksEnded, Failure> {
    let request = v1::TestRequest {
        session: session.session.clone(),
        selection: Some(meant.selection),
        resolutions: meant.resolutions,
        again,
        stop_when_gone: true,
        shown: String::new(),
    };
    let mut events = client.verify().test(request).await?.into_inner();
    let mut view = View::new(context.output.style);
    while let Some(event) = events.message().await? {
        let Some(event) = event.event else { continue };
        if context.output.is_json() {
            context.output.json(&value(session, &event))?;
        } else {
            show(context, &mut view, &event)?;
        }
        if let Event::Word(word) = event {
            return Ok(word);
        }
    }
    Err(Failure::Protocol { what: "ended the checks without a word about them" })
}

fn show(context: &Context, view: &mut View, event: &Event) -> Result<(), Failure> {
    let output = &context.output;
    let say = |view: &mut View, kind: Kind| {
        let event = v1::Event { kind: Some(kind), ..Default::default() };
        view.event(&event).iter().try_for_each(|piece| output.piece(piece))
    };
    match event {
        Event::Begun(begun) => say(view, Kind::ChecksBegun(begun.clone())),
        Event::Waits(_) => output.line("waiting for other checks to end"),
        Event::Notice(notice) => output.line(&check::notice(notice, output.style)),
        Event::Started(started) => {
            view.end().iter().try_for_each(|piece| output.piece(piece))?;
            output.line(&check::started(started, output.style))
        }
        Event::Output(v1::CheckOutput { data, stderr, .. }) => {
            say(view, Kind::Output(v1::Output { data: data.clone(), stderr: *stderr }))
        }
        Event::Ended(ended) => {
            let failed = ended.verdict() != v1::CheckVerdict::Passed;
            if failed && (ended.remembered || !ended.covers.is_empty()) {
                // It did not run before our eyes, or beside another one.
                say(view, Kind::Output(v1::Output { data: ended.tail.clone(), stderr: false }))?;
            }
            say(view, Kind::CheckEnded(ended.clone()))
        }
        Event::Word(word) => say(view, Kind::ChecksEnded(word.clone())),
    }
}

fn value(session: &v1::Session, event: &Event) -> Value {
    let (name, mut value) = match event {
        Event::Begun(begun) => ("checks_begun", check::begun_json(begun)),
        Event::Waits(waits) => ("check_waits", json!({"check": waits.name})),
        Event::Notice(notice) => ("check_notice", json!({"text": notice.text})),
        Event::Started(started) => (
            "check_started",
            json!({
                "check": started.name, "command": started.command,
                "guessed_from": (!started.guessed_from.is_empty()).then_some(&started.guessed_from),
                "guessed_from_new": started.guessed_from_new, "without_changes": started.without_changes,
                "unenforced": started.unenforced,
            }),
        ),
        Event::Output(output) => {
            let mut value = json::bytes("data", &output.data);
            value["stderr"] = output.stderr.into();
            value["without_changes"] = output.without_changes.into();
            ("check_output", value)
        }
        Event::Ended(ended) => ("check_ended", check::ended_json(ended)),
        Event::Word(word) => ("checks_ended", check::word_json(word)),
    };
    value["type"] = name.into();
    value["session"] = session.session.clone().into();
    value
}
