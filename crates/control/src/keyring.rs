//! The keys that secrets are sealed with.
//!
//! A keyring is kept by whoever opens control, beside the store and not in it: a copy of the store alone
//! tells no secret. Its text has a line for each key, `<id> <64 hexadecimal digits>`, the oldest first.
//! The newest seals, all of them open: a key is changed by adding one, and taken away when no record
//! names it any more (`secrets/rotate.rs`). What names are told apart with goes on then, in a line of its own.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use model::data::{Data, Sealed};
use model::{Error, Result};

use crate::control::KeepSecret;
use crate::core::Random;

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce.
const NONCE: usize = 12;
/// What the key of fingerprints is derived for.
const FINGERPRINTS: &[u8] = b"monohull fingerprints 1";

/// What the line of names begins with, in the place of a key's id.
const NAMES: &str = "names";

/// The keys, and who keeps them.
pub struct Keyring {
    keys: RwLock<Arc<Keys>>,
    keep: KeepSecret,
    /// Held by who changes the key.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// The keys, oldest first; there is one at least.
#[derive(Clone)]
struct Keys {
    oldest: Key,
    later: Vec<Key>,
    /// What names are told apart with, once the key that it came of is gone.
    names: Option<[u8; KEY]>,
    /// Ids of those that were forgotten since the start.
    forgotten: Vec<String>,
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
        Self::of(Key { id, bytes: random.bytes() }, Vec::new(), None)
    }

    fn of(oldest: Key, later: Vec<Key>, names: Option<[u8; KEY]>) -> Self {
        let keys = Keys { oldest, later, names, forgotten: Vec::new() };
        Self {
            keys: RwLock::new(Arc::new(keys)),
            keep: Arc::new(|_| Ok(())),
            changing: Arc::default(),
        }
    }

    /// The same, whose changes are kept so before they are made: its text.
    #[must_use]
    pub fn kept_by(self, keep: KeepSecret) -> Self {
        Self { keep, ..self }
    }

