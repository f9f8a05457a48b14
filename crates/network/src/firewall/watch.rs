//! Hearing of changes that others make to the kernel's tables.
//!
//! The kernel tells every change, ours among them (`NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h):
//! a message for each object, and one that ends the transaction. Ours are told from others' by what
//! they do: we replace our table whole, or change entries of its maps and the chains that lead to services.

use std::io;

use model::error::Context;
use model::{ErrorKind, Result};
use tokio::io::unix::AsyncFd;

use super::balance::LEADING;
use crate::driver::Disturbance;
use crate::kernel::route::failed;
use crate::kernel::socket::{Frame, Socket};

/// `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nfnetlink.h), in the upper half of a message's type.
const NFTABLES: u16 = 10;
// Message types (linux/netfilter/nf_tables.h).
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_SET_ELEMENT: u16 = 12;
const DELETE_SET_ELEMENT: u16 = 14;
const NEW_GENERATION: u16 = 15;
const DESTROY_CHAIN: u16 = 27;
const DESTROY_RULE: u16 = 28;
const DESTROY_SET: u16 = 29;
const DESTROY_SET_ELEMENT: u16 = 30;
/// Length of `struct nfgenmsg`.
const HEADER: usize = 4;
/// The attribute that names the table, in messages of tables, chains, rules and sets alike.
const TABLE: u16 = 1;
/// That which names the chain in messages of rules, and the set in those of sets.
const CHAIN_OF_RULE: u16 = 2;
const SET: u16 = 2;
/// That which names the chain in messages of chains.
const CHAIN: u16 = 3;
/// What the kernel calls a map without a name that a rule has.
const NAMELESS: &[u8] = b"__map";

/// Listens.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: AsyncFd<Socket>,
    transaction: Transaction,
}

/// What was heard of the transaction that has not ended yet.
#[derive(Debug, Default)]
struct Transaction {
    own: String,
    /// Our table was made in it.
    made: bool,
    /// Something of our table was changed or taken away, but for entries and what leads to services.
    touched: bool,
    /// So was something of another.
    others: bool,
}

impl Watch {
    /// What to listen on, in the namespace of the calling thread.
    pub(crate) fn socket() -> Result<Socket> {
        Socket::nftables_events().map_err(|error| failed(error, "listening for changes of rules"))
    }

    /// Listens on that socket for others than the owner of this table.
    #[expect(unsafe_code, reason = "the runtime is promised that the descriptor stays open")]
    pub(crate) fn new(socket: Socket, own: String) -> Result<Self> {
        // SAFETY: the socket owns its descriptor, and lives in the `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) };
        let socket = socket
            .map_err(io::Error::from)
            .context(ErrorKind::Internal, || "changes of rules cannot be waited for".into())?;
        Ok(Self { socket, transaction: Transaction { own, ..Transaction::default() } })
    }

    /// Ends when somebody else has changed something, and says whose.
    pub(crate) async fn disturbed(&mut self) -> Disturbance {
        loop {
            let Ok(mut ready) = self.socket.readable_mut().await else { return Disturbance::Ours };
            let read = ready.try_io(|socket| socket.get_mut().receive());
            let frames = match read {
                Err(_would_block) => continue,
                Ok(Ok(frames)) => frames,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // More was told than there was room for: anything may have happened.
                Ok(Err(_)) => return Disturbance::Ours,
            };
            let disturbances = frames.iter().filter_map(|frame| self.transaction.hear(frame));
            if let Some(worst) = disturbances.max() {
                return worst;
            }
        }
    }
}

impl Transaction {
    /// Takes a message in; what the transaction was that it ends, if that was somebody else's.
    fn hear(&mut self, frame: &Frame) -> Option<Disturbance> {
        if frame.kind >> 8 != NFTABLES {
            return None;
        }
        let kind = frame.kind & 0xff;
        if kind == NEW_GENERATION {
            let ours = (self.touched && !self.made).then_some(Disturbance::Ours);
            let others = self.others.then_some(Disturbance::Others);
            let own = std::mem::take(&mut self.own);
            *self = Self { own, ..Self::default() };
            return ours.or(others);
        }
        if matches!(kind, NEW_SET_ELEMENT | DELETE_SET_ELEMENT | DESTROY_SET_ELEMENT) {
            return None;
        }
        match attribute(&frame.body, TABLE) {
            Some(table) if table == self.own.as_bytes() && leads(kind, &frame.body) => {}
            // Those of another node are no obstacle, whatever they are.
            Some(table) if table == self.own.as_bytes() => {
                self.made |= kind == NEW_TABLE;
                self.touched = true;
            }
            Some(table) if table.starts_with(b"hull-") => {}
            _ => self.others = true,
        }
        None
    }
}

