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

use crate::config::create_dir;

/// The files of the certificates.
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Opens the directory, making a certificate authority and a certificate for this node's names
    /// where they are missing.
    pub fn open(dir: &Path, node: &str, addresses: &[IpAddr]) -> Result<Self> {
        create_dir(dir, 0o700)?;
        let pki = Self { dir: dir.to_owned() };
        if !pki.path("ca.crt").exists() || !pki.path("ca.key").exists() {
            pki.make_authority()?;
        }
        if !pki.path("node.crt").exists() || !pki.path("node.key").exists() {
            pki.make_node(node, addresses)?;
        }
        Ok(pki)
    }

    /// How the API's listener proves who it is.
    pub fn server(&self) -> Result<Arc<rustls::ServerConfig>> {
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
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context(ErrorKind::Internal, || "the node's certificate and key don't fit".into())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn make_authority(&self) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Monohull cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params);
        let key = KeyPair::generate().context(ErrorKind::Internal, key_failed)?;
        let certificate = params.self_signed(&key).context(ErrorKind::Internal, sign_failed)?;
        // The key first: a certificate without its key would be taken for a finished authority.
        self.write("ca.key", &key.serialize_pem())?;
        self.write("ca.crt", &certificate.pem())
    }

    fn make_node(&self, node: &str, addresses: &[IpAddr]) -> Result<()> {
        let read = |name: &str| {
            std::fs::read_to_string(self.path(name))
                .context(ErrorKind::Internal, || format!("cannot read {name}"))
        };
        let ca_key =
            KeyPair::from_pem(&read("ca.key")?).context(ErrorKind::Internal, key_failed)?;
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt")?, ca_key)
            .context(ErrorKind::Internal, sign_failed)?;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
        if node != "localhost" {
            names.push(node.to_owned());
        }
        names.extend(addresses.iter().filter(|ip| !ip.is_loopback()).map(IpAddr::to_string));
        let mut params = CertificateParams::new(names).context(ErrorKind::Internal, sign_failed)?;
        params.distinguished_name.push(DnType::CommonName, node);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut params);
        let key = KeyPair::generate().context(ErrorKind::Internal, key_failed)?;
        let certificate =
            params.signed_by(&key, &issuer).context(ErrorKind::Internal, sign_failed)?;
        self.write("node.key", &key.serialize_pem())?;
        self.write("node.crt", &certificate.pem())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        write_private(&self.path(name), text.as_bytes())
    }
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
