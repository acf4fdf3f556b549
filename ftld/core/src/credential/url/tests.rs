//! Tests of URLs and connection strings.

use proptest::prelude::*;

use super::*;

/// Counts up, so that no two draws are the same.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut next = 0_u64;
    move |to: &mut [u8]| {
        for byte in to {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (next >> 56) as u8;
        }
    }
}

/// The text with `{LABEL}` in the place of each shadow, and what the parts really are.
fn shadowed(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let shadowed = shadow(text, &mut counting())?;
    let mut template = shadowed.text.clone();
    for part in &shadowed.secrets {
        assert_eq!(template.matches(&part.shadow).count(), 1, "{text}");
        template = template.replace(&part.shadow, &format!("{{{}}}", &part.label));
    }
    let parts = shadowed.secrets.into_iter().map(|part| (part.label, part.real.expose().to_owned()));
    Some((template, parts.collect()))
}

/// A text, what becomes of it, and the first secret.
const TEXTS: &[(&str, &str, &str)] = &[
    ("postgres://user:hunter2@host:5432/db", "postgres://user:{_PASSWORD}@host:5432/db", "hunter2"),
    (
        "postgresql://user:p%40ss@host/db?sslmode=require",
        "postgresql://user:{_PASSWORD}@host/db?sslmode=require",
        "p@ss",
    ),
    (
        "postgresql://u@host/db?password=x&sslmode=require",
        "postgresql://u@host/db?password={_PASSWORD}&sslmode=require",
        "x",
    ),
    (
        "postgres://u:p@[::1]:5432/db?sslpassword=x",
        "postgres://u:{_PASSWORD}@[::1]:5432/db?sslpassword={_SSLPASSWORD}",
        "p",
    ),
    ("mysql://root:root@127.0.0.1/app", "mysql://root:{_PASSWORD}@127.0.0.1/app", "root"),
    (
        "jdbc:postgresql://host/db?user=u&password=p",
        "jdbc:postgresql://host/db?user=u&password={_PASSWORD}",
        "p",
    ),
    (
        "jdbc:sqlserver://host:1433;databaseName=x;user=u;password=p;encrypt=true",
        "jdbc:sqlserver://host:1433;databaseName=x;user=u;password={_PASSWORD};encrypt=true",
        "p",
    ),
    ("redis://:hunter2@localhost:6379/0", "redis://:{_PASSWORD}@localhost:6379/0", "hunter2"),
    ("rediss://default:hunter2@h:6380", "rediss://default:{_PASSWORD}@h:6380", "hunter2"),
    ("amqps://u:p@host/%2Fvhost", "amqps://u:{_PASSWORD}@host/%2Fvhost", "p"),
    (
        "mongodb+srv://u:p@c.example.net/db?retryWrites=true&authSource=admin",
        "mongodb+srv://u:{_PASSWORD}@c.example.net/db?retryWrites=true&authSource=admin",
        "p",
    ),
    (
        "mongodb://u:p@a:27017,b:27017,c:27017/db?replicaSet=rs0",
        "mongodb://u:{_PASSWORD}@a:27017,b:27017,c:27017/db?replicaSet=rs0",
        "p",
    ),
    ("https://user:token@host/x", "https://user:{_PASSWORD}@host/x", "token"),
    (
        "https://ghp_abcdefghijklmnop@github.com/x.git",
        "https://{_USER}@github.com/x.git",
        "ghp_abcdefghijklmnop",
    ),
    (
        "https://ghp_abcdefghijklmnop:x-oauth-basic@github.com/x.git",
        "https://{_USER}:x-oauth-basic@github.com/x.git",
        "ghp_abcdefghijklmnop",
    ),
    (
        "https://x-access-token:ghp_abcdefghijklmnop@github.com/x",
        "https://x-access-token:{_PASSWORD}@github.com/x",
        "ghp_abcdefghijklmnop",
    ),
    (
        "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
        "https://{_USER}@o1.ingest.sentry.io/2",
        "0123456789abcdef0123456789abcdef",
    ),
    (
        "cloudinary://123456789012345:aB1cD2eF3gH4@cloud",
        "cloudinary://123456789012345:{_PASSWORD}@cloud",
        "aB1cD2eF3gH4",
    ),
    (
        "smtp://ada%40example.com:p@mail.example.com:587",
        "smtp://ada%40example.com:{_PASSWORD}@mail.example.com:587",
        "p",
    ),
    (
        "https://api.example.com/v1?api_key=abc&x=1#f",
        "https://api.example.com/v1?api_key={_API_KEY}&x=1#f",
        "abc",
    ),
    ("https://example.com/x?sig=a%2Bb%3D&se=2026", "https://example.com/x?sig={_SIG}&se=2026", "a+b="),
    ("https://example.com/cb?id=a8f5f167f44f4964e6c998dee827110c", "", ""),
    (
        "https://hooks.slack.com/services/T01ABCDEF/B01ABCDEF/abcdefghijklmnopqrstuv12",
        "https://hooks.slack.com/services/T01ABCDEF/B01ABCDEF/{_PATH}",
        "abcdefghijklmnopqrstuv12",
    ),
    (
        "https://mainnet.infura.io/v3/0123456789abcdef0123456789abcdef",
        "https://mainnet.infura.io/v3/{_PATH}",
        "0123456789abcdef0123456789abcdef",
    ),
    (
        "Server=tcp:db.example.com,1433;Database=app;User Id=sa;Password=p;w=1;",
        "Server=tcp:db.example.com,1433;Database=app;User Id=sa;Password={_PASSWORD};w=1;",
        "p",
    ),
    ("Server=db;Password='a;b';Encrypt=True", "Server=db;Password='{_PASSWORD}';Encrypt=True", "a;b"),
    ("DRIVER={ODBC Driver 18};SERVER=db;PWD={a;b}", "DRIVER={ODBC Driver 18};SERVER=db;PWD={{_PWD}}", "a;b"),
    (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=aGVsbG8+d29ybGQ=;EndpointSuffix=core.windows.net",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={_ACCOUNT_KEY};EndpointSuffix=core.windows.net",
        "aGVsbG8+d29ybGQ=",
    ),
    (
        "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=aGVsbG8=",
        "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={_SHARED_ACCESS_KEY}",
        "aGVsbG8=",
    ),
    (
        "host=localhost user=app password=p dbname=x",
        "host=localhost user=app password={_PASSWORD} dbname=x",
        "p",
    ),
    (
        "app:hunter2@tcp(localhost:3306)/db?parseTime=true",
        "app:{_PASSWORD}@tcp(localhost:3306)/db?parseTime=true",
        "hunter2",
    ),
    ("app:hunter2@localhost/db", "app:{_PASSWORD}@localhost/db", "hunter2"),
    // Passwords that should have been encoded.
    ("postgres://u:p@ss@host/db", "postgres://u:{_PASSWORD}@host/db", "p@ss"),
    ("postgres://u:p/w#x@host/db", "postgres://u:{_PASSWORD}@host/db", "p/w#x"),
    ("postgres://u:1/2@host/db", "postgres://u:{_PASSWORD}@host/db", "1/2"),
    ("postgres://u:p@s/w@host/db", "postgres://u:{_PASSWORD}@host/db", "p@s/w"),
    ("postgres://u:p w\"x@host/db", "postgres://u:{_PASSWORD}@host/db", "p w\"x"),
    ("postgres://u:p?a=b@host/db", "postgres://u:{_PASSWORD}@host/db", "p?a=b"),
    ("https://u:12/34@host/db", "https://u:{_PASSWORD}@host/db", "12/34"),
    ("https://u:p@host/@scope/pkg", "https://u:{_PASSWORD}@host/@scope/pkg", "p"),
    ("postgres://u:p@host/db?options=a@b", "postgres://u:{_PASSWORD}@host/db?options=a@b", "p"),
    ("https://u:p/w@host/x", "https://u:{_PASSWORD}@host/x", "p/w"),
];

