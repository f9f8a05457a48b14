//! DHCPv6 (RFC 8415; options of RFC 3646).

use std::net::{IpAddr, Ipv6Addr};

use dhcproto::v6::{
    DhcpOption, DhcpOptions, IAAddr, IANA, IAPD, IATA, Message, MessageType, Status, StatusCode,
};
use dhcproto::{Encodable, Encoder};
use ipnet::Ipv6Net;
use tracing::warn;

use super::{SERVER_MAC, v4};
use crate::config::Nic;

/// A lease without end.
const FOREVER: u32 = u32::MAX;

/// What a client may ask for in one message; more is not answered.
const MOST_ASSOCIATIONS: usize = 8;
/// Addresses it may name in each.
const MOST_ADDRESSES: usize = 8;
/// A client's identity has 130 bytes at most (RFC 8415, section 11.1).
const LONGEST_IDENTITY: usize = 130;

/// What a client wants an address, or addresses, for.
#[derive(Debug, PartialEq, Eq)]
struct Association {
    kind: Kind,
    id: u32,
    addresses: Vec<Ipv6Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Temporary,
    Prefix,
}

/// What a client asks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request<'a> {
    client: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    associations: Vec<Association>,
    rapid: bool,
}

/// The message that answers one; none if it is not this server's to answer.
pub(super) fn answer(nic: &Nic, message: &[u8]) -> Option<Vec<u8>> {
    let net = nic.ipv6?;
    let (header, options) = message.split_at_checked(4)?;
    let request = Request::read(options)?;
    let kind = MessageType::from(header[0]);
    if !request.is_whole(kind) {
        return None;
    }
    let mut options = content(nic, net, kind, &request)?;
    options.insert(DhcpOption::ServerId(identity()));
    if let Some(client) = request.client {
        options.insert(DhcpOption::ClientId(client.to_vec()));
    }
    let offered = kind == MessageType::Solicit && !request.rapid;
    let said = if offered { MessageType::Advertise } else { MessageType::Reply };
    let mut reply = Message::new_with_id(said, [header[1], header[2], header[3]]);
    reply.set_opts(options);
    let mut bytes = Vec::new();
    reply.encode(&mut Encoder::new(&mut bytes)).ok()?;
    Some(bytes)
}

/// Who we are: a DUID made of a link-layer address (RFC 8415, section 11.4).
fn identity() -> Vec<u8> {
    [&[0, 3, 0, 1][..], &SERVER_MAC].concat()
}

/// What the answer says of the matter.
fn content(
    nic: &Nic,
    net: Ipv6Net,
    kind: MessageType,
    request: &Request<'_>,
) -> Option<DhcpOptions> {
    let mut options = DhcpOptions::new();
    match kind {
        MessageType::Solicit => {
            // Nobody else may be waited for.
            options.insert(DhcpOption::Preference(255));
            if request.rapid {
                options.insert(DhcpOption::RapidCommit);
            }
            assign(&mut options, net, &request.associations);
            configure(&mut options, nic);
        }
        MessageType::Request | MessageType::Renew | MessageType::Rebind => {
            assign(&mut options, net, &request.associations);
            configure(&mut options, nic);
        }
        MessageType::InformationRequest => configure(&mut options, nic),
        MessageType::Confirm => {
            let mut named = request.associations.iter().flat_map(|of| &of.addresses).peekable();
            named.peek()?;
            let right = named.all(|address| *address == net.addr());
            options.insert(status(if right { Status::Success } else { Status::NotOnLink }));
        }
        MessageType::Release => options.insert(status(Status::Success)),
        MessageType::Decline => {
            warn!(tap = nic.tap, address = %net.addr(), "guest found its address in use by another");
            options.insert(status(Status::Success));
        }
        // Said by servers and relays.
        _ => return None,
    }
    Some(options)
}

/// The first association gets the address; a guest needs no second, and no prefix of its own.
fn assign(options: &mut DhcpOptions, net: Ipv6Net, associations: &[Association]) {
    let first = associations.iter().position(|of| of.kind == Kind::Address);
    for (at, association) in associations.iter().enumerate() {
        let id = association.id;
        let given = if Some(at) == first {
            leases(net, &association.addresses)
        } else if association.kind == Kind::Prefix {
            [status(Status::NoPrefixAvail)].into_iter().collect()
        } else {
            [status(Status::NoAddrsAvail)].into_iter().collect()
        };
        options.insert(match association.kind {
            Kind::Address => DhcpOption::IANA(IANA { id, t1: FOREVER, t2: FOREVER, opts: given }),
            Kind::Temporary => DhcpOption::IATA(IATA { id, opts: given }),
            Kind::Prefix => DhcpOption::IAPD(IAPD { id, t1: FOREVER, t2: FOREVER, opts: given }),
        });
    }
}

