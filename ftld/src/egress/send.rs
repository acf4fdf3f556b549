//! The last steps of a request that was recorded, and the first of its response.
//!
//! Owns the moment in which real values exist: they are fetched, put into their slots and sent, and what
//! comes back is searched for them. Must not know how it was decided; it is given the proof.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ftl_core::credential::CredentialName;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::slots::{self, FillError, Plan, Signing, TokenEndpoint};
use ftl_core::egress::policy::{Permit, Reason};
use ftl_core::oauth::{self, OAuthError};
use ftl_core::scrub::Scrubber;
use ftl_core::sigv4::{self, Keys, SigV4Error, Unsigned};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::alpn::Alpn;
use super::body::{self, Carried, Reply, Searched, Way};
use super::dial::Route;
use super::exchange::Load;
use super::gateway::Shared;
use super::guard::End;
use super::headers::{self, Wanted};
use super::live::Underway;
use super::refusal::{self, Refusal};
use super::target::Target;
use super::tunnel::Opened;
use super::upstream::Outgoing;

/// A request that was decided and recorded.
pub(super) struct Ready {
    pub(super) target: Target,
    pub(super) permit: Permit,
    pub(super) plan: Plan,
    /// Whether the response is searched for values.
    pub(super) scrubbed: bool,
    /// Credentials that travel.
    pub(super) names: Vec<CredentialName>,
}

/// What is sent, before it has credentials.
pub(super) struct Outward {
    /// Prepared; see [`headers::prepare_request`].
    pub(super) headers: HeaderMap,
    /// As they came, where a signature over them is checked.
    pub(super) arrived: Option<HeaderMap>,
    pub(super) load: Load,
    pub(super) wanted: Wanted,
    pub(super) client: OnUpgrade,
}

/// What the host was asked for, as far as its answer has to fit.
struct AskedFor {
    /// The key, when it is a WebSocket.
    key: Option<HeaderValue>,
    /// Whether it is a part.
    ranged: bool,
}

impl AskedFor {
    fn of(outward: &Outward) -> Self {
        let websocket = outward.wanted == Wanted::WebSocket;
        let key = headers::websocket_key(&outward.headers).filter(|_| websocket).cloned();
        Self { key, ranged: outward.headers.contains_key(RANGE) }
    }
}

/// Real values for one request, by name.
type Reals = HashMap<CredentialName, Secret>;

/// Sends a request and prepares its response.
pub(super) async fn send(
    shared: &Arc<Shared>,
    ready: Ready,
    mut outward: Outward,
    underway: Arc<Underway>,
) -> Result<Response<Reply>, Refusal> {
    let done = async {
        let token = underway.token().clone();
        let asked = AskedFor::of(&outward);
        let sent = async {
            let request = seal(shared, &ready, &mut outward, &underway).await?;
            exchange(shared, &ready, outward.wanted, request, &underway).await
        };
        let response = tokio::select! {
            biased;
            () = token.cancelled() => Err(Refusal::new(Reason::Revoked)),
            response = sent => response,
        }?;
        underway.set_status(response.status().as_u16());
        receive(shared, &ready, (outward.client, asked), response, &underway).await
    };
    done.await.map_err(|refusal| {
        underway.finish(End::Refused(refusal.reason));
        Refusal { stage: underway.stage(), ..refusal }
    })
}

async fn exchange(
    shared: &Shared,
    ready: &Ready,
    wanted: Wanted,
    request: Request<Outgoing>,
    underway: &Underway,
) -> Result<Response<Incoming>, Refusal> {
    let alpn = if wanted == Wanted::WebSocket { Alpn::Http1 } else { Alpn::Any };
    let route = Route::new(&ready.permit, alpn).credentialed(!ready.names.is_empty());
    let leaving = || underway.leaving();
    let sent = shared.upstream.exchange(&route, request, shared.limits.response, &leaving);
    sent.await.map_err(|error| {
        // The text of the error stays in the daemon's log: it may quote the request.
        tracing::debug!(%error, authority = %route.authority(), "the host did not answer");
        match error.address() {
            Some(refusal) => shared.guard.policy().address_denial(route.authority(), refusal).into(),
            None => Refusal::new(error.reason()),
        }
    })
}

// === out ===

