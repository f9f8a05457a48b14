//! Tickets for graphical consoles: each opens one connection to one machine, for the caller who asked
//! for it, once and soon. They are in memory only: a server that starts anew knows none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control::Caller;
use http::Uri;
use model::{Error, Result, Uid};

use crate::lease::{self, Lease};

/// How long a ticket is worth something.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);
/// Tickets that one caller may have.
const MOST: usize = 64;

/// What a ticket opens.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) caller: Caller,
    pub(crate) instance: Uid,
    /// That of the request for the ticket.
    pub(crate) lease: Lease,
    expires: Instant,
}

/// The tickets that are open.
#[derive(Default)]
pub(crate) struct Tickets {
    open: Mutex<HashMap<String, Ticket>>,
}

impl Tickets {
    /// A new one.
    pub(crate) fn issue(&self, caller: &Caller, instance: Uid, now: Instant) -> Result<String> {
        let mut open = self.lock();
        open.retain(|_, ticket| ticket.expires > now);
        if open.values().filter(|ticket| ticket.caller == *caller).count() >= MOST {
            return Err(Error::exhausted(format!("you have {MOST} tickets that are not used"))
                .next("use them, or wait a minute"));
        }
        let secret: String =
            rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let (caller, lease) = (caller.clone(), lease::current());
        let ticket = Ticket { caller, instance, lease, expires: now + LIFETIME };
        open.insert(secret.clone(), ticket);
        Ok(secret)
    }

    /// Takes a ticket: it is worth nothing afterwards.
    pub(crate) fn redeem(&self, secret: &str, now: Instant) -> Result<Ticket> {
        let ticket = self.lock().remove(secret);
        let ticket = ticket.filter(|ticket| ticket.expires > now && ticket.lease.stands());
        ticket.ok_or_else(|| {
            Error::unauthenticated("the ticket was used, has expired, or never was one")
                .next("ask for a new one: POST …/console")
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ticket that a request for a console shows.
pub(crate) fn shown(uri: &Uri) -> Option<String> {
    if !uri.path().ends_with("/console/vnc") {
        return None;
    }
    let query = uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "ticket").map(|(_, secret)| secret.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> Uid {
        Uid::random()
    }

    #[test]
    fn a_ticket_is_worth_something_once_and_soon() {
        let (tickets, now, caller) = (Tickets::default(), Instant::now(), Caller::socket("ann"));
        let secret = tickets.issue(&caller, uid(), now).unwrap();
        assert_eq!(tickets.redeem(&secret, now).unwrap().caller, caller);
        tickets.redeem(&secret, now).unwrap_err();
        let secret = tickets.issue(&caller, uid(), now).unwrap();
        tickets.redeem(&secret, now + LIFETIME).unwrap_err();
        tickets.redeem("", now).unwrap_err();
    }

    #[test]
    fn nobody_piles_them_up() {
        let (tickets, now, caller) = (Tickets::default(), Instant::now(), Caller::socket("ann"));
        for _ in 0..MOST {
            tickets.issue(&caller, uid(), now).unwrap();
        }
        tickets.issue(&caller, uid(), now).unwrap_err();
        tickets.issue(&Caller::socket("bob"), uid(), now).unwrap();
        tickets.issue(&caller, uid(), now + LIFETIME).unwrap();
    }

    #[test]
    fn tickets_are_for_consoles_only() {
        let cases = [
            ("/v1/projects/p/instances/i/console/vnc?ticket=a%62", Some("ab")),
            ("/v1/projects/p/instances/i/console/vnc?x=1", None),
            ("/v1/projects/p/instances/i/exec?ticket=ab", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(shown(&uri.parse().unwrap()).as_deref(), expected, "{uri}");
        }
    }
}