#[test]
fn only_the_secret_parts_are_replaced() {
    for (text, template, real) in TEXTS {
        match shadowed(text) {
            Some((found, parts)) => {
                assert_eq!(found, *template);
                assert_eq!(parts[0].1, *real, "{text}");
            }
            None => assert_eq!("", *template, "{text}"),
        }
    }
}

#[test]
fn several_secrets_have_several_names() {
    let (template, parts) = shadowed("https://u:p@host/x?token=a1&api_key=b1&token=c1").unwrap();
    assert_eq!(template, "https://u:{_PASSWORD}@host/x?token={_TOKEN}&api_key={_API_KEY}&token={_TOKEN_2}");
    assert_eq!(parts.iter().map(|(_, real)| real.as_str()).collect::<Vec<_>>(), ["p", "a1", "b1", "c1"]);
    let (template, _) = shadowed("redis://:a1@h1:1,redis://:b1@h2:2").unwrap();
    assert_eq!(template, "redis://:{_PASSWORD}@h1:1,redis://:{_PASSWORD_2}@h2:2");
}

#[test]
fn what_has_no_secret_is_left_alone() {
    for text in [
        "",
        "x",
        "http://localhost:3000",
        "postgres://user@host/db",
        "https://git@github.com/x.git",
        "ssh://git@github.com/x.git",
        "git@github.com:a/b.git",
        "mailto:ada@example.com",
        "ada@example.com",
        "https://unpkg.com/react@18.2.0",
        "http://localhost:8080/a@b",
        "http://localhost:4873/@scope/pkg",
        "http://[::1]:8080/a@b",
        "postgres://[::1]/db",
        "https://example.com/?q=tokens&key_type=rsa&authSource=admin&sslmode=require",
        "https://example.com/?token=",
        "https://example.com/?auth=true",
        "postgres://h/db?sslkey=/etc/ssl/key.pem&sslkeyfile=x",
        "https://example.com/123e4567-e89b-12d3-a456-426614174000/v2.0",
        "image:tag@sha256:da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "Server=localhost;Database=app;Trusted_Connection=True;Persist Security Info=False",
        "SharedAccessKeyName=Root;Endpoint=sb://x/",
        "a=b;c=d",
        "-Xmx512m -Dfoo=bar",
    ] {
        assert!(shadowed(text).is_none(), "{text}");
    }
}

