//! Containers that are made ahead: who gets them, who does not, and that nothing of them is left.

use ftl_tests::counted::Counted;
use ftld::sandbox::docker::DockerBackend;

use super::*;

/// A backend whose questions to the engine are counted, and what a sandbox of it is made of.
struct Place {
    bench: Bench,
    backend: Arc<DockerBackend>,
    counted: Counted,
}

impl Place {
    fn new() -> Self {
        let bench = Bench::docker();
        let counted = Counted::new(bench.root.path(), Engine::shared().socket());
        let (_, image) = engine();
        let backend =
            Arc::new(containers_of(counted.host(), image, bench.root.path(), (Workspace::Auto, SELDOM)));
        Self { bench, backend, counted }
    }

    fn spec(&self) -> SandboxSpec {
        let files = vec![("/etc/ftl/given".into(), b"then".to_vec())];
        SandboxSpec { network: Network::Egress, files, ..self.bench.spec() }
    }

    /// What the engine has of this place's.
    fn left(&self) -> String {
        let label = format!("label=dev.ftl.instance={}", instance(self.bench.root.path()));
        let list = |what: &[&str]| {
            let mut docker = std::process::Command::new("docker");
            docker.args(["-H", &Engine::shared().host()]).args(what).args(["-q", "--filter", &label]);
            String::from_utf8(docker.output().unwrap().stdout).unwrap()
        };
        list(&["ps", "-a"]) + &list(&["volume", "ls"])
    }
}

#[tokio::test]
async fn one_that_was_made_ahead_costs_no_question_to_the_engine_and_is_used_once() {
    let place = Place::new();
    let spec = place.spec();
    place.backend.warm(spec.clone(), vec!["sh".into()]).await.unwrap();
    assert!(place.backend.is_warm(&spec.session));
    // Asked for once more it is the same one.
    let before = place.counted.asked();
    place.backend.warm(spec.clone(), Vec::new()).await.unwrap();
    let now = SandboxSpec {
        env: vec![("SESSION_VALUE".into(), "now".into())],
        files: vec![("/etc/ftl/given".into(), b"now".to_vec())],
        ..spec
    };
    // A lower layer and the upper one are filled before anything has looked into them.
    std::fs::create_dir(now.dir.join("upper/.git")).unwrap();
    std::fs::write(now.dir.join("upper/.git/HEAD"), "x").unwrap();
    let sandbox = place.backend.launch(now.clone()).await.unwrap();
    let said = says(&*sandbox, "cat /etc/ftl/given; echo $SESSION_VALUE; ls -A | tr '\\n' ' '").await;
    assert_eq!(place.counted.asked(), before, "the engine was asked");
    assert_eq!(said, "nownow\n.git file script.sh sub ");
    assert!(sandbox.take_pipe().is_some());
    // None is made for a session that has a sandbox.
    assert!(place.backend.warm(now.clone(), Vec::new()).await.is_err());
    says(&*sandbox, "echo kept > kept").await;
    sandbox.kill().await;
    assert_eq!(place.left(), "");

    let before = place.counted.asked();
    let sandbox = place.backend.launch(now).await.unwrap();
    assert!(place.counted.asked() > before, "it was used again");
    assert_eq!(says(&*sandbox, "cat kept").await, "kept\n");
    sandbox.kill().await;
    assert_eq!(place.left(), "");
}

#[tokio::test]
async fn one_that_differs_in_anything_is_not_taken() {
    let place = Place::new();
    let other = place.bench.root.path().join("other");
    std::fs::create_dir(&other).unwrap();
    if let Some(owner) = place.backend.owner().unwrap() {
        std::os::unix::fs::chown(&other, Some(owner.uid), Some(owner.gid)).unwrap();
    }
    type Change = fn(&mut SandboxSpec, &Path);
    let changes: [(&str, Change); 5] = [
        ("layers", |spec, other| spec.layers.insert(0, other.to_owned())),
        ("limits", |spec, _| spec.limits.memory_bytes /= 2),
        ("network", |spec, _| spec.network = Network::None),
        ("files", |spec, _| spec.files.push(("/etc/ftl/more".into(), Vec::new()))),
        ("shared", |spec, other| spec.shared.push((other.to_owned(), "/mnt".into()))),
    ];
    for (what, change) in changes {
        let mut spec = place.spec();
        place.backend.warm(spec.clone(), Vec::new()).await.unwrap();
        change(&mut spec, &other);
        let before = place.counted.asked();
        let sandbox = place.backend.launch(spec).await.unwrap();
        assert!(place.counted.asked() > before, "{what} differs, and it was taken");
        assert_eq!(says(&*sandbox, "cat file").await, "from the base\n", "{what}");
        sandbox.kill().await;
        assert_eq!(place.left(), "", "{what}");
    }
}

