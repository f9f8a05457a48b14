//! A netlink socket (RFC 3549): requests go out in one packet, each is answered on its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// The kernel answers at once, but may wait for its lock behind others; after this long it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest packet the kernel fills while it lists (`NLMSG_GOODSIZE` is 8 KiB at most; `iproute2` uses
/// 32 KiB).
const BUFFER: usize = 64 * 1024;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// The group of nftables (linux/netfilter/nfnetlink.h).
const NFNLGRP_NFTABLES: u32 = 7;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const NLM_F_DUMP_INTR: u16 = 16;

/// One message as received: its type, flags, sequence number and what follows the header.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// The payload.
    pub body: Vec<u8>,
}

/// What a list came to.
pub enum Listed {
    /// All messages.
    Whole(Vec<Frame>),
    /// The kernel's tables changed meanwhile; ask again.
    Torn,
}

/// A socket in the namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket for rtnetlink(7).
    pub fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is 0, which is also what no protocol means.
        Self::open(None, 0)
    }

    /// Opens a socket for the subsystems of netfilter.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER), 0)
    }

    /// Opens a socket that hears of all changes of nftables, and never waits.
    pub fn nftables_events() -> io::Result<Self> {
        let socket = Self::open(Some(netlink::NETFILTER), 1 << (NFNLGRP_NFTABLES - 1))?;
        rustix::io::ioctl_fionbio(&socket.fd, true)?;
        Ok(socket)
    }

    fn open(protocol: Option<net::Protocol>, groups: u32) -> io::Result<Self> {
        let fd = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        net::bind(&fd, &netlink::SocketAddrNetlink::new(0, groups))?;
        let seconds = i64::try_from(PATIENCE.as_secs()).expect("a small number");
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))?;
        Ok(Self { fd, buffer: vec![0; BUFFER] })
    }

    /// Sends messages, already laid out one after the other.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        let sent = net::sendto(&self.fd, bytes, SendFlags::empty(), &kernel)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The messages of the next packet.
    pub fn receive(&mut self) -> io::Result<Vec<Frame>> {
        let (length, _) = rustix::io::retry_on_intr(|| {
            net::recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC)
        })?;
        let bytes = self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        Ok(frames(bytes))
    }

    /// The answers to the requests numbered `first..first + count`, each an errno or fine.
    pub fn acknowledgements(
        &mut self,
        first: u32,
        count: usize,
    ) -> io::Result<Vec<io::Result<()>>> {
        let mut answers: Vec<Option<io::Result<()>>> = (0..count).map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            for frame in self.receive()? {
                let place = frame.sequence.wrapping_sub(first) as usize;
                if let (Some(slot), NLMSG_ERROR) = (answers.get_mut(place), frame.kind) {
                    *slot = Some(frame.verdict());
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// All messages of the list asked for under this sequence number.
    pub fn list(&mut self, sequence: u32) -> io::Result<Listed> {
        let (mut all, mut torn) = (Vec::new(), false);
        loop {
            for frame in self.receive()? {
                if frame.sequence != sequence {
                    continue;
                }
                torn |= frame.flags & NLM_F_DUMP_INTR != 0;
                match frame.kind {
                    NLMSG_DONE if torn => return Ok(Listed::Torn),
                    NLMSG_DONE => return frame.verdict().map(|()| Listed::Whole(all)),
                    NLMSG_ERROR => return frame.verdict().map(|()| Listed::Whole(all)),
                    _ if frame.flags & NLM_F_MULTI == 0 => return Ok(Listed::Whole(vec![frame])),
                    _ => all.push(frame),
                }
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Frame {
    /// What this message says of a request; nothing unless it answers one.
    pub fn answer(&self) -> Option<io::Result<()>> {
        (self.kind == NLMSG_ERROR).then(|| self.verdict())
    }

    /// The errno that an acknowledgement or the end of a list carries, negated, in its first word.
    fn verdict(&self) -> io::Result<()> {
        let code = self.body.first_chunk().map_or(0, |word| i32::from_ne_bytes(*word));
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
    }
}

/// Takes a packet apart. What isn't whole is passed over.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let Some(body) = bytes.get(HEADER..length) else { break };
        all.push(Frame { kind: half(4), flags: half(6), sequence: word(8), body: body.to_vec() });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_is_taken_apart() {
        let mut bytes = Vec::new();
        for (sequence, body) in [(7_u32, vec![1_u8, 2, 3, 4]), (8, vec![0; 6])] {
            bytes.extend((u32::try_from(HEADER + body.len()).unwrap()).to_ne_bytes());
            bytes.extend([2, 0, 0, 0]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(&body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let got = frames(&bytes);
        assert_eq!(got.iter().map(|f| f.sequence).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(got[1].body.len(), 6);
        assert!(got[1].verdict().is_ok());
    }

    proptest! {
        #[test]
        fn no_packet_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            frames(&bytes);
        }
    }
}
