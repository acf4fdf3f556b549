//! Tests of variables as a whole: from a `.env` file to what the sandbox sees.

use proptest::prelude::*;

use super::*;
use crate::credential::dotenv;

fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 1_u64;
    move |to: &mut [u8]| {
        for byte in to {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (next >> 56) as u8;
        }
    }
}

fn names(minted: &[Option<MintedValue>]) -> Vec<&str> {
    minted.iter().flatten().flat_map(|it| &it.credentials).map(|it| it.grant.name.as_str()).collect()
}

#[test]
fn plain_values_have_no_shadow() {
    for (name, value) in [("PORT", "3000"), ("DATABASE_URL", "postgres://localhost/x"), ("API_KEY", "")] {
        assert!(mint_value(name, value, &mut counting()).is_none(), "{name}");
    }
}

#[test]
fn a_secret_value_is_granted_where_its_vendor_says() {
    let minted = mint_value("ANTHROPIC_API_KEY", "sk-ant-api03-abcdefgh", &mut counting()).unwrap();
    let [credential] = minted.credentials.as_slice() else { panic!("one credential") };
    assert_eq!(credential.grant.name.as_str(), "ANTHROPIC_API_KEY");
    assert_eq!(credential.grant.shadow, minted.text);
    assert_eq!(credential.grant.bindings[0].hosts[0].to_string(), "api.anthropic.com");
    assert_eq!(credential.real.expose(), "sk-ant-api03-abcdefgh");
    assert_eq!(credential.vendor, Some("Anthropic"));
    let unknown = mint_value("SOME_KEY", "hunter2", &mut counting()).unwrap();
    assert!(unknown.credentials[0].grant.bindings.is_empty() && unknown.credentials[0].vendor.is_none());
}

#[test]
fn parts_of_a_url_are_credentials_of_their_own() {
    let text = "postgres://u:hunter2@h/db?sslpassword=x";
    let minted = mint_value("DATABASE_URL", text, &mut counting()).unwrap();
    let names: Vec<_> = minted.credentials.iter().map(|it| it.grant.name.as_str()).collect();
    assert_eq!(names, ["DATABASE_URL.PASSWORD", "DATABASE_URL.SSLPASSWORD"]);
    assert!(minted.text.starts_with("postgres://u:") && minted.text.contains("@h/db?sslpassword="));
    assert!(minted.credentials.iter().all(|it| minted.text.contains(&it.grant.shadow)));
}

#[test]
fn a_signing_key_knows_whether_it_has_a_session_token() {
    let slot = |variables: &[(&str, &str)]| {
        let minted = mint_all(variables, &mut counting());
        let bindings =
            minted.iter().flatten().flat_map(|it| &it.credentials).flat_map(|it| &it.grant.bindings);
        bindings.flat_map(|it| &it.slots).map(ToString::to_string).collect::<Vec<_>>()
    };
    let id = ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    let key = ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let token = ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEExampleExampleExample1234567890");
    assert_eq!(slot(&[id, key]), ["sigv4: AWS_ACCESS_KEY_ID"]);
    assert_eq!(slot(&[token, key, id]), ["sigv4: AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN"]);
    let lower = [("aws_access_key_id", id.1), ("aws_secret_access_key", key.1)];
    assert_eq!(slot(&lower), ["sigv4: aws_access_key_id"]);
}

#[test]
fn names_that_fold_to_the_same_are_kept_apart() {
    let variables = [("A.KEY", "x1"), ("A-KEY", "y1"), ("A_KEY", "z1"), ("A_KEY", "w1")];
    let minted = mint_all(&variables, &mut counting());
    assert_eq!(names(&minted), ["A_KEY", "A_KEY.2", "A_KEY.3", "A_KEY.4"]);
    let long = "K".repeat(200) + "_KEY";
    assert_eq!(credential_name(&long).as_str().len(), 128);
    assert_eq!(credential_name("").as_str(), "_");
    assert_eq!(credential_name("1É").as_str(), "_1_");
}

