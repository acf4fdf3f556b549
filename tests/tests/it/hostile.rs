//! Hostile trees, made by the agent or found on the host: what is dangerous is refused by name, the rest
//! arrives exactly, the terminal is safe, and nothing outside the project changes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use ftl_tests::project::{self, Seen};
use ftl_tests::world::{Who, World};
use serde_json::{Value, json};

type Tree = BTreeMap<Vec<u8>, Seen>;

/// Files beside the project and in the home that no session may touch.
fn tripwires(world: &World) -> Tree {
    project::write(
        world.root(),
        &[
            ("beside/file", "beside\n"),
            ("home/.profile", "export A=1\n"),
            ("home/.ssh/id_ed25519", "not a real key\n"),
            ("home/documents/letter", "dear\n"),
        ],
    );
    for dir in ["beside", "home/.profile", "home/.ssh", "home/documents"] {
        world.give_all(&world.root().join(dir));
    }
    outside(world)
}

/// Everything of the world but the project and the daemon's state.
fn outside(world: &World) -> Tree {
    project::see_but(world.root(), &[&world.project(), &world.ftl_home()])
}

/// The diff's entries by path, as JSON has them.
fn entries(diff: &Value) -> BTreeMap<&str, &Value> {
    let all = diff["entries"].as_array().expect("entries");
    all.iter().map(|entry| (entry["path"].as_str().expect("a path"), entry)).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn file(mode: u32, content: impl AsRef<[u8]>) -> Seen {
    Seen::File(mode, content.as_ref().to_vec())
}

/// What of an output could do something to a terminal: any control character but the newline, anything
/// that is drawn as nothing or turns the direction of text, and bytes that are no text.
fn dangers(output: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(output) else { return vec!["bytes that are not UTF-8".to_owned()] };
    let invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let hostile = text.chars().filter(|c| c.is_control() && *c != '\n' || invisible(*c));
    hostile.map(|c| c.escape_unicode().to_string()).collect()
}

/// An output without the colours that `ftlctl` itself puts in: `ESC [`, digits and semicolons, `m`.
fn without_colours(output: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = output;
    while let Some((first, tail)) = rest.split_first() {
        let parameters = rest.strip_prefix(b"\x1b[").map(|body| {
            let digits = body.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            &body[digits..]
        });
        rest = match parameters.and_then(|body| body.strip_prefix(b"m")) {
            Some(after) => after,
            None => {
                plain.push(*first);
                tail
            }
        };
    }
    plain
}

/// Makes one of every kind that must never be applied, beside changes that may be.
const REFUSED_KINDS: &str = r#"
set -eu
mkdir -p .git/hooks a/b/.git .GIT 'git~1' '.git . .' "$(printf '.g\342\200\214it')" .FTL nested/.Git bare/objects bare/refs
echo evil > .git/hooks/pre-commit
echo evil > a/b/.git/config
for dir in .GIT 'git~1' '.git . .' "$(printf '.g\342\200\214it')" .FTL nested/.Git; do echo evil > "$dir/config"; done
echo 'ref: refs/heads/main' > bare/HEAD
echo '{"agent_env": ["HOME"]}' > .ftlconfig
ln -s sub deep-git && mkdir -p deeper && ln -s ../sub deeper/.git
mkfifo fifo sub/fifo
/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
printf '#!/bin/sh\n' > suid; chmod 4755 suid
printf '#!/bin/sh\n' > sgid; chmod 2755 sgid
chmod 4755 run.sh
mknod char c 1 3 2>/dev/null || true
mknod block b 7 0 2>/dev/null || true
mknod whiteout c 0 0 2>/dev/null || true
ln -s /etc/passwd absolute
ln -s ../beside/file upwards
ln -s ../beside beside && ln -s . sub/here && ln -s here/../.. sub/chained
ln -s circle-two circle-one && ln -s circle-one circle-two
ln -s sub/file fine-link
echo new > fine
echo changed > sub/file
for path in "$ROOT/beside/file" "$ROOT/home/.profile" "$ROOT/project/keep" ../beside/file /etc/passwd /usr/bin/new; do
    if (echo owned >> "$path") 2>/dev/null; then echo "wrote $path" >> breach; fi
done
"#;

/// Path and a word of the reason, for everything in [`REFUSED_KINDS`] that is refused.
const REFUSED: [(&str, &str); 24] = [
    (".git", "`.git`"),
    (".GIT", "`.git`"),
    ("git~1", "`.git`"),
    (".git . .", "`.git`"),
    (".g\u{200c}it", "`.git`"),
    ("a/b/.git", "`.git`"),
    ("nested/.Git", "`.git`"),
    ("deeper/.git", "`.git`"),
    (".FTL", "`.ftl`"),
    (".ftlconfig", "`.ftlconfig`"),
    ("bare/HEAD", "repository"),
    ("bare/objects", "repository"),
    ("bare/refs", "repository"),
    ("fifo", "FIFO"),
    ("sub/fifo", "FIFO"),
    ("socket", "socket"),
    ("suid", "set-user-id"),
    ("sgid", "set-group-id"),
    ("run.sh", "set-user-id"),
    ("absolute", "leads out"),
    ("upwards", "leads out"),
    ("sub/chained", "leads out"),
    ("circle-one", "circles"),
    ("circle-two", "circles"),
];

#[test]
fn every_refused_kind_is_named_with_its_reason_and_the_rest_can_be_approved() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("keep", "keep\n"), ("sub/file", "old\n"), ("run.sh", "#!/bin/sh\n")]);
        let before = project::see(&world.project());
        let tripwires = tripwires(&world);
        let script = format!("ROOT={}\n{REFUSED_KINDS}", world.root().display());
        let last = world.shell(&script);
        let session = text(&last, "session");
        assert_eq!(project::see(&world.project()), before, "{who:?}");

        let diff = world.json(0, ["diff", session]);
        let entries = entries(&diff);
        for (path, word) in REFUSED {
            let entry =
                entries.get(path).unwrap_or_else(|| panic!("{who:?}: {path:?} is not named: {diff:#}"));
            assert_eq!(entry["kind"], "refused", "{who:?}: {entry}");
            assert!(text(entry, "reason").contains(word), "{who:?}: {entry}");
        }
        let fine: Vec<&str> =
            entries.iter().filter(|(_, entry)| entry["kind"] != "refused").map(|(path, _)| *path).collect();
        let expected =
            ["a", "a/b", "bare", "deep-git", "deeper", "fine", "fine-link", "nested", "sub/file", "sub/here"];
        assert_eq!(fine, expected, "{who:?}: {diff:#}");
        assert!(entries.contains_key("beside") && entries["beside"]["kind"] == "refused", "{diff:#}");

        let human = world.ok(["diff", session, "--plain"]);
        assert!(human.contains("refused, never applied") && human.contains("run.sh"), "{human}");
        let approved = world.approve_by_name(session, text(&last, "digest"));
        assert_eq!(approved["paths"].as_array().map(Vec::len), Some(expected.len()), "{approved}");

        let mut after = before.clone();
        for dir in ["a", "a/b", "bare", "deeper", "nested"] {
            after.insert(dir.into(), Seen::Dir(0o755));
        }
        after.insert("deep-git".into(), Seen::Link(b"sub".to_vec()));
        after.insert("fine".into(), file(0o644, "new\n"));
        after.insert("fine-link".into(), Seen::Link(b"sub/file".to_vec()));
        after.insert("sub/file".into(), file(0o644, "changed\n"));
        after.insert("sub/here".into(), Seen::Link(b".".to_vec()));
        assert_eq!(project::see(&world.project()), after, "{who:?}");
        assert_eq!(outside(&world), tripwires, "{who:?}");
        world.json(0, ["undo", session]);
        assert_eq!(project::see(&world.project()), before, "{who:?}");
    }
}

