//! What happens to a request: the one way out.
//!
//! Owns the order of the steps, which is the same whatever the request came as: where it goes, what the
//! rules say, which credentials it carries, the record, and only then a connection. Must not know how
//! bytes arrive. Whatever goes wrong on the way ends in a refusal, and before the record there is no
//! connection that could have been used.

use std::sync::Arc;

use bytes::Bytes;
use ftl_core::credential::slots::{self, Held, Plan};
use ftl_core::egress::policy::{Facts, Permit, Policy, Reason, Verdict};
use ftl_core::egress::rule::Scheme;
use http::header::{AUTHORIZATION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::body::{self, Reply};
use super::gateway::Shared;
use super::guard::{Answer, Intent, Question};
use super::headers::{self, Wanted};
use super::live::{Basis, Place, Underway};
use super::refusal::{self, Asked, Refusal};
use super::send::{self, Ready};
use super::target::{self, Entry, Target};

/// A body before it is sent.
pub(super) enum Load {
    /// As it comes.
    Stream(Incoming),
    /// Read as a whole, because something of it has to be known.
    Whole(Bytes),
}

/// A request that may be sent once it is recorded.
struct Decided {
    target: Target,
    permit: Permit,
    plan: Plan,
    scrubbed: bool,
    place: Place,
}

/// Answers a request: with what the host answers, or with why it was not asked.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    entry: &Entry,
    mut request: Request<Incoming>,
) -> Response<Reply> {
    let client = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let mut asked = target::asked(entry, &parts);
    let arrival = Arrival { parts, body, client };
    match forward(shared, entry, arrival, &mut asked).await {
        Ok(response) => response,
        Err(refusal) => refuse(shared, &refusal, &asked),
    }
}

/// Tells the session and the sandbox that something was refused.
pub(super) fn refuse(shared: &Shared, refusal: &Refusal, asked: &Asked) -> Response<Reply> {
    shared.guard.refused(&refusal.of_request(asked));
    refusal.response(asked)
}

/// A request as it came.
struct Arrival {
    parts: Parts,
    body: Incoming,
    client: hyper::upgrade::OnUpgrade,
}

async fn forward(
    shared: &Arc<Shared>,
    entry: &Entry,
    arrival: Arrival,
    asked: &mut Asked,
) -> Result<Response<Reply>, Refusal> {
    let Arrival { parts, body, client } = arrival;
    let slot = Arc::clone(&shared.requests).try_acquire_owned();
    let slot = slot.map_err(|_| Refusal::new(Reason::TooMany))?;
    let wanted = check_form(&parts)?;
    let mut target = target::of_request(entry, &parts)?;
    let policy = shared.guard.policy();
    if target.scheme == Scheme::Http
        && target.authority.port == Scheme::Http.port()
        && let Some(real) = policy.alias(&target.authority.host)
    {
        target = target.resolved(real);
    }
    asked.authority = Some(target.authority.clone());
    let (permit, once) = decide(shared, &policy, &target).await?;
    keep_rate(shared, &target)?;
    let arrived = signed(&parts.headers);
    let mut headers = parts.headers;
    let held = shared.guard.held();
    let scrubbed = held.credentialed(&target.authority);
    let part = headers::wanted_part(&headers);
    headers::prepare_request(&mut headers, scrubbed);
    let plan = plan(&held, &target, &headers)?;
    // A signed request carries no secret that its answer could show a piece of, and clients of object
    // stores fetch large objects in parts.
    if plan.signing().is_some() {
        headers.extend(part);
    }
    let (load, credentials) = read_ahead(shared, &plan, &headers, body).await?;
    let basis = Basis {
        scheme: target.scheme,
        authority: target.authority.clone(),
        method: target.method.as_str().to_owned(),
        path: target.path.clone(),
        once,
        credentials,
    };
    let place = register(shared, &basis)?;
    let decided = Decided { target, permit, plan, scrubbed, place };
    let (ready, underway) = record(shared, decided, basis, slot).await?;
    let request = send::Outward { headers, arrived, load, wanted, client };
    send::send(shared, ready, request, underway).await
}

/// Refuses forms of requests that are not forwarded, whatever they ask for.
fn check_form(parts: &Parts) -> Result<Wanted, Refusal> {
    let expected = parts.headers.get_all(EXPECT).iter();
    if expected.into_iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::because(Reason::Unsupported, "Expect is not `100-continue`"));
    }
    match headers::wanted(&parts.headers) {
        Wanted::WebSocket if parts.method != Method::GET => {
            Err(Refusal::because(Reason::BadRequest, "a WebSocket is asked for with GET"))
        }
        Wanted::WebSocket if headers::websocket_key(&parts.headers).is_none() => {
            Err(Refusal::because(Reason::BadRequest, "a WebSocket is asked for with one key, as version 13"))
        }
        Wanted::Other => {
            Err(Refusal::because(Reason::Unsupported, "an upgrade to something else than a WebSocket"))
        }
        wanted => Ok(wanted),
    }
}

