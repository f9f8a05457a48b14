//! DHCPv4 (RFC 2131; options of RFC 2132, 3397, 3442, 4039).

use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Encodable, Encoder, Name};
use ipnet::Ipv4Net;
use tracing::{info, warn};

use super::frame::{self, Mac, To};
use crate::config::Nic;

/// Bytes before the options, the magic cookie included.
const HEADER: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Shortest answer: what BOOTP's messages had (RFC 1542, section 2.1).
const SHORTEST: usize = 300;
/// Longest answer to a client that doesn't say more: 576 bytes less the headers of IP and UDP.
const LONGEST: usize = 548;

/// A lease without end.
const FOREVER: u32 = u32::MAX;

/// What a client asks.
#[derive(Debug, Clone, Copy, Default)]
struct Request {
    kind: u8,
    id: u32,
    seconds: u16,
    flags: u16,
    has: Option<Ipv4Addr>,
    wants: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    longest: Option<u16>,
    rapid: bool,
}

/// The frame that answers a message; none if it is not this server's to answer.
pub(super) fn answer(nic: &Nic, mac: Mac, message: &[u8]) -> Option<Vec<u8>> {
    let net = nic.ipv4?;
    let request = Request::read(message, mac)?;
    let server = server(nic, net);
    let kind = decide(nic, net, server, &request)?;
    let reply = reply(nic, net, server, mac, &request, kind)?;
    let to = match (kind, request.has) {
        (MessageType::Nak, _) => To::Everybody,
        (_, Some(address)) => To::Guest(address),
        (_, None) if Flags::from(request.flags).broadcast() => To::Everybody,
        (_, None) => To::Guest(net.addr()),
    };
    Some(frame::udp4(mac, server, to, &reply))
}

/// Who we say we are: the gateway, which clients can reach. A renewal sent to it alone is not
/// answered; leases don't end, and clients that don't believe it ask everybody next.
fn server(nic: &Nic, net: Ipv4Net) -> Ipv4Addr {
    let names = nic.dns.iter().find_map(|server| match server {
        IpAddr::V4(server) if net.contains(server) => Some(*server),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    });
    nic.gateway4.or(names).unwrap_or(Ipv4Addr::new(169, 254, 0, 1))
}

fn decide(nic: &Nic, net: Ipv4Net, server: Ipv4Addr, request: &Request) -> Option<MessageType> {
    match MessageType::from(request.kind) {
        MessageType::Discover if request.rapid => Some(MessageType::Ack),
        MessageType::Discover => Some(MessageType::Offer),
        MessageType::Request if request.server.is_some_and(|chosen| chosen != server) => None,
        // After an offer or a restart of the guest the address is an option; later it has it.
        MessageType::Request if request.wants.or(request.has) == Some(net.addr()) => {
            Some(MessageType::Ack)
        }
        MessageType::Request => {
            info!(tap = nic.tap, wanted = ?request.wants.or(request.has), "guest asked for another address");
            Some(MessageType::Nak)
        }
        MessageType::Inform => Some(MessageType::Ack),
        MessageType::Decline => {
            warn!(tap = nic.tap, address = %net.addr(), "guest found its address in use by another");
            None
        }
        // A released address stays the machine's; what remains is said by servers, or to others.
        _ => None,
    }
}

fn reply(
    nic: &Nic,
    net: Ipv4Net,
    server: Ipv4Addr,
    mac: Mac,
    request: &Request,
    kind: MessageType,
) -> Option<Vec<u8>> {
    let mut message = Message::default();
    message.set_opcode(Opcode::BootReply).set_xid(request.id).set_flags(request.flags.into());
    message.set_secs(request.seconds).set_chaddr(&mac);
    let inform = MessageType::from(request.kind) == MessageType::Inform;
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    if kind == MessageType::Nak {
        return encode(&message);
    }
    configure(nic, net, options);
    if !inform {
        options.insert(DhcpOption::AddressLeaseTime(FOREVER));
        message.set_yiaddr(net.addr());
    }
    if request.rapid && kind == MessageType::Ack {
        message.opts_mut().insert(DhcpOption::RapidCommit);
    }
    if let Some(has) = request.has {
        message.set_ciaddr(has);
    }
    let longest = request.longest.map_or(LONGEST, |bytes| usize::from(bytes).max(576) - 28);
    let whole = encode(&message)?;
    if whole.len() <= longest {
        return Some(whole);
    }
    // The only option that has no bound.
    message.opts_mut().remove(OptionCode::DomainSearch);
    encode(&message).filter(|bytes| bytes.len() <= longest)
}

