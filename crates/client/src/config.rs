//! Where the cluster is, who asks, and whom to trust.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::{HeaderValue, Uri};
use model::{Error, Result};

/// Names a cluster: `unix:///run/hull/api.sock` or `https://host:7443`.
pub const HULL_HOST: &str = "HULL_HOST";
/// The caller's token, `hull_…`.
pub const HULL_TOKEN: &str = "HULL_TOKEN";
/// The certificate authority to trust: a PEM file's path, or `sha256:…`, the digest of the server's
/// or the authority's certificate in DER.
pub const HULL_CA: &str = "HULL_CA";

/// The local daemon's socket.
pub const DEFAULT_SOCKET: &str = "/run/hull/api.sock";
/// The port of the API over TLS.
pub const DEFAULT_PORT: u16 = 7443;

/// How to reach a cluster.
#[derive(Clone)]
pub struct Config {
    /// Where it is.
    pub host: Host,
    /// The caller's token; needed over TLS, not asked for on the local socket.
    pub token: Option<String>,
    /// Whom to trust over TLS.
    pub trust: Trust,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A machine and its port, over TLS.
    Https {
        /// Host name or address, without brackets.
        name: String,
        /// Port.
        port: u16,
    },
}

/// Whom to trust over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: only a local socket can be used.
    #[default]
    None,
    /// The certificates of this PEM file.
    File(PathBuf),
    /// Certificates in PEM.
    Pem(Vec<u8>),
    /// The certificate with this SHA-256: the server's own, or that of its authority if the server
    /// sends it along.
    Pin([u8; 32]),
}

impl Config {
    /// The daemon of this machine at `socket`.
    pub fn local(socket: impl Into<PathBuf>) -> Self {
        Self { host: Host::Unix(socket.into()), token: None, trust: Trust::None }
    }

    /// Reads `HULL_HOST`, `HULL_TOKEN` and `HULL_CA`. Fails with `Invalid` for one that cannot be
    /// understood.
    pub fn from_env() -> Result<Self> {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = match get(HULL_HOST) {
            Some(host) => host.parse().map_err(|error: Error| error.at(HULL_HOST))?,
            None => Host::Unix(DEFAULT_SOCKET.into()),
        };
        let trust = match get(HULL_CA) {
            Some(text) => text.parse().map_err(|error: Error| error.at(HULL_CA))?,
            None => Trust::None,
        };
        Ok(Self { host, token: get(HULL_TOKEN), trust })
    }

    /// The value of the `Authorization` header (RFC 6750, section 2.1), marked as secret.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>> {
        let Some(token) = &self.token else { return Ok(None) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| Error::invalid("the token has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, token, trust } = self;
        let token = token.as_ref().map(|_| "…");
        f.debug_struct("Config")
            .field("host", host)
            .field("token", &token)
            .field("trust", trust)
            .finish()
    }
}

impl Host {
    /// What requests are addressed to.
    pub(crate) fn base(&self) -> Uri {
        match self {
            Host::Unix(_) => Uri::from_static("http://local"),
            Host::Https { .. } => self.to_string().parse().expect("checked when the host was read"),
        }
    }

    /// The socket's path, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Host::Unix(path) => Some(path),
            Host::Https { .. } => None,
        }
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::invalid(format!("{text:?} is not a host"))
                .next("write unix:///run/hull/api.sock or https://host:7443")
        };
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(refuse()) };
        }
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let plain = uri.path() == "/" && uri.query().is_none();
        let host = uri.host().filter(|_| plain && uri.scheme_str() == Some("https"));
        let name = host.ok_or_else(refuse)?.trim_matches(['[', ']']).to_owned();
        Ok(Self::Https { name, port: uri.port_u16().unwrap_or(DEFAULT_PORT) })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Https { name, port } if name.contains(':') => {
                write!(f, "https://[{name}]:{port}")
            }
            Host::Https { name, port } => write!(f, "https://{name}:{port}"),
        }
    }
}

impl FromStr for Trust {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(digits) = text.strip_prefix("sha256:") else {
            return Ok(Self::File(text.into()));
        };
        let octet = |i: usize| {
            digits.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let mut pin = [0; 32];
        for (i, place) in pin.iter_mut().enumerate() {
            *place = octet(i).ok_or_else(|| not_a_pin(text))?;
        }
        if digits.len() == 64 { Ok(Self::Pin(pin)) } else { Err(not_a_pin(text)) }
    }
}

fn not_a_pin(text: &str) -> Error {
    Error::invalid(format!("{text:?} is not sha256: and 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_printed() {
        for (text, printed) in [
            ("unix:///run/hull/api.sock", "unix:///run/hull/api.sock"),
            ("https://a.example", "https://a.example:7443"),
            ("https://a.example:1/", "https://a.example:1"),
            ("https://[::1]:9", "https://[::1]:9"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.to_string(), printed);
            assert!(host.base().host().is_some());
        }
        for text in ["", "a.example", "http://a", "unix://relative", "https://", "https://a/b"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn pins_are_read() {
        let pin = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(pin.parse::<Trust>().unwrap(), Trust::Pin([10; 32]));
        assert_eq!("/ca.pem".parse::<Trust>().unwrap(), Trust::File("/ca.pem".into()));
        for text in ["sha256:", "sha256:é", &format!("{pin}00"), &pin.replace("0a", "xx")] {
            assert!(text.parse::<Trust>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let config = Config { token: Some("hull_secret".into()), ..Config::local("/x") };
        assert!(!format!("{config:?}").contains("secret"));
        assert!(!format!("{:?}", config.authorization()).contains("secret"));
    }
}
