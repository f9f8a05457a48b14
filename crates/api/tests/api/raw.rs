//! Requests byte by byte, for what no good client would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::world::{World, soon};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text)
    }

    pub fn problem(&self) -> client::wire::Problem {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {:?}", self.head, String::from_utf8_lossy(&self.body)))
    }
}

pub async fn get(world: &World, path: &str) -> Answer {
    request(world, "GET", path, &[], b"").await
}

pub async fn request(
    world: &World,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    send(world, &bytes).await
}

/// Posts JSON that may be none.
pub async fn post(world: &World, path: &str, body: &[u8]) -> Answer {
    request(world, "POST", path, &[("content-type", "application/json")], body).await
}

/// Sends these bytes and reads until the server closes.
pub async fn send(world: &World, bytes: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    read(&mut stream).await
}

pub async fn read(stream: &mut UnixStream) -> Answer {
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.map_or(Vec::new(), |end| answer[end + 4..].to_vec());
    let head = String::from_utf8_lossy(&answer[..end.unwrap_or(answer.len())]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head, body }
}
