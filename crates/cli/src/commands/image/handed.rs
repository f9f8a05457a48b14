//! Secrets that the steps of a build are handed. Their values are sent in the body, before the context.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use client::wire::BuildQuery;
use futures::StreamExt;
use link::ByteStream;
use model::data::{Data, MOST_BYTES};
use model::error::Context as _;
use model::{Error, ErrorKind, Result};
use serde_json::json;

use crate::context::Context;

/// Secrets by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handed(BTreeMap<String, Value>);

/// Where the value of one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Here.
    Given(Data),
    /// The project has a secret of that name.
    Named(String),
}

impl Handed {
    /// These.
    pub fn of(values: BTreeMap<String, Value>) -> Self {
        Self(values)
    }

    /// Reads flags as Docker has them: `id=ID,src=FILE`, `id=ID,env=NAME`.
    ///
    /// # Errors
    /// `Invalid` for what is not written so, and for what has no value.
    pub fn read(flags: &[String]) -> Result<Self> {
        let mut found = BTreeMap::new();
        for flag in flags {
            let (id, value) = one(flag).map_err(|error| error.at("--secret"))?;
            if found.insert(id.clone(), value).is_some() {
                return Err(Error::invalid(format!("{id:?} is given twice")).at("--secret"));
            }
        }
        Ok(Self(found))
    }

    /// The archive with the values before it, of which the query tells.
    ///
    /// # Errors
    /// None in practice.
    pub fn before(
        self,
        archive: ByteStream,
        query: &mut BuildQuery,
        context: &Context,
    ) -> Result<ByteStream> {
        if self.0.is_empty() {
            return Ok(archive);
        }
        let told: BTreeMap<&String, serde_json::Value> = self
            .0
            .iter()
            .map(|(id, value)| match value {
                Value::Given(data) => (id, json!(data.len())),
                Value::Named(name) => (id, json!(name)),
            })
            .collect();
        query.secrets = serde_json::to_string(&told)
            .map_err(|error| Error::internal("ids that cannot be written").caused_by(error))?;
        query.project.clone_from(&context.project);
        let given = self.0.into_values().filter_map(|value| match value {
            Value::Given(data) => Some(Ok(Bytes::copy_from_slice(data.bytes()))),
            Value::Named(_) => None,
        });
        Ok(futures::stream::iter(given.collect::<Vec<_>>()).chain(archive).boxed())
    }
}

fn one(flag: &str) -> Result<(String, Value)> {
    let shape = || {
        Error::invalid(format!("{flag:?} is not written as a secret is"))
            .next("write id=ID,src=FILE, id=ID,env=NAME or id=ID,secret=NAME")
    };
    let (mut id, mut from) = (None, None);
    for part in flag.split(',') {
        match part.split_once('=').ok_or_else(shape)? {
            ("id", value) if id.is_none() => id = Some(value.to_owned()),
            ("type", "file" | "env") => {}
            (key @ ("src" | "source" | "env" | "secret"), value) if from.is_none() => {
                from = Some((key, value));
            }
            _ => return Err(shape()),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(shape)?;
    let value = match from {
        Some(("env", name)) => variable(name)?,
        Some(("secret", name)) => Value::Named(name.to_owned()),
        Some((_, path)) => file(Path::new(path))?,
        None => variable(&id).or_else(|_| file(Path::new(&id)))?,
    };
    Ok((id, value))
}

fn variable(name: &str) -> Result<Value> {
    let value = std::env::var(name).map_err(|_| {
        Error::invalid(format!("variable {name} is not set"))
            .next("set it, or name a file: src=FILE")
    })?;
    given(value.into_bytes())
}

/// The value in a file.
///
/// # Errors
/// `Invalid` when it cannot be read, or is too large.
pub fn file(path: &Path) -> Result<Value> {
    let failed = || format!("cannot read {}", path.display());
    given(std::fs::read(path).context(ErrorKind::Invalid, failed)?)
}

/// A value that is here.
///
/// # Errors
/// `Invalid` for one that is too large.
pub fn given(bytes: Vec<u8>) -> Result<Value> {
    match bytes.len() > MOST_BYTES {
        false => Ok(Value::Given(Data::new(bytes))),
        true => Err(Error::invalid(format!("a secret has {MOST_BYTES} bytes at most"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_dockers() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        std::fs::write(&path, "t0ken").unwrap();
        let path = path.to_str().unwrap();
        let read = |flag: String| Handed::read(&[flag]);
        let value = Value::Given(Data::new("t0ken"));
        let expected = Handed([("a".to_owned(), value)].into());
        for flag in [format!("id=a,src={path}"), format!("type=file,id=a,source={path}")] {
            assert_eq!(read(flag).unwrap(), expected);
        }
        let named = Handed([("a".to_owned(), Value::Named("ours".into()))].into());
        assert_eq!(read("id=a,secret=ours".into()).unwrap(), named);
        for bad in ["", "a", "id=", "src=x", "id=a,src=/nowhere", "id=a,mode=1", "id=a,src=x,env=y"]
        {
            assert_eq!(read(bad.into()).unwrap_err().field(), Some("--secret"), "{bad}");
        }
        let twice = ["id=a,secret=b".to_owned(), "id=a,secret=c".to_owned()];
        assert!(Handed::read(&twice).is_err());
    }
}