/// What a guest needs to know beside its address.
fn configure(nic: &Nic, net: Ipv4Net, options: &mut dhcproto::v4::DhcpOptions) {
    options.insert(DhcpOption::SubnetMask(net.netmask()));
    if net.prefix_len() < 31 {
        options.insert(DhcpOption::BroadcastAddr(net.broadcast()));
    }
    if let Some(gateway) = nic.gateway4 {
        options.insert(DhcpOption::Router(vec![gateway]));
        if !net.contains(&gateway) {
            let way =
                [(Ipv4Net::from(gateway), Ipv4Addr::UNSPECIFIED), (Ipv4Net::default(), gateway)];
            options.insert(DhcpOption::ClasslessStaticRoute(way.to_vec()));
        }
    }
    let names = nic.dns.iter().filter_map(|server| match server {
        IpAddr::V4(server) => Some(*server),
        IpAddr::V6(_) => None,
    });
    let names: Vec<Ipv4Addr> = names.take(8).collect();
    if !names.is_empty() {
        options.insert(DhcpOption::DomainNameServer(names));
    }
    if let Some(first) = nic.search.first() {
        options.insert(DhcpOption::DomainName(first.clone()));
    }
    let search = domains(&nic.search);
    if !search.is_empty() {
        options.insert(DhcpOption::DomainSearch(search));
    }
    if !nic.hostname.is_empty() {
        options.insert(DhcpOption::Hostname(nic.hostname.clone()));
    }
    if let Ok(mtu @ 68..) = u16::try_from(nic.mtu) {
        options.insert(DhcpOption::InterfaceMtu(mtu));
    }
}

/// Domains as the protocol writes them; those that can't be are left out.
pub(super) fn domains(search: &[String]) -> Vec<Name> {
    let names = search.iter().filter_map(|domain| Name::from_ascii(domain).ok());
    names
        .map(|mut name| {
            name.set_fqdn(true);
            name
        })
        .collect()
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(SHORTEST);
    message.encode(&mut Encoder::new(&mut bytes)).ok()?;
    bytes.resize(bytes.len().max(SHORTEST), 0);
    Some(bytes)
}

impl Request {
    /// Reads by hand: the library's decoder believes the lengths of options that nobody needs here.
    fn read(message: &[u8], mac: Mac) -> Option<Self> {
        let (header, mut options) = message.split_at_checked(HEADER)?;
        // A request, over Ethernet, by nobody in between, from this card.
        let addressed = header[..3] == [1, 1, 6] && header[24..28] == [0; 4];
        if !addressed || header[28..34] != mac || header[236..] != COOKIE {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let mut request = Self {
            id: word(4),
            seconds: u16::from_be_bytes([header[8], header[9]]),
            flags: u16::from_be_bytes([header[10], header[11]]),
            has: Some(Ipv4Addr::from(word(12))).filter(|address| !address.is_unspecified()),
            ..Self::default()
        };
        while let Some((code, value, rest)) = option(options) {
            request.take(code, value);
            options = rest;
        }
        Some(request)
    }

    fn take(&mut self, code: u8, value: &[u8]) {
        let address = || <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
        match OptionCode::from(code) {
            OptionCode::RequestedIpAddress => self.wants = address(),
            OptionCode::ServerIdentifier => self.server = address(),
            OptionCode::RapidCommit => self.rapid = true,
            OptionCode::MessageType => self.kind = value.first().copied().unwrap_or_default(),
            OptionCode::MaxMessageSize => {
                self.longest = <[u8; 2]>::try_from(value).ok().map(u16::from_be_bytes);
            }
            _ => {}
        }
    }
}

/// The first option: its code, its value and the options after it.
fn option(options: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    match *options {
        [] | [255, ..] => None,
        [0, ref rest @ ..] => Some((0, &[], rest)),
        [code, length, ref rest @ ..] => {
            let (value, rest) = rest.split_at_checked(length.into())?;
            Some((code, value, rest))
        }
        [_] => None,
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::Decodable;

    use super::*;
    use crate::dhcp::tests::{MAC, nic};

    const OURS: &str = "10.7.0.5";
    const SERVER: &str = "10.7.0.1";

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn asked(kind: MessageType, has: Option<&str>, options: Vec<DhcpOption>) -> Message {
        let mut message = Message::default();
        message.set_chaddr(&MAC).set_xid(0x0102_0304);
        message.set_ciaddr(has.map_or(Ipv4Addr::UNSPECIFIED, ip));
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option);
        }
        message
    }

