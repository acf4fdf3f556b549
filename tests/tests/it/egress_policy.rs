//! What the human has to say: questions, rules that change while sessions run, and the ledger.

use std::path::Path;

use ftl_proto::v1;
use ftl_proto::v1::egress_service_client::EgressServiceClient;
use ftl_proto::v1::event::Kind;
use ftl_tests::client::Client;
use ftl_tests::online::{HOST, KEY, Online, REAL, Setup};
use ftl_tests::upstream::Service;
use ftl_tests::world::{Said, Who, World};
use serde_json::{Value, json};

/// A host of the server that no rule allows.
const ASKED: &str = "asked.example.com";

fn online() -> Online {
    let online = Setup::new().service(ASKED, Service::Test).start();
    online.world.ok(["policy", "rm", &format!("allow {ASKED}")]);
    online
}

/// The lines of `logs --egress --json` of a session.
fn ledger(online: &Online) -> Vec<Value> {
    online.world.json_lines(0, ["logs", "--egress", "--session", online.session()])
}

/// Runs a script while somebody watches who gives these answers, one after the other.
fn answered(online: &Online, script: &str, answers: &[v1::EgressAnswer]) -> (Said, Vec<v1::EgressAsked>) {
    answered_after(online, script, None, answers)
}

/// Like [`answered`], after an answer to the first question that the full audit log does not take.
fn answered_after(
    online: &Online,
    script: &str,
    unrecorded: Option<v1::EgressAnswer>,
    answers: &[v1::EgressAnswer],
) -> (Said, Vec<v1::EgressAsked>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = Client::connect(&online.world.socket()).await.unwrap();
        let mut egress = EgressServiceClient::new(client.channel.clone());
        let last = client.until_idle(online.session(), 0).await.unwrap().last().map_or(0, |event| event.seq);
        let request = v1::WatchRequest {
            session: online.session().into(),
            from_seq: last + 1,
            follow: true,
            answers_egress: true,
            ..Default::default()
        };
        let mut events = client.sessions.watch(request).await.unwrap().into_inner();
        let mut command = online.command(&["sh", "-c", script]);
        let running = tokio::task::spawn_blocking(move || command.output().unwrap());
        let mut asked = Vec::new();
        let mut unrecorded = unrecorded;
        for answer in answers {
            loop {
                let event = events.message().await.unwrap().unwrap();
                let Some(Kind::EgressAsked(question)) = event.kind else { continue };
                let says = |answer: v1::EgressAnswer| v1::AnswerRequest {
                    session: online.session().into(),
                    ask: question.ask,
                    answer: answer.into(),
                };
                if let Some(answer) = unrecorded.take() {
                    crate::audit::fill_log(&online.world);
                    let refused = egress.answer(says(answer)).await.unwrap_err();
                    assert!(refused.message().contains("audit"), "{refused:?}");
                }
                let request = says(*answer);
                assert!(egress.answer(request).await.unwrap().into_inner().waiting);
                asked.push(question);
                break;
            }
        }
        (ftl_tests::world::said(running.await.unwrap()), asked)
    })
}

#[test]
fn a_request_that_no_rule_allows_waits_for_the_human_and_then_goes_on() {
    use v1::EgressAnswer as A;
    let online = online();
    let get = |path: &str| format!("curl -s -o /dev/null -w '%{{http_code}} ' https://{ASKED}{path}; ");
    // Once is for one request alone.
    let script = [get("/echo"), get("/echo")].concat();
    let (said, asked) = answered(&online, &script, &[A::Once, A::No]);
    assert_eq!(said.out, "200 403 ", "{said:#?}");
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("GET", "/echo"));
    assert_eq!(asked[0].rule, format!("allow GET {ASKED}/echo"));
    // For the session: the next request is not asked about.
    let (said, _) = answered(&online, &script, &[A::Session]);
    assert_eq!(said.out, "200 200 ", "{said:#?}");
    // Always: the rule stands in the project's policy from then on.
    let (said, _) = answered(&online, &get("/status/200"), &[A::Always]);
    assert_eq!(said.out, "200 ", "{said:#?}");
    let shown = online.world.ok(["policy", "show"]);
    assert!(shown.contains(&format!("allow GET {ASKED}/status/200")), "{shown}");
    // Nobody watches: nothing waits.
    let said = online.inside(&get("/other"));
    assert_eq!(said.out, "403 ", "{said:#?}");
    assert_eq!(online.upstream.at("/other").len(), 0);
}

#[test]
fn a_lasting_answer_is_recorded_with_its_rule_before_the_rule_is_there() {
    let online = online();
    let get = format!("curl -s -o /dev/null -w %{{http_code}} https://{ASKED}/echo");
    let (said, asked) = answered(&online, &get, &[v1::EgressAnswer::Always]);
    assert_eq!(said.out, "200", "{said:#?}");
    let records = online.world.json_lines(0, ["logs", "--all"]);
    let answer = records.iter().find(|record| record["action"] == "egress_answered").unwrap();
    let detail = &answer["detail"];
    assert_eq!((&detail["rule"], &detail["scope"]), (&json!(asked[0].rule), &json!("project")), "{answer}");
    online.world.ok(["policy", "rm", &asked[0].rule]);
    // The answer that cannot be recorded counts for nothing, and the question still waits.
    let unrecorded = Some(v1::EgressAnswer::Always);
    let (said, _) = answered_after(&online, &get, unrecorded, &[v1::EgressAnswer::No]);
    assert_eq!(said.out, "403", "{said:#?}");
    let shown = online.world.ok(["policy", "show"]);
    assert!(!shown.contains(&asked[0].rule), "{shown}");
}

