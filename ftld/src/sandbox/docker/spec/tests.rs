//! What an engine is asked for, whole.

use serde_json::{Value, json};

use super::*;

fn belongs() -> Belongs {
    Belongs { instance: "0123456789ab".to_owned(), session: "s1".to_owned() }
}

fn inner() -> Inner {
    Inner {
        user: Owner { uid: 501, gid: 20 },
        limits: Limits {
            memory_bytes: 8 << 30,
            processes: 2048,
            cpu_percent: 250,
            file_size_bytes: 1 << 30,
            disk_bytes: 1 << 30,
            open_files: 65_536,
        },
        workspace: Overlay {
            layers: vec!["/ftl/seen".into(), "/ftl/trees/b:c".into()],
            dir: "/ftl/s1".into(),
            volatile: true,
        },
        dir: "/ftl/s1".into(),
        on_engine: false,
        ipv6: true,
        shown: vec![("/ftl/s1/shown/0".into(), "/etc/passwd".into())],
    }
}

fn container(role: Role) -> ContainerSpec {
    ContainerSpec { belongs: belongs(), image: "sha256:abc".to_owned(), runtime: None, podman: false, role }
}

/// A body without what is not said in it.
fn body(spec: &ContainerSpec) -> Value {
    fn said(value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, said(v))).collect(),
            ),
            Value::Array(items) => Value::Array(items.into_iter().map(said).collect()),
            other => other,
        }
    }
    said(serde_json::to_value(spec.body().unwrap()).unwrap())
}

fn bind(source: &str, target: &str, read_only: bool) -> Value {
    json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only,
            "BindOptions": { "Propagation": "rprivate", "NonRecursive": true } })
}

/// What both kinds have in common.
fn host(more: Value) -> Value {
    let mut all = json!({
        "AutoRemove": false,
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "Init": false,
        "IpcMode": "private",
        "LogConfig": { "Type": "none" },
        "MaskedPaths": HIDDEN,
        "OomScoreAdj": 500,
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyPaths": READ_ONLY,
        "ReadonlyRootfs": true,
        "RestartPolicy": { "Name": "no" },
        "SecurityOpt": ["no-new-privileges:true"],
    });
    let (Value::Object(fields), Value::Object(more)) = (&mut all, more) else { unreachable!() };
    fields.extend(more);
    all
}

#[test]
fn a_sandbox_is_exactly_this() {
    let options = "nosuid,nodev,lowerdir=/ftl/seen:/ftl/trees/b\\:c,upperdir=/ftl/s1/upper,workdir=/ftl/s1/work,\
                   userxattr,index=off,metacopy=off,redirect_dir=nofollow,xino=off,volatile";
    let labels = |role: &str| json!({ "dev.ftl.instance": "0123456789ab", "dev.ftl.session": "s1", "dev.ftl.role": role });
    let workspace = json!({
        "Type": "volume", "Source": "ftl-0123456789ab-s1-workspace", "Target": "/workspace", "ReadOnly": false,
        "VolumeOptions": { "NoCopy": true },
    });
    let volume = json!({
        "Name": "ftl-0123456789ab-s1-workspace", "Labels": labels("workspace"),
        "Driver": "local", "DriverOpts": { "type": "overlay", "device": "overlay", "o": options },
    });
    let expected = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "OpenStdin": true, "StdinOnce": true, "Tty": false,
        "Entrypoint": ["/.ftl/guest"], "Cmd": ["serve"], "WorkingDir": "/", "User": "501:20",
        "Hostname": "ftl", "Image": "sha256:abc", "Healthcheck": { "Test": ["NONE"] },
        "Labels": labels("sandbox"),
        "HostConfig": host(json!({
            "CpuPeriod": 100_000, "CpuQuota": 250_000,
            "Memory": 8_u64 << 30, "MemorySwap": 8_u64 << 30,
            "NetworkMode": "none",
            "PidsLimit": 2049,
            "ShmSize": 2_u64 << 30,
            "Sysctls": {
                "net.ipv4.ip_unprivileged_port_start": "1024",
                "net.ipv4.ping_group_range": "1 0",
                "net.ipv6.conf.lo.disable_ipv6": "0",
            },
            "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }],
            "Mounts": [
                workspace,
                bind("/ftl/s1/home", "/home/agent", false),
                bind("/ftl/s1/tmp", "/tmp", false),
                bind("/ftl/s1/tmp", "/var/tmp", false),
                bind("/ftl/s1/shown/0", "/etc/passwd", true),
            ],
        })),
    });
    let spec = container(Role::Sandbox(Box::new(inner())));
    assert_eq!(body(&spec), expected);
    assert_eq!(serde_json::to_value(spec.volume().unwrap()).unwrap(), volume);
    assert_eq!(spec.name(), "ftl-0123456789ab-s1-sandbox");
    let spec = ContainerSpec { runtime: Some(Runtime::Runsc), ..spec };
    assert_eq!(body(&spec)["HostConfig"]["Runtime"], "runsc");
}