    fn bytes(message: &Message) -> Vec<u8> {
        message.to_vec().unwrap()
    }

    /// The message of an answer's frame, and the address it goes to.
    fn opened(frame: &[u8]) -> (Message, Ipv4Addr) {
        let to = <[u8; 4]>::try_from(&frame[30..34]).unwrap();
        (Message::from_bytes(&frame[42..]).unwrap(), Ipv4Addr::from(to))
    }

    #[test]
    fn each_question_has_its_answer() {
        use DhcpOption::{RapidCommit, RequestedIpAddress as Wants, ServerIdentifier as Server};
        use MessageType::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
        let broadcast = "255.255.255.255";
        let table = [
            (Discover, None, vec![], Some((Offer, OURS, OURS))),
            (Discover, None, vec![Wants(ip("10.7.0.9"))], Some((Offer, OURS, OURS))),
            (Discover, None, vec![RapidCommit], Some((Ack, OURS, OURS))),
            (Request, None, vec![Wants(ip(OURS)), Server(ip(SERVER))], Some((Ack, OURS, OURS))),
            (Request, None, vec![Wants(ip(OURS)), Server(ip("10.7.0.2"))], None),
            (Request, None, vec![Wants(ip(OURS))], Some((Ack, OURS, OURS))),
            (Request, None, vec![Wants(ip("10.9.0.1"))], Some((Nak, "0.0.0.0", broadcast))),
            (Request, Some(OURS), vec![], Some((Ack, OURS, OURS))),
            (Request, Some("10.9.0.1"), vec![], Some((Nak, "0.0.0.0", broadcast))),
            (Request, None, vec![], Some((Nak, "0.0.0.0", broadcast))),
            (Inform, Some(OURS), vec![], Some((Ack, "0.0.0.0", OURS))),
            (Release, Some(OURS), vec![Server(ip(SERVER))], None),
            (Decline, None, vec![Wants(ip(OURS)), Server(ip(SERVER))], None),
            (Offer, None, vec![], None),
            (Ack, None, vec![], None),
        ];
        for (kind, has, options, expected) in table {
            let message = asked(kind, has, options);
            let answered = answer(&nic(), MAC, &bytes(&message)).map(|frame| {
                let (reply, to) = opened(&frame);
                assert_eq!(reply.xid(), 0x0102_0304);
                assert_eq!(reply.chaddr(), MAC);
                (reply.opts().msg_type().unwrap(), reply.yiaddr(), to)
            });
            let expected = expected.map(|(kind, gives, to)| (kind, ip(gives), ip(to)));
            assert_eq!(answered, expected, "{message}");
        }
    }

    #[test]
    fn a_guest_without_an_address_may_want_a_broadcast() {
        let mut message = asked(MessageType::Discover, None, vec![]);
        message.set_flags(Flags::default().set_broadcast());
        let frame = answer(&nic(), MAC, &bytes(&message)).unwrap();
        assert_eq!(opened(&frame).1, Ipv4Addr::BROADCAST);
        assert_eq!(frame[..6], [0xff; 6]);
    }

