//! Data that is handed to instances as files: what secrets and configs have in common.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Most bytes of one secret or config, as Swarm has it.
pub const MOST_BYTES: usize = 500 << 10;

/// Bytes that are never printed. In JSON they are base64 (RFC 4648, section 4).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Data(Vec<u8>);

impl Data {
    /// These bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Refuses more than may be kept.
    pub(crate) fn check_size(&self) -> Result<()> {
        if self.len() <= MOST_BYTES {
            return Ok(());
        }
        Err(Error::invalid(format!("{} bytes are more than {MOST_BYTES}", self.len()))
            .at("data")
            .next("put what is bigger in a volume"))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.len())
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What does not fit is never shown: it may be a secret that somebody forgot to encode.
        let bytes = STANDARD.decode(text).map_err(|_| {
            serde::de::Error::custom("data is written in base64 (RFC 4648, section 4)")
        })?;
        Ok(Self(bytes))
    }
}

impl utoipa::PartialSchema for Data {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .content_encoding("base64")
            .description(Some("Bytes in base64 (RFC 4648, section 4)."))
            .into()
    }
}

impl utoipa::ToSchema for Data {}

/// Data as it is kept at rest: encrypted and authenticated (AES-256-GCM), bound to the object it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// Id of the key that it was sealed with.
    pub key: String,
    /// Nonce (96 bits), cipher text and tag (128 bits).
    pub text: Data,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_in_json_and_nothing_in_logs() {
        let data = Data::new(*b"hush\0\xff");
        let json = serde_json::to_string(&data).unwrap();
        assert_eq!(json, "\"aHVzaAD/\"");
        assert_eq!(serde_json::from_str::<Data>(&json).unwrap(), data);
        assert_eq!(format!("{data:?}"), "Data(6 bytes)");
        let error = serde_json::from_str::<Data>("\"not base64!\"").unwrap_err().to_string();
        assert!(!error.contains("not base64!"), "{error}");
    }
}
