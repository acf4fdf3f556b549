//! Names to addresses, on the host.
//!
//! Owns the one question that is asked for a name before it is dialled, and which addresses are this
//! machine's own. Must not know which addresses are good: [`super::dial`] asks the core.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use ftl_core::egress::host::DnsName;

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Every address of a name, in the order of preference.
    ///
    /// # Errors
    /// When there is no answer.
    async fn resolve(&self, name: &DnsName) -> io::Result<Vec<IpAddr>>;

    /// The addresses of this machine's interfaces as they are now.
    ///
    /// # Errors
    /// When they cannot be read.
    fn own(&self) -> io::Result<Vec<IpAddr>>;
}

/// The host's own resolver, with all that the host's configuration says.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &DnsName) -> io::Result<Vec<IpAddr>> {
        let answers = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 0)));
        Ok(answers.await.map_err(|_| io::ErrorKind::TimedOut)??.map(|address| address.ip()).collect())
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        let interfaces = nix::ifaddrs::getifaddrs()?;
        Ok(interfaces.filter_map(|interface| address_of(&interface.address?)).collect())
    }
}

fn address_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (_, Some(v6)) => Some(v6.ip().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_itself() {
        let own = SystemResolver.own().unwrap();
        assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
        let local = SystemResolver.resolve(&DnsName::parse("localhost").unwrap()).await.unwrap();
        assert!(!local.is_empty() && local.iter().all(IpAddr::is_loopback), "{local:?}");
    }
}
