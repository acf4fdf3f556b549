//! The API, closer than the command line shows it.

use ftl_proto::v1;
use ftl_proto::v1::event::Kind;
use ftl_tests::client::Client;
use ftl_tests::world::{Who, World};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_client_that_reconnects_asks_from_the_last_number_and_misses_nothing() {
    let world = World::new(Who::Me);
    world.files(&[("a", "1\n")]);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let session =
            client.shell(&world.project(), "for i in 1 2 3 4 5; do echo $i; done; echo 2 > a").await.unwrap();
        let whole = client.until_idle(&session, 1).await.unwrap();
        let numbers: Vec<u64> = whole.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=u64::try_from(whole.len()).unwrap()).collect::<Vec<_>>());
        for from in 1..=whole.len() {
            // A connection of its own for each, as after a broken one.
            let mut client = Client::connect(&world.socket()).await.unwrap();
            let rest = client.until_idle(&session, u64::try_from(from).unwrap()).await.unwrap();
            assert_eq!(rest, whole[from - 1..], "from {from}");
        }
        let beyond = client.until_idle(&session, u64::try_from(whole.len()).unwrap() + 1).await.unwrap();
        assert!(beyond.is_empty());
    });
}

#[test]
fn two_watchers_see_the_same_story_as_it_happens() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let session = client.shell(&world.project(), "echo one; echo x > f").await.unwrap();
        let (mut one, mut two) = (client.clone(), client.clone());
        let (seen, also) = tokio::join!(one.until_idle(&session, 1), two.until_idle(&session, 1));
        let seen = seen.unwrap();
        assert_eq!(seen, also.unwrap());
        let stages: Vec<&str> = seen
            .iter()
            .filter_map(|event| match event.kind.as_ref() {
                Some(Kind::StageFinished(stage)) => Some(stage.stage.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(stages, ["snapshot", "sandbox", "agent", "diff"]);
    });
}

#[test]
fn a_large_diff_is_streamed_and_never_one_large_message() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let script = "for i in $(seq 1 3000); do head -c 2000 /dev/zero | tr '\\0' x > f$i; done";
        let session = client.shell(&world.project(), script).await.unwrap();
        client.until_idle(&session, 1).await.unwrap();
        let request = v1::GetDiffRequest { session, stat_only: false, contents: false };
        let mut items = client.reviews.get_diff(request).await.unwrap().into_inner();
        let mut entries = 0;
        while let Some(item) = items.message().await.unwrap() {
            match item.item.unwrap() {
                v1::diff_item::Item::Header(header) => assert_eq!(header.entries, 3000),
                v1::diff_item::Item::Entry(entry) => {
                    assert_eq!(entry.added_lines, 1);
                    entries += 1;
                }
            }
        }
        assert_eq!(entries, 3000);
    });
}

#[test]
fn a_changed_line_says_which_of_its_words_changed() {
    let world = World::new(Who::Me);
    world.files(&[("a.txt", "the old word\n")]);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let session = client.shell(&world.project(), "echo 'the brand new word' > a.txt").await.unwrap();
        client.until_idle(&session, 1).await.unwrap();
        let request = v1::GetDiffRequest { session, stat_only: false, contents: false };
        let mut items = client.reviews.get_diff(request).await.unwrap().into_inner();
        let mut marked = Vec::new();
        while let Some(item) = items.message().await.unwrap() {
            let Some(v1::diff_item::Item::Entry(entry)) = item.item else { continue };
            for line in entry.hunks.iter().flat_map(|hunk| &hunk.lines) {
                let words =
                    line.changed.iter().map(|span| &line.text[span.start as usize..span.end as usize]);
                marked.extend(words.map(|word| format!("{}{}", line.tag, String::from_utf8_lossy(word))));
            }
        }
        assert_eq!(marked, ["-old", "+brand new"]);
    });
}