#[tokio::test]
async fn one_that_is_not_ready_yet_is_waited_for_and_no_other_session_gets_it() {
    let place = Place::new();
    let (mine, theirs) = (place.spec(), place.spec());
    let (backend, spec) = (Arc::clone(&place.backend), mine.clone());
    let warming = tokio::spawn(async move { backend.warm(spec, Vec::new()).await });
    let (first, second) =
        tokio::join!(place.backend.launch(mine.clone()), place.backend.launch(theirs.clone()));
    let (first, second) = (first.unwrap(), second.unwrap());
    // Whether it became ready, or there was a launch before it was begun.
    let _either = warming.await.unwrap();
    says(&*first, "echo mine > own; echo mine > ~/own; echo mine > /tmp/own").await;
    assert_eq!(says(&*second, "ls -A ~ /tmp; ls").await, "/home/agent:\n\n/tmp:\nfile\nscript.sh\nsub\n");
    first.kill().await;
    second.kill().await;
    assert_eq!(place.left(), "");
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_removed_whole() {
    let place = Place::new();
    let specs = [place.spec(), place.spec(), place.spec()];
    for spec in &specs {
        place.backend.warm(spec.clone(), Vec::new()).await.unwrap();
    }
    place.backend.cool(Some(&specs[0].session)).await;
    let ready = || specs.each_ref().map(|spec| place.backend.is_warm(&spec.session));
    assert_eq!(ready(), [false, true, true]);
    // One that somebody else has removed is missed at once, and nobody gets it.
    let own = format!("label=dev.ftl.session={}", specs[1].session);
    let host = Engine::shared().host();
    let docker = |words: &[&str]| {
        let output = std::process::Command::new("docker").args(["-H", &host]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for id in docker(&["ps", "-q", "--filter", &own]).split_whitespace() {
        docker(&["rm", "-f", id]);
    }
    let sandbox = place.backend.launch(specs[1].clone()).await.unwrap();
    assert_eq!(says(&*sandbox, "cat file").await, "from the base\n");
    sandbox.kill().await;
    place.backend.cool(None).await;
    assert_eq!(ready(), [false; 3]);
    assert_eq!(place.left(), "");
}

#[tokio::test]
async fn one_whose_image_is_another_by_now_goes() {
    let bench = Bench::docker();
    let (host, image) = engine();
    let name = format!("ftl-test-moved:{}", instance(bench.root.path()));
    let docker = |words: &[&str]| {
        let done = std::process::Command::new("docker").args(["-H", &host]).args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
    };
    docker(&["tag", &image, &name]);
    let backend = containers_of(host.clone(), name.clone(), bench.root.path(), (Workspace::Auto, SELDOM));
    let spec = bench.spec();
    backend.warm(spec.clone(), Vec::new()).await.unwrap();
    backend.tend().await;
    assert!(backend.is_warm(&spec.session));
    let text = "FROM scratch\nCOPY file /\n";
    std::fs::write(bench.root.path().join("base/Dockerfile"), text).unwrap();
    docker(&["build", "-q", "-t", &name, &bench.root.path().join("base").display().to_string()]);
    backend.tend().await;
    assert!(!backend.is_warm(&spec.session));
    docker(&["rmi", &name]);
}

#[tokio::test]
async fn the_agents_program_is_in_memory_before_it_is_started() {
    let place = Place::new();
    let (host, image) = engine();
    let said = |program: &str, words: &[&str]| {
        let output = std::process::Command::new(program).args(words).output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let format = "{{.GraphDriver.Data.UpperDir}}";
    let layer = said("docker", &["-H", &host, "image", "inspect", "--format", format, &image]);
    // No test runs it.
    let program = format!("{layer}/usr/bin/git-shell");
    said("sync", &[&program]);
    said("dd", &[&format!("if={program}"), "iflag=nocache", "count=0", "status=none"]);
    let resident = || said("fincore", &["--noheadings", "--bytes", "--output", "RES", &program]);
    assert_eq!(resident(), "0");
    let spec = place.spec();
    place.backend.warm(spec.clone(), vec!["no-such-program".into(), "git-shell".into()]).await.unwrap();
    assert!(resident().parse::<u64>().unwrap() >= 1 << 20, "{}", resident());
    // Whoever wants the container while it reads does not wait for it.
    place.backend.cool(None).await;
    let (backend, of) = (Arc::clone(&place.backend), spec.clone());
    let endless = vec!["/dev/zero".into()];
    let warming = tokio::spawn(async move { backend.warm(of, endless).await });
    let sandbox = place.backend.launch(spec).await.unwrap();
    assert_eq!(says(&*sandbox, "cat file").await, "from the base\n");
    let _either = warming.await.unwrap();
    sandbox.kill().await;
    assert_eq!(place.left(), "");
}