/// Puts everything together, credentials last.
async fn seal(
    shared: &Shared,
    ready: &Ready,
    outward: &mut Outward,
    underway: &Arc<Underway>,
) -> Result<Request<Outgoing>, Refusal> {
    let Ready { target, plan, .. } = ready;
    let reals = fetch(shared, &ready.names).await?;
    let real = |name: &CredentialName| reals.get(name).map(Secret::expose);
    let mut query = target.query.clone();
    let headers = &mut outward.headers;
    slots::fill(plan, headers, &mut query, &real).map_err(unfilled)?;
    if let (Some(endpoint), Load::Whole(whole)) = (plan.endpoint(), &outward.load) {
        let rewritten = oauth::rewrite_request(content_type(headers), whole, endpoint, &real);
        outward.load = Load::Whole(rewritten.map_err(unwritten)?.body.into());
    }
    if let Some(signing) = plan.signing() {
        let arrived = outward.arrived.as_ref();
        let whole = match &outward.load {
            Load::Whole(whole) => Some(whole),
            Load::Stream(_) => None,
        };
        let request = Sign { target, query: query.as_deref(), arrived, whole };
        let now_s = (shared.now_us)() / 1_000_000;
        sign(signing, &request, headers, &reals, now_s)?;
    }
    if outward.wanted == Wanted::WebSocket {
        headers::want_websocket(headers);
    }
    let load = std::mem::replace(&mut outward.load, Load::Whole(Bytes::new()));
    let mut request = Request::new(out(shared, load, underway));
    *request.method_mut() = target.method.clone();
    *request.uri_mut() = Uri::from(target.path_and_query(query.as_deref())?);
    *request.headers_mut() = std::mem::take(headers);
    Ok(request)
}

/// Today's values.
async fn fetch(shared: &Shared, names: &[CredentialName]) -> Result<Reals, Refusal> {
    let mut reals = Reals::new();
    for name in names {
        let real = shared.guard.real(name).await.map_err(|error| {
            tracing::warn!(%error, credential = name.as_str(), "nothing is forwarded");
            Refusal { credential: Some(name.clone()), ..Refusal::new(Reason::CredentialUnavailable) }
        })?;
        reals.insert(name.clone(), real);
    }
    Ok(reals)
}

fn unfilled(error: FillError) -> Refusal {
    let detail = error.to_string();
    match error {
        FillError::Unavailable { name } | FillError::BadValue { name } => {
            Refusal { credential: Some(name), ..Refusal::because(Reason::CredentialUnavailable, detail) }
        }
        FillError::Changed => Refusal::because(Reason::BadRequest, detail),
    }
}

fn unwritten(error: OAuthError) -> Refusal {
    let reason = match &error {
        OAuthError::Unreadable | OAuthError::Duplicate { .. } => Reason::BadRequest,
        OAuthError::TooLarge => Reason::TooLarge,
        OAuthError::Foreign { .. } => Reason::ForeignCredential,
        OAuthError::Missing => Reason::CredentialMissing,
        OAuthError::Unavailable { .. } => Reason::CredentialUnavailable,
    };
    Refusal::because(reason, error.to_string())
}

