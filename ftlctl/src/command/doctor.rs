//! `ftlctl doctor`: what works here.

use ftl_proto::v1;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::render::style::{Style, Tone};
use crate::render::{escape, json};

/// Prints every check with its mark, and what to do about those that did not go well.
pub(crate) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let checks = client.daemon().doctor(v1::DoctorRequest {}).await?.into_inner().checks;
    context.output.json(&json!({"checks": checks.iter().map(json::check).collect::<Vec<_>>()}))?;
    for check in &checks {
        context.output.line(&lines(check, context.output.style))?;
    }
    let failed = checks.iter().any(|check| check.outcome() == v1::CheckOutcome::Failed);
    Ok(Outcome::Exit(if failed { Exit::Failed } else { Exit::Done }))
}

fn lines(check: &v1::Check, style: Style) -> String {
    let (mark, tone) = match check.outcome() {
        v1::CheckOutcome::Ok => ("ok", Tone::Good),
        v1::CheckOutcome::Warning => ("warning", Tone::Warning),
        v1::CheckOutcome::Failed => ("failed", Tone::Bad),
        v1::CheckOutcome::Unspecified => ("unknown", Tone::Faint),
    };
    let mark = style.paint(tone, &format!("{mark:<7}"));
    let mut text = format!("{mark}  {:<20}  {}", escape::name(&check.name), escape::name(&check.detail));
    if !check.remedy.is_empty() {
        text += &format!("\n         remedy: {}", escape::name(&check.remedy));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_names_its_remedy() {
        let check = v1::Check {
            name: "overlay".into(),
            outcome: v1::CheckOutcome::Failed.into(),
            detail: "not permitted".into(),
            remedy: "sysctl x=1".into(),
        };
        assert_eq!(
            lines(&check, Style::Plain),
            "failed   overlay               not permitted\n         remedy: sysctl x=1"
        );
    }
}
