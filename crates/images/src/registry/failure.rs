//! What a registry that fails means: for the reader of the error, and for who may try again.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use model::Error;
use model::error::Code;
use reqwest::Response;
use serde::Deserialize;

/// Bytes of an error's body that are looked at.
const BODY: usize = 16 << 10;
/// Characters of a registry's own words that are passed on.
const WORDS: usize = 300;

/// An error, and whether trying again may help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    pub again: Again,
    /// No connection came about.
    pub unreachable: bool,
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    /// Yes, and the registry may have said how long to wait.
    After(Option<Duration>),
}

impl Failure {
    /// Trying again changes nothing.
    pub fn lasting(error: Error) -> Self {
        Self { error, again: Again::No, unreachable: false }
    }

    /// Trying again may help.
    pub fn passing(error: Error) -> Self {
        Self { error, again: Again::After(None), unreachable: false }
    }

    /// The connection could not be made, or broke. URLs are left out: those of redirects carry
    /// signatures.
    pub fn of_transport(host: &str, error: reqwest::Error) -> Self {
        let unreachable = error.is_connect();
        let message = match (unreachable, error.is_timeout()) {
            (true, _) => format!("{host} cannot be reached"),
            (false, true) => format!("{host} does not answer in time"),
            (false, false) => format!("the connection to {host} broke"),
        };
        let error = Error::unavailable(message)
            .next("check the registry's name, the network, and the settings under [registries]")
            .caused_by(error.without_url());
        Self { error, again: Again::After(None), unreachable }
    }

    /// The registry answered with an error. `what` was asked for.
    pub async fn of_answer(host: &str, what: &str, response: Response) -> Self {
        let status = response.status();
        let wait = retry_after(response.headers());
        let words = words_of(response).await;
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        let told = format!("{host} answers {}{said}", status.as_u16());
        match status {
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let error = unknown(host, what, &told);
                Self::lasting(match status {
                    _ if words.starts_with("DENIED") => error.coded(Code::AccessDenied),
                    StatusCode::UNAUTHORIZED => error.coded(Code::LoginWanted),
                    StatusCode::FORBIDDEN => error.coded(Code::AccessDenied),
                    _ => error,
                })
            }
            StatusCode::TOO_MANY_REQUESTS => Self {
                error: Error::exhausted(format!("{what} is not given out for now; {told}"))
                    .next("wait, log in for a higher limit, or set up a mirror"),
                again: Again::After(wait),
                unreachable: false,
            },
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => Self {
                error: Error::unavailable(format!("{what} could not be had; {told}")),
                again: Again::After(wait),
                unreachable: false,
            },
            _ => Self::lasting(Error::invalid(format!("{what} is refused; {told}"))),
        }
    }
}

/// Registries say the same of what does not exist and of what is private.
fn unknown(host: &str, what: &str, told: &str) -> Error {
    Error::not_found(format!("{what} does not exist, or may not be seen; {told}")).next(format!(
        "check the name and tag; if the image is private, log in first: hull image login {host}"
    ))
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    SystemTime::from(date).duration_since(SystemTime::now()).ok()
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Words>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Words {
    code: String,
    message: String,
}

/// The registry's own words: the first error of the envelope of the specification.
async fn words_of(response: Response) -> String {
    let Ok(body) = super::fetch::bounded(response, BODY).await else { return String::new() };
    let first = |envelope: Envelope| envelope.errors.into_iter().next();
    let words = serde_json::from_slice(&body).ok().and_then(first).unwrap_or_default();
    let text = match (&*words.code, &*words.message) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code} ({message})"),
    };
    text.chars().filter(|letter| !letter.is_control()).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_seconds_and_until_dates() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert!(of("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 30));
        assert_eq!(of("soon"), None);
    }
}
