//! Config: a file that instances read. It is no secret, and does not change: see [`crate::secret`].

use serde::{Deserialize, Serialize};

use crate::data::Data;
use crate::error::Result;
use crate::object::{Kind, Noun, Object};

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigNoun;

/// A config.
pub type Config = Object<ConfigNoun>;

/// What a config is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigSpec {
    /// What stands in it.
    pub data: Data,
}

/// What was seen of a config.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigStatus {
    /// Names of the services that read it, and of the instances that are of none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

impl ConfigSpec {
    /// A config of this text.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { data: Data::new(text) }
    }
}

impl Noun for ConfigNoun {
    const KIND: Kind = Kind::Config;
    const IN_PROJECT: bool = true;
    type Spec = ConfigSpec;
    type Status = ConfigStatus;

    fn validate(spec: &ConfigSpec) -> Result<()> {
        spec.data.check_size()
    }
}
