//! `GET /images/json`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use control::Caller;
use link::image::SizedImage;
use model::Time;
use model::image::{Image, Reference};
use serde_json::{Value, json};

use super::names;
use crate::containers::{self, origin};
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::version::ApiVersion;
use crate::{Engine, Shared, times};

const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

pub(super) async fn list(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &FILTERS)?;
    let wanted = Wanted::read(&engine, &caller, &filters).await?;
    let mut all = engine.control.images().sizes(&caller, "").await?;
    all.sort_by(|a, b| b.image.created.cmp(&a.image.created).then(a.image.id.cmp(&b.image.id)));
    let shared =
        (version >= ApiVersion::minor(42) && query.flag("shared-size")).then(|| shared_sizes(&all));
    let users = users(&engine, &caller)?;
    let mut rows = Vec::new();
    for sized in &all {
        let Some((tags, digests)) = wanted.names(&sized.image, &filters)? else { continue };
        let mut row = row(sized, tags, digests);
        if version >= ApiVersion::minor(51) {
            row["Containers"] = json!(count(&users, &sized.image));
        }
        if let Some(shared) = &shared {
            row["SharedSize"] = json!(shared[&sized.image.id]);
        }
        old_words(&mut row, version);
        rows.push(row);
    }
    Ok(axum::Json(rows).into_response())
}

/// Rows of `df`, and bytes of all layers.
pub(crate) async fn usage(engine: &Engine, caller: &Caller) -> Reply<(Vec<Value>, u64)> {
    let all = engine.control.images().sizes(caller, "").await?;
    let (shared, users) = (shared_sizes(&all), users(engine, caller)?);
    let mut layers: HashMap<&[String], u64> = HashMap::new();
    let mut rows = Vec::with_capacity(all.len());
    for sized in &all {
        let image = &sized.image;
        for (at, size) in sized.layers.iter().enumerate() {
            layers.extend(image.layers.get(..=at).map(|chain| (chain, size.0)));
        }
        let familiar = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| names::familiar(name)).collect()
        };
        let mut row = row(sized, familiar(&image.names), familiar(&image.digests));
        row["Containers"] = json!(count(&users, image));
        row["SharedSize"] = json!(shared[&image.id]);
        rows.push(row);
    }
    Ok((rows, layers.values().sum()))
}

fn row(sized: &SizedImage, tags: Vec<String>, digests: Vec<String>) -> Value {
    let SizedImage { image, layers } = sized;
    let labels = &image.config.labels;
    json!({
        "Containers": -1,
        "Created": image.created.map_or(0, |created| created.0.as_second()),
        "Id": image.id,
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "ParentId": "",
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": -1,
        "Size": layers.iter().map(|layer| layer.0).sum::<u64>(),
    })
}

/// What older clients read.
fn old_words(row: &mut Value, version: ApiVersion) {
    if version < ApiVersion::minor(44) {
        row["VirtualSize"] = row["Size"].clone();
    }
    let nameless = |field: &Value| field.as_array().is_some_and(Vec::is_empty);
    if version < ApiVersion::minor(43)
        && nameless(&row["RepoTags"])
        && nameless(&row["RepoDigests"])
    {
        row["RepoTags"] = json!(["<none>:<none>"]);
        row["RepoDigests"] = json!(["<none>@<none>"]);
    }
}

/// How many containers were made from an image, by its id or the digest it had.
pub(super) fn users(engine: &Engine, caller: &Caller) -> Reply<HashMap<String, i64>> {
    let mut users = HashMap::new();
    for instance in containers::all(engine, caller)? {
        *users.entry(origin::image_id(&instance)).or_default() += 1;
    }
    Ok(users)
}

fn count(users: &HashMap<String, i64>, image: &Image) -> i64 {
    let of = |digest: &str| users.get(digest).copied().unwrap_or_default();
    of(&image.id) + if image.digest == image.id { 0 } else { of(&image.digest) }
}

/// Bytes of the layers that other images have too. A layer is the same where all below it are.
fn shared_sizes(all: &[SizedImage]) -> BTreeMap<String, u64> {
    let mut holders: HashMap<&[String], u32> = HashMap::new();
    for sized in all {
        for at in 1..=sized.image.layers.len() {
            *holders.entry(&sized.image.layers[..at]).or_default() += 1;
        }
    }
    let shared = |sized: &SizedImage| {
        let sizes = sized.layers.iter().enumerate();
        let shared = sizes.filter(|(at, _)| {
            sized.image.layers.get(..=*at).is_some_and(|chain| holders.get(chain) > Some(&1))
        });
        shared.map(|(_, size)| size.0).sum()
    };
    all.iter().map(|sized| (sized.image.id.clone(), shared(sized))).collect()
}

/// Which images are listed.
struct Wanted {
    before: Option<Time>,
    since: Option<Time>,
    dangling: Option<bool>,
    patterns: Vec<regex::Regex>,
}

