//! Ethernet, IP and UDP around a message.
//!
//! Checksums of what the guest sends are not looked at: a paravirtual card leaves them to the host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// Longest frame that is looked at; questions are shorter.
pub(super) const LARGEST: usize = 2048;

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const BROADCAST: Mac = [0xff; 6];

/// Whom an answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// The guest at an address.
    Guest(Ipv4Addr),
    /// Everybody on the link, for a guest that has no address yet.
    Everybody,
}

/// What the guest asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// A message to a DHCPv4 server.
    Dhcp4(&'a [u8]),
    /// A message to a DHCPv6 server.
    Dhcp6 {
        /// Who asks.
        from: Ipv6Addr,
        /// What.
        message: &'a [u8],
    },
    /// A router solicitation (RFC 4861, section 4.1).
    Solicitation {
        /// Who asks; unspecified while it has no address.
        from: Ipv6Addr,
    },
}

/// Reads `02:42:ac:11:00:02`.
pub(super) fn parse_mac(text: &str) -> Option<Mac> {
    let mut octets = text.split(':').map(|part| match part.len() {
        2 => u8::from_str_radix(part, 16).ok(),
        _ => None,
    });
    let mut mac = [0; 6];
    for octet in &mut mac {
        *octet = octets.next()??;
    }
    octets.next().is_none().then_some(mac)
}

/// The question in a frame of the card with this address; none in others.
pub(super) fn read(frame: &[u8], mac: Mac) -> Option<Question<'_>> {
    let (header, packet) = frame.split_at_checked(ETHERNET)?;
    if header[6..12] != mac {
        return None;
    }
    match [header[12], header[13]] {
        IPV4 => read4(packet),
        IPV6 => read6(packet),
        _ => None,
    }
}

fn read4(packet: &[u8]) -> Option<Question<'_>> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != UDP {
        return None;
    }
    let body = packet.get(header..usize::from(word(packet, 2)?))?;
    Some(Question::Dhcp4(datagram(body, 67)?))
}

fn read6(packet: &[u8]) -> Option<Question<'_>> {
    let (header, rest) = packet.split_at_checked(40)?;
    let body = rest.get(..usize::from(word(header, 4)?))?;
    let from = Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).ok()?);
    match (header[0] >> 4, header[6]) {
        (6, UDP) if from.is_unicast_link_local() => {
            Some(Question::Dhcp6 { from, message: datagram(body, 547)? })
        }
        // A hop limit of 255: nobody forwarded it (RFC 4861, section 6.1.1).
        (6, ICMP6) if header[7] == 255 && body.len() >= 8 && body[..2] == [133, 0] => {
            Some(Question::Solicitation { from })
        }
        _ => None,
    }
}

/// What a UDP packet to `port` carries.
fn datagram(packet: &[u8], port: u16) -> Option<&[u8]> {
    let length = usize::from(word(packet, 4)?);
    (word(packet, 2)? == port).then(|| packet.get(8..length))?
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// A frame to the guest with a datagram from a server's port 67 to a client's 68.
pub(super) fn udp4(mac: Mac, from: Ipv4Addr, to: To, message: &[u8]) -> Vec<u8> {
    let (mac, address) = match to {
        To::Guest(address) => (mac, address),
        To::Everybody => (BROADCAST, Ipv4Addr::BROADCAST),
    };
    let from = SocketAddrV4::new(from, 67);
    let mut pseudo = [from.ip().octets(), address.octets()].concat();
    pseudo.extend([0, UDP]);
    let datagram = udp(from.port(), 68, pseudo, message);
    let mut header = vec![0x45, 0];
    header.extend(length(20 + datagram.len()));
    header.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    header.extend(from.ip().octets());
    header.extend(address.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&ethernet(mac, IPV4)[..], &header, &datagram].concat()
}

/// A frame to the guest with a datagram of IPv6.
pub(super) fn udp6(
    mac: Mac,
    from: (Ipv6Addr, u16),
    to: (Ipv6Addr, u16),
    message: &[u8],
) -> Vec<u8> {
    let pseudo = pseudo6(from.0, to.0, UDP);
    let datagram = udp(from.1, to.1, pseudo, message);
    ip6(mac, from.0, to.0, UDP, &datagram)
}

/// A frame to the guest with a message of ICMPv6, whose checksum is filled in.
pub(super) fn icmp6(mac: Mac, from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let mut summed = pseudo6(from, to, ICMP6);
    summed.extend(length(message.len()));
    summed.extend(&message);
    let sum = checksum(&summed);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip6(mac, from, to, ICMP6, &message)
}

/// The hardware address of a multicast group (RFC 2464, section 7).
pub(super) fn group(address: Ipv6Addr) -> Mac {
    let octets = address.octets();
    [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
}

fn pseudo6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8) -> Vec<u8> {
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, protocol]);
    pseudo
}

