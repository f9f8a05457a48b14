//! `GET /images/search`.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use link::image::{SearchHit, SearchRequest};
use model::ErrorKind;
use serde_json::{Value, json};

use super::auth;
use crate::Shared;
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;

const FILTERS: [&str; 3] = ["is-automated", "is-official", "stars"];
/// Results when nobody says how many.
const USUAL: u32 = 25;

pub(super) async fn search(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
    headers: HeaderMap,
) -> Reply {
    let limit = match query.text("limit") {
        "" => 0,
        text => text.parse::<i64>().ok().filter(|limit| *limit >= 0).ok_or_else(|| {
            Failure::bad(format!("invalid limit specified: parsing \"{text}\": invalid syntax"))
        })?,
    };
    let filters = Filters::read(&query, &FILTERS)?;
    let (automated, official) = (filters.flag("is-automated")?, filters.flag("is-official")?);
    let stars = least_stars(&filters)?;
    let term = query.text("term");
    if term.contains("://") {
        return Err(Failure::bad(format!(
            "invalid repository name: repository name ({term}) should not have a scheme"
        )));
    }
    let limit = match limit {
        0 => USUAL,
        limit => u32::try_from(limit).ok().filter(|limit| *limit <= 100).ok_or_else(|| {
            Failure::bad(format!("limit {limit} is outside the range of [1, 100]"))
        })?,
    };
    if automated == Some(true) {
        return Ok(axum::Json(json!([])).into_response());
    }
    let (registry, term) = split(term);
    let login = auth::of(&headers, registry);
    let (registry, term) = (registry.to_owned(), term.to_owned());
    let request = SearchRequest { registry, term, limit, login };
    let found = engine.control.images().search(&caller, "", request).await;
    let hits = found.map_err(|error| match error.kind() {
        ErrorKind::Unavailable => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.chain()),
        _ => error.into(),
    })?;
    let wanted = |hit: &SearchHit| {
        official.is_none_or(|official| hit.official == official) && hit.stars >= stars
    };
    let rows: Vec<Value> = hits.iter().filter(|hit| wanted(hit)).map(row).collect();
    Ok(axum::Json(rows).into_response())
}

fn least_stars(filters: &Filters) -> Reply<i64> {
    let number = |text: &String| {
        text.parse().map_err(|_| {
            Failure::bad(format!(
                "invalid filter 'stars={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
            ))
        })
    };
    let numbers = filters.all("stars").iter().map(number).collect::<Reply<Vec<i64>>>()?;
    Ok(numbers.into_iter().max().unwrap_or(0))
}

/// The registry, and what is searched for there.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("docker.io", term.strip_prefix("library/").unwrap_or(term)),
    }
}

fn row(hit: &SearchHit) -> Value {
    json!({
        "star_count": hit.stars,
        "is_official": hit.official,
        "name": hit.name,
        "is_automated": false,
        "description": hit.description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_is_searched() {
        assert_eq!(split("busybox"), ("docker.io", "busybox"));
        assert_eq!(split("library/busybox"), ("docker.io", "busybox"));
        assert_eq!(split("user/app"), ("docker.io", "user/app"));
        assert_eq!(split("r.example:5/app"), ("r.example:5", "app"));
    }
}
