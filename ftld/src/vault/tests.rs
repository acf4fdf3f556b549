//! What the vault promises: private files, today's value, nobody else's credentials.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn vault(home: &Path, env: &[(&str, &str)]) -> Vault {
    let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Vault::new(home, env, Arc::new(|| 0))
}

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.to_string()).collect()
}

#[tokio::test]
async fn what_is_kept_is_private_and_counts_from_then_on() {
    let home = tempfile::tempdir().unwrap();
    let vault = vault(home.path(), &[]);
    let key = name("SOME_KEY");
    assert!(!vault.set(&Scope::Global, &key, &secret("one two \"three\" $four")).unwrap());
    let path = home.path().join("credentials");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let source = Source::Kept(Scope::Global);
    assert_eq!(vault.value(&key, &source).await.unwrap().expose(), "one two \"three\" $four");
    assert!(vault.set(&Scope::Global, &key, &secret("new")).unwrap());
    assert_eq!(vault.value(&key, &source).await.unwrap().expose(), "new");
    assert!(vault.remove(&Scope::Global, &key).unwrap());
    assert!(matches!(vault.value(&key, &source).await, Err(VaultError::Missing { .. })));
    assert!(!vault.remove(&Scope::Global, &key).unwrap());
}

#[tokio::test]
async fn a_file_that_others_can_read_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials");
    std::fs::write(&path, "A_KEY=x\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = vault(home.path(), &[]).entries(&Scope::Global).unwrap_err();
    assert!(matches!(error, VaultError::NotPrivate { .. }), "{error}");
    assert!(error.hint().starts_with("chmod 600 "));
}

#[test]
fn a_session_gets_its_own_credentials_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join(".env"), "FROM_ENV_FILE=1\nBOTH=2\n").unwrap();
    let vault = vault(home.path(), &[("AGENT_KEY", "a"), ("UNWANTED", "b"), ("NAMED", "c")]);
    vault.set(&Scope::Global, &name("GLOBAL_UNWANTED"), &secret("x")).unwrap();
    vault.set(&Scope::Global, &name("GLOBAL_NAMED"), &secret("x")).unwrap();
    let ours = Scope::Project(project.path().to_owned());
    vault.set(&ours, &name("BOTH"), &secret("kept")).unwrap();
    vault.set(&Scope::Project("/other".into()), &name("OTHERS"), &secret("x")).unwrap();
    let wanted = Wanted {
        project: project.path(),
        dotenv: &[".env".into()],
        named: &["GLOBAL_NAMED".into(), "NAMED".into(), "NOWHERE".into()],
        agent: &["AGENT_KEY"],
    };
    let (entries, problems) = vault.of_session(&wanted).unwrap();
    assert_eq!(names(&entries), ["AGENT_KEY", "BOTH", "FROM_ENV_FILE", "GLOBAL_NAMED", "NAMED"]);
    assert_eq!(entries[1].source, Source::Kept(ours));
    assert!(problems.len() == 1 && problems[0].starts_with("NOWHERE "), "{problems:?}");
}

#[test]
fn bindings_count_wherever_the_value_comes_from() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join(".env"), "SERVICE_KEY=1\n").unwrap();
    let vault = vault(home.path(), &[]);
    let binding: Binding = serde_json::from_value(serde_json::json!({
        "hosts": ["api.example.com"], "slots": [{ "kind": "basic_user" }],
    }))
    .unwrap();
    let said = Bound { bindings: vec![binding.clone()], source: None };
    let ours = Scope::Project(project.path().to_owned());
    vault.bind(&ours, &name("SERVICE_KEY"), said).unwrap();
    let wanted = Wanted { project: project.path(), dotenv: &[".env".into()], named: &[], agent: &[] };
    let (entries, _) = vault.of_session(&wanted).unwrap();
    assert_eq!(entries[0].bindings, [binding]);
    assert!(matches!(entries[0].source, Source::DotEnv { .. }));
}

