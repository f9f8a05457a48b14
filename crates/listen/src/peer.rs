//! Who is at the other end of a connection, as far as the connection itself tells.

use std::fmt;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Characters of a name that are shown.
const NAME: usize = 64;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// Somewhere on the network.
    Network {
        /// Where.
        address: SocketAddr,
        /// The certificate that TLS has proved; without one a token tells who.
        client: Option<Certificate>,
    },
    /// A user of this machine, whose name the kernel and the user database tell.
    Local {
        /// The user's name, or number if it has none.
        user: String,
        /// Root, the daemon's own user, or a member of the socket's group.
        trusted: bool,
    },
}

/// A client's certificate: whose it is, and which of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name.
    pub name: String,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
}

impl Certificate {
    /// Reads one that was verified.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = certificate.subject().iter_common_name().next();
        let name = name.and_then(|name| name.as_str().ok()).unwrap_or_default();
        let name = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { name, serial })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (certificate {})", self.name, self.serial)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network { address, client: _ } => address.fmt(f),
            Peer::Local { user, trusted: _ } => write!(f, "local user {user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_whose_it_is() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "ci\u{7}-runner");
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x0a, 0xff]));
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.to_string(), "ci-runner (certificate 0aff)");
        assert_eq!(Certificate::read(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
