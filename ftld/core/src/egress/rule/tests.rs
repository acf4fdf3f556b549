//! Tests of rules as text.

use proptest::prelude::*;

use super::*;

fn form(text: &str) -> String {
    match text.parse::<Rule>() {
        Ok(rule) => rule.to_string(),
        Err(problem) => format!("! {problem}"),
    }
}

#[test]
fn rules_have_one_form() {
    for (text, expected) in [
        ("allow api.example.com", "allow api.example.com"),
        ("  allow   API.Example.com. ", "allow api.example.com"),
        ("allow GET api.example.com/v1/", "allow GET api.example.com/v1"),
        ("allow post,GET,get api.example.com", "allow GET,POST api.example.com"),
        ("allow https://api.example.com/v1/x", "allow https://api.example.com/v1/x"),
        ("allow HTTP://example.com", "allow http://example.com"),
        ("allow example.com/", "allow example.com"),
        ("allow example.com:8443/a%2Db", "allow example.com:8443/a-b"),
        ("allow *.example.com", "allow *.example.com"),
        ("allow GET", "! the rule names no host, write for example `allow GET api.example.com/v1`"),
        ("allow 8.8.8.8:443", "allow 8.8.8.8:443"),
        ("allow [2001:4860::8888]:443/x", "allow [2001:4860::8888]:443/x"),
        ("allow [::ffff:8.8.8.8]", "allow 8.8.8.8"),
        (
            "allow POST https://github.com/**/git-upload-pack",
            "allow POST https://github.com/**/git-upload-pack",
        ),
        ("allow h.example/**/a/b/", "allow h.example/**/a/b"),
        ("allow propfind,GET h.example", "allow GET,PROPFIND h.example"),
        ("allow method:purge,GET h.example", "allow GET,method:PURGE h.example"),
        ("allow method:GET h.example", "allow GET h.example"),
        ("deny localhost", "deny localhost"),
        ("allow h.example/a\u{e9}", "allow h.example/a%C3%A9"),
        ("deny POST *.example.com/admin", "deny POST *.example.com/admin"),
        ("private 10.0.0.5:8080", "private 10.0.0.5:8080"),
        ("allow private db.corp:5432", "private db.corp:5432"),
        ("limit api.example.com 60/min", "limit api.example.com 60/min burst 10"),
        ("limit *.example.com 60/min burst 3", "limit *.example.com 60/min burst 3"),
        ("alias openai.ftl.local api.openai.com", "alias openai.ftl.local api.openai.com:443"),
        ("alias a.ftl.local https://b.example:8443", "alias a.ftl.local b.example:8443"),
        ("preset open", "preset open"),
    ] {
        assert_eq!(form(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_rule_is_refused_with_what_would_be_right() {
    for (text, part) in [
        ("", "the rule is empty"),
        ("Allow a.example", "begins with allow"),
        ("permit a.example", "not with \"permit\""),
        ("allow", "names no host"),
        ("allow GET,POST", "names no host"),
        ("allow GET /x", "names no host"),
        ("allow GET, POST a.example", "one word too many"),
        ("allow GET, a.example", "is no method"),
        ("allow G\u{c9}T a.example", "is no method"),
        ("allow CONNECT a.example", "never forwarded"),
        ("allow TRACE a.example", "never forwarded"),
        ("allow ftp://a.example", "no scheme"),
        ("allow *", "preset open"),
        ("allow https://*", "preset open"),
        ("deny *", "preset open"),
        ("allow *:443", "preset open"),
        ("allow *.com", "front of at least two more"),
        ("allow *.co.uk", "one label more"),
        ("allow a.*.example.com", "whole first label"),
        ("allow b\u{fc}cher.example", "`xn--` form"),
        ("allow ex\u{430}mple.com", "`xn--` form"),
        ("allow user@a.example", "no user name"),
        ("allow a.example/x?y=1", "cannot look at the query"),
        ("allow a.example#x", "cannot look at the query"),
        ("allow a.example:0", "between 1 and 65535"),
        ("allow a.example:x", "between 1 and 65535"),
        ("allow a.example:*", "between 1 and 65535"),
        ("allow 0x7f.1", "not an address in its usual form"),
        ("allow 2130706433", "not an address in its usual form"),
        ("allow a.example/../x", "`.` or `..` segment"),
        ("allow a.example/%2e%2e/x", "`.` or `..` segment"),
        ("allow a.example//x", "different ways"),
        ("allow a.example/x;y", "different ways"),
        ("allow a.example/x%2Fy", "different ways"),
        ("allow a.example/x*", "only as `/**/`"),
        ("allow a.example/*", "only as `/**/`"),
        ("allow a.example/**", "only as `/**/`"),
        ("allow a.example/**/", "only as `/**/`"),
        ("allow a.example/**x", "only as `/**/`"),
        ("allow a.example/x/**/y", "only as `/**/`"),
        ("private a.example", "exactly one host and port"),
        ("private *.corp.example:80", "exactly one host and port"),
        ("private 127.0.0.1:80", "the sandbox itself"),
        ("private [::1]:80", "the sandbox itself"),
        ("private 169.254.169.254:80", "never are"),
        ("private [::ffff:127.0.0.1]:80", "the sandbox itself"),
        ("private localhost:3000", "the sandbox itself"),
        ("allow localhost", "the sandbox itself"),
        ("allow http://app.localhost:3000/x", "the sandbox itself"),
        ("allow 127.0.0.1:8080", "the sandbox itself"),
        ("allow [::1]", "the sandbox itself"),
        ("allow *.app.localhost", "the sandbox itself"),
        ("allow 0.0.0.0", "the sandbox itself"),
        ("alias a.ftl.local localhost:80", "the sandbox itself"),
        ("allow GTE a.example", "\"GTE\" is no known method, the nearest is GET; write `method:NAME`"),
        ("allow GET,PSOT a.example", "the nearest is POST"),
        ("deny DELTE a.example", "the nearest is DELETE"),
        ("allow method: a.example", "is no method"),
        ("allow method:CONNECT a.example", "never forwarded"),
        ("limit a.example 60", "a limit is"),
        ("limit a.example 0/min", "numbers above 0"),
        ("limit a.example +6/min", "a limit is"),
        ("limit a.example 60/min burst 0", "numbers above 0"),
        ("limit a.example 60/min 5", "a limit is"),
        ("limit a.example:80 60/min", "a limit is"),
        ("limit a.example 99999999999/min", "a limit is"),
        ("alias api.openai.com evil.example", "an alias is"),
        ("alias ftl.local evil.example", "an alias is"),
        ("alias a.ftl.local b.ftl.local", "not for another alias"),
        ("alias a.ftl.local", "an alias is"),
        ("alias a.ftl.local b.example/x", "no host name has"),
        ("preset wide", "`preset locked`"),
        ("preset", "`preset locked`"),
    ] {
        let said = form(text);
        assert!(said.starts_with("! ") && said.contains(part), "{text}: {said}");
    }
    let long = form(&format!("allow {}", "\u{1b}[31m\u{7}x".repeat(100)));
    assert!(long.chars().count() < 700 && long.chars().all(|c| !c.is_control()), "{long}");
}

#[test]
fn a_rule_that_means_more_than_it_seems_to_is_warned_about() {
    for (text, part) in [
        ("allow *.github.io", "anybody can have a name"),
        ("allow *.s3.amazonaws.com", "anybody can have a name"),
        ("allow *.s3.eu-west-1.amazonaws.com", "anybody can have a name"),
        ("allow *.amazonaws.com", "anybody can have a name"),
        ("allow *.workers.dev", "anybody can have a name"),
        ("allow *.blob.core.windows.net", "anybody can have a name"),
        ("allow *.windows.net", "anybody can have a name"),
        ("allow *.ngrok.io", "anybody can have a name"),
        ("allow *.cloudfront.net", "anybody can have a name"),
        ("allow *.herokuapp.com", "anybody can have a name"),
        ("allow *.vercel.app", "anybody can have a name"),
        ("allow *.netlify.app", "anybody can have a name"),
        ("allow GET storage.googleapis.com", "`allow GET storage.googleapis.com/YOURS`"),
        ("allow POST api.example.com/graphql", "what they do"),
        ("allow api.example.com/v2/$batch/", "what they do"),
        ("allow api.example.com/**/GraphQL", "what they do"),
    ] {
        let said = text.parse::<Rule>().unwrap().warning().unwrap_or_default();
        assert!(said.contains(part), "{text}: {said:?}");
    }
    for text in [
        "allow *.example.com",
        "allow me.github.io",
        "allow storage.googleapis.com/bucket",
        "deny *.github.io",
        "allow api.example.com/v1",
        "preset open",
    ] {
        assert_eq!(text.parse::<Rule>().unwrap().warning(), None, "{text}");
    }
}

/// Whether `allow` and `deny` of this target mean a request.
fn fits(target: &str, method: &str, url: (Scheme, &str, &str)) -> (bool, bool) {
    let Ok(Rule::Allow(target)) = format!("allow {target}").parse() else { panic!("{target}") };
    let (scheme, authority, path) = url;
    let authority = Authority::parse(authority, Some(scheme.port())).unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    let facts = Facts { scheme, authority: &authority, method, path: &path };
    (target.allows(&facts), target.denies(&facts))
}

#[test]
fn ports_schemes_methods_and_paths_have_one_meaning() {
    use Scheme::{Http, Https};
    let (yes, no, doubtful) = ((true, true), (false, false), (false, true));
    for (target, method, url, expected) in [
        ("a.example", "GET", (Https, "a.example", "/"), yes),
        ("a.example", "GET", (Http, "a.example", "/"), yes),
        ("a.example", "GET", (Https, "a.example:80", "/"), doubtful),
        ("a.example", "GET", (Http, "a.example:443", "/"), doubtful),
        ("a.example", "GET", (Https, "a.example:8443", "/"), doubtful),
        ("a.example:8443", "GET", (Https, "a.example:8443", "/"), yes),
        ("a.example:8443", "GET", (Http, "a.example:8443", "/"), yes),
        ("a.example:8443", "GET", (Https, "a.example", "/"), no),
        ("https://a.example", "GET", (Http, "a.example", "/"), no),
        ("http://a.example:8080", "GET", (Http, "a.example:8080", "/"), yes),
        ("http://a.example:8080", "GET", (Https, "a.example:8080", "/"), no),
        ("GET,HEAD a.example", "GET", (Https, "a.example", "/"), yes),
        ("GET,HEAD a.example", "POST", (Https, "a.example", "/"), no),
        ("GET a.example", "get", (Https, "a.example", "/"), doubtful),
        ("a.example/v1", "GET", (Https, "a.example", "/v1"), yes),
        ("a.example/v1", "GET", (Https, "a.example", "/v1/x?y"), yes),
        ("a.example/v1", "GET", (Https, "a.example", "/v10"), no),
        ("a.example/v1", "GET", (Https, "a.example", "/V1/x"), doubtful),
        ("a.example/v1", "GET", (Https, "a.example", "/v1//x"), doubtful),
        ("a.example/v1", "GET", (Https, "a.example", "/other;x"), doubtful),
        ("a.example", "GET", (Https, "a.example", "/@s%2fn"), yes),
        ("a.example/**/up", "GET", (Https, "a.example", "/o/r/up"), yes),
        ("a.example/**/up", "GET", (Https, "a.example", "/up"), yes),
        ("a.example/**/up", "GET", (Https, "a.example", "/o/up/x"), no),
        ("a.example/**/up", "GET", (Https, "a.example", "/o/xup"), no),
        ("a.example/**/up", "GET", (Https, "a.example", "/o/up/"), doubtful),
        ("a.example/**/b/up", "GET", (Https, "a.example", "/a/b/up"), yes),
        ("*.a.example", "GET", (Https, "a.example", "/"), no),
        ("*.a.example", "GET", (Https, "x.y.a.example", "/"), yes),
        ("8.8.8.8", "GET", (Https, "8.8.8.8", "/"), yes),
    ] {
        assert_eq!(fits(target, method, url), expected, "{target} {method} {url:?}");
    }
}

#[test]
fn shared_hosts_are_known() {
    let shared = |text: &str| shared_by_many(&HostPattern::parse(text).unwrap());
    assert!(shared("*.github.io") && shared("*.s3.us-east-1.amazonaws.com"));
    assert!(!shared("*.example.com") && !shared("me.github.io"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn text_and_rule_agree(
        verb in "allow|deny",
        methods in "((GET|POST|get|PUT|X-A)(,(GET|HEAD))? )?",
        scheme in "(https://|http://)?",
        host in "(\\*\\.)?[a-z]{1,4}(\\.[a-z0-9-]{1,5}){1,2}|10\\.0\\.0\\.[1-9]|\\[fd00::[1-9]\\]",
        port in "(:[1-9][0-9]{0,3})?",
        path in "(/\\*\\*)?(/[a-zA-Z0-9.%&='é-]{0,6}){0,3}",
    ) {
        if let Ok(rule) = format!("{verb} {methods}{scheme}{host}{port}{path}").parse::<Rule>() {
            let text = rule.to_string();
            prop_assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic() && byte != b'\''));
            prop_assert_eq!(text.parse::<Rule>(), Ok(rule));
        }
    }

    #[test]
    fn other_rules_round_trip_too(n in 1..u32::MAX, m in 1..u32::MAX, port in 1..=u16::MAX) {
        for text in [
            format!("limit a.example {n}/min"),
            format!("limit *.a.example {n}/min burst {m}"),
            format!("alias a.ftl.local b.example:{port}"),
            format!("private 10.1.2.3:{port}"),
        ] {
            let rule: Rule = text.parse().unwrap();
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>(), rest in "\\PC{0,60}") {
        let _ = text.parse::<Rule>();
        for verb in ["allow", "deny", "private", "limit", "alias", "preset"] {
            if let Err(problem) = format!("{verb} {rest}").parse::<Rule>() {
                prop_assert!(problem.to_string().chars().all(|c| !c.is_control()));
            }
        }
    }

    #[test]
    fn what_denies_means_all_that_allows_means(
        target in "(GET )?(http://)?(\\*\\.)?a\\.example(:80)?(/v1|/\\*\\*/up)?",
        method in "GET|get|POST",
        https in any::<bool>(),
        authority in "(x\\.)?a\\.example(:(80|443|8443))?",
        path in "(/|/v1|/V1|/up|/x/up|//|/;|/v1/x){1,2}",
    ) {
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        let (allowed, denied) = fits(&target, &method, (scheme, &authority, &path));
        prop_assert!(denied || !allowed);
    }
}