#[test]
fn a_door_is_exactly_this() {
    let labels =
        json!({ "dev.ftl.instance": "0123456789ab", "dev.ftl.session": "s1", "dev.ftl.role": "door" });
    let expected = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "OpenStdin": true, "StdinOnce": true, "Tty": false,
        "Entrypoint": ["/.ftl/guest"], "Cmd": ["relay"], "WorkingDir": "/", "User": "0:0",
        "Image": "sha256:abc", "Healthcheck": { "Test": ["NONE"] }, "Labels": labels,
        "HostConfig": host(json!({
            "CapAdd": ["NET_ADMIN", "NET_BIND_SERVICE"],
            "Memory": 512 << 20, "MemorySwap": 512 << 20,
            "NetworkMode": "container:feed",
            "PidsLimit": 32,
            "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }],
        })),
    });
    let spec = container(Role::Door { of: "feed".to_owned() });
    assert_eq!(body(&spec), expected);
    assert_eq!((spec.name().as_str(), spec.volume()), ("ftl-0123456789ab-s1-door", Ok(None)));
}

#[test]
fn podman_is_asked_in_its_own_words_for_what_it_leaves_out_of_dockers() {
    let docker = container(Role::Sandbox(Box::new(inner())));
    let podman = ContainerSpec { podman: true, ..docker.clone() };
    let (mut expected, found) = (body(&docker), body(&podman));
    let host = expected["HostConfig"].as_object_mut().unwrap();
    let hidden: Vec<String> = serde_json::from_value(host["MaskedPaths"].clone()).unwrap();
    let mask = format!("mask={}", hidden.join(":"));
    host["SecurityOpt"].as_array_mut().unwrap().push(mask.into());
    for (name, soft) in [("nofile", 1024), ("nproc", 16384)] {
        let limit = json!({ "Name": name, "Soft": soft, "Hard": 16384 });
        host["Ulimits"].as_array_mut().unwrap().push(limit);
    }
    assert_eq!(found, expected);
}

#[test]
fn a_layer_whose_path_could_be_another_option_is_refused() {
    for (layer, is_taken) in
        [("/a b/c\\d:e", true), ("/a,ro,b", false), ("/a\nb", false), ("/a\"b", false), ("relative", false)]
    {
        let mut inner = inner();
        inner.workspace.layers = vec![layer.into()];
        let made = container(Role::Sandbox(Box::new(inner))).volume();
        assert_eq!(made.is_ok(), is_taken, "{layer:?}");
    }
    assert_eq!(option(Path::new("/a b/c\\d:e")).unwrap(), "/a b/c\\\\d\\:e");
    let mut long = inner();
    long.workspace.layers = vec![PathBuf::from(format!("/{}", "x".repeat(200))); 30];
    let error = container(Role::Sandbox(Box::new(long))).volume().unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn a_keeper_is_exactly_this() {
    let labels =
        json!({ "dev.ftl.instance": "0123456789ab", "dev.ftl.session": "s1", "dev.ftl.role": "keeper" });
    let volume = |name: &str, target: &str| {
        json!({ "Type": "volume", "Source": name, "Target": target, "ReadOnly": false,
                "VolumeOptions": { "NoCopy": true } })
    };
    let expected = json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "OpenStdin": true, "StdinOnce": true, "Tty": false,
        "Entrypoint": ["/.ftl/guest"], "Cmd": ["keep"], "WorkingDir": "/", "User": "0:0",
        "Hostname": "ftl", "Image": "sha256:abc", "Healthcheck": { "Test": ["NONE"] }, "Labels": labels,
        "HostConfig": host(json!({
            "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
            "Memory": 1 << 30, "MemorySwap": 1 << 30,
            "NetworkMode": "none",
            "PidsLimit": 32,
            "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }],
            "Mounts": [
                volume("ftl-0123456789ab-layers", "/keep/layers"),
                volume("ftl-0123456789ab-s1-work", "/keep/session"),
            ],
        })),
    });
    let spec = container(Role::Keeper);
    assert_eq!(body(&spec), expected);
    let shared = belongs().of_all("layers");
    assert!(!shared.contains_key(LABEL_SESSION) && shared[LABEL_ROLE] == "layers");
}

#[test]
fn a_sandbox_on_the_engines_disk_differs_in_nothing_but_how_mounts_go_on() {
    let at_home = body(&container(Role::Sandbox(Box::new(inner()))));
    let elsewhere = Inner { on_engine: true, ..inner() };
    let text = body(&container(Role::Sandbox(Box::new(elsewhere)))).to_string();
    assert_eq!(text.matches("rslave").count(), 4);
    assert_eq!(text.replace("rslave", "rprivate"), at_home.to_string());
}
