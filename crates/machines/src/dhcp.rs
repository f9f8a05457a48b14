//! DHCPv4, DHCPv6 and router advertisements for one guest.
//!
//! The guest is the machine: it must find itself at the instance's address, whatever it asks for and
//! however often it is reinstalled. So there is nothing to lease and nothing to remember: each answer
//! is a function of the card's configuration and the question. A guest that asks for another address
//! is told no.
//!
//! Questions are read from, and answers written to, the tap itself, below the bridge. The server needs
//! no address there, hears nobody but the guest, and no answer gets out to the network.
//!
//! | module | holds |
//! |---|---|
//! | [`tap`] | the socket: a packet socket whose filter passes questions only |
//! | [`frame`] | Ethernet, IP and UDP around a message |
//! | [`v4`] | DHCPv4 |
//! | [`v6`] | DHCPv6 |
//! | [`advert`] | router advertisements |
//!
//! Nothing runs while the guest is quiet, but for one router advertisement in some hours: a default
//! route of IPv6 cannot last longer than 18.

mod advert;
mod frame;
mod tap;
mod v4;
mod v6;

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use model::{Error, Result};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::frame::{Mac, Question};
use self::tap::Tap;
use crate::config::Nic;

/// The server's own hardware address, seen by the guest alone (locally administered).
const SERVER_MAC: Mac = [0x02, b'h', b'u', b'l', b'l', 0];

/// The server's own link-local address: that of [`SERVER_MAC`].
const SERVER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0068, 0x75ff, 0xfe6c, 0x6c00);

/// Router advertisements nobody asked for come this often: three in the life of what they say
/// (RFC 8319, section 4, allows up to 65535 s).
const ADVERTISED: Duration = Duration::from_secs(advert::LIFETIME as u64 / 3);

/// Answers the guest's cards.
#[derive(Debug)]
pub struct Server {
    cards: Vec<Card>,
}

/// One card of the guest.
#[derive(Debug)]
struct Card {
    nic: Nic,
    mac: Mac,
    tap: Tap,
}

impl Server {
    /// Opens what is needed to answer these cards, in the network namespace of the calling thread.
    /// Needs `CAP_NET_RAW`, which [`Self::start`] doesn't.
    ///
    /// # Errors
    /// `Invalid` for a hardware address that is none, `NotFound` for a tap that isn't there,
    /// `Forbidden` without the capability.
    pub fn open(nics: &[Nic]) -> Result<Self> {
        let cards = nics.iter().map(Card::open).collect::<Result<_>>()?;
        Ok(Self { cards })
    }

    /// Answers from now on, until it is dropped. A card whose tap is gone is given up, which is said in
    /// the log.
    pub fn start(self) -> Answering {
        let mut answering = Answering::default();
        self.cards.into_iter().for_each(|card| answering.take(card));
        answering
    }
}

/// Cards that are answered, by the names of their taps.
#[derive(Debug, Default)]
pub struct Answering(HashMap<String, JoinSet<()>>);

impl Answering {
    /// Answers one more card, or the same one in another way, with a socket that [`open_questions`] opened.
    ///
    /// # Errors
    /// `Invalid` for a hardware address that is none.
    pub fn add(&mut self, nic: Nic, questions: OwnedFd) -> Result<()> {
        let mac = mac_of(&nic)?;
        let tap = Tap::adopt(&nic.tap, questions);
        self.take(Card { nic, mac, tap });
        Ok(())
    }

    fn take(&mut self, card: Card) {
        self.0.retain(|_, tasks| !tasks.is_empty() && tasks.try_join_next().is_none());
        let mut task = JoinSet::new();
        let name = card.nic.tap.clone();
        task.spawn(card.serve());
        self.0.insert(name, task);
    }
}

/// Opens what a card's questions are heard by, in the network namespace of the calling thread. Needs
/// `CAP_NET_RAW`.
///
/// # Errors
/// As [`Server::open`].
pub fn open_questions(nic: &Nic) -> Result<OwnedFd> {
    Ok(Tap::open(&nic.tap)?.into_socket())
}

fn mac_of(nic: &Nic) -> Result<Mac> {
    frame::parse_mac(&nic.mac).ok_or_else(|| {
        Error::invalid(format!("{:?} is not a hardware address", nic.mac)).at("nics.mac")
    })
}

impl Card {
    fn open(nic: &Nic) -> Result<Self> {
        Ok(Self { nic: nic.clone(), mac: mac_of(nic)?, tap: Tap::open(&nic.tap)? })
    }

    async fn serve(self) {
        let name = self.nic.tap.clone();
        if let Err(error) = self.answer_all().await {
            warn!(tap = name, error = %error.chain(), "no longer answering this card's DHCP");
        }
    }

    async fn answer_all(self) -> Result<()> {
        let Self { nic, mac, tap } = self;
        let tap = tap.listen()?;
        let mut buffer = [0; frame::LARGEST];
        let mut clock = tokio::time::interval(ADVERTISED);
        loop {
            let said = tokio::select! {
                length = tap.receive(&mut buffer) => answer(&nic, mac, &buffer[..length?]),
                _ = clock.tick(), if nic.ipv6.is_some() => advert::unsolicited(&nic),
            };
            if let Some(said) = said {
                // What is lost is asked for again.
                if let Err(error) = tap.send(&said) {
                    debug!(tap = nic.tap, %error, "an answer was not sent");
                }
            }
        }
    }
}

/// The frame that answers a frame.
fn answer(nic: &Nic, mac: Mac, frame: &[u8]) -> Option<Vec<u8>> {
    match frame::read(frame, mac)? {
        Question::Dhcp4(message) => v4::answer(nic, mac, message),
        Question::Dhcp6 { from, message } => v6::answer(nic, message)
            .map(|reply| frame::udp6(mac, (SERVER_ADDRESS, 547), (from, 546), &reply)),
        Question::Solicitation { from } => advert::solicited(nic, mac, from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const MAC: Mac = [2, 0, 0, 0, 0, 9];

    /// A card with all there can be.
    pub(super) fn nic() -> Nic {
        Nic {
            tap: "tap0".to_owned(),
            mac: "02:00:00:00:00:09".to_owned(),
            mtu: 1450,
            ipv4: Some("10.7.0.5/24".parse().unwrap()),
            ipv6: Some("fd00:7::5/64".parse().unwrap()),
            gateway4: Some("10.7.0.1".parse().unwrap()),
            gateway6: Some("fd00:7::1".parse().unwrap()),
            router6: Some("fe80::1".parse().unwrap()),
            dns: ["10.7.0.1", "fd00:7::1"].map(|server| server.parse().unwrap()).to_vec(),
            search: ["app.hull.internal", "hull.internal"].map(str::to_owned).to_vec(),
            hostname: "db-1".to_owned(),
        }
    }

    #[test]
    fn the_servers_address_is_that_of_its_card() {
        let [a, b, c, d, e, f] = SERVER_MAC;
        let octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        assert_eq!(SERVER_ADDRESS, Ipv6Addr::from(octets));
    }
}
