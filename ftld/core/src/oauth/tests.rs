//! What a token endpoint sees and what comes back.

use proptest::prelude::*;

use super::*;

const FORM_TYPE: Option<&str> = Some("application/x-www-form-urlencoded; charset=utf-8");
const JSON_TYPE: Option<&str> = Some("application/json");

fn endpoint() -> TokenEndpoint {
    let name = |text| CredentialName::parse(text).unwrap();
    let credentials =
        vec![(name("REFRESH"), "shadow-refresh".to_owned()), (name("CLIENT"), "shadow-client".to_owned())];
    TokenEndpoint { credentials }
}

fn request(kind: Option<&str>, body: &str) -> Result<String, OAuthError> {
    let real = |name: &CredentialName| Some(format!("real&{name}"));
    rewrite_request(kind, body.as_bytes(), &endpoint(), &real).map(|new| String::from_utf8(new.body).unwrap())
}

fn response(kind: Option<&str>, body: &str) -> Result<(String, Vec<(String, String)>), OAuthError> {
    let mut mint = |field: &str, real: &str| format!("shadow-{field}-{}", real.len());
    let (body, tokens) = rewrite_response(kind, body.as_bytes(), &mut mint)?;
    Ok((
        String::from_utf8(body).unwrap(),
        tokens.into_iter().map(|token| (token.field, token.real)).collect(),
    ))
}

