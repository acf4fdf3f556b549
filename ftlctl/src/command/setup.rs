//! `ftlctl setup`: the image for `--sandbox docker`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ftl_proto::v1;
use ftl_proto::v1::setup_event::Kind;
use serde_json::{Value, json};

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::render::escape;
use crate::render::style::Tone;

/// The longest line of a builder that is shown to people, in characters.
const LONGEST: usize = 160;

/// Makes the image and shows how that goes.
pub(crate) async fn run(context: &Context, args: args::Setup) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let rootfs = args.rootfs.as_deref().map(|path| absolute(path, &context.environment.cwd));
    let request = v1::SetupRequest {
        rootfs: rootfs.unwrap_or_default(),
        usual_base: args.usual_base,
        agents: args.agents,
        rebuild: args.rebuild,
    };
    let mut events = client.setup().setup(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let Some(kind) = event.kind else { continue };
        context.output.json(&value(&kind))?;
        show(&context.output, &kind)?;
    }
    context.output.moving(None)?;
    Ok(Outcome::DONE)
}

fn absolute(path: &Path, cwd: &Path) -> Vec<u8> {
    cwd.join(path).as_os_str().as_bytes().to_vec()
}

fn show(output: &Output, kind: &Kind) -> Result<(), Failure> {
    let style = output.style;
    match kind {
        Kind::Step(step) => {
            let title = match step.title.as_str() {
                "base" => "the base image",
                "agents" => "the agents",
                "helper" => "FTL's helper",
                "check" => "do the agents start?",
                other => other,
            };
            let count = style.paint(Tone::Faint, &format!("[{}/{}]", step.number, step.of));
            output.line(&format!("{count} {}", escape::name(title)))
        }
        Kind::Line(line) if is_bookkeeping(line) => Ok(()),
        Kind::Line(line) => {
            output.line(&style.paint(Tone::Faint, &format!("      {}", escape::name(cut(line)))))
        }
        Kind::Kept(sentence) => output.line(&format!("      {}", escape::name(sentence))),
        Kind::Sent(sent) => output.moving(Some(&sent_text(sent))),
        Kind::Result(result) => output.line(&result_text(result)),
    }
}

/// What a builder says about its own intermediate images and containers.
fn is_bookkeeping(line: &str) -> bool {
    [" ---> ", "--> ", "Removing intermediate container"].iter().any(|start| line.starts_with(start))
}

/// A line that does not fill the screen: steps quote whole scripts.
fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn sent_text(sent: &v1::SetupSent) -> String {
    let percent = sent.bytes.saturating_mul(100).checked_div(sent.total).unwrap_or(100);
    format!("      {percent} % of {} MiB", sent.total >> 20)
}

fn result_text(result: &v1::SetupResult) -> String {
    let agents: Vec<String> =
        result.agents.iter().map(|agent| format!("{} {}", agent.name, agent.version)).collect();
    let agents = if agents.is_empty() { "no agents".to_owned() } else { agents.join(", ") };
    format!(
        "ready: {} with {}\nrun a task in it: ftlctl code --sandbox docker 'TASK'",
        escape::name(&result.tag),
        escape::name(&agents)
    )
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Step(step) => {
            json!({"type": "step", "number": step.number, "of": step.of, "title": step.title})
        }
        Kind::Line(line) => json!({"type": "line", "line": line}),
        Kind::Kept(sentence) => json!({"type": "kept", "what": sentence}),
        Kind::Sent(sent) => json!({"type": "sent", "bytes": sent.bytes, "total": sent.total}),
        Kind::Result(result) => {
            let agents = result.agents.iter().map(|agent| {
                json!({"name": agent.name, "version": agent.version, "program": agent.program, "said": agent.said})
            });
            let rootfs = (!result.rootfs.is_empty()).then_some(&result.rootfs);
            json!({"type": "result", "image": result.image, "tag": result.tag, "rootfs": rootfs,
                   "agents": agents.collect::<Vec<_>>()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_is_there_and_what_to_do_with_it() {
        let agent = v1::InstalledAgent { name: "codex".into(), version: "1.2".into(), ..Default::default() };
        let mut result =
            v1::SetupResult { tag: "ftl-agents:1".into(), agents: vec![agent], ..Default::default() };
        assert!(result_text(&result).starts_with("ready: ftl-agents:1 with codex 1.2\n"));
        result.agents.clear();
        assert!(result_text(&result).contains("with no agents"));
        assert_eq!(value(&Kind::Result(result))["rootfs"], Value::Null);
    }

    #[test]
    fn a_builders_lines_are_short_and_about_the_image() {
        assert!(is_bookkeeping(" ---> 2958c7bed2f5") && !is_bookkeeping("Step 1/4 : FROM x"));
        assert_eq!(cut(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
        assert_eq!(cut(&"é".repeat(LONGEST + 1)), "é".repeat(LONGEST) + "…");
    }

    #[test]
    fn an_empty_file_is_sent_at_once() {
        assert_eq!(sent_text(&v1::SetupSent { bytes: 0, total: 0 }), "      100 % of 0 MiB");
        assert_eq!(sent_text(&v1::SetupSent { bytes: 1 << 20, total: 4 << 20 }), "      25 % of 4 MiB");
    }
}
