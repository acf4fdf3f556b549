//! What a record of the audit log costs, on the file system of the directory that is given.
//!
//! `cargo run --release -p ftl-tests --bin bench_audit -- DIR`

use std::time::Instant;

use ftld::audit::{AuditSink as _, Entry, JsonlAudit, Sync};

const RECORDS: u32 = 100_000;

fn main() {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let dir = tempfile::tempdir_in(parent).expect("a directory");
    let log = JsonlAudit::open(dir.path(), 0).expect("a log");
    let mut took: Vec<_> = (0..RECORDS)
        .map(|request| {
            let detail = serde_json::json!({
                "request": request, "method": "GET", "authority": "api.example.com:443", "scheme": "https",
                "path": "/v1/messages", "rule": "allow api.example.com", "source": "project",
                "generation": 1, "credentials": ["API_KEY"],
            });
            let entry =
                Entry { time_us: 1, action: "egress_forwarded", session: None, project: None, detail };
            let begun = Instant::now();
            log.append(entry, Sync::Kernel).expect("a record");
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 1000].as_nanos() as f64 / 1000.0;
    println!("append: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us", at(500), at(990), at(999));
    let begun = Instant::now();
    let verdict = log.verify().expect("a verdict");
    println!("verify: {} records in {:.2} s", verdict.records, begun.elapsed().as_secs_f64());
    drop(log);
    let begun = Instant::now();
    JsonlAudit::open(dir.path(), 0).expect("a log");
    println!("open: {:.0} us", begun.elapsed().as_secs_f64() * 1e6);
}
