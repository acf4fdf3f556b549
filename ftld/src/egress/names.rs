//! Questions for names.
//!
//! Owns that each is answered from the rules alone, or by the human where they say nothing. Nobody outside
//! is ever asked: the question itself could carry what must not leave. Must not know DNS's bytes; the core
//! does.
//!
//! A program that knows of no proxy looks a name up before it connects, and goes no further when there is no
//! such name. So the human is asked here already, once for a name however often it is looked up, and the
//! answer to the program waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ftl_core::egress::dns::{self, NameVerdict};
use ftl_core::egress::host::{Authority, DnsName, Host};
use ftl_core::egress::policy::{HostVerdict, Reason};
use ftl_core::egress::rule::Scheme;
use tokio::sync::watch;

use super::gateway::Shared;
use super::guard::{Answer, Question, What};
use super::refusal::Refusal;
use crate::pipe::{Names, Question as Asked};

/// Answers that wait for the human at once, also those about the same name.
const MOST_WAITING: usize = 256;

/// Names that the human is or was asked about.
#[derive(Default)]
pub(super) struct Lookups(Mutex<State>);

#[derive(Default)]
struct State {
    /// What will be known of names that the human is asked about now.
    open: HashMap<DnsName, watch::Receiver<Option<bool>>>,
    waiting: usize,
    /// Questions that were asked in all.
    asked: usize,
    /// Names to which the human said no.
    refused: HashSet<DnsName>,
    /// Hosts that the next request may go to although no rule allows it, oldest first.
    once: VecDeque<Host>,
}

/// What the human will say of a name, for an answer that waits for it; it counts as long as this lives.
struct Waiting {
    shared: Arc<Shared>,
    known: watch::Receiver<Option<bool>>,
}

/// Answers questions until there are no more.
pub(super) async fn serve(shared: &Arc<Shared>, mut names: Box<dyn Names>) {
    while let Ok(question) = names.next().await {
        let mut refused = None;
        let answer = dns::answer(&question.message, &mut |name| match allowed(shared, name) {
            Ok(()) => address(shared, name),
            Err(refusal) => {
                let reason = refusal.reason.sentence().to_owned();
                refused = Some((name.clone(), refusal));
                NameVerdict::Refused(reason)
            }
        });
        let Some(answer) = answer else { continue };
        let Some((name, refusal)) = refused else {
            (question.answer)(answer);
            continue;
        };
        let unknown = refusal.reason == Reason::NotAllowed && dns::asks_for_address(&question.message);
        match unknown.then(|| wait_for(shared, &name, &refusal)).flatten() {
            Some(waiting) => shared.spawn(answer_later(waiting, question, answer, name, refusal)),
            None => {
                tell(shared, name, &refusal);
                (question.answer)(answer);
            }
        }
    }
}

/// Answers when the human has: with an address, or with what would have been answered at once.
async fn answer_later(
    mut waiting: Waiting,
    question: Asked,
    refused: Vec<u8>,
    name: DnsName,
    refusal: Refusal,
) {
    let allowed = waiting.known.wait_for(Option::is_some).await.is_ok_and(|known| *known == Some(true));
    let shared = &waiting.shared;
    let answer = if allowed {
        dns::answer(&question.message, &mut |name| address(shared, name))
    } else {
        tell(shared, name, &refusal);
        Some(refused)
    };
    if let Some(answer) = answer {
        (question.answer)(answer);
    }
}

/// What the human will say of a name; `None` when nobody is asked.
fn wait_for(shared: &Arc<Shared>, name: &DnsName, refusal: &Refusal) -> Option<Waiting> {
    if !shared.guard.answers() {
        return None;
    }
    let mut state = shared.lookups.lock();
    if state.waiting >= MOST_WAITING || state.refused.contains(name) {
        return None;
    }
    let waiting = |known| Waiting { shared: Arc::clone(shared), known };
    if let Some(known) = state.open.get(name).cloned() {
        state.waiting += 1;
        return Some(waiting(known));
    }
    if state.asked >= shared.limits.asked_names {
        return None;
    }
    let (tell, known) = watch::channel(None);
    state.asked += 1;
    state.waiting += 1;
    state.open.insert(name.clone(), known.clone());
    drop(state);
    let authority = Authority { host: Host::Dns(name.clone()), port: Scheme::Https.port() };
    let would_allow = refusal.would_allow.as_deref().cloned();
    let (method, path) = (String::new(), String::new());
    let question = Question { method, scheme: Scheme::Https, authority, path, would_allow };
    let (inner, name) = (Arc::clone(shared), name.clone());
    let waiting = waiting(known);
    shared.spawn(async move {
        let answer = inner.guard.ask(&question).await;
        let host = question.authority.host;
        let ruled = || matches!(inner.guard.policy().could_reach(&host), HostVerdict::Reachable);
        let allowed = answer == Answer::Once || (answer == Answer::Ruled && ruled());
        let mut state = inner.lookups.lock();
        state.open.remove(&name);
        match answer {
            Answer::Once => state.once.push_back(host),
            Answer::No => {
                state.refused.insert(name);
            }
            Answer::Ruled | Answer::Nobody => {}
        }
        drop(state);
        tell.send_replace(Some(allowed));
    });
    Some(waiting)
}

impl Lookups {
    /// Takes the human's leave for one request to a host, given when its name was looked up.
    pub(super) fn spend(&self, authority: &Authority, scheme: Scheme) -> bool {
        let mut state = self.lock();
        let at = state.once.iter().position(|host| *host == authority.host);
        match at.filter(|_| authority.port == scheme.port()) {
            Some(at) => state.once.remove(at).is_some(),
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.lookups.lock().waiting -= 1;
    }
}

fn address(shared: &Shared, name: &DnsName) -> NameVerdict {
    let mut names = shared.names.lock().unwrap_or_else(PoisonError::into_inner);
    NameVerdict::Address(names.address_of(name))
}

fn tell(shared: &Shared, name: DnsName, refusal: &Refusal) {
    shared.guard.refused(&refusal.of(What::Name(Host::Dns(name)), None));
}

fn allowed(shared: &Shared, name: &DnsName) -> Result<(), Refusal> {
    if let Some(bucket) = &shared.questions {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take((shared.now_us)()).map_err(|_| Refusal::new(Reason::RateLimited))?;
    }
    let host = Host::Dns(name.clone());
    let policy = shared.guard.policy();
    if policy.alias(&host).is_some() {
        return Ok(());
    }
    match policy.could_reach(&host) {
        HostVerdict::Reachable => Ok(()),
        HostVerdict::Refused(denial) => Err(denial.into()),
    }
}
