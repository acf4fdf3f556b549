//! `ftlctl secret`: credentials, and where each may be used.
//!
//! Owns the refusal of values on the command line: no message here repeats an argument that could be one.

use std::os::unix::ffi::OsStrExt as _;

use ftl_proto::v1;
use ftl_proto::v1::secret_source::From;
use serde_json::{Map, json};

use crate::args::{self, SecretVerb};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::render::style::{Style, Tone};
use crate::render::table::table;
use crate::render::{egress, escape, json};
use crate::scope::{self, Scope};
use crate::value;

const HEADINGS: [&str; 5] = ["NAME", "VENDOR", "FROM", "FOR", "GOES TO"];

/// Runs the verb.
pub(crate) async fn run(context: &Context, args: args::Secret) -> Result<Outcome, Failure> {
    match args.verb {
        SecretVerb::Set(args) => {
            check(&args.name, &args.misplaced, "ftlctl secret set")?;
            let scope = scope::of_credential(context, args.everywhere)?;
            keep(context, &args.name, &scope).await
        }
        SecretVerb::Bind(args) => bind(context, *args).await,
        SecretVerb::List(args) => list(context, &args).await,
        SecretVerb::Rm(args) => remove(context, &args).await,
    }
}

/// Refuses a value on the command line, and a name that is none and may be a value. `command` is what to
/// type before the name.
pub(super) fn check(name: &str, misplaced: &args::Misplaced, command: &str) -> Result<(), Failure> {
    let good = is_name(name);
    let what = match (good, misplaced.words.is_empty()) {
        (true, true) => return Ok(()),
        (_, false) => "a value is never an argument: every program here can read it there",
        (false, true) => "this is not the name of a credential",
    };
    let named = if good { name } else { "NAME" };
    Err(Failure::Usage {
        what: what.to_owned(),
        hint: format!(
            "type `{command} {named}` with a name such as ANTHROPIC_API_KEY, and paste the value when you are \
             asked, or pipe it in; if you typed the value just now, it is in your shell's history: remove it \
             there, or have a new one made"
        ),
    })
}

/// Whether it has the form of an environment variable's name.
fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// Reads a value and has it kept.
pub(super) async fn keep(context: &Context, name: &str, scope: &Scope) -> Result<Outcome, Failure> {
    let output = &context.output;
    let client = context.connect().await?;
    let value = value::read(context, &escape::name(name)).await?;
    if value.trim() != value {
        output.note("note: the value begins or ends with a space, which is kept")?;
    }
    let request = v1::SetSecretRequest { name: name.to_owned(), value, project: scope.project() };
    let reply = client.secrets().set(request).await?.into_inner();
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name));
    scope.put(&mut object);
    object.insert("replaced".to_owned(), json!(reply.replaced));
    object.insert("vendor".to_owned(), json!(reply.vendor));
    object.insert("hosts".to_owned(), json!(reply.hosts));
    output.json(&object.into())?;
    output.line(&output.style.paint(Tone::Good, &kept(name, scope, &reply)))?;
    if name.starts_with("FTL_S3_") {
        output.line("`ftlctl snapshots push` and `pull` use it, and no sandbox gets it")?;
    } else if reply.hosts.is_empty() {
        let line = format!(
            "it is bound to no host yet, so it goes nowhere: \
             `ftlctl secret bind {}{} --host HOST --header 'Authorization: Bearer {{}}'`",
            escape::name(name),
            scope.option()
        );
        output.line(&output.style.paint(Tone::Warning, &line))?;
    }
    Ok(Outcome::DONE)
}

fn kept(name: &str, scope: &Scope, reply: &v1::SetSecretReply) -> String {
    let done = if reply.replaced { "replaced" } else { "kept" };
    let vendor =
        if reply.vendor.is_empty() { String::new() } else { format!(" ({})", escape::name(&reply.vendor)) };
    let hosts = if reply.hosts.is_empty() {
        String::new()
    } else {
        format!("; it goes to {}", egress::names(&reply.hosts))
    };
    format!("{done} {}{vendor} for {}{hosts}", escape::name(name), scope.text())
}