/// The address for ever, and an end to others that the guest thinks it has.
fn leases(net: Ipv6Net, named: &[Ipv6Addr]) -> DhcpOptions {
    let wrong = named.iter().filter(|address| **address != net.addr()).map(|other| (*other, 0));
    let all = [(net.addr(), FOREVER)].into_iter().chain(wrong);
    all.map(|(addr, life)| {
        let opts = DhcpOptions::new();
        DhcpOption::IAAddr(IAAddr { addr, preferred_life: life, valid_life: life, opts })
    })
    .collect()
}

fn status(status: Status) -> DhcpOption {
    DhcpOption::StatusCode(StatusCode { status, msg: String::new() })
}

/// What a guest needs to know beside its address.
fn configure(options: &mut DhcpOptions, nic: &Nic) {
    let names = nic.dns.iter().filter_map(|server| match server {
        IpAddr::V6(server) => Some(*server),
        IpAddr::V4(_) => None,
    });
    let names: Vec<Ipv6Addr> = names.take(8).collect();
    if !names.is_empty() {
        options.insert(DhcpOption::DomainNameServers(names));
    }
    let search = v4::domains(&nic.search);
    if !search.is_empty() {
        options.insert(DhcpOption::DomainSearchList(search));
    }
}

impl<'a> Request<'a> {
    /// Reads by hand: the library's decoder believes the lengths of options that nobody needs here.
    fn read(mut options: &'a [u8]) -> Option<Self> {
        let mut request = Self::default();
        while let Some((code, value, rest)) = option(options) {
            let kind = match code {
                1 => {
                    request.client = Some(value).filter(|id| id.len() <= LONGEST_IDENTITY);
                    None
                }
                2 => {
                    request.server = Some(value);
                    None
                }
                14 => {
                    request.rapid = true;
                    None
                }
                3 => Some((Kind::Address, 12)),
                4 => Some((Kind::Temporary, 4)),
                25 => Some((Kind::Prefix, 12)),
                _ => None,
            };
            if let Some((kind, header)) = kind {
                request.associations.push(Association::read(kind, value, header)?);
            }
            options = rest;
        }
        (request.associations.len() <= MOST_ASSOCIATIONS).then_some(request)
    }

    /// Whether it names client and server as it must, or must not (RFC 8415, section 16).
    fn is_whole(&self, kind: MessageType) -> bool {
        let ours = self.server.map(|server| *server == identity());
        match kind {
            MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => {
                self.client.is_some() && ours.is_none()
            }
            MessageType::InformationRequest => ours != Some(false) && self.associations.is_empty(),
            _ => self.client.is_some() && ours == Some(true),
        }
    }
}

impl Association {
    /// Reads an association whose options come after `header` bytes.
    fn read(kind: Kind, value: &[u8], header: usize) -> Option<Self> {
        let (header, mut options) = value.split_at_checked(header)?;
        let id = u32::from_be_bytes(header[..4].try_into().expect("4 of 4 or more"));
        let mut addresses = Vec::new();
        while let Some((code, value, rest)) = option(options) {
            if code == 5 && addresses.len() < MOST_ADDRESSES {
                addresses.push(Ipv6Addr::from(<[u8; 16]>::try_from(value.get(..16)?).ok()?));
            }
            options = rest;
        }
        Some(Self { kind, id, addresses })
    }
}

/// The first option: its code, its value and the options after it.
fn option(options: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (header, rest) = options.split_at_checked(4)?;
    let length = u16::from_be_bytes([header[2], header[3]]);
    let (value, rest) = rest.split_at_checked(length.into())?;
    Some((u16::from_be_bytes([header[0], header[1]]), value, rest))
}

#[cfg(test)]
mod tests {
    use dhcproto::Decodable;
    use dhcproto::v6::{ORO, OptionCode};

    use super::*;
    use crate::dhcp::tests::nic;

    const OURS: &str = "fd00:7::5";
    const OTHER: &str = "fd00:8::1";

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn client() -> DhcpOption {
        DhcpOption::ClientId(vec![0, 4, 1, 2, 3])
    }

    fn server() -> DhcpOption {
        DhcpOption::ServerId(identity())
    }

    fn address(id: u32, addresses: &[&str]) -> DhcpOption {
        let named = addresses.iter().map(|text| {
            let opts = DhcpOptions::new();
            DhcpOption::IAAddr(IAAddr { addr: ip(text), preferred_life: 1, valid_life: 2, opts })
        });
        DhcpOption::IANA(IANA { id, t1: 0, t2: 0, opts: named.collect() })
    }

    fn asked(kind: MessageType, options: Vec<DhcpOption>) -> Vec<u8> {
        let mut message = Message::new_with_id(kind, [1, 2, 3]);
        message.set_opts(options.into_iter().collect());
        message.to_vec().unwrap()
    }