#[test]
fn a_url_binds_its_secret_to_its_own_host_over_tls_only() {
    let bindings = |text: &str| {
        let shadowed = shadow(text, &mut counting()).unwrap();
        let bindings = shadowed.secrets.into_iter().flat_map(|part| part.bindings);
        let line = |it: Binding| format!("{}:{} {}", it.hosts[0], it.port, it.slots[0]);
        bindings.map(line).collect::<Vec<_>>()
    };
    assert_eq!(bindings("https://u:p@Pypi.example.com/simple"), ["pypi.example.com:443 basic-password"]);
    assert_eq!(
        bindings("https://u:p@pypi.example.com:8443/simple"),
        ["pypi.example.com:8443 basic-password"]
    );
    assert_eq!(bindings("https://x.example.com/?api_key=abc"), ["x.example.com:443 query: api_key"]);
    assert_eq!(
        bindings("https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2"),
        ["o1.ingest.sentry.io:443 query: sentry_key"]
    );
    assert!(bindings("http://u:p@pypi.example.com/simple").is_empty());
    assert!(bindings("postgres://u:p@db.example.com/x").is_empty());
    let github = bindings("https://x:ghp_abcdefghijklmnopqrst@github.com/x");
    assert!(github[0] == "github.com:443 basic-password" && github.len() > 2, "{github:?}");
}

/// What a strict reader finds in a URL: scheme, user, password, host and the rest.
fn strict(url: &str) -> Option<(&str, &str, &str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (info, host) = rest[..end].split_once('@')?;
    let (user, password) = info.split_once(':')?;
    Some((scheme, user, password, host, &rest[end..]))
}

proptest! {
    #[test]
    fn a_shadowed_url_parses_like_the_original(
        scheme in "postgres|postgresql|mysql|redis|rediss|amqp|mongodb|mongodb\\+srv|https|clickhouse",
        user in "[a-z]{1,8}",
        password in "[A-Za-z0-9._~-]{1,20}(%[2-7][0-9A-F]){0,3}",
        host in "[a-z]{1,8}\\.example\\.com(:[1-9][0-9]{1,3})?",
        rest in "(/[a-z]{0,8})?(\\?sslmode=require)?",
    ) {
        let url = format!("{scheme}://{user}:{password}@{host}{rest}");
        let shadowed = shadow(&url, &mut counting()).unwrap();
        let (original, ours) = (strict(&url).unwrap(), strict(&shadowed.text).unwrap());
        prop_assert_eq!((original.0, original.1, original.3, original.4), (ours.0, ours.1, ours.3, ours.4));
        prop_assert_eq!(&shadowed.secrets[0].shadow, ours.2);
        let real = percent_encoding::percent_decode_str(&password).decode_utf8_lossy().into_owned();
        prop_assert_eq!(shadowed.secrets[0].real.expose(), real);
    }

    #[test]
    fn no_password_survives_however_it_is_written(
        scheme in "postgres|mysql|redis|amqp|https|ftp",
        password in "[A-Za-z][ -~]{6,20}[A-Za-z]",
    ) {
        // What looks like a URL within a password, or like the end of one, is beyond telling.
        prop_assume!(!password.contains("://"));
        prop_assume!(scheme != "https" || !password.contains('@'));
        prop_assume!(!password.contains(['?', '#']) || !password.contains('@'));
        let url = format!("{scheme}://user:{password}@host/db");
        let shadowed = shadow(&url, &mut counting());
        let text = shadowed.map(|it| it.text).unwrap_or_default();
        prop_assert!(!text.contains(&password) && text.ends_with("@host/db"), "{} {}", url, text);
    }

    #[test]
    fn any_text_can_be_asked_about(text in "\\PC{0,60}|[a-z:/@?&=;#%' {}.0-9,]{0,60}") {
        let shadowed = shadow(&text, &mut counting());
        prop_assert_eq!(shadowed.is_some(), has_secret(&text));
        for part in shadowed.iter().flat_map(|it| &it.secrets) {
            prop_assert!(part.real.expose().is_empty() || shadowed.iter().all(|it| it.text.contains(&part.shadow)));
            prop_assert!(CredentialName::parse(&format!("A{}", part.label)).is_ok(), "{}", part.label);
        }
    }
}
