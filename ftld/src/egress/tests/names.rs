//! Names that no rule allows are the human's to allow, and nobody else is asked.

use tokio::io::AsyncWriteExt as _;

use super::bench::{Bench, Setup, read_head};
use super::bodies::echo;
use crate::egress::guard::Answer;
use crate::egress::testing::{Script, World};

const HOST: &str = "api.example.com";
const RULES: &[&str] = &["allow api.example.com"];

/// Looks a name up and waits only so long that others have had their turn.
async fn held<F: Future>(asking: &mut std::pin::Pin<&mut F>) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(50), asking).await.is_err()
}

#[tokio::test]
async fn a_name_that_no_rule_allows_waits_for_the_human_once() {
    let world = World::new();
    let (site, seen) = echo(None).await;
    let sites = &[("asked.example:80", &site)];
    let bench = Bench::new(&world, Setup { rules: RULES, sites, ..Setup::default() });
    *bench.told.answer.lock().unwrap() = Answer::Once;
    bench.told.thinks.send_replace(true);
    let (first, second) = (bench.look_up("asked.example"), bench.look_up("asked.example"));
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    assert!(held(&mut first).await && held(&mut second).await, "the answer waits");
    // Meanwhile other names are answered.
    assert_eq!(bench.look_up(HOST).await.unwrap()[3] & 0xf, 0);
    bench.told.thinks.send_replace(false);
    let (first, second) = tokio::join!(first, second);
    let answers = [first.unwrap(), second.unwrap()];
    assert!(answers.iter().all(|answer| answer[3] & 0xf == 0 && answer[7] == 1), "{answers:?}");
    let asked = bench.told.questions.lock().unwrap().clone();
    let [question] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((question.method.as_str(), question.path.as_str()), ("", ""));
    assert_eq!(question.would_allow.as_ref().unwrap().to_string(), "allow asked.example");
    assert!(bench.told.refused.lock().unwrap().is_empty());
    // What was allowed once is allowed for one request, and is not asked again for that one.
    *bench.told.answer.lock().unwrap() = Answer::No;
    for expected in [200, 403] {
        let mut stream = bench.open_to_address(&answers[0]);
        let head = "GET /x HTTP/1.1\r\nHost: asked.example\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{head}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(bench.told.questions.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_refused_name_is_not_asked_about_again_and_a_flood_asks_about_few() {
    let world = World::new();
    let resolver = Script::new(&[&["192.0.2.1"]], &[]);
    let limits = crate::egress::Limits { asked_names: 3, ..crate::egress::Limits::default() };
    let setup = Setup {
        rules: RULES,
        resolver: Some(std::sync::Arc::clone(&resolver)),
        limits: Some(limits),
        ..Setup::default()
    };
    let bench = Bench::new(&world, setup);
    *bench.told.answer.lock().unwrap() = Answer::No;
    for _ in 0..3 {
        assert_eq!(bench.look_up("no.example").await.unwrap()[3] & 0xf, 3, "not NXDOMAIN");
    }
    assert_eq!(bench.told.questions.lock().unwrap().len(), 1);
    for number in 0..100 {
        let answer = bench.look_up(&format!("c2VjcmV0{number}.evil.example")).await.unwrap();
        assert_eq!(answer[3] & 0xf, 3, "not NXDOMAIN");
    }
    assert_eq!(bench.told.questions.lock().unwrap().len(), 3);
    assert_eq!(bench.told.reasons(), ["not_allowed"; 103]);
    assert_eq!(resolver.asked(), 0, "somebody outside was asked");
}
