//! Where a registry's content may be had: its mirrors, then itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Error, Result};
use serde::{Deserialize, Serialize};

/// The table `[registries]` of the configuration, by registry.
///
/// ```toml
/// [registries."docker.io"]
/// mirrors = ["http://127.0.0.1:5555"]
///
/// [registries."registry.lab:5000"]
/// ca = "/etc/hull/lab-ca.pem"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistriesConfig(pub BTreeMap<String, RegistryConfig>);

/// How one registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// URLs asked before the registry itself, in this order. A mirror's own certificate settings stand
    /// in the table of its `host:port`.
    pub mirrors: Vec<String>,
    /// Take any certificate, and plain HTTP where HTTPS is not spoken.
    pub insecure: bool,
    /// A PEM file of certificates to trust beside the system's. With it even a registry of this machine
    /// must show a good certificate.
    pub ca: Option<PathBuf>,
}

/// Where the table comes from. It is asked at the begin of each transfer, so that a mirror that was
/// added is used at once, without a restart.
#[derive(Clone)]
pub struct RegistriesSource(Arc<dyn Fn() -> RegistriesConfig + Send + Sync>);

impl RegistriesSource {
    /// A source that may give another table each time.
    pub fn new(ask: impl Fn() -> RegistriesConfig + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// The table as it is now.
    pub fn now(&self) -> RegistriesConfig {
        (self.0)()
    }
}

impl From<RegistriesConfig> for RegistriesSource {
    fn from(config: RegistriesConfig) -> Self {
        Self::new(move || config.clone())
    }
}

impl Default for RegistriesSource {
    fn default() -> Self {
        RegistriesConfig::default().into()
    }
}

impl std::fmt::Debug for RegistriesSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("RegistriesSource").field(&self.now()).finish()
    }
}

/// One place to ask. The scheme is part of `base`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    /// `https://host:port`, without a slash at the end; a path if the mirror has one.
    pub base: String,
    /// `host:port` as configured: the key of credentials and settings.
    pub host: String,
    /// Where plain HTTP is tried when HTTPS cannot be spoken.
    pub fallback: Option<String>,
    /// Take any certificate.
    pub insecure: bool,
    /// Further certificates to trust.
    pub ca: Option<PathBuf>,
    /// It stands in for the registry named.
    pub mirror: bool,
}

impl RegistriesConfig {
    /// Refuses mirrors that are no URLs, all of them at once.
    pub fn validate(&self) -> Result<()> {
        let mirrors = self.0.iter().flat_map(|(registry, config)| {
            config.mirrors.iter().map(move |mirror| (registry, mirror))
        });
        let faults: Vec<String> = mirrors
            .filter(|(_, mirror)| split_url(mirror).is_none())
            .map(|(registry, mirror)| format!("{mirror:?} of {registry}"))
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!("mirrors that are no URLs: {}", faults.join(", ")))
            .at("registries")
            .next("write a mirror like https://mirror.example or http://127.0.0.1:5000"))
    }

    /// Places to ask for the content of `registry`, best first.
    pub(crate) fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let mirrors = self.0.get(registry).map(|config| &config.mirrors[..]).unwrap_or_default();
        let mirrors = mirrors.iter().filter_map(|mirror| self.mirror(mirror));
        mirrors.chain([self.upstream(registry)]).collect()
    }

    /// The registry itself.
    pub(crate) fn upstream(&self, registry: &str) -> Endpoint {
        // Docker Hub's API has a host of its own.
        let address = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let config = self.0.get(registry).cloned().unwrap_or_default();
        // A registry of this machine needs no TLS, unless it was given certificates.
        let insecure = config.insecure || (is_loopback(registry) && config.ca.is_none());
        Endpoint {
            base: format!("https://{address}"),
            host: registry.to_owned(),
            fallback: insecure.then(|| format!("http://{address}")),
            insecure,
            ca: config.ca,
            mirror: false,
        }
    }

    fn mirror(&self, url: &str) -> Option<Endpoint> {
        let (_, host) = split_url(url)?;
        let config = self.0.get(host).cloned().unwrap_or_default();
        Some(Endpoint {
            base: url.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            fallback: None,
            insecure: config.insecure,
            ca: config.ca,
            mirror: true,
        })
    }
}

/// Scheme and `host:port` of an `http` or `https` URL.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next().unwrap_or(rest);
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-:[]_".contains(&c);
    let good = matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain);
    good.then_some((scheme, host))
}

/// `localhost`, 127.0.0.0/8 or ::1: Docker speaks plain HTTP to these unasked.
fn is_loopback(registry: &str) -> bool {
    let bare = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_hub_has_another_host() {
        let text = r#"
            ["docker.io"]
            mirrors = ["http://127.0.0.1:5555/", "https://mirror.lab/hub"]
            ["mirror.lab"]
            ca = "/ca.pem"
        "#;
        let config: RegistriesConfig = toml::from_str(text).unwrap();
        config.validate().unwrap();
        let endpoints = config.endpoints("docker.io");
        let bases: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.base).collect();
        let expected =
            ["http://127.0.0.1:5555", "https://mirror.lab/hub", "https://registry-1.docker.io"];
        assert_eq!(bases, expected);
        assert_eq!(endpoints[1].ca.as_deref(), Some("/ca.pem".as_ref()));
        assert_eq!(endpoints[2].fallback, None);
    }

    #[test]
    fn plain_http_only_to_loopback_and_where_allowed() {
        let mut config = RegistriesConfig::default();
        config.0.insert("lab:5000".into(), RegistryConfig { insecure: true, ..Default::default() });
        for (registry, plain) in [
            ("localhost:5000", true),
            ("localhost", true),
            ("127.8.9.1:80", true),
            ("[::1]:5000", true),
            ("lab:5000", true),
            ("lab:5001", false),
            ("localhost.evil.io", false),
            ("127.evil.io", false),
        ] {
            assert_eq!(config.upstream(registry).fallback.is_some(), plain, "{registry}");
        }
    }

    #[test]
    fn mirrors_that_are_no_urls() {
        for mirror in ["127.0.0.1:5555", "ftp://x", "http://", "http://u:p@x"] {
            let entry = RegistryConfig { mirrors: vec![mirror.into()], ..Default::default() };
            let config = RegistriesConfig([("docker.io".to_owned(), entry)].into());
            assert!(config.validate().is_err(), "{mirror}");
        }
    }
}
