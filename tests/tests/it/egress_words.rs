//! What people are told about rules and credentials, and how they name them.

use ftl_tests::world::{Said, Who, World};

fn world() -> World {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "one\n")]);
    world
}

fn keep(world: &World, name: &str, value: &str) {
    use std::io::Write as _;
    let mut child =
        world.ftlctl(["secret", "set", name]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_verdict_without_a_session_is_that_of_the_next_one() {
    let world = world();
    let charge = "https://api.stripe.com/v1/charges";
    assert_eq!(world.run(["policy", "test", charge]).code, 3);
    keep(&world, "STRIPE_SECRET_KEY", "sk_test_51HhAbCdEfGhIjKlMnOpQrStUv");
    let verdict = world.json(0, ["policy", "test", charge]);
    assert_eq!(verdict["source"], "credential STRIPE_SECRET_KEY", "{verdict}");
    assert!(
        verdict["reason"].as_str().unwrap().ends_with("because of credential STRIPE_SECRET_KEY"),
        "{verdict}"
    );
    assert_eq!(verdict["credentials"][0], "STRIPE_SECRET_KEY", "{verdict}");
    // Where the test has no resolver, that is said.
    assert_eq!(verdict["unresolved"], verdict.get("address").is_none(), "{verdict}");
    let shown = world.ok(["policy", "show"]);
    assert!(shown.contains("credential STRIPE_SECRET_KEY") && shown.contains("api.stripe.com"), "{shown}");
    // What agreed to nothing opens nothing.
    world.ok(["policy", "preset", "locked"]);
    assert_eq!(world.run(["policy", "test", charge]).code, 3);
}

#[test]
fn localhost_is_the_sandbox_wherever_somebody_asks() {
    let world = world();
    for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "app.localhost:3000", "0.0.0.0:3000"] {
        let tested = world.run(["policy", "test", &format!("http://{host}/")]);
        assert_eq!(tested.code, 3, "{tested:#?}");
        assert!(tested.out.contains("the sandbox itself"), "{tested:#?}");
        for verb in ["allow", "private"] {
            let added = world.run(["policy", verb, host]);
            assert_ne!(added.code, 0, "{added:#?}");
            assert!(added.err.contains("the sandbox itself"), "{added:#?}");
        }
    }
    let refused = world.run(["policy", "test", "http://10.1.2.3:8080/"]);
    assert!(refused.out.contains("ftlctl policy private 10.1.2.3:8080"), "{refused:#?}");
    world.ok(["policy", "private", "10.1.2.3:8080"]);
    assert_eq!(world.run(["policy", "test", "http://10.1.2.3:8080/"]).code, 0);
}

#[test]
fn a_rule_is_taken_away_by_its_number_its_host_or_its_words() {
    let world = world();
    let rules = || world.ok(["policy", "show"]);
    for rule in ["GET one.example.com/v1", "POST one.example.com/v2", "two.example.com"] {
        world.ok(["policy", "allow", rule]);
    }
    world.ok(["policy", "allow", "three.example.com", "--global"]);
    let several = world.run(["policy", "rm", "one.example.com"]);
    assert_eq!(several.code, 2, "{several:#?}");
    assert!(
        several.err.contains("means 2 rules") && several.err.contains("GET one.example.com/v1"),
        "{several:#?}"
    );
    world.ok(["policy", "rm", "allow", "GET", "one.example.com/v1"]);
    world.ok(["policy", "rm", "one.example.com"]);
    world.ok(["policy", "rm", "two.example.com"]);
    let shown = rules();
    assert!(!shown.contains("one.example.com") && !shown.contains("two.example.com"), "{shown}");
    let number = |host: &str| {
        let shown = rules();
        let line =
            shown.lines().skip(2).find(|line| line.contains(host)).unwrap_or_else(|| panic!("{shown}"));
        line.split_whitespace().next().unwrap().to_owned()
    };
    // A number means the very rule of the list, wherever it lies.
    let said = world.ok(["policy", "rm", &number("three.example.com")]);
    assert!(said.contains("every project") && !rules().contains("three.example.com"), "{said}");
    let foreign = world.run(["policy", "rm", &number("preset balanced")]);
    assert_eq!(foreign.code, 1, "{foreign:#?}");
    assert!(foreign.err.contains("it comes with preset balanced"), "{foreign:#?}");
}

#[test]
fn a_misspelt_method_is_refused_with_the_nearest_one() {
    let said = world().run(["policy", "allow", "GTE", "api.example.com"]);
    assert_ne!(said.code, 0, "{said:#?}");
    assert!(said.err.contains("the nearest is GET"), "{said:#?}");
}

#[test]
fn a_broken_file_of_rules_is_told_wherever_it_matters() {
    let world = world();
    let broken = |said: &Said| said.out.contains("policy: line 2:") || said.err.contains("policy: line 2:");
    assert!(!broken(&world.run(["doctor"])));
    std::fs::write(world.ftl_home().join("policy"), "allow one.example.com\nalow two.example.com\n").unwrap();
    let doctor = world.run(["doctor"]);
    assert!(doctor.code != 0 && broken(&doctor), "{doctor:#?}");
    let tested = world.run(["policy", "test", "https://one.example.com/"]);
    assert!(broken(&tested), "{tested:#?}");
    let started = world.run(["code", "--no-review", "--agent", "shell", "echo two > a.txt"]);
    assert!(broken(&started) && started.out.contains("warning:"), "{started:#?}");
}

#[test]
fn a_database_is_mentioned_once_and_what_lies_in_env_is_taken_out_there() {
    let world = world();
    let url = "postgres://app:s3cretDBpassw0rd@db.example.com:5432/app";
    world.files(&[(".env", &format!("DATABASE_URL={url}\n"))]);
    let start = |n: u8| {
        let said = world.run(["code", "--no-review", "--agent", "shell", &format!("echo {n} > a.txt")]);
        format!("{}{}", said.out, said.err)
    };
    let first = start(1);
    assert!(first.contains("DATABASE_URL (postgres://)") && first.contains("HTTP and HTTPS only"), "{first}");
    assert!(!first.contains("bound to no host"), "{first}");
    assert!(!start(2).contains("DATABASE_URL"), "it is told once");
    let listed = world.ok(["secret", "list"]);
    let line =
        listed.lines().find(|line| line.starts_with("DATABASE_URL")).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains(".env") && line.contains("bound to no host"), "{listed}");
    let name = line.split_whitespace().next().unwrap();
    let removed = world.run(["secret", "rm", name]);
    assert_eq!(removed.code, 1, "{removed:#?}");
    assert!(removed.err.contains("it stands in the project's .env"), "{removed:#?}");
}
