//! Tests of the policy.

use proptest::prelude::*;

use super::*;
use crate::egress::path::CanonicalPath;
use crate::egress::rule::Scheme;

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))).collect()
}

fn project(texts: &[&str]) -> Policy {
    Policy::new(Preset::Locked, vec![(Source::Project, rules(texts))])
}

/// What a policy says about `METHOD URL`.
fn ask<T>(request: &str, with: impl Fn(&Facts<'_>) -> T) -> T {
    let (method, url) = request.split_once(' ').unwrap();
    let (scheme, rest) = match url.split_once("://").unwrap() {
        ("http", rest) => (Scheme::Http, rest),
        (_, rest) => (Scheme::Https, rest),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = Authority::parse(authority, Some(scheme.port())).unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    with(&Facts { scheme, authority: &authority, method, path: &path })
}

fn decide(policy: &Policy, request: &str) -> Result<String, Denial> {
    ask(request, |facts| policy.decide(facts)).permit().map(|permit| permit.rule().to_owned())
}

fn reason(policy: &Policy, request: &str) -> Option<Reason> {
    decide(policy, request).err().map(|denial| denial.reason)
}

fn reachable(policy: &Policy, host: &str) -> bool {
    policy.could_reach(&Host::parse(host).unwrap()) == HostVerdict::Reachable
}

#[test]
fn nothing_is_allowed_by_nothing() {
    for policy in [Policy::default(), project(&[]), project(&["deny a.example"]), project(&["preset locked"])]
    {
        for request in ["GET https://a.example/", "GET http://a.example/", "GET https://8.8.8.8/"] {
            assert!(decide(&policy, request).is_err(), "{request}");
        }
        assert!(!reachable(&policy, "a.example"));
    }
}

#[test]
fn the_narrower_rule_of_a_layer_wins_and_a_denial_wins_a_tie() {
    for (texts, request, allowed) in [
        (&["allow a.example", "deny a.example"][..], "GET https://a.example/", false),
        (&["deny *.b.example.com", "allow a.b.example.com"], "GET https://a.b.example.com/", true),
        (&["allow *.b.example.com", "deny a.b.example.com"], "GET https://a.b.example.com/", false),
        (&["allow *.example.com", "deny *.b.example.com"], "GET https://a.b.example.com/", false),
        (&["deny *.example.com", "allow *.b.example.com"], "GET https://a.b.example.com/", true),
        (&["deny *.example.com/v1", "allow a.example.com"], "GET https://a.example.com/v1", true),
        (&["allow a.example", "deny a.example/admin"], "GET https://a.example/admin/x", false),
        (&["allow a.example", "deny a.example/admin"], "GET https://a.example/other", true),
        (&["allow a.example", "deny a.example/admin"], "GET https://a.example/ADMIN", false),
        (&["allow a.example", "deny a.example/admin"], "GET https://a.example//admin", false),
        (&["allow a.example", "deny a.example/admin"], "GET https://a.example/@x%2fy", false),
        (&["allow a.example/admin/ok", "deny a.example/admin"], "GET https://a.example/admin/ok/x", true),
        (&["allow a.example/v1"], "GET https://a.example/v1//x", false),
        (&["allow a.example/v1"], "GET https://a.example/v1;x/y", false),
        (&["allow a.example/v1"], "GET https://a.example/v10", false),
        (&["allow a.example"], "GET https://a.example/@scope%2fname", true),
        (&["allow a.example"], "GET https://a.example:22/", false),
        (&["deny a.example", "allow a.example:8443"], "GET https://a.example:8443/", true),
        (&["deny a.example/x", "allow a.example:8443"], "GET https://a.example:8443/x", false),
        (&["deny a.example:443", "allow GET a.example"], "GET https://a.example/", false),
        (&["deny a.example", "allow GET a.example"], "GET https://a.example/", true),
        (&["deny a.example", "allow GET a.example"], "POST https://a.example/", false),
        (&["allow a.example", "deny POST a.example"], "POST https://a.example/", false),
        (&["allow a.example", "deny POST a.example"], "post https://a.example/", false),
        (&["allow a.example", "deny http://a.example"], "GET http://a.example/", false),
        (&["allow a.example", "deny http://a.example"], "GET https://a.example/", true),
    ] {
        assert_eq!(decide(&project(texts), request).is_ok(), allowed, "{texts:?} {request}");
    }
}

#[test]
fn a_higher_layer_outranks_a_narrower_rule_below() {
    let order = [
        Source::Session,
        Source::Project,
        Source::TrustedConfig,
        Source::Global,
        Source::Credential("KEY".into()),
        Source::Preset(Preset::Balanced),
    ];
    for pair in order.windows(2) {
        let wide = (pair[0].clone(), rules(&["deny *.example.com"]));
        let narrow = (pair[1].clone(), rules(&["allow GET https://a.example.com/v1"]));
        let policy = Policy::new(Preset::Locked, vec![narrow, wide]);
        assert_eq!(reason(&policy, "GET https://a.example.com/v1"), Some(Reason::Denied), "{pair:?}");
        assert!(!reachable(&policy, "a.example.com"), "{pair:?}");
    }
    let policy = Policy::new(
        Preset::Locked,
        vec![
            (Source::Global, rules(&["deny api.example.com"])),
            (Source::Session, rules(&["allow *.example.com"])),
        ],
    );
    assert_eq!(decide(&policy, "GET https://api.example.com/"), Ok("allow *.example.com".into()));
}

#[test]
fn a_permit_says_what_allowed_it() {
    let policy = project(&["private db.corp:5432", "allow a.example"]).with_generation(7);
    let permit = ask("GET http://db.corp:5432/", |facts| policy.decide(facts)).permit().unwrap();
    assert_eq!((permit.rule(), permit.source().to_string()), ("private db.corp:5432", "project".into()));
    assert_eq!((permit.authority().to_string(), permit.scheme()), ("db.corp:5432".into(), Scheme::Http));
    assert_eq!((permit.private_allowed(), permit.generation()), (true, 7));
    let permit = ask("GET https://a.example/", |facts| policy.decide(facts)).permit().unwrap();
    assert!(!permit.private_allowed());
}

#[test]
fn a_denial_says_what_would_allow_it() {
    let policy = project(&["deny b.example/x", "allow GET c.example"]);
    for (request, hint, rule) in [
        ("GET https://a.example/v1/x?q=1", "'GET a.example/v1/x'", Some("allow GET a.example/v1/x")),
        ("POST http://a.example/", "'POST http://a.example'", Some("allow POST http://a.example")),
        ("GET https://a.example:8443/x//y", "'GET a.example:8443'", Some("allow GET a.example:8443")),
        ("GET https://a.example/it's", "'GET a.example/it%27s'", Some("allow GET a.example/it%27s")),
        ("GET https://b.example/x", "ftlctl policy rm 'deny b.example/x'", None),
        ("GET https://8.8.8.8/", "'GET 8.8.8.8'", Some("allow GET 8.8.8.8")),
        ("GET https://10.0.0.1:80/", "ftlctl policy private 10.0.0.1:80", Some("private 10.0.0.1:80")),
        (
            "GET https://dns.google/dns-query",
            "'GET dns.google/dns-query'",
            Some("allow GET dns.google/dns-query"),
        ),
        ("GET http://127.0.0.1/", "the sandbox itself", None),
    ] {
        let denial = decide(&policy, request).unwrap_err();
        assert!(denial.hint.contains(hint), "{request}: {}", denial.hint);
        assert_eq!(denial.would_allow.as_ref().map(|rule| rule.to_string()).as_deref(), rule, "{request}");
        if let Some(rule) = denial.would_allow {
            let mended = Policy::new(Preset::Locked, vec![(Source::Session, vec![*rule])]);
            assert!(decide(&mended, request).is_ok(), "{request}");
        }
    }
}

#[test]
fn addresses_need_a_rule_of_their_own() {
    let none = Policy::new(Preset::Open, Vec::new());
    assert_eq!(reason(&none, "GET https://8.8.8.8/"), Some(Reason::IpLiteral));
    assert_eq!(reason(&none, "GET https://[2606:4700::1]/"), Some(Reason::IpLiteral));
    assert_eq!(reason(&none, "GET https://10.0.0.1/"), Some(Reason::PrivateAddress));
    assert!(!reachable(&none, "8.8.8.8"));

    let some = project(&["allow 8.8.8.8", "allow 10.0.0.1", "private 10.0.0.2:80"]);
    assert_eq!(reason(&some, "GET https://8.8.8.8/"), None);
    assert_eq!(reason(&some, "GET https://[::ffff:8.8.8.8]/"), None);
    assert_eq!(reason(&some, "GET https://8.8.4.4/"), Some(Reason::IpLiteral));
    assert_eq!(reason(&some, "GET https://10.0.0.1/"), Some(Reason::PrivateAddress));
    assert_eq!(reason(&some, "GET https://127.0.0.1/"), Some(Reason::PrivateAddress));
    assert_eq!(reason(&some, "GET http://10.0.0.2/"), None);
    assert_eq!(reason(&some, "GET http://10.0.0.2:81/"), Some(Reason::PrivateAddress));
    let authority = |text| Authority::parse(text, None).unwrap();
    assert!(some.private_allowed(&authority("10.0.0.2:80")));
    assert!(!some.private_allowed(&authority("10.0.0.2:81")));

    // The parser refuses such a rule; one that is made in another way opens nothing either.
    let made = Rule::Private(authority("127.0.0.1:80"));
    let policy = Policy::new(Preset::Locked, vec![(Source::Session, vec![made])]);
    assert_eq!(reason(&policy, "GET http://127.0.0.1/"), Some(Reason::PrivateAddress));

    // Neither an agent nor a credential nor a project's untrusted wish opens the inside.
    for source in [Source::Agent("x".into()), Source::Credential("X".into()), Source::Preset(Preset::Open)] {
        let policy = Policy::new(
            Preset::Locked,
            vec![(source, rules(&["private 10.0.0.2:80", "preset open", "allow 10.0.0.2"]))],
        );
        assert_eq!(reason(&policy, "GET http://10.0.0.2/"), Some(Reason::PrivateAddress));
        assert_eq!(policy.preset(), Preset::Locked);
    }
}

#[test]
fn hosts_that_answer_name_queries_need_an_exact_rule_of_the_human() {
    let open = Policy::new(Preset::Open, vec![(Source::Project, rules(&["allow *.cloudflare-dns.com"]))]);
    for host in ["dns.google", "cloudflare-dns.com", "mozilla.cloudflare-dns.com", "x.dns.nextdns.io"] {
        assert_eq!(reason(&open, &format!("GET https://{host}/dns-query")), Some(Reason::Doh), "{host}");
        assert!(!reachable(&open, host), "{host}");
    }
    for (source, allowed) in [
        (Source::Session, true),
        (Source::Project, true),
        (Source::Global, true),
        (Source::TrustedConfig, false),
        (Source::Agent("x".into()), false),
        (Source::Credential("X".into()), false),
    ] {
        let policy = Policy::new(Preset::Open, vec![(source.clone(), rules(&["allow dns.google"]))]);
        assert_eq!(decide(&policy, "GET https://dns.google/").is_ok(), allowed, "{source}");
        assert_eq!(reachable(&policy, "dns.google"), allowed, "{source}");
    }
}

#[test]
fn once_helps_only_where_no_rule_allows() {
    let policy = project(&["deny b.example"]);
    let once = |request: &str| ask(request, |facts| policy.decide_once(facts)).permit();
    let permit = once("POST https://a.example/v1").unwrap();
    assert_eq!((permit.rule(), permit.source()), ("allow POST a.example/v1", &Source::Once));
    for (request, reason) in [
        ("GET https://b.example/", Reason::Denied),
        ("GET https://8.8.8.8/", Reason::IpLiteral),
        ("GET https://10.0.0.1/", Reason::PrivateAddress),
        ("GET https://dns.google/", Reason::Doh),
    ] {
        assert_eq!(once(request).unwrap_err().reason, reason, "{request}");
    }
}

#[test]
fn balanced_reads_packages_and_sources_and_writes_nothing() {
    let policy = Policy::new(Preset::Balanced, Vec::new());
    for request in [
        "GET https://registry.npmjs.org/@babel%2fcore",
        "HEAD https://pypi.org/simple/requests/",
        "GET https://files.pythonhosted.org/packages/a/b",
        "GET https://index.crates.io/config.json",
        "GET https://static.crates.io/crates/a/a-1.crate",
        "GET https://proxy.golang.org/github.com/!azure/x/@v/list",
        "GET http://deb.debian.org/debian/dists/stable/InRelease",
        "GET http://de.archive.ubuntu.com/ubuntu/",
        "GET https://github.com/o/r.git/info/refs?service=git-upload-pack",
        "POST https://github.com/o/r.git/git-upload-pack",
        "POST https://gitlab.com/g/s/r.git/git-upload-pack",
    ] {
        assert_eq!(reason(&policy, request), None, "{request}");
    }
    for request in [
        "POST https://registry.npmjs.org/x",
        "PUT https://registry.npmjs.org/x",
        "GET http://registry.npmjs.org/x",
        "GET http://github.com/o/r",
        "POST https://github.com/o/r.git/git-receive-pack",
        "POST https://github.com/o/r.git//git-upload-pack",
        "POST https://github.com/o/r.git/git-receive-pack;/git-upload-pack",
        "POST https://github.com/o/r.git/git-receive-pack%2fgit-upload-pack",
        "POST https://github.com/git-upload-pack/settings",
        "GET https://github.com:22/",
        "GET https://api.openai.com/",
        "GET https://pypi.org:8443/",
        "CONNECT https://pypi.org/",
    ] {
        assert_eq!(reason(&policy, request), Some(Reason::NotAllowed), "{request}");
    }
}

#[test]
fn open_means_public_hosts_on_their_usual_ports() {
    let policy = Policy::new(Preset::Open, vec![(Source::Global, rules(&["deny *.bad.example"]))]);
    for request in ["POST https://any.example/x//y", "GET http://any.example/", "GET https://bad.example/"] {
        assert_eq!(decide(&policy, request), Ok("preset open".into()), "{request}");
    }
    for request in [
        "GET https://a.bad.example/",
        "GET https://any.example:22/",
        "GET http://any.example:443/",
        "GET https://localhost/",
        "GET https://db/",
        "GET http://metadata.google.internal/",
        "GET http://printer.local/",
    ] {
        assert!(reason(&policy, request).is_some(), "{request}");
    }
    assert!(reachable(&policy, "any.example") && !reachable(&policy, "a.bad.example"));
}

#[test]
fn the_highest_preset_limit_and_alias_count() {
    let layer = |source, texts: &[&str]| (source, rules(texts));
    let policy = Policy::new(
        Preset::Locked,
        vec![
            layer(Source::Global, &["preset open", "limit a.b.example 9/min", "alias x.ftl.local g.example"]),
            layer(
                Source::Session,
                &[
                    "limit *.b.example 50/min",
                    "alias x.ftl.local s.example",
                    "alias x.ftl.local t.example:8443",
                ],
            ),
            layer(
                Source::Project,
                &[
                    "preset open",
                    "preset balanced",
                    "limit a.c.example 7/min",
                    "limit *.c.example 70/min",
                    "limit a.c.example 6/min burst 3",
                ],
            ),
        ],
    );
    assert_eq!(policy.preset(), Preset::Balanced);
    let limit = |text| policy.limit_for(&Authority::parse(text, None).unwrap()).map(Limit::per_minute);
    assert_eq!(limit("a.b.example:443"), Some(50));
    assert_eq!(limit("a.c.example:80"), Some(6));
    assert_eq!(limit("b.c.example:80"), Some(70));
    assert_eq!(limit("c.example:80"), None);
    let alias = |text| policy.alias(&Host::parse(text).unwrap()).map(|authority| authority.to_string());
    assert_eq!(alias("x.ftl.local"), Some("t.example:8443".into()));
    assert_eq!(alias("y.ftl.local"), None);
    assert!(!reachable(&policy, "x.ftl.local"));
    let policy = project(&["alias x.ftl.local a.example", "allow a.example"]);
    assert!(reachable(&policy, "x.ftl.local"));
}

#[test]
fn a_name_is_reachable_when_any_request_is() {
    for (texts, host, expected) in [
        (&["allow POST a.example:8443/v1"][..], "a.example", true),
        (&["allow *.a.example"], "a.example", false),
        (&["allow *.a.example"], "x.a.example", true),
        (&["allow *.a.example", "deny x.a.example"], "x.a.example", false),
        (&["allow *.a.example", "deny x.a.example/y"], "x.a.example", true),
        (&["allow GET a.example", "deny a.example"], "a.example", true),
        (&["allow a.example", "deny a.example"], "a.example", false),
        (&["private a.example:80"], "a.example", true),
        (&["limit a.example 6/min"], "a.example", false),
    ] {
        assert_eq!(reachable(&project(texts), host), expected, "{texts:?} {host}");
    }
}

#[test]
fn an_explanation_names_the_rule_and_the_next_one() {
    let policy = Policy::new(
        Preset::Balanced,
        vec![
            (Source::Session, rules(&["deny POST github.com"])),
            (Source::Global, rules(&["allow github.com/o"])),
        ],
    );
    let explain = |request| ask(request, |facts| policy.explain(facts));
    let said = explain("POST https://github.com/o/r/git-upload-pack");
    assert_eq!(said.sentence, "refused by `deny POST github.com` (session): a rule denies it");
    assert_eq!(said.runner_up, Some(("allow github.com/o".into(), Source::Global)));
    let said = explain("GET https://github.com/o/r");
    assert_eq!(said.sentence, "allowed by `allow github.com/o` (global)");
    let preset = Source::Preset(Preset::Balanced);
    assert_eq!(said.runner_up, Some(("allow GET,HEAD https://github.com".into(), preset)));
    let said = explain("GET https://a.example/");
    assert_eq!((said.sentence.as_str(), said.decided), ("refused: no rule allows it", None));
}

fn any_rule(verbs: &'static str) -> impl Strategy<Value = Rule> {
    let text = format!(
        "({verbs}) (GET |POST )?(https://|http://)?((\\*\\.)?(a|b\\.a|c\\.b\\.a)\\.example|10\\.0\\.0\\.1|dns\\.google)(:(80|443|8443))?(/v1(/x)?|/\\*\\*/x)?"
    );
    proptest::string::string_regex(&text).unwrap().prop_map(|text| text.parse().unwrap())
}

fn any_layers(verbs: &'static str) -> impl Strategy<Value = Vec<(Source, Vec<Rule>)>> {
    let source = prop_oneof![
        Just(Source::Session),
        Just(Source::Project),
        Just(Source::TrustedConfig),
        Just(Source::Global),
        Just(Source::Agent("x".into())),
        Just(Source::Credential("X".into())),
    ];
    proptest::collection::vec((source, proptest::collection::vec(any_rule(verbs), 0..5)), 0..4)
}

fn any_request() -> impl Strategy<Value = String> {
    "(GET|POST|get) (https|http)://((d\\.)?(a|b\\.a|c\\.b\\.a)\\.example|10\\.0\\.0\\.1|8\\.8\\.8\\.8|dns\\.google)(:(80|443|8443))?(/|/v1|/v1/x|/v10|//v1|/V1;|/y/x)"
}

fn any_preset() -> impl Strategy<Value = Preset> {
    prop_oneof![Just(Preset::Locked), Just(Preset::Balanced), Just(Preset::Open)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn denials_alone_allow_nothing(layers in any_layers("deny"), request in any_request()) {
        let policy = Policy::new(Preset::Locked, layers);
        prop_assert!(decide(&policy, &request).is_err());
    }

    #[test]
    fn one_more_denial_never_allows_more(
        preset in any_preset(),
        layers in any_layers("allow|deny"),
        source in prop_oneof![Just(Source::Session), Just(Source::Global), Just(Source::Agent("y".into()))],
        denial in any_rule("deny"),
        request in any_request(),
    ) {
        let before = Policy::new(preset, layers.clone());
        let after = Policy::new(preset, [layers, vec![(source, vec![denial])]].concat());
        let allowed = |policy: &Policy| decide(policy, &request).is_ok();
        let once = |policy: &Policy| ask(&request, |facts| policy.decide_once(facts)).is_allow();
        prop_assert!(allowed(&before) || !allowed(&after));
        prop_assert!(once(&before) || !once(&after));
        let host = ask(&request, |facts| facts.authority.host.clone());
        let reach = |policy: &Policy| policy.could_reach(&host) == HostVerdict::Reachable;
        prop_assert!(reach(&before) || !reach(&after));
    }

    #[test]
    fn a_denial_of_the_session_for_exactly_the_request_is_final(
        preset in any_preset(),
        layers in any_layers("allow"),
        request in any_request(),
    ) {
        let host = ask(&request, |facts| facts.authority.host.clone());
        let layers: Vec<_> = layers.into_iter().filter(|(source, _)| *source != Source::Session).collect();
        let denial = format!("deny {host}").parse::<Rule>().unwrap();
        let policy = Policy::new(preset, [layers, vec![(Source::Session, vec![denial])]].concat());
        prop_assert!(decide(&policy, &request).is_err());
    }

    #[test]
    fn what_is_allowed_is_reachable(
        preset in any_preset(),
        layers in any_layers("allow|deny"),
        request in any_request(),
    ) {
        let policy = Policy::new(preset, layers);
        let host = ask(&request, |facts| facts.authority.host.clone());
        let reach = policy.could_reach(&host) == HostVerdict::Reachable;
        prop_assert!(reach || decide(&policy, &request).is_err());
    }

    #[test]
    fn the_order_of_layers_and_rules_does_not_matter(
        preset in any_preset(),
        layers in any_layers("allow|deny"),
        request in any_request(),
    ) {
        let mut turned = layers.clone();
        turned.reverse();
        turned.iter_mut().for_each(|(_, rules)| rules.reverse());
        let (one, other) = (Policy::new(preset, layers), Policy::new(preset, turned));
        prop_assert_eq!(decide(&one, &request).is_ok(), decide(&other, &request).is_ok());
    }

    #[test]
    fn a_rule_for_v1_allows_nothing_outside(path in "(/|\\.|%2e|%2f|v1|;|\\.\\.|%5c|%25|x|\\PC){0,10}") {
        let policy = project(&["allow a.example/v1"]);
        let authority = Authority::parse("a.example:443", None).unwrap();
        let Ok(path) = CanonicalPath::parse(&format!("/{path}")) else { return Ok(()) };
        let facts = Facts { scheme: Scheme::Https, authority: &authority, method: "GET", path: &path };
        if policy.decide(&facts).is_allow() {
            prop_assert!(path.as_str() == "/v1" || path.as_str().starts_with("/v1/"));
            prop_assert!(!path.as_str().contains("//") && !path.as_str().split('/').any(|part| part == ".."));
        }
    }
}

#[test]
fn the_sandbox_itself_is_one_answer_whatever_the_rules_say() {
    let open = Policy::new(Preset::Open, Vec::new());
    for host in [
        "localhost",
        "app.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
    ] {
        for policy in [&open, &project(&["deny *.example.com"])] {
            let url = format!("GET http://{host}:3000/");
            assert_eq!(reason(policy, &url), Some(Reason::PrivateAddress), "{host}");
            let HostVerdict::Refused(denial) = policy.could_reach(&Host::parse(host).unwrap()) else {
                panic!("{host}")
            };
            assert!(denial.hint.starts_with("localhost inside a sandbox is the sandbox itself"), "{host}");
            assert_eq!(denial.would_allow, None);
        }
    }
}

#[test]
fn a_private_address_names_the_command_that_opens_it() {
    let policy = project(&["allow db.corp.example"]);
    let authority = Authority::parse("db.corp.example:443", None).unwrap();
    let denial =
        policy.address_denial(&authority, AddressRefusal::Forbidden { range: "private", never: false });
    assert!(denial.hint.ends_with("ftlctl policy private db.corp.example:443"), "{}", denial.hint);
}
