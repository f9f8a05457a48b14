//! Messages as they are on the wire (protobuf encoding), taken apart and put together field by field, so
//! that what is not known here goes through untouched.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::encoding::{encode_key, encode_varint};

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// Its value, where that is a string, bytes or a message.
    pub(crate) value: Option<&'a [u8]>,
    /// All of it, its key included.
    pub(crate) whole: &'a [u8],
}

impl Field<'_> {
    /// Its value as text; empty for what is none.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.value.unwrap_or_default()).into_owned()
    }
}

/// The fields of a message in their order; `None` if it is none.
pub(crate) fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut rest = message;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let begin = rest;
        let (number, kind) = decode_key(&mut rest).ok()?;
        let value = if kind == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(value)
        } else {
            skip_field(kind, number, &mut rest, DecodeContext::default()).ok()?;
            None
        };
        found.push(Field { number, value, whole: &begin[..begin.len() - rest.len()] });
    }
    Some(found)
}

/// The entry of a map of strings.
pub(crate) fn entry(message: &[u8]) -> Option<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in fields(message)? {
        match field.number {
            1 => key = field.text(),
            2 => value = field.text(),
            _ => {}
        }
    }
    Some((key, value))
}

/// Adds a field whose value is a string, bytes or a message.
pub(crate) fn put(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Adds the entry of a map.
pub(crate) fn put_entry(out: &mut Vec<u8>, number: u32, key: &str, value: &[u8]) {
    let mut entry = Vec::new();
    put(&mut entry, 1, key.as_bytes());
    put(&mut entry, 2, value);
    put(out, number, &entry);
}

/// The value of the only field of a message that matters, its first.
pub(crate) fn first(message: &[u8]) -> Option<&[u8]> {
    let found = fields(message)?;
    Some(found.iter().find(|field| field.number == 1).and_then(|it| it.value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_as_they_are() {
        let mut message = Vec::new();
        put(&mut message, 1, b"one");
        prost::encoding::uint64::encode(2, &7, &mut message);
        prost::encoding::fixed32::encode(3, &9, &mut message);
        put(&mut message, 900, &[0xff; 300]);
        let found = fields(&message).unwrap();
        assert_eq!(found.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 3, 900]);
        assert_eq!(found[0].text(), "one");
        assert_eq!(found[1].value, None);
        let again: Vec<u8> = found.iter().flat_map(|it| it.whole.iter().copied()).collect();
        assert_eq!(again, message);
        for broken in [&[0x0a, 0x05, 1][..], &[0xff], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            assert_eq!(fields(broken), None, "{broken:?}");
        }
    }
}
