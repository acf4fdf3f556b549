//! `ftlctl policy`: what sessions may reach.
//!
//! Owns the way from words to a rule's text. Must not understand rules: the daemon reads them.

use ftl_proto::v1;
use serde_json::{Map, json};

use crate::args::{self, PolicyVerb, RuleScopeArg};
use crate::connect::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::render::measure::plural;
use crate::render::style::{Style, Tone};
use crate::render::table::table;
use crate::render::{egress, escape, json};
use crate::scope::{self, Scope};

mod suggest;

const HEADINGS: [&str; 3] = ["NO", "FROM", "RULE"];

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: args::Policy) -> Result<Outcome, Failure> {
    match args.verb {
        PolicyVerb::Show(args) => show(context, &args.scope).await,
        PolicyVerb::Allow(args) => add(context, &args.scope, rule("allow", &args.words)).await,
        PolicyVerb::Deny(args) => add(context, &args.scope, rule("deny", &args.words)).await,
        PolicyVerb::Private(args) => add(context, &args.scope, rule("private", &[args.authority])).await,
        PolicyVerb::Preset(args) => add(context, &args.scope, rule("preset", &[args.name])).await,
        PolicyVerb::Limit(args) => {
            let burst = args.burst.map_or_else(String::new, |burst| format!(" burst {burst}"));
            add(context, &args.scope, format!("limit {} {}{burst}", args.host, args.rate)).await
        }
        PolicyVerb::Alias(args) => add(context, &args.scope, rule("alias", &[args.name, args.target])).await,
        PolicyVerb::Rm(args) => remove(context, &args.scope, args.words.join(" ").trim().to_owned()).await,
        PolicyVerb::Test(args) => test(context, args).await,
        PolicyVerb::Suggest(args) => suggest::run(context, args).await,
        PolicyVerb::Answer(args) => answer(context, args).await,
    }
}

/// The rule's text. A rule that is pasted as it is shown brings its verb along, which is not said twice.
fn rule(verb: &str, words: &[String]) -> String {
    let text = words.join(" ");
    let text = text.trim();
    let rest = text.strip_prefix(verb).filter(|rest| rest.starts_with(' ')).unwrap_or(text);
    format!("{verb} {}", rest.trim_start())
}

async fn show(context: &Context, arg: &RuleScopeArg) -> Result<Outcome, Failure> {
    scope::check(context, arg)?;
    let output = &context.output;
    let client = context.connect().await?;
    let scope = scope::of_rule(context, &client, arg).await?;
    let request = v1::ShowPolicyRequest { project: scope.project(), session: scope.session() };
    let reply = client.egress().show_policy(request).await?.into_inner();
    output.json(&json::egress::policy(&reply))?;
    output.line(&policy(&reply, &scope, output.style))?;
    Ok(Outcome::DONE)
}

fn policy(reply: &v1::ShowPolicyReply, scope: &Scope, style: Style) -> String {
    let mut text = format!("policy for {} · preset {}", scope.text(), escape::name(&reply.preset));
    text = style.paint(Tone::Heading, &text);
    if !reply.problem.is_empty() {
        let problem = format!("warning: {}", escape::name(&reply.problem));
        text += &format!("\n{}", style.paint(Tone::Warning, &problem));
    }
    if reply.rules.is_empty() {
        return text + "\nno rules";
    }
    let row = |rule: &v1::PolicyRule| {
        vec![format!("{:>2}", rule.number), escape::name(&rule.source), escape::name(&rule.text)]
    };
    let rows: Vec<_> = reply.rules.iter().map(row).collect();
    // A rule whose end is cut off would be another rule.
    text + "\n" + &table(&HEADINGS, &rows, style, None)
}

async fn add(context: &Context, arg: &RuleScopeArg, rule: String) -> Result<Outcome, Failure> {
    scope::check(context, arg)?;
    let client = context.connect().await?;
    let scope = scope::of_rule(context, &client, arg).await?;
    let reply = add_rule(&client, &scope, rule).await?;
    let mut object = Map::new();
    object.insert("rule".to_owned(), json!(reply.rule));
    scope.put(&mut object);
    if !reply.warning.is_empty() {
        object.insert("warning".to_owned(), json!(reply.warning));
    }
    context.output.json(&object.into())?;
    told(context, &reply, &scope)?;
    Ok(Outcome::DONE)
}

async fn add_rule(client: &Client, scope: &Scope, rule: String) -> Result<v1::AddRuleReply, Failure> {
    let request = v1::AddRuleRequest {
        rule,
        scope: scope.wire().into(),
        project: scope.project(),
        session: scope.session(),
    };
    Ok(client.egress().add_rule(request).await?.into_inner())
}

/// Says that a rule holds, and what is to be known about it.
fn told(context: &Context, reply: &v1::AddRuleReply, scope: &Scope) -> Result<(), Failure> {
    let output = &context.output;
    let line = format!("in force for {}: {}", scope.text(), escape::name(&reply.rule));
    output.line(&output.style.paint(Tone::Good, &line))?;
    if !reply.warning.is_empty() {
        let line = format!("warning: {}", escape::name(&reply.warning));
        output.line(&output.style.paint(Tone::Warning, &line))?;
    }
    Ok(())
}