async fn bind(context: &Context, args: args::BindSecret) -> Result<Outcome, Failure> {
    check(&args.name, &args::Misplaced { words: Vec::new() }, "ftlctl secret bind")?;
    let scope = scope::of_credential(context, args.everywhere)?;
    let output = &context.output;
    let request = binding(args, scope.project());
    let name = request.name.clone();
    let client = context.connect().await?;
    let reply = client.secrets().bind(request).await?.into_inner();
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name));
    scope.put(&mut object);
    object.insert("bindings".to_owned(), json!(reply.bindings));
    if !reply.warning.is_empty() {
        object.insert("warning".to_owned(), json!(reply.warning));
    }
    output.json(&object.into())?;
    output.line(&format!("bound {} for {}", escape::name(&name), scope.text()))?;
    for binding in &reply.bindings {
        output.line(&format!("  {}", escape::name(binding)))?;
    }
    if !reply.warning.is_empty() {
        let line = format!("warning: {}", escape::name(&reply.warning));
        output.line(&output.style.paint(Tone::Warning, &line))?;
    }
    Ok(Outcome::DONE)
}

fn binding(args: args::BindSecret, project: Vec<u8>) -> v1::BindSecretRequest {
    let from = match (args.from_env, args.from_command, args.from_keyring) {
        (Some(variable), _, _) => Some(From::Env(variable)),
        (None, true, _) => {
            let argv = args.command.iter().map(|word| word.as_bytes().to_vec()).collect();
            Some(From::Command(v1::SecretCommand { argv }))
        }
        (None, false, keyring) => keyring.map(From::Keyring),
    };
    let basic = match args.basic {
        Some(args::Basic::User) => "user",
        Some(args::Basic::Password) => "password",
        None => "",
    };
    v1::BindSecretRequest {
        name: args.name,
        hosts: args.hosts,
        header: args.header.unwrap_or_default(),
        basic: basic.to_owned(),
        query: args.query.unwrap_or_default(),
        methods: args.methods.iter().map(|method| method.to_ascii_uppercase()).collect(),
        paths: args.paths,
        source: from.map(|from| v1::SecretSource { from: Some(from) }),
        project,
        optional: args.optional,
    }
}

async fn list(context: &Context, args: &args::ListSecrets) -> Result<Outcome, Failure> {
    let output = &context.output;
    let scope = scope::of_credential(context, args.everywhere)?;
    let client = context.connect().await?;
    let request = v1::ListSecretsRequest { project: scope.project() };
    let secrets = client.secrets().list(request).await?.into_inner().secrets;
    for secret in &secrets {
        output.json(&json::egress::secret(secret))?;
    }
    if args.verbose {
        secrets.iter().try_for_each(|secret| output.line(&entry(secret, output.style)))?;
    } else if !secrets.is_empty() {
        let rows: Vec<_> = secrets.iter().map(row).collect();
        output.line(&table(&HEADINGS, &rows, output.style, None))?;
        output.line("`ftlctl secret list --verbose` says every way in which each may travel")?;
    }
    if secrets.is_empty() && !output.is_json() {
        output.note("no credentials; `ftlctl auth NAME` keeps one")?;
    }
    Ok(Outcome::DONE)
}

/// A credential in one line.
fn row(secret: &v1::Secret) -> Vec<String> {
    let whose = if secret.project.is_empty() { "every project" } else { "this project" };
    let goes = match (secret.problem.is_empty(), secret.hosts.as_slice()) {
        (false, _) => format!("cannot be used: {}", escape::name(&secret.problem)),
        (true, []) => "bound to no host".to_owned(),
        (true, [one]) => escape::name(one),
        (true, [one, more @ ..]) => format!("{} and {} more", escape::name(one), more.len()),
    };
    let vendor = if secret.vendor.is_empty() { "-".to_owned() } else { escape::name(&secret.vendor) };
    vec![escape::name(&secret.name), vendor, escape::name(&secret.source), whose.to_owned(), goes]
}

