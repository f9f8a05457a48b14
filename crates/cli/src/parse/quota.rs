//! Quotas as people write them: `memory=4g`.

use std::str::FromStr;

use model::project::{Quota, Resource};
use model::{Error, Result};
use serde_json::{Map, Value};

/// One bound: `memory=4g`; `memory=none` for no bound any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    resource: Resource,
    amount: Option<u64>,
}

impl FromStr for Bound {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (resource, amount) = text.split_once('=').ok_or_else(|| {
            Error::invalid(format!("{text:?} is no quota")).next("write it like memory=4g")
        })?;
        let resource: Resource = resource.parse()?;
        let amount = match amount {
            "none" => None,
            amount => Some(resource.read(amount)?),
        };
        Ok(Self { resource, amount })
    }
}

/// The quota of these bounds; of the same thing twice the last counts.
pub fn quota(bounds: &[Bound]) -> Quota {
    let mut quota = Quota::default();
    bounds.iter().for_each(|it| it.resource.set_bound(&mut quota, it.amount));
    quota
}

/// The same as a merge patch (RFC 7396), which leaves other bounds as they are.
pub fn patch(bounds: &[Bound]) -> Result<Value> {
    let set = serde_json::to_value(quota(bounds))
        .map_err(|error| Error::internal(format!("a quota cannot be written: {error}")))?;
    let field = |it: &Bound| {
        let name = it.resource.as_str();
        (name.to_owned(), set.get(name).cloned().unwrap_or_default())
    };
    Ok(Value::Object(bounds.iter().map(field).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_read() {
        let read = |words: &[&str]| words.iter().map(|it| it.parse()).collect::<Result<Vec<_>>>();
        let bounds = read(&["memory=4g", "cpus=1.5", "instances=10", "volumes=none"]).unwrap();
        let expected =
            json!({ "memory": 4_u64 << 30, "cpus": "1.5", "instances": 10, "volumes": null });
        assert_eq!(patch(&bounds).unwrap(), expected);
        for bad in ["memory", "memory=", "memory=much", "disk=1g", "instances=1.5", "cpus=-1"] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }
}
