//! A signature of OpenSSH's: read, and compared with bytes and keys.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};

use super::wire::{Reader, put};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// What all signatures of the format, and what they are of, begin with.
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// What git's signatures are for.
const NAMESPACE: &str = "git";
/// Longest text of one.
const MAX: usize = 16 << 10;
/// A security key was touched (PROTOCOL.u2f, "flags").
const TOUCHED: u8 = 1;

/// Why a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is of another format than SSH's.
    Format,
    /// It cannot be read.
    Broken,
    /// It was made for something else than git.
    Namespace,
    /// It is by a key that is not among those that may sign.
    Stranger,
    /// It does not fit what is signed, or the key that it names.
    Forged,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Format => "has a signature of another format than SSH's, which is not checked",
            Fault::Broken => "has a signature that cannot be read",
            Fault::Namespace => "has a signature that was made for something else than git",
            Fault::Stranger => "is signed by a key that is none of those it may be signed by",
            Fault::Forged => {
                "does not fit its signature: it was changed, or somebody else signed it"
            }
        })
    }
}

/// Its parts.
struct Parts<'a> {
    key: &'a [u8],
    namespace: &'a str,
    hash: &'a str,
    signature: &'a [u8],
}

pub(super) fn check(text: &str, of: &[u8], keys: &[Vec<u8>]) -> Result<(), Fault> {
    let blob = unarmoured(text)?;
    let parts = parts(&blob).ok_or(Fault::Broken)?;
    if parts.namespace != NAMESPACE {
        return Err(Fault::Namespace);
    }
    if !keys.iter().any(|it| it == parts.key) {
        return Err(Fault::Stranger);
    }
    let digest = match parts.hash {
        "sha512" => Sha512::digest(of).to_vec(),
        "sha256" => Sha256::digest(of).to_vec(),
        _ => return Err(Fault::Broken),
    };
    let mut signed = MAGIC.to_vec();
    for string in [parts.namespace.as_bytes(), b"", parts.hash.as_bytes(), &digest] {
        put(&mut signed, string);
    }
    match fits(&parts, &signed) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::Forged),
        None => Err(Fault::Broken),
    }
}

/// The bytes between the lines that frame them.
fn unarmoured(text: &str) -> Result<Vec<u8>, Fault> {
    let text = text.trim();
    let inner = text.strip_prefix(BEGIN).ok_or(Fault::Format)?;
    let inner = inner.strip_suffix(END).filter(|_| text.len() <= MAX).ok_or(Fault::Broken)?;
    let inner: String = inner.split_ascii_whitespace().collect();
    STANDARD.decode(inner).map_err(|_| Fault::Broken)
}

fn parts(blob: &[u8]) -> Option<Parts<'_>> {
    let mut reader = Reader::new(blob);
    if reader.bytes(MAGIC.len())? != MAGIC || reader.number()? != VERSION {
        return None;
    }
    let (key, namespace) = (reader.string()?, reader.text()?);
    // Room for later versions of the format, of which this one takes no notice.
    reader.string()?;
    let (hash, signature) = (reader.text()?, reader.string()?);
    reader.is_empty().then_some(Parts { key, namespace, hash, signature })
}

/// Whether the key made the signature of these bytes. None for what cannot be read.
fn fits(parts: &Parts<'_>, signed: &[u8]) -> Option<bool> {
    let mut key = Reader::new(parts.key);
    let mut signature = Reader::new(parts.signature);
    let sort = key.text()?;
    let (made_by, value) = (signature.text()?, signature.string()?);
    // RSA's keys sign by several algorithms; of all others the key says which.
    if sort != "ssh-rsa" && sort != made_by {
        return None;
    }
    match sort {
        "ssh-ed25519" => Some(verify(&ED25519, key.string()?, signed, value)),
        "ssh-rsa" => rsa(made_by, &mut key, signed, value),
        "ecdsa-sha2-nistp256" => ecdsa(&ECDSA_P256_SHA256_FIXED, 32, &mut key, signed, value),
        "ecdsa-sha2-nistp384" => ecdsa(&ECDSA_P384_SHA384_FIXED, 48, &mut key, signed, value),
        "ecdsa-sha2-nistp521" => ecdsa(&ECDSA_P521_SHA512_FIXED, 66, &mut key, signed, value),
        "sk-ssh-ed25519@openssh.com" => {
            let public = key.string()?;
            let signed = by_security_key(key.string()?, &mut signature, signed)?;
            Some(verify(&ED25519, public, &signed, value))
        }
        "sk-ecdsa-sha2-nistp256@openssh.com" => {
            let mut point = key;
            let mut rest = Reader::new(parts.key);
            // Its sort, curve and point come before what it is for.
            let (_, _, _) = (rest.string()?, rest.string()?, rest.string()?);
            let signed = by_security_key(rest.string()?, &mut signature, signed)?;
            ecdsa(&ECDSA_P256_SHA256_FIXED, 32, &mut point, &signed, value)
        }
        _ => None,
    }
}

fn verify(by: &'static dyn VerificationAlgorithm, key: &[u8], signed: &[u8], value: &[u8]) -> bool {
    UnparsedPublicKey::new(by, key).verify(signed, value).is_ok()
}

/// RFC 8332; signatures of SHA-1 are none.
fn rsa(made_by: &str, key: &mut Reader<'_>, signed: &[u8], value: &[u8]) -> Option<bool> {
    let by = match made_by {
        "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
        "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return None,
    };
    let (e, n) = (key.integer()?, key.integer()?);
    Some(RsaPublicKeyComponents { n, e }.verify(by, signed, value).is_ok())
}

/// RFC 5656, section 3.1: two numbers, each of which is filled up to the size of the field.
fn ecdsa(
    by: &'static dyn VerificationAlgorithm,
    size: usize,
    key: &mut Reader<'_>,
    signed: &[u8],
    value: &[u8],
) -> Option<bool> {
    let (_curve, point) = (key.string()?, key.string()?);
    let mut numbers = Reader::new(value);
    let mut fixed = Vec::with_capacity(2 * size);
    for number in [numbers.integer()?, numbers.integer()?] {
        fixed.extend(std::iter::repeat_n(0, size.checked_sub(number.len())?));
        fixed.extend_from_slice(number);
    }
    Some(verify(by, point, signed, &fixed))
}

/// What a security key signs in place of the bytes (PROTOCOL.u2f, "SSH U2F Signatures").
fn by_security_key(made_for: &[u8], rest: &mut Reader<'_>, signed: &[u8]) -> Option<Vec<u8>> {
    let (flags, counter) = (rest.byte()?, rest.number()?);
    if flags & TOUCHED == 0 {
        return None;
    }
    let mut all = Sha256::digest(made_for).to_vec();
    all.push(flags);
    all.extend_from_slice(&counter.to_be_bytes());
    all.extend_from_slice(&Sha256::digest(signed));
    Some(all)
}