/// A credential: where it comes from, whose it is, and every way in which it may travel.
fn entry(secret: &v1::Secret, style: Style) -> String {
    let mut facts = vec![escape::name(&secret.source)];
    if !secret.vendor.is_empty() {
        facts.push(escape::name(&secret.vendor));
    }
    let scope =
        if secret.project.is_empty() { Scope::Global } else { Scope::Project(secret.project.clone()) };
    facts.push(scope.text());
    let name = style.paint(Tone::Heading, &escape::name(&secret.name));
    let mut text = format!("{name}  {}", facts.join(" · "));
    for binding in &secret.bindings {
        text += &format!("\n  {}", escape::name(binding));
    }
    if secret.bindings.is_empty() {
        text += &format!("\n  {}", style.paint(Tone::Faint, "bound to no host"));
    }
    if !secret.problem.is_empty() {
        let problem = format!("cannot be used: {}", escape::name(&secret.problem));
        text += &format!("\n  {}", style.paint(Tone::Warning, &problem));
    }
    text
}

async fn remove(context: &Context, args: &args::RemoveSecret) -> Result<Outcome, Failure> {
    let scope = scope::of_credential(context, args.everywhere)?;
    let client = context.connect().await?;
    let request = v1::RemoveSecretRequest { name: args.name.clone(), project: scope.project() };
    let name = escape::name(&args.name);
    if !client.secrets().remove(request).await?.into_inner().removed {
        let request = v1::ListSecretsRequest { project: scope.project() };
        let secrets = client.secrets().list(request).await?.into_inner().secrets;
        return Err(unkept(&args.name, &scope, &secrets));
    }
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(args.name));
    scope.put(&mut object);
    object.insert("removed".to_owned(), json!(true));
    context.output.json(&object.into())?;
    context.output.line(&format!("removed {name} for {}", scope.text()))?;
    Ok(Outcome::DONE)
}

