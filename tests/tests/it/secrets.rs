//! Secrets of a project stay on the host: nothing that holds one is in a sandbox, however the project asks.

use std::path::Path;

use ftl_tests::keyring::Keyring;
use ftl_tests::online::{HOST, Setup};
use ftl_tests::project::{self, Seen};
use ftl_tests::world::World;
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn file(mode: u32, content: impl AsRef<[u8]>) -> Seen {
    Seen::File(mode, content.as_ref().to_vec())
}

/// Secret-bearing files of a project; the content of each is the marker and its own name.
const SECRETS: [&str; 12] = [
    ".env",
    ".env.production",
    "a/b/.env.local",
    "a/b/.ENV",
    "id_rsa",
    "a/.ssh/config",
    ".npmrc",
    "a/.netrc",
    "server.pem",
    "a/private.key",
    ".aws/credentials",
    "infra/terraform.tfstate",
];

#[test]
fn secret_files_never_enter_the_sandbox_however_the_project_asks_for_them() {
    for who in World::everybody() {
        let world = World::new(who);
        let marker = "marker-of-a-secret-9f3c";
        let secrets: Vec<(&str, String)> =
            SECRETS.iter().map(|path| (*path, format!("{marker} {path}\n"))).collect();
        let mut files: Vec<(&str, &str)> =
            secrets.iter().map(|(path, text)| (*path, text.as_str())).collect();
        // Neither an ignore file nor a link brings one in.
        files.extend([
            (".ftlignore", "!.env\n!server.pem\n!**/*.key\n"),
            (".gitignore", "!.env\n"),
            ("a/b/code.py", "x = 1\n"),
        ]);
        world.files(&files);
        std::os::unix::fs::symlink(".env", world.project().join("innocent")).unwrap();
        let script = format!(
            "set -eu\nfind . -mindepth 1 -not -type d | LC_ALL=C sort > /tmp/names\n\
             part=marker-of-a-; grep -rlas \"${{part}}secret-9f3c\" /workspace /home /tmp /var/tmp /etc /run /dev/shm \
             /proc/self/environ /proc/1/environ > /tmp/found || true\n\
             cat innocent > /tmp/through 2>/dev/null || true\nmv /tmp/names /tmp/found /tmp/through .\n{}",
            "cp a/b/code.py a/b/copied.py",
        );
        let lines = world.json_lines(0, ["code", "--no-review", "--agent", "shell", &script]);
        let taken = lines.iter().find(|line| line["type"] == "snapshot_taken").expect("the event");
        let named = world.json(0, ["snapshots", "create"]);
        let named: Vec<&str> =
            named["excluded"].as_array().unwrap().iter().map(|one| text(one, "path")).collect();
        for path in SECRETS {
            let covered = |one: &&str| Path::new(path).starts_with(one);
            assert!(named.iter().any(covered), "{who:?}: {path} is not named in {named:?}");
        }
        assert!(taken["secrets"].as_array().unwrap().len() >= 10, "{taken}");

        world.json(0, ["approve", "--digest", text(lines.last().unwrap(), "digest")]);
        let seen = project::see(&world.project());
        // Files of variables are there, without what FTL cannot read in them.
        let names = b"./.env\n./.env.production\n./.ftlignore\n./.gitignore\n./a/b/.ENV\n./a/b/.env.local\n\
            ./a/b/code.py\n./innocent\n";
        assert_eq!(seen[b"names".as_slice()], file(0o644, names), "{who:?}");
        assert_eq!(seen[b"found".as_slice()], file(0o644, ""), "{who:?}");
        let withheld = "# withheld by FTL: what follows cannot be read with certainty\n";
        assert_eq!(seen[b"through".as_slice()], file(0o644, withheld), "{who:?}");
        assert_eq!(seen[b"a/b/copied.py".as_slice()], file(0o644, "x = 1\n"), "{who:?}");
        for (path, content) in &secrets {
            assert_eq!(seen[path.as_bytes()], file(0o644, content), "{who:?}");
        }
    }
}

#[test]
fn a_value_of_the_keyring_is_on_the_wire_and_its_shadow_inside() {
    const REAL: &str = "real/keyring+value-0123456789";
    assert!(Keyring::is_there(), "gnome-keyring, libsecret-tools and dbus are installed by tests/run");
    let mut keyring = Keyring::with("npm", "me", REAL);
    let bind = ["secret", "bind", "KR_TOKEN", "--from-keyring", "npm/me", "--host", HOST];
    let online = Setup::new()
        .daemon("DBUS_SESSION_BUS_ADDRESS", keyring.bus())
        .command(bind.into_iter().chain(["--header", "X-Token: {}", "--optional"]))
        .start();
    let shadow = online.shadow("KR_TOKEN");
    assert!(!shadow.is_empty() && shadow != REAL);
    let ask = format!("curl -s -o /dev/null -w %{{http_code}} -H \"x-token: $KR_TOKEN\" https://{HOST}/echo");
    assert_eq!(online.inside(&ask).out, "200");
    assert_eq!(online.upstream.at("/echo")[0].header("x-token"), Some(REAL));
    assert!(online.search(&[REAL]).is_empty());

    // A keyring that is locked meanwhile: a sentence, soon, and the daemon goes on.
    keyring.lock();
    online.world.ok(["daemon", "stop"]);
    let begun = std::time::Instant::now();
    let listed = online.world.ok(["secret", "list"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(listed.contains("keyring") && listed.contains("locked"), "{listed}");
    assert!(!listed.contains(REAL), "{listed}");
}
