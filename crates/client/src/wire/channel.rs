//! Sessions over a WebSocket (RFC 6455): attach and exec.
//!
//! The first message is text: the request ([`link::instance::AttachRequest`] or
//! [`link::instance::ExecRequest`]) as JSON. All others are binary and begin with a byte that says
//! what follows; the numbers are those of Kubernetes' `v5.channel.k8s.io`, so that terminals written
//! for it need no new ones. The server answers the request with a status, `ready` or `error`, and
//! ends with the status `exit` or `error`.

use bytes::{BufMut, Bytes, BytesMut};
use link::session::{Input, Output};
use model::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Problem;

/// The sub-protocol both sides name (`Sec-WebSocket-Protocol`).
pub const PROTOCOL: &str = "v1.channel.hull";
/// Longest message in bytes, either way.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Longest piece of bytes that is put into one message.
pub const PIECE: usize = 64 << 10;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const SIGNAL: u8 = 5;
const CLOSE: u8 = 255;

/// What follows the first byte of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// 0, to the process: bytes for its standard input.
    Stdin(Bytes),
    /// 1, from the process: bytes of its standard output, or of its terminal.
    Stdout(Bytes),
    /// 2, from the process: bytes of its standard error.
    Stderr(Bytes),
    /// 3, from the server: how the session is.
    Status(SessionStatus),
    /// 4, to the process: its terminal's new size, `{"width":80,"height":24}`.
    Resize {
        /// Characters in a line.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// 5, to the process: a signal, by name or number.
    Signal(String),
    /// 255 and 0, to the process: end of its standard input.
    StdinEnd,
    /// 255 and 255, to the server: nothing more will come; the session goes on without input.
    InputEnd,
}

/// How a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum SessionStatus {
    /// The request was taken.
    Ready,
    /// The process has started.
    Started,
    /// It ended; the last message.
    Exit {
        /// With this code.
        code: i32,
    },
    /// The request was refused or the session failed; the last message.
    Error {
        /// Why.
        problem: Problem,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    width: u16,
    height: u16,
}

impl Channel {
    /// The message.
    pub fn encode(&self) -> Bytes {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("plain fields");
        match self {
            Channel::Stdin(bytes) => message(STDIN, bytes),
            Channel::Stdout(bytes) => message(STDOUT, bytes),
            Channel::Stderr(bytes) => message(STDERR, bytes),
            Channel::Status(status) => message(STATUS, &json(serde_json::to_vec(status))),
            Channel::Resize { width, height } => {
                let size = Size { width: *width, height: *height };
                message(RESIZE, &json(serde_json::to_vec(&size)))
            }
            Channel::Signal(signal) => message(SIGNAL, signal.as_bytes()),
            Channel::StdinEnd => message(CLOSE, &[STDIN]),
            Channel::InputEnd => message(CLOSE, &[CLOSE]),
        }
    }

    /// Reads a message. Fails with `Invalid` for one that has no meaning.
    pub fn decode(mut message: Bytes) -> Result<Self> {
        if message.is_empty() {
            return Err(Error::invalid("an empty message has no channel"));
        }
        let channel = message.split_to(1)[0];
        match channel {
            STDIN => Ok(Channel::Stdin(message)),
            STDOUT => Ok(Channel::Stdout(message)),
            STDERR => Ok(Channel::Stderr(message)),
            STATUS => read_json(channel, &message).map(Channel::Status),
            RESIZE => {
                let Size { width, height } = read_json(channel, &message)?;
                Ok(Channel::Resize { width, height })
            }
            SIGNAL => String::from_utf8(message.into())
                .map(Channel::Signal)
                .map_err(|error| Error::invalid("a signal is not UTF-8").caused_by(error)),
            CLOSE => match message.as_ref() {
                [STDIN] => Ok(Channel::StdinEnd),
                [CLOSE] => Ok(Channel::InputEnd),
                _ => Err(Error::invalid("only channel 0, or 255 for all, can be closed")),
            },
            _ => Err(Error::invalid(format!("there is no channel {channel}"))),
        }
    }
}

fn message(channel: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + payload.len());
    bytes.put_u8(channel);
    bytes.put_slice(payload);
    bytes.freeze()
}

fn read_json<T: serde::de::DeserializeOwned>(channel: u8, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        Error::invalid(format!("a message of channel {channel} cannot be read")).caused_by(error)
    })
}

impl From<Input> for Channel {
    fn from(input: Input) -> Self {
        match input {
            Input::Stdin(bytes) => Channel::Stdin(bytes),
            Input::StdinEnd => Channel::StdinEnd,
            Input::Resize { width, height } => Channel::Resize { width, height },
            Input::Signal(signal) => Channel::Signal(signal),
        }
    }
}

impl From<Output> for Channel {
    fn from(output: Output) -> Self {
        match output {
            Output::Started(_) => Channel::Status(SessionStatus::Started),
            Output::Unable { code: _, why } => Channel::Stderr(format!("{why}\n").into()),
            Output::Stdout(bytes) => Channel::Stdout(bytes),
            Output::Stderr(bytes) => Channel::Stderr(bytes),
            Output::Exit(code) => Channel::Status(SessionStatus::Exit { code }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_read_back() {
        let problem = Problem::new(&Error::conflict("it does not run"), 409);
        for channel in [
            Channel::Stdin(Bytes::from_static(b"ls\n")),
            Channel::Stdout(Bytes::from_static(b"\xff\0")),
            Channel::Stderr(Bytes::new()),
            Channel::Status(SessionStatus::Ready),
            Channel::Status(SessionStatus::Exit { code: 137 }),
            Channel::Status(SessionStatus::Error { problem }),
            Channel::Resize { width: 80, height: 24 },
            Channel::Signal("TERM".into()),
            Channel::StdinEnd,
            Channel::InputEnd,
        ] {
            assert_eq!(Channel::decode(channel.encode()).unwrap(), channel);
        }
        assert_eq!(Channel::StdinEnd.encode().as_ref(), [255, 0]);
    }

    proptest! {
        #[test]
        fn no_message_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Channel::decode(bytes.into());
        }
    }
}
