//! Just enough rtnetlink(7) to try whether the kernel makes a kind of link.

use std::io;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK_CREATE_EXCL: u16 = 0x1 | 0x4 | 0x400 | 0x200;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_ID: u16 = 1;
/// Length of `struct nlmsghdr` and `struct ifinfomsg`.
const HEADERS: usize = 16 + 16;

/// Makes a link of `kind` named `name` in this thread's network namespace.
///
/// # Errors
/// The kernel's; `EOPNOTSUPP` when it knows no such kind.
pub fn make_link(kind: &str, name: &str) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let message = request(kind, name);
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // `struct nlmsgerr` after the header: a negative errno, or 0 for success.
    let code = answer.get(16..20).filter(|_| length >= 20).ok_or(io::ErrorKind::InvalidData)?;
    match i32::from_ne_bytes(code.try_into().map_err(io::Error::other)?) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn request(kind: &str, name: &str) -> Vec<u8> {
    let mut info = attribute(IFLA_INFO_KIND, &terminated(kind));
    if kind == "vxlan" {
        info.extend(attribute(IFLA_INFO_DATA, &attribute(IFLA_VXLAN_ID, &1_u32.to_ne_bytes())));
    }
    let mut attributes = attribute(IFLA_IFNAME, &terminated(name));
    attributes.extend(attribute(IFLA_LINKINFO, &info));

    let length = u32::try_from(HEADERS + attributes.len()).expect("a message is short");
    let mut message = Vec::with_capacity(HEADERS + attributes.len());
    message.extend(length.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK_CREATE_EXCL.to_ne_bytes());
    message.resize(HEADERS, 0);
    message.extend(attributes);
    message
}

/// One attribute: length, type, value, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("an attribute is short");
    let mut bytes = Vec::from(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