/// Makes files whose names and contents are hostile; all of them may be applied.
const HOSTILE_NAMES: &str = r#"
set -eu
put() { n=$(printf -- "$1."); printf -- "$2" > "./${n%.}"; }
put 'two words' 'space\n'
put 'tab\there' 'tab\n'
put 'new\nline' 'newline\n'
put '\033[31mred\033]0;owned\007' '\033[2Jgone\rback\033]52;c;cGF5bG9hZA==\007\n'
put '\377\376not utf-8' 'a\377b\n'
put '-rf' 'dash\n'
put '--help' 'no newline at the end'
put 'right\342\200\256txt.exe' 'turned \342\200\256 round\n'
put 'zero\342\200\213width' 'C1: \302\233 31m\n'
put 'quote"back\\slash' 'nul \000 byte\n'
mkdir './-d'
put '-d/$(touch owned)' 'substitution\n'
"#;

/// What [`HOSTILE_NAMES`] makes: name and content.
const HOSTILE_FILES: [(&[u8], &[u8]); 12] = [
    (b"two words", b"space\n"),
    (b"tab\there", b"tab\n"),
    (b"new\nline", b"newline\n"),
    (b"\x1b[31mred\x1b]0;owned\x07", b"\x1b[2Jgone\rback\x1b]52;c;cGF5bG9hZA==\x07\n"),
    (b"\xff\xfenot utf-8", b"a\xffb\n"),
    (b"-rf", b"dash\n"),
    (b"--help", b"no newline at the end"),
    (b"right\xe2\x80\xaetxt.exe", b"turned \xe2\x80\xae round\n"),
    (b"zero\xe2\x80\x8bwidth", b"C1: \xc2\x9b 31m\n"),
    (b"quote\"back\\slash", b"nul \0 byte\n"),
    (b"-d/$(touch owned)", b"substitution\n"),
    (b"said", b"said\n"),
];

