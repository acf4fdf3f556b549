//! Git over HTTP, as `git http-backend` serves it.
//!
//! Owns the CGI around that program. Who may push and fetch was decided before.

use std::path::Path;
use std::process::Stdio;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::service::text;
use super::{Answer, Tapped, full};

/// Answers one request for repositories beneath `root`.
pub(super) async fn answer(request: Request<Tapped>, root: &Path) -> Response<Answer> {
    let (head, body) = request.into_parts();
    let mut command = Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REMOTE_USER", "tester").env("REMOTE_ADDR", "127.0.0.1");
    command.env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
    command.env("QUERY_STRING", head.uri.query().unwrap_or_default());
    // The repositories were made by whoever runs the tests.
    command
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    command.env("GIT_CONFIG_KEY_1", "http.receivepack").env("GIT_CONFIG_VALUE_1", "true");
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = head.headers.get(name).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    let Ok(body) = body.collect().await else { return text(400, "the body broke off") };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let Ok(mut child) = command.spawn() else { return text(500, "git does not run") };
    let mut input = child.stdin.take();
    let body = body.to_bytes();
    tokio::spawn(async move {
        if let Some(input) = &mut input {
            // The program may have its answer before it has read all.
            let _closed = input.write_all(&body).await;
        }
    });
    let Ok(output) = child.wait_with_output().await else { return text(500, "git broke off") };
    parsed(&output.stdout).unwrap_or_else(|| text(500, "git said no headers"))
}

/// A CGI program's answer.
fn parsed(output: &[u8]) -> Option<Response<Answer>> {
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let mut response = Response::new(full(output[end + 4..].to_vec()));
    for line in std::str::from_utf8(&output[..end]).ok()?.lines() {
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = StatusCode::from_bytes(value.get(..3)?.as_bytes()).ok()?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            response.headers_mut().insert(name, HeaderValue::from_str(value).ok()?);
        }
    }
    Some(response)
}
