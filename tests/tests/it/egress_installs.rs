//! Installs of real packages inside a sandbox, from the registries that this machine itself uses: which
//! they are is asked at run time, and exactly their hosts are allowed.

use std::collections::BTreeSet;
use std::process::Command;

use ftl_tests::server::python;
use ftl_tests::world::{Who, World, said};
use serde_json::Value;

/// What a program of the host prints.
fn host(program: &mut Command) -> String {
    let said = said(program.output().unwrap());
    assert_eq!(said.code, 0, "{program:?}: {said:#?}");
    said.out.trim().to_owned()
}

/// Hosts of every absolute URL in a text.
fn hosts(text: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || ".-:".contains(c));
    let authority = |rest: &str| rest.split(ends).next().unwrap_or_default().to_owned();
    text.split("https://").skip(1).map(authority).filter(|host| host.contains('.')).collect()
}

fn fetched(url: &str) -> String {
    host(Command::new("curl").args(["-sSL", "--fail", url]))
}

/// A session in which only these hosts are allowed, with the environment's programs.
fn installs(allowed: &BTreeSet<String>, script: &str) -> String {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    let toolchain = host(Command::new("rustc").args(["--print", "sysroot"]));
    let environment = python("python3");
    let environment = environment.parent().and_then(std::path::Path::parent).unwrap();
    world.config(&serde_json::json!({ "tool_dirs": [environment, toolchain] }));
    world.ok(["policy", "preset", "locked"]);
    for host in allowed {
        world.ok(["policy", "allow", host]);
        // The machine's registry may be a mirror on a network of its own.
        let with_port = if host.contains(':') { host.clone() } else { format!("{host}:443") };
        world.ok(["policy", "private", &with_port]);
    }
    let started = world.shell("echo two > b.txt");
    let session = started["session"].as_str().unwrap();
    let said = world.run(["exec", session, "--", "sh", "-c", script]);
    assert_eq!(said.code, 0, "{said:#?}");
    let refused = world.run([
        "exec",
        session,
        "--",
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://elsewhere.example.com/",
    ]);
    assert_ne!(refused.out, "200", "nothing else is allowed: {refused:#?}");
    said.out
}

#[test]
fn npm_installs_a_real_package() {
    // The registry may be set for the directory, so it is asked where no project is.
    let registry = host(Command::new("npm").args(["config", "get", "registry"]).current_dir("/"));
    let registry = registry.trim_end_matches('/');
    let document: Value = serde_json::from_str(&fetched(&format!("{registry}/is-number/7.0.0"))).unwrap();
    let mut allowed = hosts(registry);
    allowed.extend(hosts(document["dist"]["tarball"].as_str().unwrap()));
    let script = format!(
        "mkdir /tmp/n && cd /tmp/n && npm install --no-audit --no-fund --registry {registry} is-number@7.0.0 \
         && node -p \"require('is-number')(5)\""
    );
    assert!(installs(&allowed, &script).ends_with("true\n"));
}

#[test]
fn pip_installs_a_real_package() {
    let asked = Command::new(python("pip")).args(["config", "get", "global.index-url"]).output().unwrap();
    let set = std::env::var("PIP_INDEX_URL").ok();
    let set = set.or_else(|| asked.status.success().then(|| said(asked).out.trim().to_owned()));
    let index = set.unwrap_or_else(|| "https://pypi.org/simple".into());
    let index = index.trim_end_matches('/');
    let mut allowed = hosts(index);
    allowed.extend(hosts(&fetched(&format!("{index}/six/"))));
    let script = format!(
        "pip install --no-cache-dir --disable-pip-version-check --index-url {index}/ --target /tmp/p six==1.17.0 \
         && PYTHONPATH=/tmp/p python3 -c 'import six; print(six.__version__)'"
    );
    assert!(installs(&allowed, &script).ends_with("1.17.0\n"));
}

#[test]
fn cargo_fetches_a_real_crate() {
    let home = std::env::var("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|_| std::env::var("HOME").map(|home| std::path::Path::new(&home).join(".cargo")));
    // A mirror, when the user's configuration names one.
    let config = std::fs::read_to_string(home.unwrap().join("config.toml")).unwrap_or_default();
    let named = config.split('"').find_map(|part| part.strip_prefix("sparse+"));
    let index = named.unwrap_or("https://index.crates.io/").trim_end_matches('/');
    let mut allowed = hosts(index);
    allowed.extend(hosts(&fetched(&format!("{index}/config.json"))));
    let replaced = named.map(|index| {
        format!(
            "mkdir .cargo && printf '[source.crates-io]\\nreplace-with = \"m\"\\n[source.m]\\nregistry = \"sparse+{index}\"\\n' \
             > .cargo/config.toml && "
        )
    });
    let script = format!(
        "mkdir -p /tmp/c/src && cd /tmp/c && {} export CARGO_HOME=/tmp/h && \
         printf '[package]\\nname = \"c\"\\nversion = \"0.0.0\"\\nedition = \"2021\"\\n[dependencies]\\nitoa = \"=1.0.15\"\\n' > Cargo.toml && \
         echo 'fn main() {{}}' > src/main.rs && cargo fetch --quiet && find /tmp/h -name 'itoa-1.0.15' -type d",
        replaced.unwrap_or_default(),
    );
    assert!(installs(&allowed, &script).contains("itoa-1.0.15"));
}
