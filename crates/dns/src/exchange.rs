//! One question to one server: by UDP, and by TCP if the answer is too long for that (RFC 7766).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::forwarder::Question;
use crate::reply::PAYLOAD;

/// Asks `server`, which has so long for each way of asking.
pub(crate) async fn ask(
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> io::Result<Message> {
    let mut answer = within(patience, by_udp(server, question, true)).await?;
    if answer.metadata.response_code == ResponseCode::FormErr {
        // It doesn't know EDNS (RFC 6891, section 7).
        answer = within(patience, by_udp(server, question, false)).await?;
    }
    if answer.metadata.truncation {
        answer = within(patience, by_tcp(server, question)).await?;
    }
    Ok(answer)
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn by_udp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Message> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A port and a number of its own for each question make answers hard to forge (RFC 5452).
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    let query = query(question, edns);
    socket.send(&encoded(&query)?).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = answer_to(&query, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Question) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let query = query(question, true);
    let bytes = encoded(&query)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(&query, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn query(question: &Question, edns: bool) -> Message {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.metadata.checking_disabled = question.checking_disabled;
    query.add_query(Query::query(question.name.clone(), question.kind));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_dnssec_ok(question.dnssec);
        query.set_edns(edns);
    }
    query
}

fn encoded(query: &Message) -> io::Result<Vec<u8>> {
    query.to_vec().map_err(io::Error::other)
}

/// The message, if it answers this query: number, question and direction agree.
fn answer_to(query: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = answer.metadata.id == query.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == query.queries;
    // Some who can't read a question don't repeat it.
    let refused = answer.metadata.id == query.metadata.id
        && answer.queries.is_empty()
        && answer.metadata.response_code != ResponseCode::NoError;
    (same || refused).then_some(answer)
}
