//! `GET /containers/{name}/logs`.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use link::ResultStream;
use link::instance::{LogRecord, LogsRequest};
use model::Time;

use super::{find, id_of};
use crate::Shared;
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::streams::{self, Source};
use crate::version::ApiVersion;

/// Bytes after which what is there is sent.
const BATCH: usize = 64 << 10;

/// How a log is written out.
struct Form {
    tty: bool,
    timestamps: bool,
    /// What `details` puts before each line.
    details: Option<String>,
}

pub(super) async fn logs(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::bad("Bad parameters: you must choose at least one stream"));
    }
    let instance = find(&engine, &caller, &name)?;
    let kept = super::origin::Origin::of(&instance).and_then(|it| it.host.log_config);
    if kept.is_some_and(|config| config.typ.as_deref() == Some("none")) {
        return Err(Failure::unserved("configured logging driver does not support reading"));
    }
    let request = LogsRequest {
        follow: query.flag("follow"),
        since: crate::times::time(query.text("since"))?,
        until: crate::times::time(query.text("until"))?,
        // What is no number means all of it, as Engine has it.
        tail: query.text("tail").parse().ok(),
        stdout,
        stderr,
    };
    let instances = engine.control.instances();
    let records = match instance.spec.placement {
        // One that is on no node has printed nothing.
        None if !request.follow => futures::stream::empty().boxed(),
        _ => instances.logs(&caller, &engine.project, id_of(&instance), "", request).await?,
    };
    let form = Form {
        tty: super::has_terminal(&instance),
        timestamps: query.flag("timestamps"),
        details: query.flag("details").then(|| details(&instance)),
    };
    let kind = streams::content_type(form.tty, version);
    let records = records.take_until(engine.stop.clone().cancelled_owned());
    let body = Body::from_stream(written(records.boxed(), form));
    Ok(([(http::header::CONTENT_TYPE, kind)], body).into_response())
}

/// The options that the log driver was given to tell with each line: labels and variables.
fn details(instance: &model::instance::Instance) -> String {
    let origin = super::origin::Origin::of(instance);
    let options = origin.and_then(|it| it.host.log_config).and_then(|it| it.config);
    let options = options.unwrap_or_default();
    let names = |key: &str| {
        let list = options.get(key).cloned().unwrap_or_default();
        list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    let mut words = Vec::new();
    for name in names("labels") {
        if let Some(value) = instance.meta.labels.get(&name) {
            words.push(format!("{name}={value}"));
        }
    }
    let wanted = names("env");
    for entry in instance.spec.main().iter().flat_map(|main| &main.env) {
        if entry.split_once('=').is_some_and(|(name, _)| wanted.iter().any(|it| it == name)) {
            words.push(entry.clone());
        }
    }
    words.sort();
    words.join(",")
}

fn written(
    records: ResultStream<LogRecord>,
    form: Form,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let state = (records, form, true);
    futures::stream::unfold(state, |(mut records, form, mut begins)| async move {
        let mut out = BytesMut::with_capacity(4096);
        let mut next = Some(records.next().await?);
        while let Some(item) = next.take() {
            match item {
                Ok(record) => {
                    write(&mut out, &record, &form, begins);
                    begins = record.complete;
                }
                Err(error) => {
                    let line = format!("Error grabbing logs: {}\n", error.chain());
                    streams::frame(&mut out, form.tty, Source::Stderr, line.as_bytes());
                    return Some((
                        Ok(out.freeze()),
                        (futures::stream::empty().boxed(), form, true),
                    ));
                }
            }
            if out.len() < BATCH {
                next = records.next().now_or_never().flatten();
            }
        }
        Some((Ok(out.freeze()), (records, form, begins)))
    })
}

/// Writes a record; what goes before a line, only where one begins.
fn write(out: &mut BytesMut, record: &LogRecord, form: &Form, begins: bool) {
    let source = if record.stderr { Source::Stderr } else { Source::Stdout };
    let mut before = String::new();
    if begins && form.timestamps {
        before = format!("{} ", nanoseconds(record.time));
    }
    if begins && let Some(details) = &form.details {
        before.push_str(details);
        before.push(' ');
    }
    if before.is_empty() {
        return streams::frame(out, form.tty, source, &record.bytes);
    }
    let mut line = before.into_bytes();
    line.extend_from_slice(&record.bytes);
    streams::frame(out, form.tty, source, &line);
}

/// RFC 3339 with all nine digits: lines stay in columns.
pub(crate) fn nanoseconds(time: Time) -> String {
    format!("{:.9}", time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_digits() {
        assert_eq!(nanoseconds(Time::from_unix(0, 5_000)), "1970-01-01T00:00:00.000005000Z");
    }
}