#[test]
fn hostile_names_and_contents_are_shown_escaped_and_arrive_byte_exact() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("keep", "keep\n")]);
        let mut expected = project::see(&world.project());
        let tripwires = tripwires(&world);
        let script = format!("{HOSTILE_NAMES}\nprintf '\\033]0;owned\\007said\\n'; echo said > said");
        let code = world.ftlctl(["code", "--no-review", "--agent", "shell", &script]).output().unwrap();
        assert!(code.status.success(), "{code:#?}");
        let said = [code.stdout, code.stderr].concat();
        assert_eq!(dangers(&said), [""; 0], "{}", String::from_utf8_lossy(&said));
        assert!(String::from_utf8_lossy(&said).contains(r"\x1b]0;owned\x07said"), "{said:?}");

        for colour in ["never", "always"] {
            for form in [&["diff", "--plain"][..], &["diff", "--stat"]] {
                let shown = world.ftlctl(["--color", colour]).args(form).output().unwrap();
                assert!(shown.status.success(), "{shown:#?}");
                let plain = if colour == "always" { without_colours(&shown.stdout) } else { shown.stdout };
                assert_eq!(dangers(&plain), [""; 0], "{}", String::from_utf8_lossy(&plain));
                let plain = String::from_utf8(plain).expect("no dangers");
                for name in [
                    r"\x1b[31mred",
                    r"new\nline",
                    r"tab\there",
                    r"\xff\xfenot utf-8",
                    r"right\u{202e}txt.exe",
                ] {
                    assert!(plain.contains(name), "{name} is not shown: {plain}");
                }
            }
        }
        let diff = world.json(0, ["diff"]);
        let not_text = entries(&diff)["\u{fffd}\u{fffd}not utf-8"];
        assert_eq!(not_text["path_bytes"], "//5ub3QgdXRmLTg=", "{not_text}");

        world.approve_by_name(text(&diff, "session"), text(&diff, "digest"));
        expected.insert(b"-d".to_vec(), Seen::Dir(0o755));
        expected.extend(HOSTILE_FILES.map(|(name, content)| (name.to_vec(), file(0o644, content))));
        assert_eq!(project::see(&world.project()), expected, "{who:?}");
        assert_eq!(outside(&world), tripwires, "{who:?}");
    }
}

/// Tries to write the marks with which the kernel says what a layer hides, and what lies under another name.
const OVERLAY_MARKS: &str = r#"
/usr/bin/python3 - <<'END'
import os
for mark in ["opaque", "redirect", "metacopy", "whiteout", "whiteouts", "overlay.opaque"]:
    for space in ["user.overlay.", "trusted.overlay."]:
        for path in ["kept", "kept/file", "made", "made/file"]:
            os.makedirs("made", exist_ok=True)
            open("made/file", "a").close()
            try:
                os.setxattr(path, space + mark, b"y" if mark == "opaque" else b"/secret")
            except OSError:
                pass
END
echo changed >> kept/file
"#;

