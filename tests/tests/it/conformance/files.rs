//! Files that a sandbox is given.

use super::*;

pub(super) async fn given_files_are_seen_and_cannot_be_changed(bench: &Bench) {
    let large = vec![b'x'; 9 << 20];
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let files = vec![
        (bundle.into(), b"roots\n".to_vec()),
        ("/etc/ftl/deep/ca.pem".into(), b"one\n".to_vec()),
        ("/etc/ftl/empty".into(), Vec::new()),
        ("/etc/resolv.conf".into(), b"# mine\n".to_vec()),
        ("/etc/ftl/binary".into(), vec![0, 255, 10]),
        ("/usr/share/no-such-directory/file".into(), b"nowhere".to_vec()),
        ("/etc/ftl/large".into(), large),
    ];
    let spec = SandboxSpec { files, ..bench.spec() };
    let home = spec.dir.join("home");
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let text = format!(
        "cat {bundle} /etc/ftl/deep/ca.pem /etc/ftl/empty /etc/resolv.conf; od -An -tx1 /etc/ftl/binary"
    );
    assert_eq!(says(&*sandbox, &text).await, "roots\none\n# mine\n 00 ff 0a\n");
    assert_eq!(says(&*sandbox, "stat -c %s /etc/ftl/large; ls -A / | grep ^.files; true").await, "9437184\n");
    for text in [
        format!("echo x > {bundle}"),
        format!("rm {bundle}"),
        "rm -f /etc/ftl/deep/ca.pem".to_owned(),
        "echo x >> /etc/ftl/deep/ca.pem".to_owned(),
        "chmod 777 /etc/ftl/deep/ca.pem".to_owned(),
        "mv /etc/ftl /etc/other".to_owned(),
        "touch /etc/ftl/new".to_owned(),
    ] {
        assert_ne!(run(&*sandbox, &text).await.status, ExitStatus::Code(0), "{text}");
    }
    sandbox.kill().await;
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 0);
}

pub(super) async fn a_file_is_put_where_links_lead(bench: &Bench) {
    let linked = Path::new("/etc/localtime");
    if !linked.is_symlink() {
        // This machine has no link that is shown; elsewhere it is tried.
        return;
    }
    let files = vec![(linked.to_owned(), b"given".to_vec())];
    let spec = SandboxSpec { files, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "cat /etc/localtime").await, "given");
    sandbox.kill().await;
}

pub(super) async fn a_file_cannot_be_given_at_any_path(bench: &Bench) {
    let spec = SandboxSpec { files: vec![("/workspace/x".into(), Vec::new())], ..bench.spec() };
    let refused = bench.backend.launch(spec).await.map(|_| ());
    assert!(matches!(refused, Err(SandboxError::File { act: "showing", .. })), "{refused:?}");
}