#[test]
fn a_dotenv_file_that_leads_out_of_the_project_is_a_problem() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("outside"), "STOLEN=1\n").unwrap();
    symlink(home.path().join("outside"), project.path().join(".env")).unwrap();
    std::fs::create_dir(project.path().join(".env.dir")).unwrap();
    let wanted = Wanted {
        project: project.path(),
        dotenv: &[".env".into(), ".env.dir".into(), ".env.gone".into(), "../x/.env".into()],
        named: &[],
        agent: &[],
    };
    let (entries, problems) = vault(home.path(), &[]).of_session(&wanted).unwrap();
    assert!(entries.is_empty(), "{entries:?}");
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[tokio::test]
async fn a_commands_output_is_a_value_and_its_failure_says_why_without_it() {
    let home = tempfile::tempdir().unwrap();
    let vault = vault(home.path(), &[("PATH", "/usr/bin:/bin"), ("X", "from env")]);
    let run =
        |script: &str| Source::Elsewhere(Elsewhere::Command(["sh", "-c", script].map(String::from).to_vec()));
    let key = name("K");
    assert_eq!(vault.value(&key, &run("echo tok-1")).await.unwrap().expose(), "tok-1");
    assert_eq!(vault.value(&key, &run("printf %s \"$X\"")).await.unwrap().expose(), "from env");
    for script in ["echo hunter2; exit 3", "true", "printf '\\377'", "exec no-such-program"] {
        let error = vault.value(&key, &run(script)).await.err();
        assert!(matches!(error, Some(VaultError::Command { .. })), "{script}: {error:?}");
    }
    let missing = Source::Elsewhere(Elsewhere::Command(vec!["/no/such/program".into()]));
    assert!(matches!(vault.value(&key, &missing).await, Err(VaultError::Command { .. })));
    let source = Source::Elsewhere(Elsewhere::Env("X".into()));
    assert_eq!(vault.value(&key, &source).await.unwrap().expose(), "from env");
}

#[tokio::test]
async fn a_rotated_value_counts_at_once() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    let vault = vault(home.path(), &[]);
    let source = Source::DotEnv { project: project.path().to_owned(), file: ".env".into() };
    for value in ["first", "second"] {
        std::fs::write(project.path().join(".env"), format!("KEY=ignored\nKEY={value}\n")).unwrap();
        assert_eq!(vault.value(&name("KEY"), &source).await.unwrap().expose(), value);
    }
    std::fs::remove_file(project.path().join(".env")).unwrap();
    assert!(vault.value(&name("KEY"), &source).await.is_err());
}

#[test]
fn a_huge_dotenv_file_is_cut_and_pushes_out_nothing_that_the_human_gave() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    let lines: String = (0..2000).map(|number| format!("A_{number}=1\n")).collect();
    std::fs::write(project.path().join(".env"), lines).unwrap();
    let vault = vault(home.path(), &[]);
    vault.set(&Scope::Project(project.path().to_owned()), &name("ZZ_KEPT"), &secret("x")).unwrap();
    let wanted = Wanted { project: project.path(), dotenv: &[".env".into()], named: &[], agent: &[] };
    let (entries, problems) = vault.of_session(&wanted).unwrap();
    assert_eq!(entries.len(), MOST + 1);
    assert!(names(&entries).contains(&"ZZ_KEPT".to_owned()));
    assert!(problems.len() == 1 && problems[0].starts_with(".env: "), "{problems:?}");
}

/// A vault whose `secret-tool` is this script.
fn with_keyring(dir: &Path, script: &str) -> Vault {
    let program = dir.join("secret-tool");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.display());
    vault(dir, &[("PATH", path.as_str())])
}

#[tokio::test]
async fn a_keyring_that_is_not_there_or_hangs_is_told_in_words() {
    let key = name("K");
    let (service, account) = ("npm".to_owned(), "me".to_owned());
    let source = Source::Elsewhere(Elsewhere::Keyring { service, account });
    let dir = tempfile::tempdir().unwrap();
    let missing = vault(dir.path(), &[("PATH", "/nowhere")]);
    let started = std::time::Instant::now();
    for (vault, what) in [
        (missing, "secret-tool is not installed"),
        (with_keyring(dir.path(), "echo hunter2 >&2; exit 1"), "cannot be reached"),
    ] {
        let error = vault.value(&key, &source).await.err().unwrap();
        assert!(error.to_string().contains("npm/me") && error.to_string().contains(what), "{error}");
        assert!(!error.to_string().contains("hunter2") && !error.hint().is_empty(), "{error}");
    }
    for (script, what) in
        [("exit 1", "no such entry"), ("exec sleep 1000", "did not answer within 5 seconds")]
    {
        let error = with_keyring(dir.path(), script).value(&key, &source).await.err().unwrap();
        assert!(error.to_string().contains(what) && !error.hint().is_empty(), "{error}");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(15), "{:?}", started.elapsed());
    let vault = with_keyring(dir.path(), "[ \"$*\" = 'lookup service npm account me' ] && printf tok-2");
    assert_eq!(vault.value(&key, &source).await.unwrap().expose(), "tok-2");
    // What a program leaves behind is not waited for.
    let left =
        Elsewhere::Command(["sh", "-c", "sleep 30 >/dev/null & echo tok-3"].map(String::from).to_vec());
    assert_eq!(vault.value(&key, &Source::Elsewhere(left)).await.unwrap().expose(), "tok-3");
}
