//! `.env` files inside a sandbox: at their places, with shadows, and never written back.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use ftl_tests::online::{HOST, KEY, REAL, Setup};
use ftl_tests::world::{Who, World};
use serde_json::Value;

/// Values that no sandbox may see.
const PASSWORD: &str = "hunter2/Hunter+3x9";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----";
const OTHER: &str = "sk-proj-Zz81kQpw83Lmv02Bn47XcvTy";

/// A session in the project, which has an agent's harmless work.
fn session(world: &World) -> String {
    let last = world.shell("echo two > b.txt");
    last["session"].as_str().unwrap_or_else(|| panic!("{last}")).to_owned()
}

fn inside(world: &World, session: &str, script: &str) -> String {
    let said = world.run(["exec", session, "--", "sh", "-c", script]);
    assert_eq!(said.code, 0, "{script}: {said:#?}");
    said.out
}

/// `path kind` of each entry of a session's diff, and the digest.
fn diff(world: &World, session: &str) -> (Vec<String>, Value) {
    let diff = world.json(0, ["diff", session]);
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = diff["entries"].as_array().unwrap_or_else(|| panic!("{diff}"));
    let told = entries.iter().map(|entry| format!("{} {}", text(entry, "path"), text(entry, "kind")));
    for entry in entries.iter().filter(|entry| text(entry, "path").ends_with(".env")) {
        assert!(text(entry, "reason").contains("secret file"), "{entry}");
    }
    (told.collect(), diff["digest"].clone())
}

#[test]
fn a_program_that_reads_the_file_uses_the_shadow_and_the_real_value_arrives() {
    let online = Setup::new().env("OTHER_TOKEN", OTHER).start();
    let shadow = online.shadow(KEY);
    assert_ne!(shadow, REAL);
    let ask =
        |key: &str| format!("curl -sf -o /dev/null -H \"authorization: Bearer {key}\" https://{HOST}/echo");
    // As a shell sources it, without the variables that are set anyway.
    let sourced =
        format!("unset {KEY}; set -e; . ./.env; test -n \"$OTHER_TOKEN\"; {}", ask(&format!("${KEY}")));
    assert_eq!(online.clean(&sourced).code, 0);
    // As python-dotenv reads it.
    let python = format!(
        "import re,subprocess\n\
         pairs = dict(re.findall(r\"^(?:export )?([A-Z_]+)=['\\\"]?(.*?)['\\\"]?$\", open('.env').read(), re.M))\n\
         assert pairs['{KEY}'] == '{shadow}', pairs\n\
         header = 'authorization: Bearer ' + pairs['{KEY}']\n\
         subprocess.run(['curl', '-sf', '-o', '/dev/null', '-H', header, 'https://{HOST}/echo'], check=True)\n",
    );
    let said = online.python(&python);
    assert_eq!(said.code, 0, "{said:#?}");
    let wanted = format!("Bearer {REAL}");
    let arrived = online.upstream.at("/echo");
    assert_eq!(arrived.len(), 2);
    assert!(arrived.iter().all(|request| request.header("authorization") == Some(&wanted)), "{arrived:?}");

    // A value that is replaced counts from then on; what stands inside stays.
    let rotated = "rotated/9wQ2+zR7-mX4_bN8";
    online.world.files(&[(".env", &format!("{KEY}='{rotated}'\nOTHER_TOKEN='{OTHER}'\n"))]);
    let script = format!(". ./.env; test \"${KEY}\" = '{shadow}' && {}", ask(&format!("${KEY}")));
    assert_eq!(online.inside(&script).code, 0);
    let arrived = online.upstream.at("/echo");
    assert_eq!(arrived[2].header("authorization"), Some(format!("Bearer {rotated}").as_str()));
    assert!(online.search(&[REAL, OTHER, rotated]).is_empty());
}

