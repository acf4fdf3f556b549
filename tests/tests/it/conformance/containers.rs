//! What an engine made of what it was asked for, whole: a field that is not expected is a failure.

use serde_json::Value;

use super::*;

/// What stands for a value that differs from run to run or from machine to machine.
const ID: &str = "<id>";
const TIME: &str = "<time>";

/// Asks the tests' engine, in the oldest version of the API that is spoken: what newer ones add to it is
/// another question.
fn asked(path: &str) -> Value {
    let socket = Engine::shared().socket();
    let curl = std::process::Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(socket)
        .arg(format!("http://engine/v1.41{path}"))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{path}: {curl:?}");
    serde_json::from_slice(&curl.stdout).unwrap()
}

/// Replaces what differs, everywhere.
fn normal(value: &mut Value, names: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            for (name, stands) in names {
                *text = text.replace(name, stands);
            }
            // `0001-01-01T00:00:00Z` is the engine's word for never.
            if text.len() > 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z') {
                TIME.clone_into(text);
            }
            *text = without_ids(text);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| normal(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|item| normal(item, names)),
        _ => {}
    }
}

/// The text with every id in it replaced: a run of 64 hexadecimal digits, or of 12.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let end = |run: &mut String, out: &mut String| {
        out.push_str(if matches!(run.len(), 12 | 64) { ID } else { run });
        run.clear();
    };
    for character in text.chars() {
        if character.is_ascii_hexdigit() {
            run.push(character);
        } else {
            end(&mut run, &mut out);
            out.push(character);
        }
    }
    end(&mut run, &mut out);
    out
}

/// Sets a field that must be there.
fn set(value: &mut Value, pointer: &str, to: impl Into<Value>) {
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = to.into();
}

/// Compares, and shows the lines that differ.
fn compare(what: &str, found: &Value, expected: &Value) {
    if found == expected {
        return;
    }
    let lines = |value: &Value| -> Vec<String> {
        serde_json::to_string_pretty(value).unwrap().lines().map(str::to_owned).collect()
    };
    let (found_lines, expected_lines) = (lines(found), lines(expected));
    let more: Vec<_> = found_lines.iter().filter(|line| !expected_lines.contains(line)).collect();
    let less: Vec<_> = expected_lines.iter().filter(|line| !found_lines.contains(line)).collect();
    panic!("{what}: not expected {more:#?}, missing {less:#?}, whole:\n{}", found_lines.join("\n"));
}

/// The whole of a container, without what differs from run to run or is the machine's affair.
fn inspected(id: &str, names: &[(String, &str)]) -> Value {
    let mut found = asked(&format!("/containers/{id}/json"));
    normal(&mut found, names);
    // Where images lie, and whether there is AppArmor, is the machine's affair.
    for (pointer, stands) in [
        ("/State/Pid", ID),
        ("/Driver", "<storage>"),
        ("/GraphDriver", "<storage>"),
        ("/AppArmorProfile", "<of the machine>"),
    ] {
        assert_ne!(found.pointer(pointer), Some(&"unconfined".into()));
        set(&mut found, pointer, stands);
    }
    // The engine gives them in no order.
    let mounts = found["Mounts"].as_array_mut().unwrap();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    found
}

#[tokio::test]
async fn what_has_a_sessions_files_is_exactly_what_was_asked_for() {
    let bench = Bench::elsewhere();
    let spec = bench.spec();
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    let (session, instance) = (spec.session.as_str().to_owned(), instance(bench.root.path()));
    let keeper = format!("ftl-{instance}-{session}-keeper");
    let names = [
        (spec.dir.display().to_string(), "<session's directory>"),
        (Engine::shared().socket().parent().unwrap().display().to_string(), "<engine>"),
        (session, "<session>"),
        (instance, "<instance>"),
    ];
    let expected = serde_json::from_str(include_str!("keeper.json")).unwrap();
    compare("keeper", &inspected(&keeper, &names), &expected);
    sandbox.kill().await;
}

#[tokio::test]
async fn what_an_engine_made_is_exactly_what_was_asked_for() {
    let bench = Bench::docker();
    let files = vec![("/etc/ftl/given".into(), b"given".to_vec())];
    let spec = SandboxSpec { network: Network::Egress, files, ..bench.spec() };
    let sandbox = bench.backend.launch(spec.clone()).await.unwrap();
    let label = |name: &str, value: &str| format!("dev.ftl.{name}={value}");
    let instance = instance(bench.root.path());
    let filter = serde_json::json!({ "label": [label("instance", &instance)] }).to_string();
    let filter = filter.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let listed =
        asked(&format!("/containers/json?all=1&filters={}", filter.replace('[', "%5B").replace(']', "%5D")));
    let (uid, gid) = bench.ids();
    let names = [
        (spec.dir.display().to_string(), "<session's directory>"),
        (bench.root.path().display().to_string(), "<directory>"),
        (Engine::shared().socket().parent().unwrap().display().to_string(), "<engine>"),
        (spec.session.as_str().to_owned(), "<session>"),
        (instance.clone(), "<instance>"),
    ];
    let mut seen = Vec::new();
    for container in listed.as_array().unwrap() {
        let id = container["Id"].as_str().unwrap();
        let mut found = inspected(id, &names);
        let role = found["Config"]["Labels"]["dev.ftl.role"].as_str().unwrap().to_owned();
        if role == "sandbox" {
            assert_eq!(found["Config"]["User"], format!("{uid}:{gid}"));
            set(&mut found, "/Config/User", "<owner>");
            let mut expected: Value = serde_json::from_str(include_str!("sandbox.json")).unwrap();
            if !Path::new("/proc/sys/net/ipv6/conf/lo").exists() {
                let sysctls = expected.pointer_mut("/HostConfig/Sysctls").and_then(Value::as_object_mut);
                sysctls.unwrap().remove("net.ipv6.conf.lo.disable_ipv6");
            }
            compare(&role, &found, &expected);
        } else {
            compare(&role, &found, &serde_json::from_str(include_str!("door.json")).unwrap());
        }
        seen.push(role);
    }
    seen.sort();
    assert_eq!(seen, ["door", "sandbox"]);
    let session = spec.session.as_str();
    let mut volume = asked(&format!("/volumes/ftl-{instance}-{session}-workspace"));
    normal(&mut volume, &names);
    let expected = serde_json::json!({
        "device": "overlay", "type": "overlay",
        "o": "nosuid,nodev,lowerdir=<directory>/base,upperdir=<session's directory>/upper,\
              workdir=<session's directory>/work,userxattr,index=off,metacopy=off,redirect_dir=nofollow,xino=off,\
              volatile",
    });
    compare("volume", &volume["Options"], &expected);
    let expected = serde_json::json!({
        "dev.ftl.instance": "<instance>", "dev.ftl.role": "workspace", "dev.ftl.session": "<session>",
    });
    compare("volume's labels", &volume["Labels"], &expected);
    sandbox.kill().await;
}
