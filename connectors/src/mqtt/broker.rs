//! Brokers as the 'url' option names them: one address, or several to fall back on.
//!
//! Invariant: an address never holds a user name or password, so that it can be shown.

use std::fmt;

use millstream_engine::options::Options;
use millstream_engine::{Error, Result};

/// Brokers that one table can name.
const BROKERS_MAX: usize = 16;

/// How a broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1_883,
            Self::Mqtts => 8_883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    pub scheme: Scheme,
    /// A name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query of a websocket; empty without one.
    pub path: String,
}

impl Broker {
    /// Host and port as they stand in an address.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path)
    }
}

/// The brokers of the 'url' option, in the order in which they are tried.
pub(super) fn brokers(options: &Options) -> Result<Vec<Broker>> {
    let wrong = |what: String| Error::config(format!("option 'url': {what}")).at(options.owner());
    let list: Vec<&str> = options.require("url")?.split(',').map(str::trim).collect();
    if list.len() > BROKERS_MAX {
        return Err(wrong(format!("it names {} brokers, {BROKERS_MAX} are possible", list.len())));
    }
    list.into_iter().map(|url| broker(url).map_err(|error| error.at(options.owner()))).collect()
}

fn broker(url: &str) -> Result<Broker> {
    let wrong = |what: &str| Error::config(format!("option 'url': {what}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(wrong("it must look like 'mqtt://host:1883'"));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "mqtt" | "tcp" => Scheme::Mqtt,
        "mqtts" | "ssl" => Scheme::Mqtts,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        other => {
            return Err(wrong(&format!("'{other}://' is no MQTT")).remedy(
                "use 'mqtt://host:1883', 'mqtts://host:8883', 'ws://host/path' or 'wss://host/path'",
            ));
        }
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(
            wrong("it holds a user name or password").remedy("give them as 'username' and 'password'")
        );
    }
    let path = match path {
        // What the large brokers listen on; Mosquitto takes any.
        "" if scheme.is_websocket() => "/mqtt",
        path if path.contains('#') || path.starts_with('?') => {
            return Err(wrong("a websocket's path begins with '/' and holds no '#'"));
        }
        path if path.bytes().any(|byte| byte <= b' ' || byte >= 0x7F) => {
            return Err(wrong("its path holds a character that must be written as %XX"));
        }
        path if scheme.is_websocket() => path,
        "" | "/" => "",
        _ => return Err(wrong("a path means nothing to MQTT over TCP, end it after the port")),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => return Err(wrong("the address's bracket is not closed")),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| wrong(&format!("'{port}' is no port")))?,
        None => scheme.default_port(),
    };
    Ok(Broker { scheme, host: host.to_owned(), port, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<Vec<String>> {
        let all = brokers(&Options::from_pairs("table t", [("url", url)]))?;
        Ok(all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_name_a_host_and_perhaps_more() {
        for (url, expected) in [
            ("mqtt://host", "mqtt://host:1883"),
            ("mqtt://host:2883/", "mqtt://host:2883"),
            ("mqtt://[::1]:1", "mqtt://[::1]:1"),
            ("MQTTS://host", "mqtts://host:8883"),
            ("ws://host", "ws://host:80/mqtt"),
            ("ws://host/", "ws://host:80/"),
            ("wss://host:8084/a/b?key=1", "wss://host:8084/a/b?key=1"),
        ] {
            assert_eq!(shown(url).unwrap(), [expected]);
        }
        assert_eq!(shown("mqtt://a, mqtts://b:1").unwrap(), ["mqtt://a:1883", "mqtts://b:1"]);
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong_and_show_no_password() {
        for (url, part) in [
            ("host:1883", "must look like"),
            ("http://host", "no MQTT"),
            ("mqtt://user:hunter2@host", "'username' and 'password'"),
            ("mqtt://host/path", "a path means nothing"),
            ("mqtt://:1883", "names no host"),
            ("mqtt://host:x", "'x' is no port"),
            ("mqtt://[::1:1", "bracket"),
            ("ws://host/a b", "%XX"),
            ("ws://host?x", "begins with '/'"),
            ("mqtt://a,", "must look like"),
        ] {
            let error = shown(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
            assert!(error.contains("table t"), "{error}");
        }
        assert!(shown(&["mqtt://a"; 17].join(",")).unwrap_err().to_string().contains("16 are possible"));
    }
}