    #[test]
    fn the_whole_identity_is_told() {
        let frame =
            answer(&nic(), MAC, &bytes(&asked(MessageType::Discover, None, vec![]))).unwrap();
        let reply = opened(&frame).0;
        let told: Vec<DhcpOption> = reply.opts().iter().map(|(_, option)| option.clone()).collect();
        let search = ["app.hull.internal.", "hull.internal."].map(|name| name.parse().unwrap());
        let expected = vec![
            DhcpOption::SubnetMask(ip("255.255.255.0")),
            DhcpOption::Router(vec![ip(SERVER)]),
            DhcpOption::DomainNameServer(vec![ip(SERVER)]),
            DhcpOption::Hostname("db-1".to_owned()),
            DhcpOption::DomainName("app.hull.internal".to_owned()),
            DhcpOption::InterfaceMtu(1450),
            DhcpOption::BroadcastAddr(ip("10.7.0.255")),
            DhcpOption::AddressLeaseTime(FOREVER),
            DhcpOption::MessageType(MessageType::Offer),
            DhcpOption::ServerIdentifier(ip(SERVER)),
            DhcpOption::DomainSearch(search.to_vec()),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_gateway_beside_the_subnet_has_a_way_to_it() {
        let mut nic = nic();
        nic.ipv4 = Some("10.7.0.5/32".parse().unwrap());
        let asked = bytes(&asked(MessageType::Discover, None, vec![]));
        let reply = opened(&answer(&nic, MAC, &asked).unwrap()).0;
        let way = vec![
            ("10.7.0.1/32".parse().unwrap(), Ipv4Addr::UNSPECIFIED),
            ("0.0.0.0/0".parse().unwrap(), ip(SERVER)),
        ];
        let told = reply.opts().get(OptionCode::ClasslessStaticRoute);
        assert_eq!(told, Some(&DhcpOption::ClasslessStaticRoute(way)));
        nic.gateway4 = None;
        let reply = opened(&answer(&nic, MAC, &asked).unwrap()).0;
        assert!(!reply.opts().contains(OptionCode::Router));
        assert!(!reply.opts().contains(OptionCode::ClasslessStaticRoute));
    }

    #[test]
    fn an_answer_fits_into_what_the_client_takes() {
        let mut nic = nic();
        nic.search = (0..40).map(|i| format!("department-{i}.of.a.long.domain.example")).collect();
        let longest = |bytes: u16| vec![DhcpOption::MaxMessageSize(bytes)];
        for (options, whole) in [(vec![], false), (longest(10), false), (longest(2000), true)] {
            let asked = bytes(&asked(MessageType::Discover, None, options));
            let frame = answer(&nic, MAC, &asked).unwrap();
            assert!(whole || frame.len() <= 14 + 576);
            assert_eq!(opened(&frame).0.opts().contains(OptionCode::DomainSearch), whole);
        }
    }

    #[test]
    fn what_is_not_the_guests_own_question_is_not_answered() {
        let good = bytes(&asked(MessageType::Discover, None, vec![]));
        // Operation, hardware's kind, length of its address, a relay, the address, the cookie.
        for at in [0, 1, 2, 24, 28, 236] {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            assert!(answer(&nic(), MAC, &bad).is_none(), "{at}");
        }
        for length in 0..HEADER {
            assert!(answer(&nic(), MAC, &good[..length]).is_none());
        }
        let mut nic = nic();
        nic.ipv4 = None;
        assert!(answer(&nic, MAC, &good).is_none());
    }

    #[test]
    fn lengths_that_lie_do_no_harm() {
        let options =
            vec![DhcpOption::RequestedIpAddress(ip(OURS)), DhcpOption::MaxMessageSize(600)];
        let good = bytes(&asked(MessageType::Request, None, options));
        for at in HEADER..good.len() {
            for value in 0..=255 {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = answer(&nic(), MAC, &bad);
                let _ = answer(&nic(), MAC, &bad[..at]);
            }
        }
    }
}