#[test]
fn lists_come_in_pages() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let mut started = Vec::new();
        for _ in 0..5 {
            let session = client.shell(&world.project(), "true").await.unwrap();
            client.until_idle(&session, 1).await.unwrap();
            started.push(session);
        }
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                v1::ListSessionsRequest { page_size: 2, page_token, ..v1::ListSessionsRequest::default() };
            let page = client.sessions.list(request).await.unwrap().into_inner();
            assert!(page.sessions.len() <= 2);
            listed.extend(page.sessions.into_iter().map(|session| session.session));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        started.reverse();
        assert_eq!(listed, started);
    });
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let relative =
            v1::StartRequest { project: b"project".to_vec(), task: "true".into(), ..Default::default() };
        let status = client.sessions.start(relative).await.unwrap_err();
        assert!(status.message().contains("project"), "{status:?}");
        let session = client.shell(&world.project(), "echo 1 > f").await.unwrap();
        client.until_idle(&session, 1).await.unwrap();
        for path in ["../x", "/etc/passwd", "", "a/../../b"] {
            let request = v1::ApproveRequest {
                session: session.clone(),
                digest: "0".repeat(64),
                paths: vec![path.as_bytes().to_vec()],
                ..Default::default()
            };
            let status = client.reviews.approve(request).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{path}: {status:?}");
        }
        let missing =
            client.sessions.get(v1::GetSessionRequest { session: "s-nothing".into(), ..Default::default() });
        let status = missing.await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(status.metadata().get("ftl-reason").unwrap(), "no-session");
    });
}

#[test]
fn a_watcher_of_a_session_that_waits_does_not_keep_the_daemon_alive() {
    let world = World::new(Who::Me);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let session = client.shell(&world.project(), "echo 1 > f").await.unwrap();
        client.until_idle(&session, 1).await.unwrap();
        let request =
            v1::WatchRequest { session, from_seq: 1, follow: true, until_idle: false, ..Default::default() };
        let mut watch = client.sessions.watch(request).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().is_some());
        client.daemon.shutdown(v1::ShutdownRequest {}).await.unwrap();
        // Every event that was stored still arrives; then the stream ends as a whole.
        while watch.message().await.unwrap().is_some() {}
    });
    assert_eq!(world.run(["--no-start", "daemon", "status"]).code, 5);
}

#[test]
fn checks_go_on_when_their_client_goes_unless_it_said_otherwise() {
    let world = World::new(Who::Me);
    world.config(&serde_json::json!({"checks": {"test": "sleep 1; echo 3 tests passed"}}));
    world.files(&[("f", "1\n")]);
    world.ok(["daemon", "start"]);
    block_on(async {
        let mut client = Client::connect(&world.socket()).await.unwrap();
        let session = client.shell(&world.project(), "echo 2 > f").await.unwrap();
        client.until_idle(&session, 1).await.unwrap();
        let digest = client
            .sessions
            .get(v1::GetSessionRequest { session: session.clone(), ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .digest;
        let request = v1::TestRequest { session: session.clone(), ..Default::default() };
        let mut stream = client.verify.test(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().event;
        assert!(matches!(first, Some(v1::test_event::Event::Begun(_))), "{first:?}");
        drop(stream);
        let watch =
            v1::WatchRequest { session: session.clone(), from_seq: 1, follow: true, ..Default::default() };
        let mut events = client.sessions.watch(watch).await.unwrap().into_inner();
        let ended = loop {
            let event = events.message().await.unwrap().expect("the checks end");
            if let Some(Kind::ChecksEnded(ended)) = event.kind {
                break ended;
            }
        };
        assert!(ended.ready, "{ended:?}");
        assert_eq!(ended.digest, digest);
        // A turn may begin while checks run, and what they say is told when it is over.
        let again = v1::TestRequest { session: session.clone(), again: true, ..Default::default() };
        let mut stream = client.verify.test(again).await.unwrap().into_inner();
        stream.message().await.unwrap();
        let say = v1::SayRequest { session: session.clone(), text: "sleep 2; echo 3 > f".into() };
        let from_seq = client.sessions.say(say).await.unwrap().into_inner().seq;
        let mut word = None;
        while let Some(event) = stream.message().await.unwrap() {
            if let Some(v1::test_event::Event::Word(said)) = event.event {
                word = Some(said);
            }
        }
        assert_eq!(word.expect("a word").digest, digest, "the digest is that of what was tested");
        let watch = v1::WatchRequest { session, from_seq, follow: true, ..Default::default() };
        let mut events = client.sessions.watch(watch).await.unwrap().into_inner();
        loop {
            let event = events.message().await.unwrap().expect("the checks are told");
            if matches!(event.kind, Some(Kind::ChecksEnded(_))) {
                break;
            }
        }
    });
}
