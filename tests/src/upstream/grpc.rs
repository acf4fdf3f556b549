//! gRPC: every message of a call comes back, then the status.
//!
//! Owns the trailers. The messages' frames are handed back as they come, so it needs no schema.

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;

use super::{Answer, Tapped};

/// Answers one call; `/test.Echo/Fail` is refused with status 7 and a message.
pub(super) fn answer(request: Request<Tapped>) -> Response<Answer> {
    let fails = request.uri().path().ends_with("/Fail");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(if fails { "7" } else { "0" }));
    if fails {
        trailers.insert("grpc-message", HeaderValue::from_static("the test says so"));
    }
    let body = request.into_body().map_err(std::io::Error::other);
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