/// Whether a message is about a chain that leads to a service's instances, which changes with them, or
/// about a map of such a chain.
fn leads(kind: u16, body: &[u8]) -> bool {
    let (named, begins) = match kind {
        NEW_CHAIN | DELETE_CHAIN | DESTROY_CHAIN => (CHAIN, LEADING.as_bytes()),
        NEW_RULE | DELETE_RULE | DESTROY_RULE => (CHAIN_OF_RULE, LEADING.as_bytes()),
        NEW_SET | DELETE_SET | DESTROY_SET => (SET, NAMELESS),
        _ => return false,
    };
    attribute(body, named).is_some_and(|name| name.starts_with(begins))
}

/// A text that a message has of what it is about.
fn attribute(body: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut bytes = body.get(HEADER..)?;
    while let Some([a, b, c, d]) = bytes.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        // The two upper bits are flags (linux/netlink.h).
        let kind = u16::from_ne_bytes([*c, *d]) & 0x3fff;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value.strip_suffix(&[0]).unwrap_or(value));
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELETE_TABLE: u16 = 2;

    /// `table`, or `table/name` of a chain, a rule's chain or a set.
    fn frame(kind: u16, table: &str) -> Frame {
        let mut body = vec![1, 0, 0, 0];
        let (table, name) = table.split_once('/').unwrap_or((table, ""));
        let place = if matches!(kind, NEW_CHAIN | DELETE_CHAIN) { CHAIN } else { SET };
        for (place, text) in
            [(TABLE, table), (place, name)].into_iter().filter(|it| !it.1.is_empty())
        {
            let length = u16::try_from(4 + text.len() + 1).unwrap();
            body.extend(length.to_ne_bytes());
            body.extend(place.to_ne_bytes());
            body.extend(text.as_bytes());
            body.resize(body.len() + 1, 0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        Frame { kind: NFTABLES << 8 | kind, flags: 0, sequence: 0, body }
    }

    fn heard(messages: &[(u16, &str)]) -> Option<Disturbance> {
        let mut transaction = Transaction { own: "hull-ab12c".into(), ..Transaction::default() };
        for (kind, table) in messages {
            assert_eq!(transaction.hear(&frame(*kind, table)), None, "it has not ended yet");
        }
        transaction.hear(&frame(NEW_GENERATION, ""))
    }

    #[test]
    fn others_are_told_from_ourselves() {
        let own = "hull-ab12c";
        let (ours, others) = (Some(Disturbance::Ours), Some(Disturbance::Others));
        for (messages, expected) in [
            (vec![(DELETE_TABLE, own), (NEW_TABLE, own), (NEW_CHAIN, own)], None),
            (vec![(NEW_SET_ELEMENT, own), (DELETE_SET_ELEMENT, own)], None),
            (vec![(NEW_SET_ELEMENT, "site")], None),
            // A service's instances are others.
            (
                vec![
                    (NEW_CHAIN, "hull-ab12c/to_br0_1_4"),
                    (NEW_SET, "hull-ab12c/__map0"),
                    (NEW_RULE, "hull-ab12c/to_br0_1_4"),
                    (DELETE_RULE, "hull-ab12c/to_br0_2_4"),
                    (DELETE_CHAIN, "hull-ab12c/to_br0_2_4"),
                ],
                None,
            ),
            (vec![(DELETE_RULE, "hull-ab12c/forward")], ours),
            (vec![(DELETE_SET, "hull-ab12c/bridges")], ours),
            (vec![(DELETE_TABLE, "hull-other")], None),
            (vec![], None),
            (vec![(DELETE_TABLE, own)], ours),
            (vec![(DELETE_RULE, own)], ours),
            (vec![(NEW_CHAIN, "site")], others),
            (vec![(DELETE_TABLE, "site"), (DELETE_TABLE, own), (NEW_TABLE, "site")], ours),
        ] {
            assert_eq!(heard(&messages), expected, "{messages:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(body in prop::collection::vec(any::<u8>(), 0..80)) {
            attribute(&body, TABLE);
        }
    }
}