#[test]
fn an_agent_cannot_forge_what_its_layer_says() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[("kept/file", "old\n"), ("kept/other", "other\n"), ("secret", "secret\n")]);
        let mut expected = project::see(&world.project());
        let last = world.shell(OVERLAY_MARKS);
        let diff = world.json(0, ["diff", text(&last, "session")]);
        let changes: Vec<(&str, &str)> =
            entries(&diff).into_iter().map(|(path, entry)| (path, text(entry, "kind"))).collect();
        assert_eq!(
            changes,
            [("kept/file", "modified"), ("made", "added"), ("made/file", "added")],
            "{who:?}"
        );
        world.json(0, ["approve", "--digest", text(&last, "digest")]);
        expected.insert(b"kept/file".to_vec(), file(0o644, "old\nchanged\n"));
        expected.insert(b"made".to_vec(), Seen::Dir(0o755));
        expected.insert(b"made/file".to_vec(), file(0o644, ""));
        assert_eq!(project::see(&world.project()), expected, "{who:?}");
    }
}

#[test]
fn one_hostile_path_can_be_approved_by_its_name() {
    let world = World::new(Who::Me);
    let last = world.shell(HOSTILE_NAMES);
    let name = OsStr::from_bytes(b"./\xff\xfenot utf-8");
    let args = ["approve", text(&last, "session"), "--digest", text(&last, "digest"), "--path"];
    let approved = world.ftlctl(args).arg(name).output().unwrap();
    assert!(approved.status.success(), "{approved:#?}");
    let only = Tree::from([(b"\xff\xfenot utf-8".to_vec(), file(0o644, b"a\xffb\n"))]);
    assert_eq!(project::see(&world.project()), only);
}

#[test]
fn a_sparse_file_of_two_gigabytes_arrives_without_taking_their_space() {
    const SIZE: u64 = 2 * 1024 * 1024 * 1024;
    let world = World::new(Who::Me);
    world.files(&[("keep", "keep\n")]);
    let last = world.shell(
        "truncate -s 2G sparse && printf middle | dd of=sparse bs=1 seek=1000000007 conv=notrunc 2>/dev/null && \
         printf end | dd of=sparse bs=1 seek=2147483645 conv=notrunc 2>/dev/null",
    );
    let diff = world.json(0, ["diff"]);
    assert_eq!(entries(&diff)["sparse"]["after"]["size"], SIZE, "{diff:#}");
    world.json(0, ["approve", "--digest", text(&last, "digest")]);
    let sparse = File::open(world.project().join("sparse")).unwrap();
    let meta = sparse.metadata().unwrap();
    assert_eq!(meta.len(), SIZE);
    let (mut middle, mut end) = ([0; 8], [0; 4]);
    sparse.read_exact_at(&mut middle, 1_000_000_006).unwrap();
    sparse.read_exact_at(&mut end, SIZE - 4).unwrap();
    assert_eq!((&middle, &end), (b"\0middle\0", b"\0end"));
    assert!(meta.blocks() * 512 < 16 * 1024 * 1024, "{} blocks on the host", meta.blocks());
    let stored = std::process::Command::new("du").args(["-sk"]).arg(world.ftl_home()).output().unwrap();
    let stored: u64 =
        String::from_utf8_lossy(&stored.stdout).split_whitespace().next().unwrap().parse().unwrap();
    assert!(stored < 128 * 1024, "{stored} KiB in the daemon's state");
    // And the other way: a session begins with it and can change it in place.
    let next = world.shell("printf begin | dd of=sparse conv=notrunc 2>/dev/null && tail -c 3 sparse > tail");
    world.json(0, ["approve", "--digest", text(&next, "digest")]);
    let mut begin = [0; 6];
    File::open(world.project().join("sparse")).unwrap().read_exact_at(&mut begin, 0).unwrap();
    assert_eq!((&begin, fs::read(world.project().join("tail")).unwrap()), (b"begin\0", b"end".to_vec()));
}