/// The credentials that stand in the body for a token endpoint.
pub(super) fn named_in(
    endpoint: &TokenEndpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<CredentialName>, Refusal> {
    let found = oauth::rewrite_request(content_type(headers), body, endpoint, &|_| Some("-"));
    Ok(found.map_err(unwritten)?.names)
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// What is signed, beside headers.
struct Sign<'a> {
    target: &'a Target,
    query: Option<&'a str>,
    arrived: Option<&'a HeaderMap>,
    whole: Option<&'a Bytes>,
}

/// Checks the sandbox's signature and makes the real one.
fn sign(
    signing: &Signing,
    request: &Sign<'_>,
    headers: &mut HeaderMap,
    reals: &Reals,
    now_s: i64,
) -> Result<(), Refusal> {
    let refused = |error: SigV4Error| Refusal::because(refusal::signature(error), error.to_string());
    let real = |name: &CredentialName| {
        let gone =
            || Refusal { credential: Some(name.clone()), ..Refusal::new(Reason::CredentialUnavailable) };
        reals.get(name).map(Secret::expose).ok_or_else(gone)
    };
    let inbound = &signing.inbound;
    let host = request.target.host();
    let unsigned = Unsigned {
        method: request.target.method.as_str(),
        host: &host,
        path: &request.target.raw_path,
        query: request.query,
    };
    let arrived = request.arrived.ok_or_else(|| refused(SigV4Error::Malformed))?;
    let mode = inbound.payload(arrived).map_err(refused)?;
    let payload = match (mode.announced(), request.whole) {
        (Some(announced), _) => announced.to_owned(),
        (None, Some(whole)) => sigv4::payload_hash(whole),
        (None, None) => return Err(refused(SigV4Error::UnknownPayload)),
    };
    inbound.verify(&unsigned, arrived, &payload, &signing.shadow_secret, now_s).map_err(refused)?;
    let keys = Keys {
        key_id: real(&signing.key_id)?,
        secret: real(&signing.secret)?,
        token: signing.token.as_ref().map(real).transpose()?,
    };
    inbound.sign(&unsigned, headers, &payload, &keys, now_s).map_err(refused)
}

/// The body on its way out.
fn out(shared: &Shared, load: Load, underway: &Arc<Underway>) -> Outgoing {
    use http_body_util::BodyExt as _;
    match load {
        Load::Whole(whole) => {
            underway.add_up(whole.len());
            body::full(whole)
        }
        Load::Stream(body) if http_body::Body::is_end_stream(&body) => body::empty(),
        Load::Stream(body) => {
            let way = Way::Up(Arc::clone(&shared.volume), Arc::clone(&shared.now_us));
            Carried::new(body, Arc::clone(underway), way, shared.limits.idle).boxed_unsync()
        }
    }
}

// === back ===

/// Prepares a response for the sandbox.
async fn receive(
    shared: &Arc<Shared>,
    ready: &Ready,
    (client, asked): (OnUpgrade, AskedFor),
    mut response: Response<Incoming>,
    underway: &Arc<Underway>,
) -> Result<Response<Reply>, Refusal> {
    let (status, answered) = (response.status(), response.headers());
    let upgraded = asked.key.is_some_and(|key| headers::is_websocket(status, answered, &key));
    if status == StatusCode::SWITCHING_PROTOCOLS && !upgraded {
        return Err(Refusal::of_answer(Reason::Unsupported, "the host switches to another protocol"));
    }
    if let Some(why) = headers::unsearchable(status, answered, asked.ranged).filter(|_| ready.scrubbed) {
        return Err(Refusal::of_answer(Reason::Unsupported, why));
    }
    let host = upgraded.then(|| hyper::upgrade::on(&mut response));
    let (mut parts, incoming) = response.into_parts();
    let scrubber = ready.scrubbed.then(|| shared.guard.scrubber().fresh());
    headers::prepare_response(&mut parts.headers, ready.scrubbed);
    if let Some(scrubber) = &scrubber {
        scrubber.headers(&mut parts.headers);
    }
    let body = match host {
        Some(host) => {
            headers::want_websocket(&mut parts.headers);
            let opened = Opened::new(client, host, Arc::clone(underway), scrubber);
            let shared = Arc::clone(shared);
            let (idle, tasks) = (shared.limits.idle, shared.tasks.clone());
            tasks.spawn(async move { opened.pass(idle, &shared.volume, &shared.now_us).await });
            body::empty()
        }
        None if ready.plan.endpoint().is_some() => {
            body::full(learn(shared, ready, &mut parts.headers, incoming, underway).await?)
        }
        None => back(shared, &ready.target.method, &mut parts.headers, incoming, (scrubber, underway))?,
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = parts.headers;
    Ok(answer)
}

/// The body on its way back.
fn back(
    shared: &Shared,
    method: &Method,
    headers: &mut HeaderMap,
    incoming: Incoming,
    (scrubber, underway): (Option<Scrubber>, &Arc<Underway>),
) -> Result<Reply, Refusal> {
    use http_body_util::BodyExt as _;
    if let Some(scrubber) = &scrubber {
        let empty = http_body::Body::is_end_stream(&incoming);
        if !empty && !headers::is_identity(headers) {
            return Err(Refusal::of_answer(
                Reason::Unsupported,
                "the answer is encoded although it was not to be",
            ));
        }
        if !scrubber.preserves_length() && method != Method::HEAD {
            headers.remove(CONTENT_LENGTH);
        }
    }
    let idle = shared.limits.idle;
    let searched = scrubber.map(|scrubber| Searched::new(scrubber, content_type(headers)));
    Ok(Carried::new(incoming, Arc::clone(underway), Way::Down(searched), idle).boxed_unsync())
}

/// A token endpoint's answer with shadows for its tokens, which the session has learned.
async fn learn(
    shared: &Shared,
    ready: &Ready,
    headers: &mut HeaderMap,
    incoming: Incoming,
    underway: &Arc<Underway>,
) -> Result<Vec<u8>, Refusal> {
    let kept_back = |detail| Refusal::of_answer(Reason::Unsupported, detail);
    if !headers::is_identity(headers) {
        return Err(kept_back("the token endpoint's answer is encoded"));
    }
    let read = tokio::time::timeout(shared.limits.idle, body::collect(incoming, oauth::LARGEST)).await;
    let whole =
        read.ok().flatten().ok_or_else(|| kept_back("the token endpoint's answer is cut or too large"))?;
    let mut failed = false;
    let mut mint = |_: &str, real: &str| {
        let shape = ftl_core::credential::shape::Shape::of(real, None);
        shape.mint(&mut |bytes: &mut [u8]| failed |= getrandom::fill(bytes).is_err())
    };
    let rewritten = oauth::rewrite_response(content_type(headers), &whole, &mut mint);
    let (body, tokens) = rewritten.map_err(|_| kept_back("the token endpoint's answer cannot be read"))?;
    if failed {
        return Err(kept_back("there is no randomness for shadows"));
    }
    if !tokens.is_empty() {
        shared.guard.learn(&ready.names, tokens).await.map_err(|error| {
            tracing::error!(%error, "the token endpoint's answer is kept back");
            Refusal::of_answer(Reason::CredentialUnavailable, "the new tokens cannot be kept")
        })?;
    }
    // Values that the session held before may be in the other fields.
    let mut scrubber = shared.guard.scrubber().fresh();
    let mut out = Vec::with_capacity(body.len());
    scrubber.push(&body, &mut out);
    scrubber.finish(&mut out);
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONTENT_ENCODING);
    underway.add_down(out.len());
    underway.finish(End::Whole);
    Ok(out)
}