#[test]
fn a_shadow_as_the_whole_field_goes_out_as_the_real_value() {
    for (kind, body, wanted) in [
        (
            FORM_TYPE,
            "grant_type=refresh_token&refresh_token=shadow%2Drefresh&scope=a+b",
            "grant_type=refresh_token&refresh_token=real%26REFRESH&scope=a%20b",
        ),
        (
            None,
            "refresh_token=shadow-refresh&client_secret=shadow-client",
            "refresh_token=real%26REFRESH&client_secret=real%26CLIENT",
        ),
        (
            FORM_TYPE,
            "refresh_token=shadow-refresh&client_secret=public",
            "refresh_token=real%26REFRESH&client_secret=public",
        ),
        (
            JSON_TYPE,
            r#"{"refresh_token":"shadow-refresh","n":1}"#,
            r#"{"n":1,"refresh_token":"real&REFRESH"}"#,
        ),
        (None, r#" {"refresh_token":"shadow-refresh"}"#, r#"{"refresh_token":"real&REFRESH"}"#),
        (
            FORM_TYPE,
            "client_secret=shadow-client&grant_type=client_credentials",
            "client_secret=real%26CLIENT&grant_type=client_credentials",
        ),
    ] {
        assert_eq!(request(kind, body).as_deref(), Ok(wanted), "{body}");
    }
}

#[test]
fn anothers_credential_or_none_is_refused_at_the_token_endpoint() {
    use OAuthError::{Duplicate, Foreign, Missing, Unreadable};
    let refresh = "refresh_token";
    for (kind, body, error) in [
        (FORM_TYPE, "refresh_token=own", Foreign { field: refresh }),
        (FORM_TYPE, "refresh_token=shadow-refreshx", Foreign { field: refresh }),
        (FORM_TYPE, "refresh_token=own&client_secret=shadow-client", Foreign { field: refresh }),
        (FORM_TYPE, "client_secret=own", Foreign { field: "client_secret" }),
        (FORM_TYPE, "refresh_token=shadow-refresh&refresh_token=own", Duplicate { field: refresh }),
        (FORM_TYPE, "refresh_token=shadow-refresh&code=own", Foreign { field: "code" }),
        (FORM_TYPE, "grant_type=password&username=u&password=p", Foreign { field: "password" }),
        (FORM_TYPE, "scope=shadow-refresh", Missing),
        (FORM_TYPE, "refresh_token=", Missing),
        (FORM_TYPE, "", Missing),
        (FORM_TYPE, "a=1;refresh_token=own", Unreadable),
        (FORM_TYPE, "refresh_token", Unreadable),
        (FORM_TYPE, "refresh_token=%ff", Unreadable),
        (JSON_TYPE, r#"{"refresh_token":["shadow-refresh"]}"#, Foreign { field: refresh }),
        (
            JSON_TYPE,
            r#"{"refresh_token":"shadow-refresh","refresh_token":"own"}"#,
            Foreign { field: refresh },
        ),
        (JSON_TYPE, r#"[{"refresh_token":"shadow-refresh"}]"#, Unreadable),
        (JSON_TYPE, "refresh_token=shadow-refresh", Unreadable),
        (Some("multipart/form-data"), "refresh_token=shadow-refresh", Unreadable),
    ] {
        assert_eq!(request(kind, body), Err(error), "{body}");
    }
    let long = format!("refresh_token=shadow-refresh&x={}", "x".repeat(LARGEST));
    assert_eq!(request(FORM_TYPE, &long), Err(OAuthError::TooLarge));
    let none = rewrite_request(FORM_TYPE, b"refresh_token=shadow-refresh", &endpoint(), &|_| None::<&str>);
    let name = CredentialName::parse("REFRESH").unwrap();
    assert_eq!(none.err(), Some(OAuthError::Unavailable { name }));
}

#[test]
fn new_tokens_come_back_as_shadows() {
    let (body, tokens) = response(
        Some("application/json;charset=UTF-8"),
        r#"{"access_token":"real-a","expires_in":3600,"refresh_token":"real-r","id_token":"x.y.z","other":{"a":null}}"#,
    )
    .unwrap();
    let read: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read["access_token"], "shadow-access_token-6");
    assert_eq!(read["refresh_token"], "shadow-refresh_token-6");
    assert_eq!(read["id_token"], "shadow-id_token-5");
    assert_eq!((&read["expires_in"], &read["other"]["a"]), (&Value::from(3600), &Value::Null));
    let field = |field: &str, real: &str| (field.to_owned(), real.to_owned());
    assert_eq!(
        tokens,
        [field("access_token", "real-a"), field("id_token", "x.y.z"), field("refresh_token", "real-r")]
    );

    let (body, tokens) = response(FORM_TYPE, "access_token=real%2Da&scope=x").unwrap();
    assert_eq!(body, "access_token=shadow-access_token-6&scope=x");
    assert_eq!(tokens, [field("access_token", "real-a")]);

    let error = r#"{"error":"invalid_grant"}"#;
    assert_eq!(response(JSON_TYPE, error), Ok((error.to_owned(), vec![])));
}

#[test]
fn a_token_that_is_deep_or_twice_there_does_not_come_back() {
    for body in [
        r#"{"user":{"access_token":"real-token"}}"#,
        r#"{"users":[{"a":[{"Access_Token":"real-token"}]}]}"#,
        r#"{"access_token":"real-token","access_token":null}"#,
        r#"{"access_token":null,"access_token":"real-token"}"#,
        r#"{"access_token":"real-token","ACCESS_TOKEN":"real-token"}"#,
    ] {
        let (new, _) = response(JSON_TYPE, body).unwrap();
        assert!(!new.contains("real-token"), "{new}");
    }
    let (new, tokens) = response(FORM_TYPE, "access_token=real-token&access_token=real-token").unwrap();
    assert!(!new.contains("real-token") && tokens.len() == 2);
}

#[test]
fn an_answer_that_cannot_be_read_is_not_let_in() {
    for (kind, body) in [
        (JSON_TYPE, r#"{"access_token":"real-a""#),
        (JSON_TYPE, r#"{"access_token":{"v":"real-a"}}"#),
        (JSON_TYPE, r#"[{"access_token":"a"}]"#),
        (Some("text/html"), "access_token=a"),
        (None, "<html>real-a</html>"),
    ] {
        assert!(response(kind, body).is_err(), "{body}");
    }
}

proptest! {
    #[test]
    fn what_comes_back_holds_no_token(
        access in "[A-Z]{8,30}", refresh in "[A-Z\"\\\\é]{8,30}", other in "[a-z=&]{0,9}", is_json in any::<bool>(),
    ) {
        let (kind, body) = if is_json {
            let value = serde_json::json!({"access_token": access, "x": other, "refresh_token": refresh});
            (JSON_TYPE, value.to_string())
        } else {
            let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
            (FORM_TYPE, format!("access_token={}&x={}&refresh_token={}", encode(&access), encode(&other), encode(&refresh)))
        };
        let (body, tokens) = response(kind, &body).unwrap();
        prop_assert!(!body.contains(&access) && !body.contains(&refresh));
        prop_assert_eq!(tokens.len(), 2);
    }

    #[test]
    fn a_body_of_any_bytes_has_an_answer(body in prop::collection::vec(any::<u8>(), 0..80), which in 0..3_usize) {
        let kind = [FORM_TYPE, JSON_TYPE, None][which];
        let real = |_: &CredentialName| Some("real");
        prop_assert!(rewrite_request(kind, &body, &endpoint(), &real).is_err());
        if let Ok((_, tokens)) = rewrite_response(kind, &body, &mut |_, _| "shadow".to_owned()) {
            prop_assert!(tokens.iter().all(|token| token.shadow == "shadow"));
        }
    }
}
