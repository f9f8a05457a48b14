//! Session tokens of EC2's metadata service, version 2: a client that can be tricked into fetching an
//! address can seldom be tricked into a PUT with headers of its own.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use model::Uid;

/// Seconds a token may live, as EC2 has it.
pub(super) const LONGEST: u64 = 21_600;

const TAG: usize = 32;

/// Makes tokens and knows them again. Nothing is kept of them: a token is its end, signed together with
/// the instance it was made for. They count until the platform is restarted; clients then ask for
/// another.
pub(super) struct Tokens {
    key: Key,
    started: Instant,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { key: Key::new(HMAC_SHA256, &secret), started: Instant::now() }
    }

    /// A token for an instance; none for a life that is too short or too long.
    pub(super) fn make(&self, instance: &Uid, seconds: u64) -> Option<String> {
        if !(1..=LONGEST).contains(&seconds) {
            return None;
        }
        let end = (self.started.elapsed() + Duration::from_secs(seconds)).as_secs();
        let tag = hmac::sign(&self.key, &signed(instance, end));
        Some(format!("{end:016x}{}", hex(tag.as_ref())))
    }

    /// Whether a token was made for this instance, and counts still.
    pub(super) fn is_good(&self, instance: &Uid, token: &str) -> bool {
        let Some((end, tag)) = token.split_at_checked(16) else { return false };
        let (Ok(end), Some(tag)) = (u64::from_str_radix(end, 16), unhex(tag)) else { return false };
        self.started.elapsed().as_secs() <= end
            && hmac::verify(&self.key, &signed(instance, end), &tag).is_ok()
    }
}

fn signed(instance: &Uid, end: u64) -> Vec<u8> {
    [instance.as_str().as_bytes(), &end.to_be_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; TAG]> {
    if text.len() != 2 * TAG || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; TAG];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_instance_alone() {
        let tokens = Tokens::new();
        let (one, other) = (Uid::from_bytes([1; 32]), Uid::from_bytes([2; 32]));
        let token = tokens.make(&one, 60).unwrap();
        assert!(tokens.is_good(&one, &token));
        assert!(!tokens.is_good(&other, &token));
        assert!(!Tokens::new().is_good(&one, &token));
        for at in 0..token.len() {
            let mut bad = token.clone().into_bytes();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            assert!(!tokens.is_good(&one, &String::from_utf8(bad).unwrap()), "{at}");
        }
        for bad in ["", "x", "é", &token[1..], &format!("{token}0"), &"é".repeat(40)] {
            assert!(!tokens.is_good(&one, bad), "{bad}");
        }
    }

    #[test]
    fn lives_have_bounds() {
        let tokens = Tokens::new();
        let one = Uid::from_bytes([1; 32]);
        assert!(tokens.make(&one, 0).is_none());
        assert!(tokens.make(&one, LONGEST).is_some());
        assert!(tokens.make(&one, LONGEST + 1).is_none());
    }
}