#[test]
fn a_hundred_thousand_new_files_are_shown_and_applied() {
    // Long names: together they are more than one message of the API may hold.
    let path = |dir: u32, number: u32| {
        format!("made-by-the-agent/directory-{dir:04}/one-of-very-many-files-{number:02}.txt")
    };
    let world = World::new(Who::Me);
    world.files(&[("keep", "keep\n")]);
    let last = world.shell(
        "/usr/bin/python3 -c '\nimport os\nfor d in range(1000):\n    name = f\"made-by-the-agent/directory-{d:04}\"\n    \
         os.makedirs(name)\n    for f in range(100):\n        with open(f\"{name}/one-of-very-many-files-{f:02}.txt\", \
         \"w\") as out:\n            out.write(f\"{d} {f}\\n\")\n'",
    );
    let stat = world.ok(["diff", "--stat"]);
    assert!(stat.contains("101,001 changes"), "{}", stat.lines().last().unwrap_or_default());
    assert!(stat.contains(&path(999, 99)), "the last path is not shown");
    let approved = world.json(0, ["approve", "--digest", text(&last, "digest")]);
    assert_eq!((&approved["state"], &approved["paths_total"]), (&"merged".into(), &101_001.into()));
    let seen = project::see(&world.project());
    assert_eq!(seen.len(), 101_002);
    for (dir, number) in [(0, 0), (12, 34), (500, 99), (999, 0), (999, 99)] {
        assert_eq!(seen[path(dir, number).as_bytes()], file(0o644, format!("{dir} {number}\n")));
    }
    // The next session begins with all of them.
    let next = world.shell("find made-by-the-agent -type f | wc -l > count");
    let diff = world.json(0, ["diff", text(&next, "session")]);
    assert_eq!(entries(&diff)["count"]["hunks"][0]["lines"][0]["text"], "100000\n", "{diff}");
}

#[test]
fn a_hostile_project_on_the_host_is_read_exactly_and_what_cannot_enter_is_named() {
    for who in World::everybody() {
        let world = World::new(who);
        world.files(&[
            ("keep", "keep\n"),
            ("exec.sh", "#!/bin/sh\n"),
            ("locked/inside", "x\n"),
            ("unreadable", "x\n"),
        ]);
        let root = world.project();
        for (name, content) in HOSTILE_FILES {
            let path = root.join(OsStr::from_bytes(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("keep", root.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("leaving")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), 0o644.into()).unwrap();
        world.give_all(&root);
        let set = |name: &str, mode| {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap()
        };
        set("exec.sh", 0o750);
        if who == Who::Ordinary {
            // Root reads these all the same.
            set("unreadable", 0o000);
            set("locked", 0o000);
        }

        let before = project::see(&root);
        let lines = world.json_lines(
            0,
            ["code", "--no-review", "--agent", "shell", "cp -a . /tmp/copy && mv /tmp/copy copy"],
        );
        let last = lines.last().unwrap();
        let explained = world.json(0, ["snapshots", "create", "--explain"]);
        let excluded: BTreeMap<&str, &str> = explained["excluded"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(one, "path"), text(one, "source")))
            .collect();
        let mut outside: Vec<&[u8]> = vec![b"fifo", b"socket"];
        if who == Who::Ordinary {
            let taken = lines.iter().find(|line| line["type"] == "snapshot_taken").expect("the event");
            let unreadable: Vec<&str> =
                taken["unreadable"].as_array().unwrap().iter().map(|one| text(one, "path")).collect();
            assert_eq!(unreadable, ["locked", "unreadable"], "{taken}");
            let snapshot = text(taken, "snapshot");
            let shown = world.json_lines(0, ["snapshots", "show", snapshot]);
            let unknown = ["locked", "unreadable"].map(|path| json!({"path": path, "type": "unreadable"}));
            assert_eq!(shown[shown.len() - 2..], unknown);
            assert!(shown[..shown.len() - 2].iter().all(|one| one["type"] != "unreadable"), "{shown:?}");
            let table = world.ok(["snapshots", "show", snapshot]);
            assert!(table.ends_with("?                 unreadable  (could not be read)\n"), "{table}");
            outside.extend([&b"locked"[..], b"locked/inside", b"unreadable"]);
        }
        for path in outside.iter().filter(|path| **path != b"locked/inside") {
            let path = std::str::from_utf8(path).unwrap();
            assert!(excluded.contains_key(path), "{who:?}: {path} is not named: {explained:#}");
        }

        // What the agent saw is what is there, byte for byte, but for what stayed outside.
        let refused =
            entries(&world.json(0, ["diff"])).get("copy/leaving").map(|entry| entry["kind"].clone());
        assert_eq!(refused, Some("refused".into()), "{who:?}");
        world.approve_by_name(text(last, "session"), text(last, "digest"));
        let copied = project::see(&root.join("copy"));
        let mut expected = before.clone();
        expected.retain(|path, _| !outside.contains(&path.as_slice()) && path != b"leaving");
        assert_eq!(copied, expected, "{who:?}");
        let rest = project::see_but(&root, &[&root.join("copy")]);
        assert_eq!(rest, before, "{who:?}: the project itself was touched");
    }
}