#[test]
fn an_answer_for_once_is_shown_as_one() {
    let online = online();
    let get = format!("curl -s -o /dev/null -w %{{http_code}} https://{ASKED}/echo");
    let (said, _) = answered(&online, &get, &[v1::EgressAnswer::Once]);
    assert_eq!(said.out, "200", "{said:#?}");
    assert_eq!(ledger(&online).last().unwrap()["source"], "once");
    let shown = online.world.ok(["logs", "--egress", "--session", online.session()]);
    assert!(shown.trim_end().ends_with("allowed once by you"), "{shown}");
}

#[test]
fn a_request_that_reaches_nobody_is_one_row_and_no_credential_was_used() {
    let online = online();
    // Nothing listens there.
    let gone = "gone.example.com";
    online.world.ok(["policy", "allow", gone]);
    let said = online.inside(&format!("curl -s -o /dev/null -w %{{http_code}} https://{gone}/x"));
    assert_eq!(said.out, "502", "{said:#?}");
    let rows = ledger(&online);
    let of: Vec<_> = rows.iter().filter(|row| row["authority"] == format!("{gone}:443")).collect();
    assert_eq!(of.len(), 1, "{rows:#?}");
    assert_eq!(
        (&of[0]["decision"], &of[0]["unsent"], &of[0]["status"]),
        (&json!("allowed"), &json!(true), &json!(0))
    );
    assert_eq!(of[0]["end"], "unresolvable", "{rows:#?}");
}