    /// What an answer says, a word each.
    fn told(options: &DhcpOptions) -> Vec<String> {
        let word = |option: &DhcpOption| match option {
            DhcpOption::IANA(of) => format!("na{} {}", of.id, told(&of.opts).join(" ")),
            DhcpOption::IAPD(of) => format!("pd{} {}", of.id, told(&of.opts).join(" ")),
            DhcpOption::IAAddr(of) if of.valid_life == FOREVER => format!("{}", of.addr),
            DhcpOption::IAAddr(of) => format!("!{}", of.addr),
            DhcpOption::StatusCode(code) => format!("{:?}", code.status),
            DhcpOption::RapidCommit => "rapid".to_owned(),
            DhcpOption::DomainNameServers(servers) => format!("dns {servers:?}"),
            DhcpOption::DomainSearchList(names) => format!("search {}", names.len()),
            DhcpOption::Preference(255) => "now".to_owned(),
            DhcpOption::ClientId(_) | DhcpOption::ServerId(_) => String::new(),
            other => panic!("{other:?}"),
        };
        options.iter().map(word).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn each_question_has_its_answer() {
        use MessageType::{
            Advertise, Confirm, Decline, InformationRequest, Rebind, Release, Renew, Reply,
            Request, Solicit,
        };
        let also = "dns [fd00:7::1], search 2";
        let prefix = DhcpOption::IAPD(IAPD { id: 7, t1: 0, t2: 0, opts: DhcpOptions::new() });
        let wanted = DhcpOption::ORO(ORO { opts: vec![OptionCode::DomainNameServers] });
        let alien = DhcpOption::ServerId(vec![0, 3, 0, 1, 9]);
        let table = [
            (Solicit, vec![client(), address(1, &[])], Some((Advertise, "na1 fd00:7::5, now"))),
            (
                Solicit,
                vec![client(), address(1, &[]), wanted],
                Some((Advertise, "na1 fd00:7::5, now")),
            ),
            (
                Solicit,
                vec![client(), address(1, &[OTHER]), DhcpOption::RapidCommit],
                Some((Reply, "na1 fd00:7::5 !fd00:8::1, now, rapid")),
            ),
            (
                Solicit,
                vec![client(), address(1, &[]), address(2, &[]), prefix],
                Some((Advertise, "na1 fd00:7::5, na2 NoAddrsAvail, now, pd7 NoPrefixAvail")),
            ),
            (Solicit, vec![address(1, &[])], None),
            (Solicit, vec![client(), server(), address(1, &[])], None),
            (
                Request,
                vec![client(), server(), address(1, &[OURS])],
                Some((Reply, "na1 fd00:7::5")),
            ),
            (Request, vec![client(), alien.clone(), address(1, &[OURS])], None),
            (Request, vec![client(), address(1, &[OURS])], None),
            (Renew, vec![client(), server(), address(1, &[OURS])], Some((Reply, "na1 fd00:7::5"))),
            (
                Rebind,
                vec![client(), address(1, &[OTHER])],
                Some((Reply, "na1 fd00:7::5 !fd00:8::1")),
            ),
            (Confirm, vec![client(), address(1, &[OURS])], Some((Reply, "Success"))),
            (Confirm, vec![client(), address(1, &[OTHER])], Some((Reply, "NotOnLink"))),
            (Confirm, vec![client(), address(1, &[])], None),
            (Release, vec![client(), server(), address(1, &[OURS])], Some((Reply, "Success"))),
            (Decline, vec![client(), server(), address(1, &[OURS])], Some((Reply, "Success"))),
            (InformationRequest, vec![], Some((Reply, ""))),
            (InformationRequest, vec![client(), server()], Some((Reply, ""))),
            (InformationRequest, vec![client(), alien], None),
            (Advertise, vec![client(), server()], None),
            (Reply, vec![client(), server()], None),
        ];
        for (kind, options, expected) in table {
            let answered = answer(&nic(), &asked(kind, options.clone())).map(|bytes| {
                let reply = Message::from_bytes(&bytes).unwrap();
                assert_eq!(reply.xid(), [1, 2, 3]);
                let given = options.iter().find(|option| matches!(option, DhcpOption::ClientId(_)));
                assert_eq!(reply.opts().get(OptionCode::ClientId), given);
                assert_eq!(reply.opts().get(OptionCode::ServerId), Some(&server()));
                let mut words = told(reply.opts());
                words.sort();
                let configures = words.iter().any(|word| word.starts_with("dns"));
                let apart = |word: &String| !also.split(", ").any(|other| other == word);
                words.retain(apart);
                (reply.msg_type(), words.join(", "), configures)
            });
            let expected = expected.map(|(said, words)| {
                let configures = !words.starts_with("Success") && words != "NotOnLink";
                (said, words.to_owned(), configures)
            });
            assert_eq!(answered, expected, "{kind:?} {options:?}");
        }
    }

    #[test]
    fn lengths_that_lie_do_no_harm() {
        let good = asked(MessageType::Solicit, vec![client(), address(1, &[OURS])]);
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = answer(&nic(), &bad);
                let _ = answer(&nic(), &bad[..at]);
            }
        }
    }

    #[test]
    fn a_guest_can_ask_for_so_much() {
        let many = (0..9).map(|id| address(id, &[])).chain([client()]).collect();
        assert_eq!(answer(&nic(), &asked(MessageType::Solicit, many)), None);
    }
}