    /// Reads what [`Keyring::text`] wrote.
    ///
    /// # Errors
    /// `Invalid` for what is no keyring; what stands in it is not told.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut keys, mut names) = (Vec::new(), None);
        for (number, line) in text.lines().enumerate() {
            let refuse = || {
                Error::invalid(format!("line {} is not the id of a key and its digits", number + 1))
                    .next("put back the file as it was, or a copy of it")
            };
            let (id, digits) = line.trim().split_once(' ').ok_or_else(refuse)?;
            let mut bytes = [0; KEY];
            hex::decode_to_slice(digits.trim(), &mut bytes).map_err(|_| refuse())?;
            if id == NAMES {
                names = names.or(Some(bytes));
                continue;
            }
            if keys.iter().any(|key: &Key| key.id == id) {
                return Err(Error::invalid(format!("two keys are called {id}")));
            }
            keys.push(Key { id: id.to_owned(), bytes });
        }
        if keys.is_empty() {
            return Err(Error::invalid("a keyring without a key"));
        }
        Ok(Self::of(keys.remove(0), keys, names))
    }

    /// The keyring as text, which is as secret as all that is sealed with it.
    #[must_use]
    pub fn text(&self) -> String {
        self.now().text()
    }

    fn now(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what it is to be, and is it then.
    fn become_kept(&self, keys: Keys) -> Result<()> {
        (self.keep)(&keys.text())?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// For who changes the key; nothing while somebody else does.
    pub(crate) fn alone(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.changing.clone().try_lock_owned().ok()
    }

    /// The id of the key that seals.
    pub(crate) fn newest(&self) -> String {
        self.now().newest().id.clone()
    }

    /// Whether there is one key alone.
    pub(crate) fn is_single(&self) -> bool {
        self.now().later.is_empty()
    }

    /// Whether the key of what was sealed was forgotten since the start.
    pub(crate) fn has_forgotten(&self, sealed: &Sealed) -> bool {
        self.now().forgotten.contains(&sealed.key)
    }

    /// Adds a key, which seals from now on.
    pub(crate) fn add(&self, random: &Random) -> Result<()> {
        let mut keys = Keys::clone(&self.now());
        let id = hex::encode(&random.bytes()[..4]);
        if id == NAMES || keys.all().any(|key| key.id == id) {
            return Err(Error::conflict(format!("there is a key {id} already")).next("try again"));
        }
        keys.later.push(Key { id, bytes: random.bytes() });
        self.become_kept(keys)
    }

    /// Forgets all keys but the newest. Their ids.
    pub(crate) fn forget_older(&self) -> Result<Vec<String>> {
        let mut keys = Keys::clone(&self.now());
        let Some(newest) = keys.later.pop() else { return Ok(Vec::new()) };
        keys.names = Some(keys.of_names());
        let forgotten: Vec<String> = keys.all().map(|key| key.id.clone()).collect();
        let all = keys.forgotten.iter().chain(&forgotten).cloned().collect();
        let names = keys.names;
        self.become_kept(Keys { oldest: newest, later: Vec::new(), names, forgotten: all })?;
        Ok(forgotten)
    }

    /// Seals bytes for one place, told by `of`: nowhere else can they be opened.
    pub(crate) fn seal(&self, of: &str, bytes: &[u8]) -> Result<Sealed> {
        let keys = self.now();
        let key = keys.newest();
        let failed = |_| Error::internal("what is secret cannot be sealed");
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &key.bytes).map_err(failed)?;
        let mut text = bytes.to_vec();
        let nonce = cipher.seal_in_place_append_tag(Aad::from(of), &mut text).map_err(failed)?;
        text.splice(..0, nonce.as_ref().iter().copied());
        Ok(Sealed { key: key.id.clone(), text: Data::new(text) })
    }

    /// Whether it has the key of what was sealed.
    pub(crate) fn has_key_of(&self, sealed: &Sealed) -> bool {
        self.now().all().any(|key| key.id == sealed.key)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// `Unavailable` when its key is not there, `Internal` when it was changed or belongs elsewhere.
    pub(crate) fn open(&self, of: &str, sealed: &Sealed) -> Result<Data> {
        let keys = self.now();
        let key = keys.all().find(|key| key.id == sealed.key).ok_or_else(|| {
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
    /// the same when keys change: what is called after them is.
    #[must_use]
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.now().of_names());
        hex::encode(&hmac::sign(&key, bytes).as_ref()[..8])
    }
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.oldest).chain(&self.later)
    }

    fn newest(&self) -> &Key {
        self.later.last().unwrap_or(&self.oldest)
    }

    /// What names are told apart with: what came of the first key there was.
    fn of_names(&self) -> [u8; KEY] {
        self.names.unwrap_or_else(|| {
            let root = hmac::Key::new(hmac::HMAC_SHA256, &self.oldest.bytes);
            let mut derived = [0; KEY];
            derived.copy_from_slice(hmac::sign(&root, FINGERPRINTS).as_ref());
            derived
        })
    }

    fn text(&self) -> String {
        let line = |id: &str, bytes: &[u8]| format!("{id} {}\n", hex::encode(bytes));
        let names = self.names.iter().map(|bytes| line(NAMES, bytes));
        names.chain(self.all().map(|key| line(&key.id, &key.bytes))).collect()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.now().all().map(|key| &key.id)).finish()
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
    fn a_key_is_changed_and_names_stay() {
        let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
        let keep = kept.clone();
        let ring = Keyring::fresh(&random(1)).kept_by(Arc::new(move |text| {
            keep.lock().unwrap().push(text.to_owned());
            Ok(())
        }));
        let (before, sealed) = (ring.fingerprint(b"a"), ring.seal("x", b"hush").unwrap());
        ring.add(&random(9)).unwrap();
        assert!(!ring.is_single() && !ring.has_forgotten(&sealed));
        let newer = ring.seal("x", b"hush").unwrap();
        assert_eq!((newer.key.as_str(), ring.newest().as_str()), ("09090909", "09090909"));
        assert_eq!(ring.open("x", &sealed).unwrap().bytes(), b"hush");
        assert_eq!(ring.forget_older().unwrap(), ["01010101"]);
        assert!(ring.is_single() && ring.has_forgotten(&sealed) && !ring.has_key_of(&sealed));
        assert_eq!(ring.forget_older().unwrap(), [""; 0]);
        assert_eq!(ring.open("x", &newer).unwrap().bytes(), b"hush");
        assert_eq!(ring.fingerprint(b"a"), before);
        // As the next start reads it.
        let texts = kept.lock().unwrap().clone();
        assert_eq!(texts.len(), 2);
        let next = Keyring::parse(&texts[1]).unwrap();
        assert_eq!(next.text(), texts[1]);
        assert!(!texts[1].contains("01010101"));
        assert_eq!(next.fingerprint(b"a"), before);
        assert_eq!(next.open("x", &newer).unwrap().bytes(), b"hush");
        assert_eq!(Keyring::parse(&texts[0]).unwrap().open("x", &sealed).unwrap().bytes(), b"hush");
        // What cannot be kept is not done.
        let full = Keyring::fresh(&random(1))
            .kept_by(Arc::new(|_| Err(Error::exhausted("the disk is full"))));
        assert!(full.add(&random(9)).is_err() && full.is_single());
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