#[test]
fn the_text_stays_as_it_is_but_for_what_is_secret() {
    for who in World::everybody() {
        let world = World::new(who);
        let root = format!(
            "# Settings\r\nPORT=3000\r\n\r\nexport API_TOKEN=\"{OTHER}\" # ours\r\n\
             DATABASE_URL=postgres://app:{}@db/app\r\nGREETING='two words'\r\n# old: {OTHER}\r\n",
            PASSWORD.replace('/', "%2F"),
        );
        let nested =
            format!("NAME=web\nSIGNING_KEY=\"{PEM}\"\nAPI_TOKEN={OTHER}\nthis is no line\nLAST={PASSWORD}\n");
        // Another value of a name that has one already: no shadow stands for it.
        let production = "PORT=80\nAPI_TOKEN=sk-proj-Another81kQpw83Lmv02Bn4\n";
        let ignored = ".env*\nnode_modules/\n";
        world.files(&[
            (".env", &root),
            ("packages/a/.env", &nested),
            (".env.production", production),
            (".gitignore", ignored),
            (".npmrc", "//r/:_authToken=npm_abcdefghijklmnopqrstuvwxyz0123456789\n"),
            ("packages/a/x.js", "x\n"),
            ("a.txt", "one\n"),
        ]);
        let mine = world.project().join("packages/a/.env");
        std::fs::set_permissions(&mine, std::fs::Permissions::from_mode(0o600)).unwrap();
        let modified = mine.metadata().unwrap().mtime();
        let lines = world.json_lines(0, ["code", "--no-review", "--agent", "shell", "echo two > b.txt"]);
        let told =
            |line: &Value| line["text"].as_str().is_some_and(|text| text.contains("copies of .env files"));
        let notice: Vec<&str> =
            lines.iter().filter(|line| told(line)).filter_map(|line| line["text"].as_str()).collect();
        assert_eq!(notice.len(), 1, "{who:?}: {lines:#?}");
        for named in [".env (in 1 place)", "packages/a/.env (in 1 place)", ".env.production (in 1 place)"] {
            assert!(notice[0].contains(named), "{who:?}: {notice:?}");
        }
        let session = lines.last().unwrap()["session"].as_str().unwrap();

        let token = inside(&world, session, "printf %s \"$API_TOKEN\"");
        let url = inside(&world, session, "printf %s \"$DATABASE_URL\"");
        let seen = inside(&world, session, "cat .env");
        let expected = format!(
            "# Settings\r\nPORT=3000\r\n\r\nexport API_TOKEN=\"{token}\" # ours\r\nDATABASE_URL={url}\r\n\
             GREETING='two words'\r\n# withheld by FTL: a comment that may hold a secret\n"
        );
        assert_eq!(seen, expected, "{who:?}");
        let seen = inside(&world, session, "cat packages/a/.env");
        assert!(seen.starts_with("NAME=web\nSIGNING_KEY="), "{who:?}: {seen}");
        let end =
            format!("\nAPI_TOKEN={token}\n# withheld by FTL: what follows cannot be read with certainty\n");
        assert!(seen.ends_with(&end), "{who:?}: {seen}");
        assert_eq!(inside(&world, session, "cat .env.production"), "PORT=80\n# withheld by FTL: API_TOKEN\n");
        assert_eq!(
            inside(
                &world,
                session,
                "stat -c '%a %Y' packages/a/.env; stat -c %a packages/a; ls .npmrc 2>&1 || true"
            ),
            format!("600 {modified}\n755\nls: cannot access '.npmrc': No such file or directory\n"),
            "{who:?}"
        );
        let real = [OTHER, PASSWORD, PEM, "MIIEvQIBADANBgkqhkiG9w0B", "sk-proj-Another81kQpw83Lmv02Bn4"];
        let found = ftl_tests::leaks::in_files(&world.ftl_home(), &real, &[]);
        assert!(found.is_empty(), "{who:?}: {found:?}");
        // The second session is not told again, and has shadows of its own.
        let lines = world.json_lines(0, ["code", "--no-review", "--agent", "shell", "echo two > b.txt"]);
        assert!(!lines.iter().any(told), "{who:?}: {lines:#?}");
        let second = lines.last().unwrap()["session"].as_str().unwrap();
        assert_ne!(inside(&world, second, "cat .env"), expected);
        assert_eq!(inside(&world, session, "cat .env"), expected, "{who:?}: the same in every turn");
    }
}

