//! Tests of the judgement, as tables.

use super::*;

fn judged(name: &str, value: &str) -> String {
    match classify(name, value) {
        Class::Plain => "plain".to_owned(),
        Class::Secret { vendor: None } => "secret".to_owned(),
        Class::Secret { vendor: Some(vendor) } => vendor.id.clone(),
        Class::UrlWithPassword => "url".to_owned(),
    }
}

const SETTINGS: &[(&str, &str)] = &[
    ("PORT", "3000"),
    ("NODE_ENV", "production"),
    ("DEBUG", "app:*"),
    ("DEBUG", "true"),
    ("CI", "1"),
    ("FEATURE_X", "on"),
    ("WORKERS", "4"),
    ("TIMEOUT", "30s"),
    ("RATE", "0.25"),
    ("LOG_LEVEL", "info"),
    ("LANG", "en_US.UTF-8"),
    ("TZ", "Europe/Berlin"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("S3_BUCKET", "my-app-uploads-prod"),
    ("HOST", "0.0.0.0"),
    ("DB_HOST", "db.internal.example.com"),
    ("DB_USER", "postgres"),
    ("DB_NAME", "app_development"),
    ("DB_PORT", "5432"),
    ("REDIS_URL", "redis://localhost:6379/0"),
    ("DATABASE_URL", "postgres://localhost/app"),
    ("DATABASE_URL", "postgres://app@localhost/app?sslmode=require"),
    ("DATABASE_URL", "sqlite:///data/app.db"),
    ("DATABASE_URL", "file:./dev.db"),
    ("API_URL", "https://api.example.com/v1?page=2"),
    ("CALLBACK_URL", "http://localhost:3000/auth/callback"),
    ("ISSUER", "https://login.microsoftonline.com/123e4567-e89b-12d3-a456-426614174000/v2.0"),
    ("EMAIL_FROM", "Ada <ada@example.com>"),
    ("ADMIN_EMAIL", "ada@example.com"),
    ("MODEL", "claude-sonnet-4-5-20250929"),
    ("OPENAI_MODEL", "gpt-4o-mini-2024-07-18"),
    ("ANTHROPIC_MODEL", "us.anthropic.claude-3-7-sonnet-20250219-v1:0"),
    ("APP_NAME", "My Application"),
    ("CORS_ORIGINS", "http://localhost:3000,https://app.example.com"),
    ("HOME_DIR", "/home/ada"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "/home/ada/key.json"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "./secrets/key.json"),
    ("SSL_KEY_FILE", "/etc/ssl/private/server.key"),
    ("PRIVATE_KEY_PATH", "keys/server.pem"),
    ("DB_PASSWORD_FILE", "/run/secrets/db_password"),
    ("MAX_TOKENS", "200000"),
    ("TOKEN_LIMIT", "4096"),
    ("TOKEN_EXPIRY", "3600"),
    ("ACCESS_TOKEN_TTL", "15m"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
    ("JWT_ALGORITHM", "HS256"),
    ("JWT_ISSUER", "https://auth.example.com"),
    ("JWT_AUDIENCE", "my-api"),
    ("JWT_EXPIRES", "7d"),
    ("AUTH_ENABLED", "true"),
    ("AUTH", "basic"),
    ("AUTH_TYPE", "oauth2"),
    ("AUTH_URL", "https://auth.example.com/login"),
    ("AUTH_DOMAIN", "example.auth0.com"),
    ("SESSION_DRIVER", "redis"),
    ("SESSION_TIMEOUT", "3600"),
    ("COOKIE_NAME", "sid"),
    ("COOKIE_DOMAIN", ".example.com"),
    ("SECRET_NAME", "prod/app/db"),
    ("PASSWORD_MIN_LENGTH", "12"),
    ("PASSWORD_LENGTH", "12"),
    ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
    ("API_KEY", ""),
    ("API_KEY", "none"),
    ("API_KEY_HEADER", "X-Api-Key"),
    ("CLIENT_ID", "123e4567-e89b-12d3-a456-426614174000"),
    ("AZURE_TENANT_ID", "123e4567-e89b-12d3-a456-426614174000"),
    ("GOOGLE_CLIENT_ID", "1234567890-a1b2c3d4e5f6g7h8.apps.googleusercontent.com"),
    ("TWILIO_ACCOUNT_SID", "AC_short"),
    ("GIT_COMMIT", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ("GIT_SHA", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    (
        "JWT_PUBLIC_KEY",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
    ),
    ("STRIPE_PUBLISHABLE_KEY", "pk_live_51Habcdefghijklmnop123456"),
    ("STRIPE_PUBLIC_KEY", "pk_test_51Habcdefghijklmnop123456"),
    ("NEXT_PUBLIC_API_KEY", "a8f5f167f44f4964e6c998dee827110c"),
    ("NEXT_PUBLIC_SENTRY_DSN", "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2"),
    ("NEXT_PUBLIC_FIREBASE_API_KEY", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
    ("NEXT_PUBLIC_SUPABASE_ANON_KEY", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.abcdefghijklmnopqrstuvwxyz"),
    ("VITE_APP_TITLE", "Hello"),
    ("VITE_MAPBOX_TOKEN", "pk.eyJ1IjoiYSJ9.abcdefgh"),
    ("REACT_APP_STRIPE_KEY", "pk_live_51Habcdefghijklmnop123456"),
    ("RECAPTCHA_SITE_KEY", "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"),
    ("MONKEY", "banana"),
    ("KEYBOARD", "qwertz"),
    ("COMPASS", "north"),
    ("AUTHOR", "Ada Lovelace"),
    ("IMAGE", "docker.io/library/postgres:16-alpine"),
    ("JAVA_OPTS", "-Xmx512m -XX:+UseG1GC"),
    ("CLASSPATH", "/opt/lib/some-library-1.2.3.jar:/opt/lib/other-4.5.6.jar"),
    ("REPO", "git@github.com:example/project.git"),
    ("REPO", "ssh://git@github.com/example/project.git"),
    ("REPO", "https://github.com/example/project.git"),
    ("PACKAGE", "https://unpkg.com/react@18.2.0/umd/react.production.min.js"),
    ("PROXY", "http://localhost:8080/a@b"),
    ("CONNECTION", "Server=localhost;Database=app;Trusted_Connection=True"),
    ("CRON", "0 3 * * *"),
    ("DATE", "2026-11-21"),
    ("VERSION", "1.2.3-rc.1+build.5"),
    ("COLOR", "#ff8800"),
    ("EMPTY", ""),
    ("STORE", "key-value-store"),
    ("CITY", "cioccolata"),
    ("STRIPE_KEY", "pk_live_51Habcdefghijklmnop123456"),
];

#[test]
fn settings_are_plain() {
    for (name, value) in SETTINGS {
        assert_eq!(judged(name, value), "plain", "{name}={value}");
    }
}

#[test]
fn secrets_are_secret_by_name() {
    for (name, value) in [
        ("API_KEY", "hunter2"),
        ("api_key", "hunter2"),
        ("API_KEY", "123456789012"),
        ("KEY", "abc"),
        ("APP_KEY", "base64:abcdefgh"),
        ("ENCRYPTION_KEY", "short"),
        ("SECRET", "s"),
        ("SECRET_KEY_BASE", "changeme"),
        ("DJANGO_SECRET_KEY", "django-insecure-#x"),
        ("CLIENT_SECRET", "abc"),
        ("DB_PASSWORD", "postgres"),
        ("DB_PASSWORD", "12345"),
        ("DB_PASSWORD", "pass word!"),
        ("MYSQL_ROOT_PASSWORD", "root"),
        ("PGPASSWORD", "x"),
        ("SMTP_PASS", "hunter2"),
        ("MYSQL_PWD", "hunter2"),
        ("KEY_PASSPHRASE", "correct horse battery staple"),
        ("PIN", "1234"),
        ("MYTOKEN", "abcdef"),
        ("ACCESS_TOKEN", "abcdef"),
        ("REFRESH_TOKEN_2", "abcdef"),
        ("TOKENS", "a,b,c"),
        ("BASIC_AUTH", "ada:hunter2"),
        ("NPM_AUTH", "YWRhOmh1bnRlcjI"),
        ("SESSION_ID", "abcdefgh"),
        ("SESSION_COOKIE", "abcdefgh"),
        ("SECRET_ID", "abcdefgh"),
        ("CREDENTIALS", "{\"user\":\"ada\"}"),
        ("PRIVATE_KEY", "abc"),
        ("WEBHOOK_SIGNATURE", "abc"),
        ("PASSWORD_SALT", "abc"),
        ("VITE_DB_PASSWORD", "hunter2"),
        ("NEXT_PUBLIC_CLIENT_SECRET", "abc"),
        ("DB_PASSWORD", "default"),
        ("DB_PASSWORD", "abc:def@ghi"),
        ("API_TOKEN", "user:token@x"),
        ("DB_PASSWORD", "a=b;password=c"),
    ] {
        assert_eq!(judged(name, value), "secret", "{name}={value}");
    }
}

#[test]
fn secrets_are_secret_by_value() {
    for value in [
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
        "eyJhbGciOiJIUzI1NiJ9.e30.abc",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "123e4567-e89b-12d3-a456-426614174000",
        "AbCdEfGhIjKlMnOpQrStUvWxYz",
        "{\"key\":\"a8f5f167f44f4964e6c998dee827110c\"}",
        "hvs.CAESIabcdefgh",
        "AGE-SECRET-KEY-1QQQQQQQQ",
        "sk-something-unknown",
        "ss://YWVzLTI1Ni1nY206cGFzc3dvcmQ0NQAAAA",
    ] {
        assert_eq!(judged("SETTING", value), "secret", "{value}");
    }
}

#[test]
fn vendors_are_named() {
    for (name, value, vendor) in [
        ("ANTHROPIC_API_KEY", "sk-ant-api03-abcdefgh", "anthropic"),
        ("SETTING", "sk-ant-api03-abcdefgh", "anthropic"),
        ("GITHUB_TOKEN", "0123456789abcdef0123456789abcdef01234567", "github"),
        ("VITE_OPENAI_API_KEY", "sk-proj-abcdefgh12345678", "openai"),
        ("NEXT_PUBLIC_GEMINI_API_KEY", "AIzaSyA1234567890abcdefghijklmnopqrstuv", "gemini"),
        ("VITE_STRIPE_SECRET_KEY", "sk_live_abcdefgh12345678", "stripe"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", "aws-key-id"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws"),
        ("TELEGRAM_BOT_TOKEN", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "telegram"),
        (
            "FIREBASE_PRIVATE_KEY",
            "-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----",
            "gcp-service-account",
        ),
        ("HEROKU_API_KEY", "123e4567-e89b-12d3-a456-426614174000", "heroku"),
        ("SUPABASE_ANON_KEY", "eyJhbGciOiJIUzI1NiJ9.e30.abcdefgh", "supabase"),
        ("SOME_ID", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github"),
    ] {
        assert_eq!(judged(name, value), vendor, "{name}={value}");
    }
}

#[test]
fn urls_with_secrets_keep_their_shape() {
    for value in [
        "postgres://user:hunter2@db.example.com/x",
        "redis://:hunter2@localhost:6379",
        "mongodb+srv://u:p@a.example.com,b.example.com/x",
        "https://ghp_abcdefghijklmnop@github.com/x.git",
        "https://hooks.slack.com/services/T01ABCDEF/B01ABCDEF/abcdefghijklmnopqrstuv12",
        "https://example.com/?token=a8f5f167f44f4964e6c998dee827110c",
        "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
        "Server=db;User Id=sa;Password=hunter2;",
        "user:hunter2@tcp(localhost:3306)/app",
        "host=localhost user=app password=hunter2",
    ] {
        assert_eq!(judged("SETTING", value), "url", "{value}");
        assert_eq!(judged("DATABASE_URL", value), "url", "{value}");
    }
}
