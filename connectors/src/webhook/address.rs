//! Which network addresses a webhook may reach.
//!
//! The operator writes the URL, but a name in it may one day resolve to something inside the network, or to a cloud's
//! metadata service, which hands out credentials to whoever asks from the machine. So: link-local and metadata
//! addresses never; private and loopback ones only with `'private-addresses' = 'allow'`. A literal address is judged
//! once, when the table is read (settings.rs); a name is judged on every new connection, after resolving, and only
//! the judged addresses are handed to the connector (client.rs), so that there is no gap between check and use.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use millstream_engine::{Error, Result};

/// The option that lets private addresses pass; errors name it.
pub(super) const OPTION: &str = "private-addresses";

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Never,
}

/// Which addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressPolicy {
    pub allow_private: bool,
}

impl AddressPolicy {
    /// Judges one address of `host`.
    pub fn check(self, host: &str, address: IpAddr) -> Result<()> {
        match reach(address) {
            Reach::Public => Ok(()),
            Reach::Private if self.allow_private => Ok(()),
            Reach::Private => Err(Error::config(format!("'{host}' is the private address {address}"))
                .remedy(format!("'{OPTION}' = 'allow' lets the webhook reach it"))),
            Reach::Never => Err(Error::config(format!(
                "'{host}' is the address {address}, which webhooks never reach: link-local, metadata service or \
                 reserved"
            ))),
        }
    }

    /// Judges the host of a URL before it is resolved: literal addresses, and `localhost`, which is always loopback.
    pub fn check_host(self, host: &str) -> Result<()> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.check(host, address);
        }
        let name = bare.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return self.check(host, IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Ok(())
    }
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => reach_v4(v4),
            None => reach_v6(v6),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    // Metadata services outside 169.254/16: Alibaba, Oracle, Azure.
    const METADATA: [[u8; 4]; 3] = [[100, 100, 100, 200], [192, 0, 0, 192], [168, 63, 129, 16]];
    let octets = address.octets();
    match octets {
        [169, 254, ..] | [224..=255, ..] => Reach::Never,
        _ if METADATA.contains(&octets) => Reach::Never,
        // "This host", RFC 1918, carrier-grade NAT, loopback, protocol assignments, benchmarks.
        [0 | 10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        [192, 0, 0, _] | [198, 18 | 19, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // AWS's metadata service on IPv6, inside the unique local range.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let first = address.segments()[0];
    if address == METADATA || first & 0xffc0 == 0xfe80 || first & 0xff00 == 0xff00 {
        return Reach::Never;
    }
    // Unique local, and the site-local range it replaced; `::` reaches this host as 0.0.0.0 does.
    let is_private = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0;
    if is_private || address.is_loopback() || address.is_unspecified() {
        return Reach::Private;
    }
    Reach::Public
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 or 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Resolves names as the system does, and answers only addresses that the policy lets pass.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    system: GaiResolver,
    policy: AddressPolicy,
}

impl GuardedResolver {
    pub fn new(policy: AddressPolicy) -> Self {
        Self { system: GaiResolver::new(), policy }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (host, policy) = (name.as_str().to_owned(), self.policy);
        let resolving = self.system.call(name);
        Box::pin(async move {
            let mut passed = Vec::new();
            let mut refusal = None;
            for address in resolving.await? {
                match policy.check(&host, address.ip()) {
                    Ok(()) => passed.push(address),
                    Err(error) => refusal = Some(error),
                }
            }
            match refusal {
                Some(error) if passed.is_empty() => Err(error.into()),
                _ => Ok(passed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: AddressPolicy = AddressPolicy { allow_private: true };
    const DENY: AddressPolicy = AddressPolicy { allow_private: false };

    #[test]
    fn private_addresses_need_the_option() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[fd12::1]",
            "[fc00::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:a00:1::1]",
            "[::127.0.0.1]",
            "localhost",
            "LOCALHOST.",
            "api.localhost",
        ];
        for host in private {
            let error = DENY.check_host(host).unwrap_err().to_string();
            assert!(error.contains("'private-addresses' = 'allow'"), "{host}: {error}");
            ALLOW.check_host(host).unwrap();
        }
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "[2606:4700::1]", "example.com"] {
            DENY.check_host(host).unwrap();
        }
    }

    #[test]
    fn link_local_and_metadata_addresses_are_never_reached() {
        let never = [
            "169.254.169.254",
            "169.254.0.1",
            "[fe80::1]",
            "[febf::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ];
        for host in never {
            let error = ALLOW.check_host(host).unwrap_err().to_string();
            assert!(error.contains("never reach") && !error.contains("allow"), "{host}: {error}");
        }
    }

    #[tokio::test]
    async fn resolved_addresses_are_judged() {
        let name = || "localhost".parse::<Name>().unwrap();
        let error = GuardedResolver::new(DENY).call(name()).await.unwrap_err().to_string();
        assert!(error.contains("'private-addresses' = 'allow'"), "{error}");
        assert!(GuardedResolver::new(ALLOW).call(name()).await.unwrap().len() > 0);
    }
}
