//! The cluster's certificate authority and this node's certificate, made at the first start.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};

use crate::config::create_dir;

/// The files of the certificates.
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Opens the directory, making a certificate authority where it is missing, and a certificate for
    /// this node where there is none for all of its names: machines get other addresses.
    pub fn open(dir: &Path, node: &str, addresses: &[IpAddr]) -> Result<Self> {
        create_dir(dir, 0o700)?;
        let pki = Self { dir: dir.to_owned() };
        if !pki.path("ca.crt").exists() || !pki.path("ca.key").exists() {
            pki.make_authority("ca", "Monohull cluster authority")?;
        }
        let names = names(node, addresses);
        if !pki.path("node.crt").exists() || !pki.path("node.key").exists() || !pki.names(&names) {
            pki.make_node(node, &names)?;
        }
        Ok(pki)
    }

    /// SHA-256 of the authority's certificate, in hexadecimal digits.
    pub fn authority(&self) -> Result<String> {
        let certificate = CertificateDer::from_pem_file(self.path("ca.crt"))
            .context(ErrorKind::Internal, || "cannot read ca.crt".into())?;
        Ok(hex::encode(Sha256::digest(&certificate)))
    }

    /// Whether the node's certificate has these names.
    fn names(&self, names: &[String]) -> bool {
        let known = std::fs::read_to_string(self.path("node.names")).unwrap_or_default();
        names.iter().all(|name| known.lines().any(|known| known == name))
    }

    /// How the API's listener proves who it is.
    pub fn server(&self) -> Result<Arc<rustls::ServerConfig>> {
        let (chain, key) = self.identity()?;
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context(ErrorKind::Internal, dont_fit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The same for Docker's listener, which takes only clients with a certificate of an authority of
    /// their own. The first such certificate is put into `dir`, as Docker's clients want it
    /// (`DOCKER_CERT_PATH`).
    pub fn docker(&self, dir: &Path) -> Result<Arc<rustls::ServerConfig>> {
        if !self.path("docker-ca.crt").exists() || !self.path("docker-ca.key").exists() {
            self.make_authority("docker-ca", "Monohull authority of Docker's clients")?;
            // What another authority signed is good for nothing now.
            self.make_docker_client(dir)?;
        } else if !["ca.pem", "cert.pem", "key.pem"].iter().all(|name| dir.join(name).exists()) {
            self.make_docker_client(dir)?;
        }
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("docker-ca.crt"))
            .context(ErrorKind::Internal, || "cannot read docker-ca.crt".into())?;
        roots
            .add(authority)
            .context(ErrorKind::Internal, || "docker-ca.crt is not right".into())?;
        let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .context(ErrorKind::Internal, || "docker-ca.crt is not right".into())?;
        let (chain, key) = self.identity()?;
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .context(ErrorKind::Internal, dont_fit)?;
        Ok(Arc::new(config))
    }

    fn make_docker_client(&self, dir: &Path) -> Result<()> {
        create_dir(dir, 0o700)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "docker");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut params);
        let (key, certificate) = self.sign("docker-ca", &params)?;
        write_private(&dir.join("key.pem"), key.as_bytes())?;
        write_private(&dir.join("cert.pem"), certificate.as_bytes())?;
        write_private(&dir.join("ca.pem"), self.read("ca.crt")?.as_bytes())
    }

    /// The node's certificate and key.
    fn identity(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let unreadable = |name: &str| {
            let path = self.path(name).display().to_string();
            move || format!("cannot read {path}")
        };
        let mut chain: Vec<CertificateDer> = Vec::new();
        // The authority's own certificate goes along: a client may know it by its digest only.
        for name in ["node.crt", "ca.crt"] {
            let certificates: Vec<CertificateDer> = CertificateDer::pem_file_iter(self.path(name))
                .and_then(Iterator::collect)
                .context(ErrorKind::Internal, unreadable(name))?;
            chain.extend(certificates);
        }
        let key = PrivateKeyDer::from_pem_file(self.path("node.key"))
            .context(ErrorKind::Internal, unreadable("node.key"))?;
        Ok((chain, key))
    }

    fn make_authority(&self, file: &str, title: &str) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, title);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params);
        let key = KeyPair::generate().context(ErrorKind::Internal, key_failed)?;
        let certificate = params.self_signed(&key).context(ErrorKind::Internal, sign_failed)?;
        // The key first: a certificate without its key would be taken for a finished authority.
        self.write(&format!("{file}.key"), &key.serialize_pem())?;
        self.write(&format!("{file}.crt"), &certificate.pem())
    }

    fn read(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.path(name))
            .context(ErrorKind::Internal, || format!("cannot read {name}"))
    }

    /// A new key and the certificate that an authority gives it.
    fn sign(&self, authority: &str, params: &CertificateParams) -> Result<(String, String)> {
        let ca_key = KeyPair::from_pem(&self.read(&format!("{authority}.key"))?)
            .context(ErrorKind::Internal, key_failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.read(&format!("{authority}.crt"))?, ca_key)
            .context(ErrorKind::Internal, sign_failed)?;
        let key = KeyPair::generate().context(ErrorKind::Internal, key_failed)?;
        let certificate =
            params.signed_by(&key, &issuer).context(ErrorKind::Internal, sign_failed)?;
        Ok((key.serialize_pem(), certificate.pem()))
    }

    fn make_node(&self, node: &str, names: &[String]) -> Result<()> {
        let mut params = CertificateParams::new(names).context(ErrorKind::Internal, sign_failed)?;
        params.distinguished_name.push(DnType::CommonName, node);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut params);
        let (key, certificate) = self.sign("ca", &params)?;
        // The names go first and come last: half of a new certificate is made again.
        self.write("node.names", "")?;
        self.write("node.key", &key)?;
        self.write("node.crt", &certificate)?;
        self.write("node.names", &names.join("\n"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        write_private(&self.path(name), text.as_bytes())
    }
}

/// What this node is reached as.
fn names(node: &str, addresses: &[IpAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if node != "localhost" {
        names.push(node.to_owned());
    }
    names.extend(addresses.iter().filter(|ip| !ip.is_loopback()).map(IpAddr::to_string));
    names
}

/// Gives a certificate ten years, from yesterday on, as clocks differ.
fn set_validity(params: &mut CertificateParams) {
    let yesterday = jiff::Zoned::now().yesterday().unwrap_or_else(|_| jiff::Zoned::now());
    let date = |years: i16| {
        let month = yesterday.month().unsigned_abs();
        // The 28th is in every month of every year.
        let day = yesterday.day().unsigned_abs().min(28);
        rcgen::date_time_ymd(i32::from(yesterday.year() + years), month, day)
    };
    params.not_before = date(0);
    params.not_after = date(10);
}

fn dont_fit() -> String {
    "the node's certificate and key don't fit".into()
}

fn key_failed() -> String {
    "cannot make a key".into()
}

fn sign_failed() -> String {
    "cannot make a certificate".into()
}

/// Writes a file that only root can read, synced, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_until_the_node_has_another_address() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let open = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let authority = Pki::open(dir.path(), "n1", &addresses).unwrap().authority().unwrap();
            (read("node.crt"), authority)
        };
        let (first, authority) = open(&["192.0.2.1"]);
        assert_eq!(open(&["192.0.2.1"]), (first.clone(), authority.clone()));
        assert_eq!(open(&[]), (first.clone(), authority.clone()), "fewer names need nothing new");
        let (second, same) = open(&["192.0.2.1", "2001:db8::1"]);
        assert_ne!(second, first);
        assert_eq!(same, authority);
        assert_eq!(authority.len(), 64);
    }
}
