//! A stretch of network that breaks, or hangs, when it is told to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::Result;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who connects to the far end.
    There,
    /// Back.
    Back,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    /// It breaks after so many bytes.
    Break(u64),
    /// Nothing passes any more after so many bytes, until the cable is told otherwise.
    Hang(u64),
}

#[derive(Debug, Default)]
struct Shared {
    fault: Mutex<Fault>,
    changed: Condvar,
}

/// Passes connections on to a far end, and fails each of them one way.
#[derive(Debug)]
pub struct Cable {
    /// Where to connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Cable {
    /// A cable to `far` that is sound. It lasts as long as the test's process.
    pub fn to(far: SocketAddr, way: Way) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, shared) = (listener.local_addr()?, Arc::<Shared>::default());
        let own = shared.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(far) {
                    join(&near, &far, way, &own);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// From now on each connection breaks after so many bytes.
    pub fn break_after(&self, bytes: u64) {
        self.shared.set(Fault::Break(bytes));
    }

    /// From now on each connection hangs after so many bytes.
    pub fn hang_after(&self, bytes: u64) {
        self.shared.set(Fault::Hang(bytes));
    }

    /// From now on all is well, also for what hangs.
    pub fn mend(&self) {
        self.shared.set(Fault::None);
    }
}

impl Shared {
    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.changed.notify_all();
    }

    /// Waits while `passed` bytes are too many; false when the connection is to break.
    fn pass(&self, passed: u64) -> bool {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *fault {
                Fault::Break(most) if passed > most => return false,
                Fault::Hang(most) if passed > most => {
                    fault = self.changed.wait(fault).unwrap_or_else(PoisonError::into_inner);
                }
                Fault::None | Fault::Break(_) | Fault::Hang(_) => return true,
            }
        }
    }
}

fn join(near: &TcpStream, far: &TcpStream, way: Way, shared: &Arc<Shared>) {
    for (from, to, one) in [(near, far, Way::There), (far, near, Way::Back)] {
        let shared = (one == way).then(|| shared.clone());
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            std::thread::spawn(move || pump(from, to, shared.as_deref()));
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        passed += length as u64;
        if !shared.is_none_or(|shared| shared.pass(passed)) {
            break;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Whoever is gone already needs no telling.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
