//! gRPC's messages in HTTP/2 bodies: a flag, four bytes of length, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before a message.
const HEAD: usize = 5;
/// Bytes of a message: a Dockerfile's definition has some MiB at most.
const LARGEST: usize = 64 << 20;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether it is compressed, in a way that the headers name.
    pub(crate) compressed: bool,
    /// Its bytes.
    pub(crate) message: Bytes,
}

impl Frame {
    /// A message as it goes over the wire.
    pub(crate) fn encode(message: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD + message.len());
        out.put_u8(0);
        out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(message);
        out.freeze()
    }
}

/// What of a body has come and is not a whole message yet.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: BytesMut,
}

/// A message that is larger than any can be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Frames {
    /// Takes in what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next message that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, TooLarge> {
        let Some(head) = self.pending.get(..HEAD) else { return Ok(None) };
        let length = (&head[1..]).get_u32() as usize;
        if length > LARGEST {
            return Err(TooLarge);
        }
        if self.pending.len() < HEAD + length {
            return Ok(None);
        }
        let compressed = head[0] != 0;
        self.pending.advance(HEAD);
        Ok(Some(Frame { compressed, message: self.pending.split_to(length).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_pieces() {
        let all = [Frame::encode(b"one"), Frame::encode(b""), Frame::encode(b"three")].concat();
        for size in 1..all.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in all.chunks(size) {
                frames.push(piece);
                while let Some(frame) = frames.next().unwrap() {
                    found.push(frame.message);
                }
            }
            assert_eq!(found, ["one", "", "three"], "{size}");
        }
        let mut frames = Frames::default();
        frames.push(&[0, 0xff, 0, 0, 0]);
        assert_eq!(frames.next(), Err(TooLarge));
    }
}