#[test]
fn rules_count_at_once_and_a_file_that_cannot_be_understood_leaves_the_last_good_ones() {
    let online = online();
    let status =
        || online.inside(&format!("curl -s -o /dev/null -w %{{http_code}} https://{ASKED}/echo")).out;
    assert_eq!(status(), "403");
    let policy = online.world.ftl_home().join("policy");
    write(&policy, &format!("# mine\nallow {ASKED}\n"));
    assert_eq!(status(), "200");
    write(&policy, &format!("allow {ASKED}\nallow *\n"));
    assert_eq!(status(), "200", "the last good rules count");
    let shown = online.world.ok(["policy", "show", "--global"]);
    assert!(shown.contains("line 2"), "the problem is told: {shown}");
    write(&policy, &format!("deny {ASKED}\n"));
    assert_eq!(status(), "403");
    let test = online.world.run(["policy", "test", &format!("https://{ASKED}/echo")]);
    assert_eq!(test.code, 3, "{test:#?}");
    assert!(test.out.contains(&format!("deny {ASKED}")), "{test:#?}");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_ledger_has_every_request_and_no_value() {
    let online = online();
    let script = format!(
        "curl -s -o /dev/null -H \"Authorization: Bearer ${KEY}\" 'https://{HOST}/echo?secret=query'; \
         curl -s -o /dev/null https://{ASKED}/refused; curl -s -o /dev/null https://{ASKED}/refused"
    );
    assert_eq!(online.inside(&script).code, 0);
    let rows = ledger(&online);
    let of = |decision: &str| rows.iter().filter(|row| row["decision"] == decision).collect::<Vec<_>>();
    let allowed = of("allowed");
    assert_eq!(allowed.len(), 1, "{rows:#?}");
    assert_eq!(allowed[0]["authority"], format!("{HOST}:443"));
    assert_eq!(
        (&allowed[0]["method"], &allowed[0]["path"], &allowed[0]["status"]),
        (&json!("GET"), &json!("/echo"), &json!(200))
    );
    assert_eq!(allowed[0]["credentials"], json!([KEY]));
    let refused: u64 = of("refused").iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(refused, 2, "{rows:#?}");
    let suggested = online.world.ok(["policy", "suggest", online.session()]);
    assert!(suggested.contains(&format!("allow GET {ASKED}/refused")), "{suggested}");
    let log = std::fs::read_to_string(online.world.ftl_home().join("audit/log-000001.jsonl")).unwrap();
    // What the human types into `exec` is the human's own and stands there as it was typed.
    let log: String = log.lines().filter(|line| line.contains("\"egress_")).collect();
    assert!(
        !log.contains(REAL) && !log.contains("secret=query") && !log.contains(&online.shadow(KEY)),
        "{log}"
    );
    online.world.ok(["logs", "--verify"]);
}

#[test]
fn a_project_allows_itself_nothing_until_it_is_trusted() {
    let online = Setup::new().service(ASKED, Service::Test).start();
    online.world.ok(["policy", "rm", &format!("allow {ASKED}")]);
    online.world.files(&[(".ftlconfig", &json!({ "egress": [format!("allow {ASKED}")] }).to_string())]);
    let task = format!("curl -s -o /dev/null -w %{{http_code}} https://{ASKED}/echo > status.txt");
    let status = |world: &World| {
        let started = world.shell(&task);
        let session = started["session"].as_str().unwrap();
        world.json(0, ["diff", session])["entries"][0]["hunks"][0]["lines"][0]["text"].clone()
    };
    assert_eq!(status(&online.world), "403");
    online.world.ok(["trust"]);
    assert_eq!(status(&online.world), "200");
}

#[test]
fn a_credential_is_kept_privately_listed_without_its_value_and_gone_when_removed() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let set = |name: &str, value: &str| {
        use std::io::Write as _;
        let mut child =
            world.ftlctl(["secret", "set", name]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    set("STRIPE_SECRET_KEY", "sk_test_51HhAbCdEfGhIjKlMnOpQrStUv");
    let listed = world.ok(["secret", "list"]);
    assert!(listed.contains("STRIPE_SECRET_KEY") && listed.contains("api.stripe.com"), "{listed}");
    assert!(!listed.contains("51HhAbCd"), "{listed}");
    let said = world.run(["secret", "set", "STRIPE_SECRET_KEY", "sk_test_on_the_command_line"]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(!said.err.contains("on_the_command_line"), "{said:#?}");
    world.ok(["secret", "rm", "STRIPE_SECRET_KEY"]);
    assert!(!world.ok(["secret", "list"]).contains("STRIPE_SECRET_KEY"));
}

#[test]
fn a_projects_own_env_file_opens_no_host() {
    let own = "https://user:s3cretDBpassw0rd@asked.example.com/app";
    let online = Setup::new().service(ASKED, Service::Test).env("OWN_URL", own).start();
    online.world.ok(["policy", "rm", &format!("allow {ASKED}")]);
    let said = online.inside(&format!("curl -s -o /dev/null -w %{{http_code}} https://{ASKED}/own"));
    assert_eq!(said.out, "403", "{said:#?}");
    assert!(online.upstream.at("/own").is_empty());
}

#[test]
fn a_value_that_now_goes_elsewhere_is_not_sent_where_the_old_one_went() {
    let value = |host: &str, password: &str| format!("https://user:{password}@{host}/app");
    let (old, new) =
        (value(ASKED, "0ldPassw0rdOfThisHost"), value("other.example.org", "n3wPassw0rdOfAnother"));
    let online = Setup::new().service(ASKED, Service::Test).env("OWN_URL", &old).start();
    // One sandbox, and the human changes the file while it lives.
    let get = "curl -s -o /dev/null -w '%{http_code} ' \"${OWN_URL%/app}/own\"";
    let mut running = online
        .command(&["sh", "-c", &format!("{get}; echo; read line; {get}")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(running.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut out, &mut first).unwrap();
    assert_eq!(first.trim(), "200");
    let env = online.world.project().join(".env");
    let text = std::fs::read_to_string(&env).unwrap().replace(&old, &new);
    write(&env, &text);
    std::io::Write::write_all(&mut running.stdin.take().unwrap(), b"go\n").unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    running.wait().unwrap();
    assert_ne!(rest.trim(), "200", "the value went to a host that it is not for");
    assert_eq!(online.upstream.at("/own").len(), 1);
}

#[test]
fn a_program_that_knows_of_no_proxy_waits_for_the_human_to_allow_the_name() {
    use v1::EgressAnswer as A;
    let online = online();
    let bare = format!("curl --noproxy '*' -s -o /dev/null -w '%{{http_code}} ' https://{ASKED}/echo; ");
    let (said, asked) = answered(&online, &[bare.as_str(), "echo $?"].concat(), &[A::Once]);
    assert_eq!(said.out, "200 0\n", "{said:#?}");
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("", ""));
    assert_eq!(asked[0].rule, format!("allow {ASKED}"));
    // Go has a resolver of its own, and glibc another one.
    let source = format!(
        "package main\nimport (\"fmt\"; \"net\")\nfunc main() {{ a, e := net.LookupHost(\"{ASKED}\"); fmt.Println(len(a), e) }}\n"
    );
    let go = format!(
        "mkdir -p /tmp/g && cd /tmp/g && printf %s '{source}' > m.go && GODEBUG=netdns=go go run m.go"
    );
    let (said, _) = answered(&online, &go, &[A::Once]);
    assert_eq!(said.out, "1 <nil>\n", "{said:#?}");
    let (said, _) = answered(&online, &format!("getent ahostsv4 {ASKED} | wc -l; {bare}"), &[A::Session]);
    assert!(said.out.starts_with("3\n200 "), "{said:#?}");
    online.world.ok(["policy", "rm", "--session", online.session(), &format!("allow {ASKED}")]);
    let (said, _) =
        answered(&online, &format!("getent hosts {ASKED}; echo $?; getent hosts {ASKED}; echo $?"), &[A::No]);
    assert_eq!(said.out, "2\n2\n", "{said:#?}");
    // Nobody watches: no such name, at once.
    let said = online.inside(&format!("getent hosts {ASKED}; echo $?"));
    assert_eq!(said.out, "2\n", "{said:#?}");
}
