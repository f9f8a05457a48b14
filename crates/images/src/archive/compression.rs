//! Compression, told by the first bytes (RFC 1952, RFC 8878).

use std::io::{self, BufRead, Read};

use model::{Error, Result};

use crate::media;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The first bytes that tell; shorter input is not compressed.
pub(crate) const MAGIC_LENGTH: usize = 6;

impl Compression {
    /// By the first [`MAGIC_LENGTH`] bytes. Formats that no layer may have are refused by name.
    pub fn sniff(start: &[u8]) -> Result<Self> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(unsupported("xz", "xz -d")),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(unsupported("bzip2", "bzip2 -d")),
            _ => Ok(Self::None),
        }
    }

    /// The OCI type of a layer so compressed.
    pub fn layer_type(self) -> &'static str {
        match self {
            Compression::None => media::LAYER,
            Compression::Gzip => media::LAYER_GZIP,
            Compression::Zstd => media::LAYER_ZSTD,
        }
    }

    /// A reader of what `source` unpacks to. Needs 128 MiB at most, whatever a zstd frame asks for.
    pub fn reader<'a>(self, source: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::None => Box::new(source),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(27)?;
                Box::new(decoder)
            }
        })
    }
}

fn unsupported(format: &str, command: &str) -> Error {
    Error::unsupported(format!("it is compressed with {format}, which is not read here"))
        .next(format!("unpack it first with {command}"))
}
