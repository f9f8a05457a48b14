//! Rules in the calling thread's namespace, without a program (`NFNL_SUBSYS_NFTABLES`,
//! linux/netfilter/nf_tables.h): what each instance gets at its start must not take a process.

use std::io;
use std::net::SocketAddrV4;

use model::Result;

use super::route::failed;
use super::socket::Socket;

/// `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nfnetlink.h), which a batch names as well.
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = NFTABLES << 8;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
/// The attribute holds others (linux/netlink.h).
const NESTED: u16 = 0x8000;

/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NF_INET_LOCAL_IN` and `NF_INET_LOCAL_OUT` (linux/netfilter.h).
const INPUT: u32 = 1;
const OUTPUT: u32 = 3;
/// Before connections are tracked (`NF_IP_PRI_CONNTRACK` is -200), so that those who track see one pair
/// of ports both ways, and after it.
const BEFORE: i32 = -300;
const AFTER: i32 = -150;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where in its header a packet's field is (`enum nft_payload_bases`), and how long it is.
#[derive(Clone, Copy)]
struct Field {
    base: u32,
    offset: u32,
    length: u32,
}

const SOURCE: Field = Field { base: 1, offset: 12, length: 4 };
const DESTINATION: Field = Field { base: 1, offset: 16, length: 4 };
const SOURCE_PORT: Field = Field { base: 2, offset: 0, length: 2 };
const DESTINATION_PORT: Field = Field { base: 2, offset: 2, length: 2 };

/// Has what is sent to `from` on loopback reach who listens on another port of that address, by UDP and
/// TCP. Whoever binds `from` itself is not in the way, nor is this in his.
///
/// Ports are written over both ways, without tracking of connections: that would be switched on for
/// everything the namespace sends and hears. Done twice it does no harm.
pub fn lead(table: &str, from: SocketAddrV4, port: u16) -> Result<()> {
    let what = || format!("leading {from} to port {port}");
    commit(&script(table, from, port)).map_err(|error| failed(error, &what()))
}

/// One transaction; the last message in it is answered, as is each that is refused.
fn script(table: &str, from: SocketAddrV4, port: u16) -> Vec<u8> {
    let (address, asked) = (from.ip().octets(), from.port().to_be_bytes());
    let answered = port.to_be_bytes();
    let mut bytes = message(BATCH_BEGIN, 0, 0, NFTABLES, &[]);
    bytes.extend(message(NEW_TABLE, NLM_F_CREATE, IPV4, 0, &text(1, table)));
    for (name, hook, priority) in [("asked", OUTPUT, BEFORE), ("answered", INPUT, AFTER)] {
        let place = [word(1, hook), word(2, priority.cast_unsigned())].concat();
        let chain = [text(1, table), text(3, name), nest(4, &place), text(7, "filter")].concat();
        bytes.extend(message(NEW_CHAIN, NLM_F_CREATE, IPV4, 0, &chain));
    }
    let ways = [
        ("asked", DESTINATION, DESTINATION_PORT, asked, answered),
        ("answered", SOURCE, SOURCE_PORT, answered, asked),
    ];
    for protocol in [UDP, TCP] {
        for (chain, host, field, old, new) in ways {
            let expressions = [
                load(host),
                equals(&address),
                load_protocol(),
                equals(&[protocol]),
                load(field),
                equals(&old),
                write(field, new, protocol),
            ];
            let rule = [text(1, table), text(2, chain), nest(4, &expressions.concat())].concat();
            bytes.extend(message(
                NEW_RULE,
                NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK,
                IPV4,
                0,
                &rule,
            ));
        }
    }
    bytes.extend(message(BATCH_END, 0, 0, NFTABLES, &[]));
    bytes
}

/// Rules that are answered for.
const RULES: usize = 4;

fn commit(script: &[u8]) -> io::Result<()> {
    let mut socket = Socket::netfilter()?;
    socket.send(script)?;
    let mut good = 0;
    while good < RULES {
        for frame in socket.receive()? {
            if let Some(verdict) = frame.answer() {
                verdict?;
                good += 1;
            }
        }
    }
    Ok(())
}

/// A message with `struct nlmsghdr`, `struct nfgenmsg` and attributes.
fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// An attribute: `struct nlattr` and its value, filled up to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nest(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, value)
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn word(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// One of a rule's expressions (`NFTA_LIST_ELEM`): its name and what it is given. All work in the first
/// register.
fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nest(1, &[text(1, name), nest(2, &data.concat())].concat())
}

const REGISTER: u32 = 1;

fn load(field: Field) -> Vec<u8> {
    let place = [word(2, field.base), word(3, field.offset), word(4, field.length)].concat();
    expression("payload", &[word(1, REGISTER), place])
}

/// `NFT_META_L4PROTO`.
fn load_protocol() -> Vec<u8> {
    expression("meta", &[word(1, REGISTER), word(2, 16)])
}

/// Goes on only with these bytes (`NFT_CMP_EQ` is 0).
fn equals(value: &[u8]) -> Vec<u8> {
    expression("cmp", &[word(1, REGISTER), word(2, 0), nest(3, &attribute(1, value))])
}

/// Writes a port over, and the sum that the header carries of it (`NFT_PAYLOAD_CSUM_INET`).
fn write(field: Field, port: [u8; 2], protocol: u8) -> Vec<u8> {
    let sum = if protocol == TCP { 16 } else { 6 };
    let value = expression("immediate", &[word(1, REGISTER), nest(2, &attribute(1, &port))]);
    let place = [word(2, field.base), word(3, field.offset), word(4, field.length)].concat();
    let sums = [word(6, 1), word(7, sum)].concat();
    [value, expression("payload", &[word(5, REGISTER), place, sums])].concat()
}
