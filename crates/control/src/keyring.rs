//! The keys that secrets are sealed with.
//!
//! A keyring is kept by whoever opens control, beside the store and not in it: a copy of the store alone
//! tells no secret. Its text has a line for each key, `<id> <64 hexadecimal digits>`, the oldest first.
//! The newest seals, all of them open: a key is changed by adding one, and taken away when no record
//! names it any more.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use model::data::{Data, Sealed};
use model::{Error, Result};

use crate::core::Random;

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce.
const NONCE: usize = 12;
/// What the key of fingerprints is derived for.
const FINGERPRINTS: &[u8] = b"monohull fingerprints 1";

/// The keys, oldest first; there is one at least.
#[derive(Clone)]
pub struct Keyring {
    oldest: Key,
    later: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    bytes: [u8; KEY],
}

impl Keyring {
    /// A keyring of one new key.
    #[must_use]
    pub fn fresh(random: &Random) -> Self {
        let id = hex::encode(&random.bytes()[..4]);
        Self { oldest: Key { id, bytes: random.bytes() }, later: Vec::new() }
    }

    /// Reads what [`Keyring::text`] wrote.
    ///
    /// # Errors
    /// `Invalid` for what is no keyring; what stands in it is not told.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let refuse = || {
                Error::invalid(format!("line {} is not the id of a key and its digits", number + 1))
                    .next("put back the file as it was, or a copy of it")
            };
            let (id, digits) = line.trim().split_once(' ').ok_or_else(refuse)?;
            let mut bytes = [0; KEY];
            hex::decode_to_slice(digits.trim(), &mut bytes).map_err(|_| refuse())?;
            if keys.iter().any(|key: &Key| key.id == id) {
                return Err(Error::invalid(format!("two keys are called {id}")));
            }
            keys.push(Key { id: id.to_owned(), bytes });
        }
        if keys.is_empty() {
            return Err(Error::invalid("a keyring without a key"));
        }
        Ok(Self { oldest: keys.remove(0), later: keys })
    }

    /// The keyring as text, which is as secret as all that is sealed with it.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |key: &Key| format!("{} {}\n", key.id, hex::encode(key.bytes));
        self.keys().map(line).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.oldest).chain(&self.later)
    }

    /// Seals bytes for one place, told by `of`: nowhere else can they be opened.
    pub(crate) fn seal(&self, of: &str, bytes: &[u8]) -> Result<Sealed> {
        let key = self.later.last().unwrap_or(&self.oldest);
        let failed = |_| Error::internal("what is secret cannot be sealed");
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &key.bytes).map_err(failed)?;
        let mut text = bytes.to_vec();
        let nonce = cipher.seal_in_place_append_tag(Aad::from(of), &mut text).map_err(failed)?;
        text.splice(..0, nonce.as_ref().iter().copied());
        Ok(Sealed { key: key.id.clone(), text: Data::new(text) })
    }

    /// Whether it has the key of what was sealed.
    pub(crate) fn has_key_of(&self, sealed: &Sealed) -> bool {
        self.keys().any(|key| key.id == sealed.key)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// `Unavailable` when its key is not there, `Internal` when it was changed or belongs elsewhere.
    pub(crate) fn open(&self, of: &str, sealed: &Sealed) -> Result<Data> {
        let key = self.keys().find(|key| key.id == sealed.key).ok_or_else(|| {
            Error::unavailable(format!("the key {} is not in the node's keyring", sealed.key)).next(
                "put back the file of keys that belongs to these records, and start hull again",
            )
        })?;
        let failed = |_| Error::internal("what is sealed was changed, or is of something else");
        let (nonce, text) = sealed.text.bytes().split_at_checked(NONCE).unwrap_or_default();
        let mut text = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(failed)?;
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &key.bytes).map_err(failed)?;
        let opened = cipher.open_in_place(nonce, Aad::from(of), &mut text).map_err(failed)?;
        Ok(Data::new(&*opened))
    }

    /// Sixteen digits that tell bytes apart and tell nothing of them to who has not the keys. They stay
    /// the same while the oldest key is there.
    #[must_use]
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &self.oldest.bytes);
        let derived = hmac::sign(&root, FINGERPRINTS);
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        hex::encode(&hmac::sign(&key, bytes).as_ref()[..8])
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u8) -> Random {
        let state = std::sync::atomic::AtomicU8::new(seed);
        Random::new(move || [state.fetch_add(1, std::sync::atomic::Ordering::Relaxed); 32])
    }

    #[test]
    fn what_is_sealed_is_opened_at_its_place_alone() {
        let ring = Keyring::fresh(&random(1));
        let sealed = ring.seal("secret/1", b"hush").unwrap();
        assert_eq!(ring.open("secret/1", &sealed).unwrap().bytes(), b"hush");
        assert_ne!(ring.seal("secret/1", b"hush").unwrap(), sealed, "each time another nonce");
        assert!(ring.open("secret/2", &sealed).is_err());
        let flipped = |at: usize| {
            let mut text = sealed.text.bytes().to_vec();
            text[at] ^= 1;
            Sealed { text: Data::new(text), ..sealed.clone() }
        };
        for at in 0..sealed.text.len() {
            assert!(ring.open("secret/1", &flipped(at)).is_err(), "{at}");
        }
        for len in [0, 5, NONCE, NONCE + 3] {
            let text = Data::new(&sealed.text.bytes()[..len]);
            assert!(ring.open("secret/1", &Sealed { text, ..sealed.clone() }).is_err(), "{len}");
        }
    }

    #[test]
    fn a_new_key_seals_and_old_ones_still_open() {
        let old = Keyring::fresh(&random(1));
        let sealed = old.seal("x", b"hush").unwrap();
        let text = format!("{}{}", old.text(), Keyring::fresh(&random(9)).text());
        let ring = Keyring::parse(&text).unwrap();
        assert_eq!(ring.text(), text);
        assert_eq!(ring.open("x", &sealed).unwrap().bytes(), b"hush");
        assert_eq!(ring.fingerprint(b"a"), old.fingerprint(b"a"));
        assert_ne!(ring.fingerprint(b"a"), ring.fingerprint(b"b"));
        let newer = ring.seal("x", b"hush").unwrap();
        assert_ne!(newer.key, sealed.key);
        assert_eq!(old.open("x", &newer).unwrap_err().kind(), model::ErrorKind::Unavailable);
    }

    #[test]
    fn a_keyring_that_is_none_is_refused_without_telling_it() {
        let one = Keyring::fresh(&random(1)).text();
        for bad in ["", "abcd", "k 12", &one.replace(' ', ""), &format!("{one}{one}")] {
            let error = Keyring::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("0202"), "{error}");
        }
        assert_eq!(format!("{:?}", Keyring::parse(&one).unwrap()), "[\"01010101\"]");
    }
}
