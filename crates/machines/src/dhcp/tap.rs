//! The socket on a tap: a packet socket (packet(7)) that passes questions only.
//!
//! `unsafe` stands here because neither rustix nor nix can bind a packet socket or set its filter.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use model::{Error, Result};
use nix::libc;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

/// What the kernel may keep for us until it is read: some dozens of questions.
const BACKLOG: usize = 64 * 1024;

/// A socket on one tap. It belongs to the namespace it was opened in.
#[derive(Debug)]
pub(super) struct Tap {
    name: String,
    socket: OwnedFd,
}

/// A socket on one tap that is waited for.
#[derive(Debug)]
pub(super) struct Listening {
    name: String,
    socket: AsyncFd<OwnedFd>,
}

impl Tap {
    pub(super) fn open(name: &str) -> Result<Self> {
        let index = nix::net::if_::if_nametoindex(name).map_err(|errno| {
            Error::not_found(format!("network card {name} is not there")).caused_by(errno)
        })?;
        // Without a protocol it receives nothing until it is bound, by when its filter is set.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
            .map_err(|errno| refused(name, errno.into()))?;
        let set = filter(&socket)
            .and_then(|()| ignore_outgoing(&socket))
            .and_then(|()| Ok(rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BACKLOG)?))
            .and_then(|()| bind(&socket, index));
        set.map_err(|error| refused(name, error))?;
        Ok(Self { name: name.to_owned(), socket })
    }

    /// One that was opened before.
    pub(super) fn adopt(name: &str, socket: OwnedFd) -> Self {
        Self { name: name.to_owned(), socket }
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Makes it wait on the runtime that this is called on.
    #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
    pub(super) fn listen(self) -> Result<Listening> {
        let Self { name, socket } = self;
        // SAFETY: the descriptor is owned, and lives in the `AsyncFd`.
        match unsafe { AsyncFd::register(socket) } {
            Ok(socket) => Ok(Listening { name, socket }),
            Err(error) => Err(refused(&name, error.into())),
        }
    }
}

impl Listening {
    /// The next frame's bytes, cut to the buffer.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let mut ready =
                self.socket.readable().await.map_err(|error| refused(&self.name, error))?;
            let got = ready.try_io(|socket| {
                let (length, _) = rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?;
                Ok(length)
            });
            match got {
                Ok(Ok(length)) => return Ok(length),
                // Said once each time the tap goes down; it may come up again.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Ok(Err(error)) => return Err(refused(&self.name, error)),
                Err(_would_block) => {}
            }
        }
    }

    /// Sends a frame, or drops it.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(self.socket.get_ref(), frame, SendFlags::DONTWAIT)?;
        Ok(())
    }
}

fn refused(name: &str, error: io::Error) -> Error {
    let message = format!("DHCP can't be answered on network card {name}");
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => Error::forbidden(message),
        _ => Error::unavailable(message),
    };
    kind.caused_by(error)
}

/// Attaches to all that passes a card. A bridge port's packets of single protocols go to the bridge.
#[expect(unsafe_code, reason = "no library binds a packet socket")]
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let everything = u16::try_from(libc::ETH_P_ALL).expect("0x0003").to_be();
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("17"),
        sll_protocol: everything,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("20");
    // SAFETY: the address lives through the call and has the length that is given.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    checked(done)
}

/// What the card sends is not looked at, nor copied for it (Linux 4.20; before, the filter drops it).
fn ignore_outgoing(socket: &OwnedFd) -> io::Result<()> {
    const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
    match set(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        done => done,
    }
}

/// Passes DHCP to a server and router solicitations; everything else costs the guest a few
/// instructions a packet and wakes nobody.
fn filter(socket: &OwnedFd) -> io::Result<()> {
    let program = FILTER.map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let length = libc::c_ushort::try_from(program.len()).expect("a short program");
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Classic BPF (bpf(4)): load half word, load byte, jump if equal, jump if bits are set, X = header
/// length of IPv4, load half word from X, return.
const LDH: u16 = 0x28;
const LDB: u16 = 0x30;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const LDX_MSH: u16 = 0xb1;
const LDH_X: u16 = 0x48;
const RET: u16 = 0x06;

#[rustfmt::skip]
const FILTER: [(u16, u8, u8, u32); 19] = [
    (LDH,     0,  0,  12),     //  0 kind of frame
    (JEQ,     0,  7,  0x0800), //  1 IPv4, else 9
    (LDB,     0,  0,  23),     //  2 protocol
    (JEQ,     0,  14, 17),     //  3 UDP, else 18
    (LDH,     0,  0,  20),     //  4 place among fragments
    (JSET,    12, 0,  0x3fff), //  5 a fragment: 18
    (LDX_MSH, 0,  0,  14),     //  6
    (LDH_X,   0,  0,  16),     //  7 port it goes to
    (JEQ,     8,  9,  67),     //  8 17, else 18
    (JEQ,     0,  8,  0x86dd), //  9 IPv6, else 18
    (LDB,     0,  0,  20),     // 10 next header
    (JEQ,     0,  2,  17),     // 11 UDP, else 14
    (LDH,     0,  0,  56),     // 12 port it goes to
    (JEQ,     3,  4,  547),    // 13 17, else 18
    (JEQ,     0,  3,  58),     // 14 ICMPv6, else 18
    (LDB,     0,  0,  54),     // 15 type
    (JEQ,     0,  1,  133),    // 16 router solicitation, else 18
    (RET,     0,  0,  0xffff), // 17 pass
    (RET,     0,  0,  0),      // 18 drop
];

#[expect(unsafe_code, reason = "no library sets these options")]
fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    let value: *const c_void = std::ptr::from_ref(value).cast();
    // SAFETY: the value, and what it points to, live through the call; the kernel copies them.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) })
}

fn checked(done: libc::c_int) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