async fn remove(context: &Context, arg: &RuleScopeArg, rule: String) -> Result<Outcome, Failure> {
    scope::check(context, arg)?;
    let client = context.connect().await?;
    let scope = scope::of_rule(context, &client, arg).await?;
    let request = v1::RemoveRuleRequest {
        rule: rule.clone(),
        scope: scope.wire().into(),
        project: scope.project(),
        session: scope.session(),
    };
    let reply = client.egress().remove_rule(request).await?.into_inner();
    let (Some(gone), 1..) = (&reply.rule, reply.removed) else { return Err(kept(&rule, &reply, &scope)) };
    let mut object = Map::new();
    object.insert("rule".to_owned(), json!(gone.text));
    scope.put(&mut object);
    object.insert("source".to_owned(), json!(gone.source));
    object.insert("removed".to_owned(), json!(reply.removed));
    context.output.json(&object.into())?;
    // A number may have meant a rule of a wider scope.
    let of = match gone.source.as_str() {
        "global" => Scope::Global.text(),
        _ => scope.text(),
    };
    context.output.line(&format!("removed for {of}: {}", escape::name(&gone.text)))?;
    Ok(Outcome::DONE)
}

/// Why nothing was taken away.
fn kept(words: &str, reply: &v1::RemoveRuleReply, scope: &Scope) -> Failure {
    let (shown, option) = (escape::name(words), scope.option());
    if !reply.candidates.is_empty() {
        let line = |rule: &v1::PolicyRule| {
            format!("\n  ftlctl policy rm{option} {:<3}  {}", rule.number, escape::name(&rule.text))
        };
        let lines: String = reply.candidates.iter().map(line).collect();
        let rules = plural(reply.candidates.len() as u64, "rule", "rules");
        return Failure::Usage {
            what: format!("`{shown}` means {rules} for {}", scope.text()),
            hint: format!("name one of them:{lines}"),
        };
    }
    let (what, hint) = match &reply.rule {
        Some(rule) => {
            let (text, source) = (escape::name(&rule.text), escape::name(&rule.source));
            let deny = text.strip_prefix("allow ").map(|rest| format!("ftlctl policy deny{option} '{rest}'"));
            let hint = match deny {
                Some(deny) => format!("a rule of yours outranks it: {deny}"),
                None => format!("a rule of yours outranks it; `ftlctl policy show{option}` lists all"),
            };
            (format!("`{text}` is no rule of yours: it comes with {source}"), hint)
        }
        None => (
            format!("there is no rule `{shown}` for {}", scope.text()),
            format!("`ftlctl policy show{option}` lists the rules with their numbers"),
        ),
    };
    Failure::Missing { what, hint }
}

async fn test(context: &Context, args: args::TestPolicy) -> Result<Outcome, Failure> {
    scope::check(context, &args.scope)?;
    let output = &context.output;
    let client = context.connect().await?;
    let scope = scope::of_rule(context, &client, &args.scope).await?;
    let request = v1::TestPolicyRequest {
        url: args.url,
        method: args.method.to_ascii_uppercase(),
        project: scope.project(),
        session: scope.session(),
    };
    let reply = client.egress().test_policy(request.clone()).await?.into_inner();
    output.json(&json::egress::verdict(&request, &reply))?;
    output.line(&verdict(&request, &reply, output.style))?;
    Ok(Outcome::Exit(if reply.allowed { Exit::Done } else { Exit::Refused }))
}

fn verdict(request: &v1::TestPolicyRequest, reply: &v1::TestPolicyReply, style: Style) -> String {
    let (word, tone) = if reply.allowed { ("allowed", Tone::Good) } else { ("refused", Tone::Bad) };
    let what = format!("{word}: {} {}", escape::name(&request.method), escape::name(&request.url));
    let mut text = style.paint(tone, &what);
    let mut fact = |label: &str, fact: String| {
        if !fact.is_empty() {
            text += &format!("\n  {label:<11}  {fact}");
        }
    };
    fact("because", escape::name(&reply.reason));
    fact("rule", escape::name(&reply.rule));
    fact("from", escape::name(&reply.source));
    fact("address", escape::name(&reply.address));
    fact("credentials", egress::names(&reply.credentials));
    let mut warn = |warning: &str| {
        if !warning.is_empty() {
            let warning = format!("warning: {}", escape::name(warning));
            text += &format!("\n{}", style.paint(Tone::Warning, &warning));
        }
    };
    if reply.unresolved {
        warn("the name cannot be resolved on this machine now, so the request would fail");
    }
    warn(&reply.problem);
    if !reply.hint.is_empty() {
        text += &format!("\n{} {}", style.paint(Tone::Good, "hint:"), escape::name(&reply.hint));
    }
    text
}