impl Wanted {
    async fn read(engine: &Engine, caller: &Caller, filters: &Filters) -> Reply<Self> {
        let mut before = Vec::new();
        for name in filters.all("before") {
            before.extend(super::detail(engine, caller, name).await?.image.created);
        }
        for text in filters.all("until") {
            let until = match times::span(text) {
                Some(span) => jiff::Timestamp::now().checked_sub(span).ok().map(Time),
                None => times::time(text)?,
            };
            before.extend(until);
        }
        let mut since = Vec::new();
        for name in filters.all("since") {
            since.extend(super::detail(engine, caller, name).await?.image.created);
        }
        let patterns = filters.all("reference").iter().map(|text| pattern(text));
        Ok(Self {
            before: before.into_iter().min(),
            since: since.into_iter().max(),
            dangling: filters.flag("dangling")?,
            patterns: patterns.collect::<Reply<_>>()?,
        })
    }

    /// The names to show an image by; `None` when it is not listed.
    fn names(&self, image: &Image, filters: &Filters) -> Reply<Option<(Vec<String>, Vec<String>)>> {
        let after = |bound: Option<Time>| bound.is_none_or(|at| image.created > Some(at));
        let old = self.before.is_none_or(|at| image.created.is_some_and(|own| own < at));
        let labels = &image.config.labels;
        if !old || !after(self.since) || !filters.labels(|key| labels.get(key).map(String::as_str))
        {
            return Ok(None);
        }
        let shown = |names: &[String]| -> Vec<String> {
            names.iter().filter(|name| self.met(name)).map(|name| names::familiar(name)).collect()
        };
        let (tags, digests) = (shown(&image.names), shown(&image.digests));
        let nameless = tags.is_empty() && digests.is_empty();
        let wanted = match self.dangling {
            Some(true) => tags.is_empty(),
            Some(false) => !nameless,
            None => true,
        };
        // Those that no pattern meets are not listed; nor are those without any name.
        let wanted = wanted && (self.patterns.is_empty() || !nameless);
        Ok(wanted.then_some((tags, digests)))
    }

    fn met(&self, name: &str) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        let Ok(reference) = Reference::parse(name) else { return false };
        let forms: BTreeSet<String> = [
            reference.familiar(),
            names::familiar_name(&reference),
            reference.to_string(),
            reference.name(),
        ]
        .into();
        self.patterns.iter().any(|pattern| forms.iter().any(|form| pattern.is_match(form)))
    }
}

/// A shell's pattern, in which `*` does not go over a slash, as a regular expression.
fn pattern(text: &str) -> Reply<regex::Regex> {
    let bad =
        || Failure::bad(format!("invalid filter 'reference={text}': syntax error in pattern"));
    let mut built = String::from("^");
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => built.push_str("[^/]*"),
            '?' => built.push_str("[^/]"),
            '\\' => built.push_str(&regex::escape(&letters.next().ok_or_else(bad)?.to_string())),
            '[' => {
                built.push('[');
                let mut any = false;
                loop {
                    match letters.next().ok_or_else(bad)? {
                        ']' if any => break,
                        '^' if !any => {
                            built.push('^');
                            continue;
                        }
                        '-' => built.push('-'),
                        letter => built.push_str(&regex::escape(&letter.to_string())),
                    }
                    any = true;
                }
                built.push(']');
            }
            letter => built.push_str(&regex::escape(&letter.to_string())),
        }
    }
    built.push('$');
    regex::RegexBuilder::new(&built).size_limit(1 << 20).build().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        for (text, name, met) in [
            ("busy*", "busybox", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?sybox", "busybox", true),
            ("[a-c]usybox", "busybox", true),
            ("[^a]usybox", "busybox", true),
            ("busybox:1.*", "busybox:1.2", true),
            ("busybox.1", "busyboxx1", false),
        ] {
            assert_eq!(pattern(text).unwrap().is_match(name), met, "{text} {name}");
        }
        assert!(pattern("[a").is_err());
        assert!(pattern("a\\").is_err());
    }

    #[test]
    fn layers_that_are_shared() {
        let sized = |id: &str, layers: &[&str]| {
            let image = json!({
                "id": id, "digest": id, "names": [], "digests": [], "size": 0, "architecture": "",
                "os": "", "config": {}, "layers": layers, "history": [],
            });
            let layers = (1..=layers.len()).map(|size| model::Bytes(size as u64)).collect();
            SizedImage { image: serde_json::from_value(image).unwrap(), layers }
        };
        let shared =
            shared_sizes(&[sized("a", &["x", "y"]), sized("b", &["x", "z"]), sized("c", &["y"])]);
        assert_eq!((shared["a"], shared["b"], shared["c"]), (1, 1, 0));
    }
}
