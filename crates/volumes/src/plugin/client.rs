//! One call of a plugin: a POST at its socket, with a deadline and a bound on the answer.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use model::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::places::Address;

/// The media type of the protocol's newest version.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// Most bytes of an answer: a list of some ten thousand volumes.
const LARGEST: usize = 8 << 20;
/// Most bytes of a plugin's own words that are passed on.
const LONGEST: usize = 4 << 10;
/// A plugin that is just being started anew is waited for so long.
const RESTART: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// How a call failed.
#[derive(Debug)]
pub enum Failure {
    /// It was not heard: nothing has happened.
    Unheard(Error),
    /// It may have been heard, and what came of it is not known.
    Unanswered(Error),
    /// The plugin says no, in these words.
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The plugin's words.
        words: String,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Ends the connection's task with the call.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Posts `body` to `method` of the plugin called `name` and returns what it answers, if it says yes.
pub async fn call(
    name: &str,
    address: &Address,
    method: &str,
    body: Vec<u8>,
    patience: Duration,
) -> Result<Bytes, Failure> {
    let stream = connect(address, (patience / 8).min(RESTART)).await.map_err(|error| {
        Failure::Unheard(
            Error::unavailable(format!("plugin {name:?} does not listen"))
                .next("start the plugin, then try again")
                .caused_by(error),
        )
    })?;
    match tokio::time::timeout(patience, exchange(stream, method, body)).await {
        Ok(Ok((StatusCode::OK, answer))) => Ok(answer),
        Ok(Ok((status, answer))) => Err(Failure::Refused { status, words: words_of(&answer) }),
        Ok(Err(error)) => Err(Failure::Unanswered(
            Error::unavailable(format!("plugin {name:?} gave no whole answer to {method}"))
                .next("see the plugin's log")
                .caused_by(error),
        )),
        Err(_) => Err(Failure::Unanswered(
            Error::unavailable(format!(
                "plugin {name:?} did not answer {method} within {} s",
                patience.as_secs()
            ))
            .next("see the plugin's log"),
        )),
    }
}

async fn connect(address: &Address, patience: Duration) -> io::Result<Box<dyn Stream>> {
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let outcome = tokio::time::timeout(left, open(address)).await;
        match outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Err(error) if is_away(&error) && begun.elapsed() + PAUSE < patience => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

async fn open(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Socket(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(host) => Box::new(TcpStream::connect(host).await?),
    })
}

/// Nobody listens now; a full queue is told by a socket in the same way as an empty one.
fn is_away(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
    matches!(error.kind(), ConnectionRefused | NotFound | WouldBlock)
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: Box<dyn Stream>,
    method: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), Cause> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = Connection(tokio::spawn(async move {
        // What goes wrong with it, the request is told, too.
        let _ = connection.await;
    }));
    let request = Request::post(format!("/{method}"))
        .header(header::HOST, "plugin.moby.localhost")
        .header(header::ACCEPT, MEDIA_TYPE)
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await?;
    Ok((status, body.to_bytes()))
}

/// What an answer that says no says: its `Err`, else all of it.
fn words_of(answer: &[u8]) -> String {
    let told = serde_json::from_slice::<serde_json::Value>(answer).ok();
    let told = told.as_ref().and_then(|it| it.get("Err")?.as_str());
    match told {
        Some(words) if !words.is_empty() => clean(words),
        _ => clean(String::from_utf8_lossy(answer).trim()),
    }
}

/// A plugin's words, fit to be shown.
pub fn clean(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut text = String::new();
    for c in plain {
        if text.len() + c.len_utf8() > LONGEST {
            text.push('…');
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_fit_to_be_shown() {
        assert_eq!(words_of(br#"{"Err": "no\u0007 room\n"}"#), "no  room ");
        assert_eq!(words_of(b"404 page not found\n"), "404 page not found");
        assert_eq!(words_of(b"{}"), "{}");
        let long = clean(&"\u{e4}".repeat(LONGEST));
        assert!(long.len() <= LONGEST + '…'.len_utf8() && long.ends_with('…'));
    }
}