/// What the rules say, or the human where they say nothing. Also whether it is for this request alone.
async fn decide(shared: &Shared, policy: &Policy, target: &Target) -> Result<(Permit, bool), Refusal> {
    let facts = Facts {
        scheme: target.scheme,
        authority: &target.authority,
        method: target.method.as_str(),
        path: &target.path,
    };
    let denial = match policy.decide(&facts) {
        Verdict::Allow(permit) => return Ok((permit, false)),
        Verdict::Deny(denial) if denial.reason == Reason::NotAllowed => denial,
        Verdict::Deny(denial) => return Err(denial.into()),
    };
    // Asked already, when the name was looked up.
    if shared.lookups.spend(&target.authority, target.scheme) {
        return Ok((policy.decide_once(&facts).permit()?, true));
    }
    let question = Question {
        method: target.method.as_str().to_owned(),
        scheme: target.scheme,
        authority: target.authority.clone(),
        path: target.path.as_str().to_owned(),
        would_allow: denial.would_allow.as_deref().cloned(),
    };
    let answer = tokio::select! {
        answer = shared.guard.ask(&question) => answer,
        () = shared.ended.cancelled() => Answer::Nobody,
    };
    let policy = shared.guard.policy();
    match answer {
        Answer::Once => Ok((policy.decide_once(&facts).permit()?, true)),
        Answer::Ruled => Ok((policy.decide(&facts).permit()?, false)),
        // The human has just decided: how to decide otherwise is not said again.
        Answer::No => Err(Refusal::because(denial.reason, "the human said no")),
        Answer::Nobody => Err(denial.into()),
    }
}

/// Keeps the limit of the host, if it has one.
fn keep_rate(shared: &Shared, target: &Target) -> Result<(), Refusal> {
    let Some(limit) = shared.guard.policy().limit_for(&target.authority) else { return Ok(()) };
    let taken = shared.rates.take(&target.authority.host, limit, (shared.now_us)());
    taken.map_err(|seconds| Refusal { retry_after: Some(seconds), ..Refusal::new(Reason::RateLimited) })
}

/// The headers as they arrived, when a signature over them may have to be checked.
fn signed(headers: &HeaderMap) -> Option<HeaderMap> {
    let aws = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4"));
    aws.then(|| headers.clone())
}

fn plan(held: &Held, target: &Target, headers: &HeaderMap) -> Result<Plan, Refusal> {
    let outgoing = slots::Outgoing {
        authority: &target.authority,
        tls: target.scheme == Scheme::Https,
        method: target.method.as_str(),
        path: target.path.as_str(),
        path_is_odd: target.path.is_odd(),
        query: target.query.as_deref(),
        headers,
    };
    Ok(slots::plan(held, &outgoing)?)
}

fn too_large() -> Refusal {
    Refusal::because(Reason::TooLarge, "the body has to be read as a whole")
}

/// Reads the body where it has to be known before it is sent. Gives the credentials that will travel.
async fn read_ahead(
    shared: &Shared,
    plan: &Plan,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(Load, Vec<ftl_core::credential::CredentialName>), Refusal> {
    let most = if plan.endpoint().is_some() {
        ftl_core::oauth::LARGEST
    } else if let Some(signing) = plan.signing() {
        let mode = signing.inbound.payload(headers);
        match mode.map_err(|error| Refusal::because(refusal::signature(error), error.to_string()))? {
            ftl_core::sigv4::PayloadMode::NeedsBody(most) => most,
            _ => return Ok((Load::Stream(body), plan.names())),
        }
    } else {
        return Ok((Load::Stream(body), plan.names()));
    };
    let announced = http_body::Body::size_hint(&body).exact().and_then(|size| usize::try_from(size).ok());
    let size = announced.unwrap_or(most);
    if size > most {
        return Err(too_large());
    }
    let room = shared.ahead.take(size, shared.limits.opening).await;
    let room = room.ok_or_else(|| Refusal {
        retry_after: Some(1),
        ..Refusal::because(Reason::Busy, "too many bodies have to be read as a whole now")
    })?;
    let read = tokio::time::timeout(shared.limits.idle, body::collect(body, most)).await;
    let whole = read.map_err(|_| Refusal::new(Reason::Timeout))?;
    let whole = room.filled(whole.ok_or_else(too_large)?);
    if !shared.volume.take(whole.len() as u64, (shared.now_us)()) {
        return Err(Refusal::because(Reason::TooLarge, "the session sends too much"));
    }
    let mut names = plan.names();
    if let Some(endpoint) = plan.endpoint() {
        names.extend(send::named_in(endpoint, headers, &whole)?);
        names.sort();
        names.dedup();
    }
    Ok((Load::Whole(whole), names))
}

/// Puts the request on the list of what is under way. From then on a change of rules or credentials
/// reaches it; one that came before is seen here.
fn register(shared: &Shared, basis: &Basis) -> Result<Place, Refusal> {
    let place = shared.live.register(basis.clone(), &shared.ended);
    let held = shared.guard.held();
    basis.judge(&shared.guard.policy()).permit()?;
    match basis.credentials.iter().find(|name| held.grant(name).is_none()) {
        Some(gone) => Err(Refusal { credential: Some(gone.clone()), ..Refusal::new(Reason::Revoked) }),
        None => Ok(place),
    }
}

/// Records what is about to be sent.
async fn record(
    shared: &Shared,
    decided: Decided,
    basis: Basis,
    slot: OwnedSemaphorePermit,
) -> Result<(Ready, Arc<Underway>), Refusal> {
    let Decided { target, permit, plan, scrubbed, place } = decided;
    let intent = Intent {
        method: basis.method,
        scheme: target.scheme,
        authority: target.authority.clone(),
        path: target.path.as_str().to_owned(),
        rule: permit.rule().to_owned(),
        source: permit.source().clone(),
        generation: permit.generation(),
        credentials: basis.credentials.clone(),
    };
    let id = shared.guard.record(&intent).await.map_err(|error| {
        tracing::error!(%error, "nothing is forwarded");
        Refusal::new(Reason::AuditFailed)
    })?;
    let underway = Underway::new(Arc::clone(&shared.guard), id, place, slot);
    Ok((Ready { target, permit, plan, scrubbed, names: basis.credentials }, Arc::new(underway)))
}