/// Why a credential cannot be forgotten.
fn unkept(name: &str, scope: &Scope, secrets: &[v1::Secret]) -> Failure {
    let shown = escape::name(name);
    let there = secrets.iter().find(|secret| secret.name == name);
    let (what, hint) = match there {
        Some(secret) if !secret.project.is_empty() => (
            format!(
                "{shown} is not kept by FTL: it stands in the project's {}",
                escape::name(&secret.source)
            ),
            "take it out of that file with an editor, and the next session does not get it".to_owned(),
        ),
        Some(_) => (
            format!("there is no credential {shown} for {}, but one for every project", scope.text()),
            format!("`ftlctl secret rm {shown} --global` removes that"),
        ),
        None => (
            format!("there is no credential {shown} for {}", scope.text()),
            "`ftlctl secret list` shows what there is".to_owned(),
        ),
    };
    Failure::Missing { what, hint }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};
    use crate::failure::Exit;

    fn parse(line: &[&str]) -> Option<args::Secret> {
        let words = ["ftlctl", "secret"].iter().chain(line);
        match Cli::try_parse_from(words).ok()?.verb? {
            Verb::Secret(args) => Some(args),
            _ => None,
        }
    }

    #[test]
    fn a_value_on_the_command_line_is_refused_and_not_repeated() {
        for (name, words) in [
            ("API_KEY", &["hunter2"][..]),
            ("API_KEY", &["--value", "hunter2"]),
            ("API_KEY", &["-hunter2"]),
            ("API_KEY=hunter2", &[]),
            ("sk-hunter2", &[]),
        ] {
            let line: Vec<&str> = ["set", name].iter().chain(words).copied().collect();
            let SecretVerb::Set(args) = parse(&line).unwrap().verb else { panic!() };
            let report = check(&args.name, &args.misplaced, "ftlctl secret set").unwrap_err().report();
            assert_eq!(report.exit, Exit::Usage);
            assert!(!report.text(Style::Plain).contains("hunter2"), "{report:?}");
            assert!(report.hint.unwrap().contains("history"));
        }
        let SecretVerb::Set(args) = parse(&["set", "A_1", "--global", "--json"]).unwrap().verb else {
            panic!()
        };
        assert!(args.everywhere && check(&args.name, &args.misplaced, "x").is_ok());
    }

    #[test]
    fn a_binding_says_where_and_from_what() {
        let bound = |line: &[&str]| match parse(line).map(|args| args.verb) {
            Some(SecretVerb::Bind(args)) => Some(binding(*args, Vec::new())),
            _ => None,
        };
        let one =
            bound(&["bind", "K", "--host", "a.b", "--host", "c", "--header", "X: {}", "--method", "get"]);
        let one = one.unwrap();
        assert_eq!((one.hosts.len(), one.header.as_str(), one.methods[0].as_str()), (2, "X: {}", "GET"));
        let two = bound(&["bind", "K", "--from-command", "--", "gh", "auth", "--token"]).unwrap();
        let Some(From::Command(command)) = two.source.unwrap().from else { panic!() };
        assert_eq!(command.argv, [b"gh".to_vec(), b"auth".to_vec(), b"--token".to_vec()]);
        for nonsense in [
            &["bind", "K"][..],
            &["bind", "K", "--header", "X: {}"],
            &["bind", "K", "--host", "a", "--header", "X: {}", "--query", "k"],
            &["bind", "K", "--host", "a", "--basic", "both"],
            &["bind", "K", "--from-command"],
            &["bind", "K", "--host", "a", "--", "gh"],
            &["bind", "K", "--from-env", "A", "--from-keyring", "b/c"],
        ] {
            assert!(bound(nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_list_is_harmless_and_says_what_is_wrong() {
        let secret = v1::Secret {
            name: "K".into(),
            source: "command x\x1b".into(),
            bindings: vec!["header X to a.b".into()],
            project: b"/p".to_vec(),
            problem: "it failed".into(),
            ..Default::default()
        };
        assert_eq!(
            entry(&secret, Style::Plain),
            "K  command x\\x1b · project /p\n  header X to a.b\n  cannot be used: it failed"
        );
        let bare = v1::Secret { name: "K".into(), source: ".env".into(), ..Default::default() };
        assert_eq!(entry(&bare, Style::Plain), "K  .env · every project\n  bound to no host");
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        let secret = |name: &str, hosts: &[&str]| v1::Secret {
            name: name.into(),
            source: ".env".into(),
            project: b"/p".to_vec(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..Default::default()
        };
        assert_eq!(row(&secret("K", &[])), ["K", "-", ".env", "this project", "bound to no host"]);
        let many = v1::Secret { vendor: "GitHub".into(), ..secret("K", &["a.b", "c.d", "e.f"]) };
        assert_eq!(row(&many), ["K", "GitHub", ".env", "this project", "a.b and 2 more"]);
        let broken = v1::Secret { problem: "it failed".into(), ..secret("K", &["a.b"]) };
        assert_eq!(row(&broken)[4], "cannot be used: it failed");
    }

    #[test]
    fn what_lies_in_a_file_of_the_project_is_taken_out_there() {
        let dotenv = v1::Secret {
            name: "K".into(),
            source: "web/.env".into(),
            project: b"/p".to_vec(),
            ..Default::default()
        };
        let global = v1::Secret { name: "G".into(), source: "credentials".into(), ..Default::default() };
        let all = [dotenv, global];
        let said = |name: &str| {
            let report = unkept(name, &Scope::Project(b"/p".to_vec()), &all).report();
            format!("{report:?}")
        };
        assert!(said("K").contains("it stands in the project's web/.env") && said("K").contains("editor"));
        assert!(said("G").contains("ftlctl secret rm G --global"));
        assert!(said("X").contains("there is no credential X"));
    }
}
