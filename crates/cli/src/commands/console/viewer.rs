//! A machine's screen for a viewer of VNC on this machine.
//!
//! The protocol has no password here. The port is on the loopback address, takes one viewer, and that
//! of the same user: others on this machine could be faster than the user.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use bytes::Bytes;
use futures::StreamExt;
use link::{ByteStream, Display};
use model::error::Context as _;
use model::{ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::out;

/// Bytes read from the viewer at once.
const PIECE: usize = 16 << 10;

/// Waits for a viewer and shows it the screen until it leaves.
pub async fn serve(context: &Context, name: &str, port: u16) -> Result<ExitCode> {
    let instances = context.instances();
    // Before a viewer is asked for: whether there is a screen.
    instances.console_ticket(name).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .context(ErrorKind::Unavailable, || format!("port {port} cannot be listened on"))?;
    let address =
        listener.local_addr().context(ErrorKind::Internal, || "a port has no number".to_owned())?;
    out::remark(format!("the screen of {name}, for one viewer of VNC; ctrl-c ends it"));
    out::line(address.to_string());
    let viewer = accept(&listener, address).await?;
    drop(listener);
    let ticket = instances.console_ticket(name).await?.ticket;
    relay(viewer, instances.display(name, &ticket).await?).await
}

/// The first viewer that is the user's own.
async fn accept(listener: &TcpListener, address: SocketAddr) -> Result<TcpStream> {
    loop {
        let accepted = listener.accept().await;
        let (stream, peer) =
            accepted.context(ErrorKind::Unavailable, || "no viewer can be let in".to_owned())?;
        let user = rustix::process::geteuid().as_raw();
        match owner(peer, address) {
            Some(owner) if owner == user || owner == 0 => return Ok(stream),
            Some(owner) => out::remark(format!("hull: a viewer of user {owner} was sent away")),
            None => out::remark("hull: a viewer that is nobody's was sent away"),
        }
    }
}

/// The user whose connection goes from `peer` to `address` on this machine (proc(5), `/proc/net/tcp`).
fn owner(peer: SocketAddr, address: SocketAddr) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| owner_in(line, peer, address))
}

fn owner_in(line: &str, peer: SocketAddr, address: SocketAddr) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, remote, user) = (fields.get(1)?, fields.get(2)?, fields.get(7)?);
    let same = **local == in_table(peer)? && **remote == in_table(address)?;
    same.then(|| user.parse().ok()).flatten()
}

/// An address as the table shows it: the number as this processor has it in memory.
fn in_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

async fn relay(viewer: TcpStream, display: Display) -> Result<ExitCode> {
    // Keys and the mouse are not to wait for each other.
    let _ = viewer.set_nodelay(true);
    let (reader, writer) = viewer.into_split();
    tokio::select! {
        () = give(reader, display.input) => Ok(ExitCode::SUCCESS),
        shown = show(display.output, writer) => shown.map(|()| ExitCode::SUCCESS),
    }
}

async fn give(mut reader: OwnedReadHalf, input: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length) = reader.read(&mut buffer).await {
        let piece = Bytes::copy_from_slice(&buffer[..length]);
        if length == 0 || input.send(piece).await.is_err() {
            return;
        }
    }
}

async fn show(mut output: ByteStream, mut writer: OwnedWriteHalf) -> Result<()> {
    while let Some(bytes) = output.next().await {
        if writer.write_all(&bytes?).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connections_owner_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _viewer = TcpStream::connect(address).await.unwrap();
        let (_stream, peer) = listener.accept().await.unwrap();
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(owner(peer, address), Some(user));
        assert_eq!(owner(address, address), None);
    }
}