#[test]
fn a_part_never_takes_the_name_of_a_variable_or_of_another_part() {
    let url = "https://u:hunter2hunter2@h.example.com/?api_key=a8f5f167f44f4964e6c998dee827110c&API-KEY=b8f5f167f44f";
    let variables = [
        ("OPENAI", url),
        ("OPENAI_API_KEY", "sk-proj-abcdefgh12345678"),
        ("OPENAI_PASSWORD", "hunter3"),
        ("OPENAI_API_KEY_2", "hunter4"),
    ];
    let minted = mint_all(&variables, &mut counting());
    let names = names(&minted);
    assert_eq!(
        names,
        [
            "OPENAI.PASSWORD",
            "OPENAI.API_KEY",
            "OPENAI.API_KEY_2",
            "OPENAI_API_KEY",
            "OPENAI_PASSWORD",
            "OPENAI_API_KEY_2"
        ]
    );
    for name in names.iter().filter(|name| name.contains('.')) {
        assert!(CredentialName::parse(name).is_err(), "a variable could be called {name}");
        let kept = serde_json::to_string(name).unwrap();
        let read: CredentialName = serde_json::from_str(&kept).unwrap();
        assert!(read.is_part() && read.as_str() == *name);
    }
    for bad in ["A.", ".A", "A..B", "1.A", "A.B C"] {
        assert!(CredentialName::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_tenants_host_beside_its_key_binds_it() {
    let variables =
        [("SUPABASE_URL", "https://abc.supabase.co"), ("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_abcdefgh12")];
    let minted = mint_all(&variables, &mut counting());
    let grant = &minted[1].as_ref().unwrap().credentials[0].grant;
    assert_eq!(grant.bindings[0].hosts[0].to_string(), "abc.supabase.co");
    let alone = mint_value(variables[1].0, variables[1].1, &mut counting()).unwrap();
    assert!(alone.credentials[0].grant.bindings.is_empty());
}

#[test]
fn a_file_becomes_one_that_the_sandbox_may_see() {
    let file = b"# app\nPORT=3000\nexport OPENAI_API_KEY=\"sk-proj-abcdefghijklmnopqrstuvwxyz\" # mine\n\
        DATABASE_URL='postgres://u:hunter2hunter2@h/db'\nNAME=two words\n";
    let (entries, problems) = dotenv::parse(file);
    assert_eq!(problems, []);
    let variables: Vec<_> = entries.iter().map(|it| (it.name.as_str(), it.value.expose())).collect();
    let minted = mint_all(&variables, &mut counting());
    let seen = variables.iter().zip(&minted);
    let text = dotenv::render(
        seen.map(|((name, value), it)| (*name, it.as_ref().map_or(*value, |it| it.text.as_str()))),
    );
    assert!(!text.contains("hunter2") && !text.contains("abcdefgh"), "{text}");
    assert!(text.starts_with("PORT=3000\nOPENAI_API_KEY=sk-proj-"), "{text}");
    let again = dotenv::parse(text.as_bytes()).0;
    let expected: Vec<_> = entries.iter().map(|it| &it.name).collect();
    assert_eq!(again.iter().map(|it| &it.name).collect::<Vec<_>>(), expected);
    assert_eq!(again[3].value.expose(), "two words");
}

proptest! {
    #[test]
    fn nothing_of_a_secret_is_in_what_the_sandbox_sees(
        name in "[A-Z_]{1,6}(_KEY|_TOKEN|_PASSWORD|_URL|_SECRET)",
        value in "[ -~]{4,60}|(postgres|https)://[a-z]{1,5}:[ -~]{8,20}@[a-z]{1,5}\\.com/x|\\PC{4,30}",
    ) {
        if let Some(minted) = mint_value(&name, &value, &mut counting()) {
            prop_assert!(!minted.credentials.is_empty());
            for credential in &minted.credentials {
                let real = credential.real.expose();
                prop_assert!(minted.text.contains(&credential.grant.shadow));
                prop_assert!(real.len() < 8 || !credential.grant.shadow.contains(real));
                prop_assert!(real.len() < 8 || !minted.text.contains(real), "{} {}", real, minted.text);
                prop_assert!(!real.is_empty());
            }
        }
    }

    #[test]
    fn every_password_has_a_shadow(value in "[A-Za-z0-9!#$%^&*:@;=]{6,24}") {
        let minted = mint_value("DB_PASSWORD", &value, &mut counting());
        let whole = minted.as_ref().is_some_and(|it| it.credentials[0].real.expose() == value);
        prop_assert!(whole || value.starts_with("pk_"), "{}", value);
    }
}