#[test]
fn what_is_only_read_is_no_change_and_what_is_changed_is_refused() {
    for who in World::everybody() {
        let world = World::new(who);
        let secret = format!("API_TOKEN={OTHER}\n");
        world.files(&[
            (".env", &secret),
            ("web/.env", &secret),
            ("web/x.js", "x\n"),
            // What an ignore file names is not left out of the diff for that.
            (".gitignore", ".env\n"),
            ("a.txt", "one\n"),
        ]);
        let script = "cat .env web/.env > /dev/null; touch .env; chmod 644 web/.env; ls -R > /dev/null";
        let none = world.json(0, ["code", "--no-review", "--agent", "shell", script]);
        assert_eq!(none["state"], "no_changes", "{who:?}: {none}");

        // Edited, replaced, and deleted: all of it is told, none of it can be approved.
        let id = session(&world);
        inside(&world, &id, "echo NEW=1 >> .env; rm web/.env");
        let (entries, _) = diff(&world, &id);
        assert_eq!(entries, [".env refused", "b.txt added", "web/.env refused"], "{who:?}");
        inside(&world, &id, "rm .env; mkdir web/.env; echo x > web/.env/y");
        let (entries, _) = diff(&world, &id);
        assert_eq!(
            entries,
            [".env refused", "b.txt added", "web/.env refused", "web/.env/y refused"],
            "{who:?}"
        );
        // A directory that goes takes the project's secret not along.
        inside(&world, &id, "rm -r web");
        let (entries, digest) = diff(&world, &id);
        let expected = [".env refused", "b.txt added", "web refused", "web/.env refused", "web/x.js deleted"];
        assert_eq!(entries, expected, "{who:?}");

        let before = world.project().join(".env").metadata().unwrap();
        world.json(0, ["approve", &id, "--digest", digest.as_str().unwrap()]);
        let after = world.project().join(".env").metadata().unwrap();
        assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()), "{who:?}");
        for file in [".env", "web/.env"] {
            assert_eq!(std::fs::read_to_string(world.project().join(file)).unwrap(), secret, "{who:?}");
        }
        assert!(world.project().join("b.txt").exists() && !world.project().join("web/x.js").exists());
        let path = world.run(["approve", &id, "--path", ".env"]);
        assert_ne!(path.code, 0, "{path:#?}");
        // What was deleted inside stays deleted in the next turn, and what is told of it as well.
        assert_eq!(inside(&world, &id, "ls -A"), ".gitignore\na.txt\nb.txt\n", "{who:?}");
        assert_eq!(diff(&world, &id).0, [".env refused", "web refused", "web/.env refused"], "{who:?}");
    }
}

#[test]
fn links_and_odd_nodes_are_not_followed() {
    let world = World::new(Who::Me);
    let outside = world.root().join("outside");
    std::fs::write(&outside, format!("API_TOKEN={OTHER}\n")).unwrap();
    world.files(&[("a.txt", "one\n"), ("b/.env", "PORT=1\n")]);
    std::os::unix::fs::symlink(&outside, world.project().join(".env")).unwrap();
    std::fs::create_dir(world.project().join(".env.d")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(world.project().join("b/.env.local")).status();
    assert!(made.unwrap().success());
    world.give_all(&world.project());
    let id = session(&world);
    assert_eq!(inside(&world, &id, "find . -name '.env*'; cat b/.env"), "./b/.env\nPORT=1\n");
    assert_eq!(diff(&world, &id).0, ["b.txt added"]);
}
