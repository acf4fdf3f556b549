//! What works on this machine, and that nothing runs where it does not.

use ftl_tests::world::{World, programs, said};

#[test]
fn doctor_says_what_is_enforced_as_root_and_as_an_ordinary_user() {
    for who in World::everybody() {
        let world = World::new(who);
        let said = world.run(["--json", "doctor"]);
        assert_eq!(said.code, 0, "{who:?}: {said:#?}");
        let reply: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
        let checks = reply["checks"].as_array().unwrap();
        let outcome = |name: &str| {
            let check = checks.iter().find(|check| check["name"] == name);
            check.unwrap_or_else(|| panic!("{who:?}: no check {name} in {checks:#?}"))["outcome"].clone()
        };
        for name in ["kernel", "sandbox", "namespaces", "privileges", "system calls", "network", "disk"] {
            assert_eq!(outcome(name), "ok", "{who:?}: {name}");
        }
        assert_eq!(outcome("agent shell"), "ok", "{who:?}");
        // Every agent that cannot run says what would mend it.
        for check in checks.iter().filter(|check| check["outcome"] != "ok") {
            assert_ne!(check["remedy"], "", "{who:?}: {check}");
        }
    }
}

#[test]
fn where_the_kernel_forbids_namespaces_nothing_runs_and_doctor_names_the_remedy() {
    let ordinary = *World::everybody().last().unwrap();
    let world = World::new(ordinary);
    // A user namespace in which no further one may be made: what a hardened kernel does to everybody.
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces; \
                  exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"";
    // One daemon, in that namespace, for all of the commands: it ends with the shell's last one.
    let script = format!(
        "{ctl} doctor; echo \"doctor $?\"; {ctl} code --no-review --agent shell 'touch /tmp/ftl-ran-outside; echo x > made'; \
         echo \"code $?\"; {ctl} daemon stop",
        ctl = programs().join("ftlctl").display()
    );
    let mut command = world.command("unshare");
    command.args(["--user", "--map-current-user", "--keep-caps"]);
    command.args(["sh", "-c", forbid, "sh", "sh", "-c", &script]);
    let all = said(command.output().unwrap());
    assert!(all.out.contains("doctor 1"), "{all:#?}");
    assert!(all.out.contains("max_user_namespaces"), "the cause and the remedy are named: {all:#?}");
    assert!(all.out.contains("code 1"), "{all:#?}");
    assert!(!std::path::Path::new("/tmp/ftl-ran-outside").exists(), "it ran without a sandbox");
    assert!(!world.project().join("made").exists());
}
