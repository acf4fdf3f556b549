//! Questions for names.
//!
//! Owns that each is answered from the rules alone. Nobody outside is ever asked: the question itself could
//! carry what must not leave. Must not know DNS's bytes; the core does.

use std::sync::PoisonError;

use ftl_core::egress::dns::{self, NameVerdict};
use ftl_core::egress::host::{DnsName, Host};
use ftl_core::egress::policy::{HostVerdict, Reason};

use super::gateway::Shared;
use super::guard::What;
use super::refusal::Refusal;
use crate::pipe::Names;

/// Answers questions until there are no more.
pub(super) async fn serve(shared: &Shared, mut names: Box<dyn Names>) {
    while let Ok(question) = names.next().await {
        let answer = dns::answer(&question.message, &mut |name| judge(shared, name));
        if let Some(answer) = answer {
            (question.answer)(answer);
        }
    }
}

fn judge(shared: &Shared, name: &DnsName) -> NameVerdict {
    match allowed(shared, name) {
        Ok(()) => {
            let mut names = shared.names.lock().unwrap_or_else(PoisonError::into_inner);
            NameVerdict::Address(names.address_of(name))
        }
        Err(refusal) => {
            let host = Host::Dns(name.clone());
            let reason = refusal.reason.sentence().to_owned();
            shared.guard.refused(&refusal.of(What::Name(host), None));
            NameVerdict::Refused(reason)
        }
    }
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