fn ip6(mac: Mac, from: Ipv6Addr, to: Ipv6Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length(body.len()));
    header.extend([protocol, 255]);
    header.extend(from.octets());
    header.extend(to.octets());
    [&ethernet(mac, IPV6)[..], &header, body].concat()
}

/// A UDP packet; `pseudo` is the start of what its checksum covers beside it.
fn udp(from: u16, to: u16, mut pseudo: Vec<u8>, message: &[u8]) -> Vec<u8> {
    let size = length(8 + message.len());
    let mut packet = [from.to_be_bytes(), to.to_be_bytes(), size, [0, 0]].concat();
    packet.extend(message);
    pseudo.extend(size);
    pseudo.extend(&packet);
    // 0 would say that there is none.
    let sum = match checksum(&pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn ethernet(to: Mac, kind: [u8; 2]) -> Vec<u8> {
    let mut header = [to, super::SERVER_MAC].concat();
    header.extend(kind);
    header
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("answers fit into a packet").to_be_bytes()
}

/// The Internet's checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    /// A frame as a guest sends it: an answer's frame with source and ports as a client has them.
    fn from_guest(mut frame: Vec<u8>, port_at: usize, port: u16) -> Vec<u8> {
        frame[6..12].copy_from_slice(&MAC);
        frame[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn addresses_of_cards_are_read() {
        assert_eq!(parse_mac("02:00:00:00:00:09"), Some(MAC));
        for bad in
            ["", "02:00:00:00:00", "02:00:00:00:00:09:01", "2:0:0:0:0:9", "0g:00:00:00:00:00"]
        {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn questions_are_found_whatever_is_cut_off() {
        let v4 = udp4([9; 6], Ipv4Addr::LOCALHOST, To::Everybody, b"question");
        let v4 = from_guest(v4, 14 + 20 + 2, 67);
        assert_eq!(read(&v4, MAC), Some(Question::Dhcp4(b"question")));
        assert_eq!(read(&v4, [7; 6]), None);
        let local: Ipv6Addr = "fe80::9".parse().unwrap();
        let v6 = udp6([9; 6], (local, 546), (local, 547), b"question");
        let v6 = from_guest(v6, 14 + 40 + 2, 547);
        assert_eq!(read(&v6, MAC), Some(Question::Dhcp6 { from: local, message: b"question" }));
        let from = Ipv6Addr::UNSPECIFIED;
        let asked = icmp6([9; 6], from, local, vec![133, 0, 0, 0, 0, 0, 0, 0]);
        let asked = from_guest(asked, 12, 0x86dd);
        assert_eq!(read(&asked, MAC), Some(Question::Solicitation { from }));
        for whole in [v4, v6, asked] {
            for length in 0..whole.len() {
                assert_eq!(read(&whole[..length], MAC), None, "{length}");
            }
            // Lengths that lie are no reason to look beyond the end.
            for at in 14..whole.len() {
                let mut torn = whole.clone();
                torn[at] = 0xff;
                let _ = read(&torn, MAC);
            }
        }
    }

    #[test]
    fn checksums_add_up() {
        // RFC 1071, section 3: the sum of these is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x01]), !0x0100);
    }
}
