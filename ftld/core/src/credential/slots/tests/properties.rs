//! What holds for every request.

use super::*;

const HOSTS: [&str; 8] = [
    "api.example",
    "narrow.example",
    "query.example",
    "git.example",
    "dd.example",
    "evil.example",
    "api.example.evil.org",
    "b.s3.eu-west-1.amazonaws.com",
];

const NAMES: [&str; 9] = [
    "authorization",
    "x-api-key",
    "private-token",
    "dd-api-key",
    "dd-application-key",
    "x-auth-token",
    "cookie",
    "x-note",
    "x-amz-security-token",
];

fn values() -> impl Strategy<Value = String> {
    let shadow =
        prop::sample::select(vec![A, B, DD, DD_APP, KEY_ID, SECRET, TOKEN, REFRESH, "sk-own-own-own-own"]);
    (shadow, 0..7).prop_map(|(text, form)| match form {
        0 => text.to_owned(),
        1 => format!("Bearer {text}"),
        2 => format!("token  {text}"),
        3 => basic("x", text),
        4 => basic(text, ""),
        5 => format!("{text}, {text}"),
        _ => hex(text),
    })
}

/// What belongs to a host, so that many requests are good but for one thing.
fn belonging(host: &str) -> Vec<(&'static str, String)> {
    match host {
        "git.example" => vec![("authorization", basic("x", B))],
        "dd.example" => vec![("dd-api-key", DD.to_owned()), ("dd-application-key", DD_APP.to_owned())],
        "narrow.example" => vec![("authorization", format!("Bearer {A}"))],
        _ => vec![("x-api-key", A.to_owned())],
    }
}

prop_compose! {
    fn requests()(
        belongs in any::<bool>(),
        scheme in prop::sample::select(vec!["https", "https", "https", "http"]),
        host in prop::sample::select(&HOSTS[..]),
        port in prop::sample::select(vec!["", "", ":443", ":8443"]),
        path in prop::sample::select(vec!["/", "/v1", "/v1/x", "/v10", "/oauth/token"]),
        query in prop::option::weighted(0.2, (prop::sample::select(vec!["key", "q", "access_token"]), values())),
        mut headers in prop::collection::vec((prop::sample::select(&NAMES[..]), values()), 0..2),
    ) -> (String, Vec<(&'static str, String)>) {
        if belongs {
            headers.extend(belonging(host));
        }
        let query = query.map(|(name, value)| format!("?{name}={}", value.replace(' ', "+")));
        let line = format!("GET {scheme}://{host}{port}{path}{}", query.unwrap_or_default());
        (line, headers)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_real_value_goes_only_over_tls_to_a_bound_host_and_stands_alone((line, headers) in requests()) {
        let request = Sent { line: &line, odd: false, headers };
        let held = held();
        let Ok(plan) = request.plan(held) else { return Ok(()) };
        let real = |name: &CredentialName| Some(format!("REAL-{name}-REAL"));
        let (mut headers, mut query) = (request.headers(), request.query());
        fill(&plan, &mut headers, &mut query, &real).unwrap();
        let url = line.strip_prefix("GET ").unwrap();
        let rest = url.split_once("://").unwrap().1;
        let authority = Authority::parse(&rest[..rest.find('/').unwrap()], Some(443)).unwrap();
        let names = plan.names();
        if !names.is_empty() {
            prop_assert!(url.starts_with("https://"));
            let bound = |name: &CredentialName| {
                let grant = held.grant(name).unwrap();
                grant.bindings.is_empty() || grant.bindings.iter().any(|binding| binding.reaches(&authority))
            };
            prop_assert!(names.iter().all(bound));
        }
        // What leaves: every carrier on a credentialed host holds a planned real value and nothing else.
        for (name, value) in &headers {
            let text = value.to_str().unwrap();
            let plain = Basic::read(text).map_or(text.to_owned(), |basic| basic.user + &basic.password);
            if plain.contains("REAL-") {
                prop_assert!(value.is_sensitive());
            } else {
                prop_assert!(!plan.credentialed() || !carriers::is_carrier(name.as_str()));
            }
            prop_assert_eq!(headers.get_all(name).iter().count() == 1 || !plan.credentialed(), true);
        }
        // No shadow leaves for a host that is not its own.
        let mut texts: Vec<Vec<u8>> = headers.values().map(|value| value.as_bytes().to_vec()).collect();
        texts.push(query.unwrap_or_default().into_bytes());
        for grant in texts.iter().flat_map(|text| held.within(text)) {
            let amazon = authority.host.to_string().ends_with("amazonaws.com");
            let own = grant.bindings.iter().any(|binding| binding.reaches(&authority));
            prop_assert!(own || (amazon && grant.name.as_str().starts_with("AWS")), "{}", grant.name);
        }
    }

    #[test]
    fn no_text_in_a_carrier_breaks_the_judgement(value in "\\PC{0,60}", query in "[ -~]{0,60}") {
        let line = format!("GET https://git.example/?{}", query.replace('?', ""));
        let value: String = value.chars().filter(|character| !character.is_control()).collect();
        let request = Sent { line: &line, odd: false, headers: vec![("authorization", value)] };
        let judged = request.plan(held());
        prop_assert!(judged.is_err() || judged.is_ok_and(|plan| plan.names().is_empty()));
    }
}