async fn answer(context: &Context, args: args::AnswerEgress) -> Result<Outcome, Failure> {
    let client = context.connect().await?;
    let session = context.session(&client, Some(&args.session)).await?.session;
    let (answer, word) = match args.answer {
        args::EgressAnswer::Once => (v1::EgressAnswer::Once, "once"),
        args::EgressAnswer::Session => (v1::EgressAnswer::Session, "session"),
        args::EgressAnswer::Always => (v1::EgressAnswer::Always, "always"),
        args::EgressAnswer::No => (v1::EgressAnswer::No, "no"),
    };
    let request = v1::AnswerRequest { session: session.clone(), ask: args.ask, answer: answer.into() };
    if !client.egress().answer(request).await?.into_inner().waiting {
        return Err(Failure::Missing {
            what: format!(
                "nobody waits for an answer to question {} of {}",
                args.ask,
                escape::name(&session)
            ),
            hint: format!(
                "`ftlctl logs --egress --session {}` tells what became of it",
                escape::name(&session)
            ),
        });
    }
    let value = json!({"session": session, "ask": args.ask, "answer": word, "waiting": true});
    context.output.json(&value)?;
    context.output.line(&format!("answered question {} of {}: {word}", args.ask, escape::name(&session)))?;
    Ok(Outcome::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_words_as_they_stand() {
        let rule = |verb: &str, text: &str| {
            super::rule(verb, &text.split(' ').map(str::to_owned).collect::<Vec<_>>())
        };
        let table = [
            ("allow", "GET api.example.com/v1/", "allow GET api.example.com/v1/"),
            ("allow", "https://api.example.com/v1/x", "allow https://api.example.com/v1/x"),
            ("allow", "allow GET a.b", "allow GET a.b"),
            ("allow", "allow.example.com", "allow allow.example.com"),
            ("deny", "*.example.com", "deny *.example.com"),
        ];
        for (verb, text, expected) in table {
            assert_eq!(rule(verb, text), expected);
        }
        assert_eq!(super::rule("allow", &["GET a.b/".to_owned()]), "allow GET a.b/");
    }

    #[test]
    fn a_policy_shows_where_each_rule_comes_from() {
        let rule = |number, text: &str, source: &str| v1::PolicyRule {
            text: text.into(),
            source: source.into(),
            number,
        };
        let reply = v1::ShowPolicyReply {
            preset: "locked".into(),
            rules: vec![rule(1, "allow a.b", "project"), rule(10, "deny c\x1b", "preset locked")],
            problem: "line 3 is no rule".into(),
        };
        assert_eq!(
            policy(&reply, &Scope::Global, Style::Plain),
            "policy for every project · preset locked\nwarning: line 3 is no rule\n\
             NO  FROM           RULE\n 1  project        allow a.b\n10  preset locked  deny c\\x1b"
        );
    }

    #[test]
    fn a_verdict_says_why_and_what_would_change_it() {
        let request = v1::TestPolicyRequest {
            url: "https://a.b/c".into(),
            method: "POST".into(),
            ..Default::default()
        };
        let refused = v1::TestPolicyReply {
            reason: "no rule allows it".into(),
            hint: "ftlctl policy allow 'POST a.b/c'".into(),
            ..Default::default()
        };
        assert_eq!(
            verdict(&request, &refused, Style::Plain),
            "refused: POST https://a.b/c\n  because      no rule allows it\nhint: ftlctl policy allow 'POST a.b/c'"
        );
        let allowed = v1::TestPolicyReply {
            allowed: true,
            rule: "allow a.b".into(),
            source: "project".into(),
            credentials: vec!["K".into(), "L".into()],
            unresolved: true,
            problem: "line 3 is no rule".into(),
            ..Default::default()
        };
        assert_eq!(
            verdict(&request, &allowed, Style::Plain),
            "allowed: POST https://a.b/c\n  rule         allow a.b\n  from         project\n  credentials  K, L\n\
             warning: the name cannot be resolved on this machine now, so the request would fail\n\
             warning: line 3 is no rule"
        );
    }

    #[test]
    fn what_is_not_taken_away_says_why_and_what_to_type() {
        let rule = |number, text: &str, source: &str| v1::PolicyRule {
            text: text.into(),
            source: source.into(),
            number,
        };
        let said =
            |reply: &v1::RemoveRuleReply| kept("a.b", reply, &Scope::Global).report().text(Style::Plain);
        let several = v1::RemoveRuleReply {
            candidates: vec![rule(3, "allow GET a.b/x", "global"), rule(12, "deny a.b", "global")],
            ..Default::default()
        };
        assert_eq!(
            said(&several),
            "error: `a.b` means 2 rules for every project\n\nhint: name one of them:\n  \
             ftlctl policy rm --global 3    allow GET a.b/x\n  ftlctl policy rm --global 12   deny a.b"
        );
        let foreign =
            v1::RemoveRuleReply { rule: Some(rule(4, "allow a.b", "credential K")), ..Default::default() };
        assert_eq!(
            said(&foreign),
            "error: `allow a.b` is no rule of yours: it comes with credential K\n\n\
             hint: a rule of yours outranks it: ftlctl policy deny --global 'a.b'"
        );
        assert!(said(&v1::RemoveRuleReply::default()).contains("there is no rule `a.b`"));
    }
}
