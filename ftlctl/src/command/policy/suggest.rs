//! `ftlctl policy suggest`: rules for what a session was refused.
//!
//! Owns that a human sees the rules before they hold: it was the agent that chose what to ask for.

use ftl_proto::v1;
use serde_json::{Map, json};

use crate::args;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::prompt;
use crate::render::measure::{count, plural};
use crate::render::style::Style;
use crate::render::table::table;
use crate::render::{escape, json};
use crate::scope::{self, Scope};

const HEADINGS: [&str; 2] = ["REQUESTS", "RULE"];

/// Lists the rules, and adds them when that was asked for and agreed to.
pub(super) async fn run(context: &Context, args: args::Suggest) -> Result<Outcome, Failure> {
    let output = &context.output;
    let arg = args::RuleScopeArg { session: args.session.clone(), everywhere: args.everywhere };
    scope::check(context, &args::RuleScopeArg { session: None, ..arg })?;
    let client = context.connect().await?;
    let session = context.session(&client, args.session.as_deref()).await?;
    let request = v1::SuggestRulesRequest { session: session.session.clone(), project: Vec::new() };
    let reply = client.egress().suggest_rules(request).await?.into_inner();
    let scope = if args.everywhere { Scope::Global } else { Scope::Project(session.project) };
    let id = escape::name(&session.session);
    let mut object = Map::new();
    object.insert("session".to_owned(), json!(session.session));
    object.insert("rules".to_owned(), json!(json::egress::suggestions(&reply)));
    if reply.rules.is_empty() {
        object.insert("applied".to_owned(), json!(false));
        output.json(&object.into())?;
        output.line(&format!("session {id} was refused nothing that a rule could allow"))?;
        return Ok(Outcome::DONE);
    }
    output.line(&list(&reply, output.style))?;
    if reply.rules.iter().any(|rule| rule.name_only) {
        output.line(
            "* only the name is known, so the rule means all of the host: it was looked up by a program that \
             does not use the proxy; allow less when you know what it asks for",
        )?;
    }
    let apply = args.apply && (args.yes || agreed(context, &reply, &scope).await?);
    if apply {
        scope.put(&mut object);
        // The session that was asked about, whatever the scope.
        object.insert("session".to_owned(), json!(session.session));
        for rule in reply.rules {
            let added = super::add_rule(&client, &scope, rule.rule).await?;
            super::told(context, &added, &scope)?;
        }
    } else {
        output.line(&format!("add them: ftlctl policy suggest {id} --apply"))?;
    }
    object.insert("applied".to_owned(), json!(apply));
    output.json(&object.into())?;
    Ok(Outcome::DONE)
}

async fn agreed(context: &Context, reply: &v1::SuggestRulesReply, scope: &Scope) -> Result<bool, Failure> {
    let rules = plural(reply.rules.len() as u64, "rule", "rules");
    if !context.output.is_interactive() {
        return Err(Failure::Unasked {
            what: format!("{rules} would be added for {}", scope.text()),
            hint: "look at the rules without --apply, then add --yes".to_owned(),
        });
    }
    prompt::confirm(context, &format!("Add {rules} for {}?", scope.text())).await
}

fn list(reply: &v1::SuggestRulesReply, style: Style) -> String {
    let row = |rule: &v1::SuggestedRule| {
        let mark = if rule.name_only { " *" } else { "" };
        vec![format!("{:>8}", count(rule.requests)), format!("{}{mark}", escape::name(&rule.rule))]
    };
    let rows: Vec<_> = reply.rules.iter().map(row).collect();
    // A rule whose end is cut off would be another rule.
    table(&HEADINGS, &rows, style, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_listed_whole() {
        let rule = v1::SuggestedRule { rule: "allow GET a.b/c".into(), requests: 1200, name_only: false };
        let name = v1::SuggestedRule { rule: "allow c.d".into(), requests: 1, name_only: true };
        let reply = v1::SuggestRulesReply { rules: vec![rule, name] };
        assert_eq!(
            list(&reply, Style::Plain),
            "REQUESTS  RULE\n   1,200  allow GET a.b/c\n       1  allow c.d *"
        );
    }
}
