//! Files of a guest, by its own `tar` and `stat`, which coreutils and busybox have.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use link::ByteStream;
use link::instance::PathStat;
use machines::guest_agent::{Exec, GuestAgent, Input, Output, Session};
use model::{Error, Result, Time};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Said, ask, to_the_end};

/// Pieces of an archive that may wait.
const CHUNKS: usize = 4;
/// Most that is kept of what tar complains of, in bytes.
const COMPLAINT: usize = 4096;

/// Tells size, mode, change, then where a link leads. Code 66 for what is not there.
const STAT: &str = "[ -e \"$1\" ] || [ -L \"$1\" ] || exit 66
stat -c '%s %f %Y' -- \"$1\" && { readlink -- \"$1\" || :; }";
const MISSING: i32 = 66;

/// What is at a path in the guest.
pub async fn stat_path(agent: &Arc<GuestAgent>, path: &str) -> Result<PathStat> {
    let path = inner(path)?;
    let said = ask(agent, &["sh", "-c", STAT, "sh", &path]).await?;
    match said.code {
        0 => read_stat(&path, &String::from_utf8_lossy(&said.stdout))
            .ok_or_else(|| Error::unavailable("the guest's stat says what is not understood")),
        MISSING => Err(Error::not_found(format!("there is no {path} in the guest"))),
        _ => Err(failed("stat", &said)),
    }
}

fn read_stat(path: &str, said: &str) -> Option<PathStat> {
    let (first, link) = said.split_once('\n')?;
    let words: Vec<&str> = first.split(' ').collect();
    let [size, mode, modified] = words.as_slice() else { return None };
    let name = Path::new(path).file_name();
    Some(PathStat {
        name: name.map_or("/".into(), |name| name.to_string_lossy().into_owned()),
        size: size.parse().ok()?,
        mode: u32::from_str_radix(mode, 16).ok()?,
        modified: Some(Time::from_unix(modified.parse().ok()?, 0)),
        link_target: link.strip_suffix('\n').unwrap_or(link).to_owned(),
    })
}

/// What is at a path in the guest, as a tar archive.
pub async fn read_archive(agent: &Arc<GuestAgent>, path: &str) -> Result<(PathStat, ByteStream)> {
    let stat = stat_path(agent, path).await?;
    let path = inner(path)?;
    let path = Path::new(&path);
    let parent = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let name = path.file_name().map_or(".".into(), |name| name.to_string_lossy());
    let command = ["tar", "-C", &parent, "-cf", "-", "--", &name].map(str::to_owned).to_vec();
    let process = agent.exec(&Exec { command, ..Exec::default() }).await?;
    let (chunks, archive) = mpsc::channel(CHUNKS);
    tokio::spawn(pass_archive(process, chunks));
    Ok((stat, Box::pin(ReceiverStream::new(archive))))
}

async fn pass_archive(process: Session, chunks: mpsc::Sender<Result<Bytes>>) {
    let Session { input, mut output } = process;
    let mut complaint = Vec::new();
    while let Some(item) = output.recv().await {
        let sent = match item {
            Ok(Output::Stdout(bytes)) => chunks.send(Ok(bytes)).await,
            Ok(Output::Stderr(bytes)) => {
                complaint.extend_from_slice(&bytes);
                complaint.truncate(COMPLAINT);
                Ok(())
            }
            Ok(Output::Exit(code)) => {
                let said = Said { code, stdout: Vec::new(), stderr: complaint };
                if !is_whole(&said) {
                    let _ = chunks.send(Err(failed("tar", &said))).await;
                }
                return;
            }
            Err(error) => chunks.send(Err(error)).await,
        };
        if sent.is_err() {
            let _ = input.send(Input::Signal("KILL".to_owned())).await;
            return;
        }
    }
}

/// A file that changed or went meanwhile is no failure of the archive; GNU tar says so with code 1.
fn is_whole(said: &Said) -> bool {
    let changed = |line: &str| {
        line.contains("file changed as we read it")
            || line.contains("File removed before we read it")
            || line.contains("socket ignored")
    };
    said.code == 0 || (said.code == 1 && said.complaint().lines().any(changed))
}

/// Unpacks an archive into a directory of the guest.
pub async fn write_archive(agent: &Arc<GuestAgent>, path: &str, archive: ByteStream) -> Result<()> {
    let stat = stat_path(agent, &format!("{}/.", path.trim_end_matches('/'))).await;
    if stat.is_err() && stat_path(agent, path).await.is_ok() {
        return Err(Error::invalid(format!("{path} is not a directory")).at("path"));
    }
    stat?;
    let command = ["tar", "-C", &inner(path)?, "-xpf", "-"].map(str::to_owned).to_vec();
    let process = agent.exec(&Exec { command, stdin: true, ..Exec::default() }).await?;
    let input = process.input.clone();
    // Side by side in this one: when nobody waits for it any more, both end, and tar with them.
    let (said, passed) = tokio::join!(to_the_end(process), pass_input(archive, input));
    passed?;
    let said = said?;
    match said.code {
        0 => Ok(()),
        _ => Err(failed("tar", &said)),
    }
}

async fn pass_input(mut archive: ByteStream, input: mpsc::Sender<Input>) -> Result<()> {
    while let Some(chunk) = archive.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                // What is cut off must not pass for a whole.
                let _ = input.send(Input::Signal("KILL".to_owned())).await;
                return Err(error);
            }
        };
        if input.send(Input::Stdin(chunk)).await.is_err() {
            return Ok(());
        }
    }
    let _ = input.send(Input::StdinEnd).await;
    Ok(())
}

fn failed(program: &str, said: &Said) -> Error {
    let (code, complaint) = (said.code, said.complaint());
    let lines: Vec<&str> = complaint.lines().take(3).collect();
    Error::conflict(format!("{program} in the guest ended with {code}: {}", lines.join("; ")))
}

fn inner(path: &str) -> Result<String> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(format!("{path:?} is not a path")).at("path"));
    }
    Ok(Path::new("/").join(path).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stat_says_is_understood() {
        let stat = read_stat("/etc/link", "7 a1ff 1700000000\n/etc/to\n").unwrap();
        assert_eq!((stat.name.as_str(), stat.size, stat.mode), ("link", 7, 0o120_777));
        assert_eq!(stat.link_target, "/etc/to");
        assert_eq!(read_stat("/", "0 41ed 1\n").unwrap().name, "/");
        for said in ["", "1 2", "x y z\n", "1 41ed\n"] {
            assert!(read_stat("/x", said).is_none(), "{said:?}");
        }
    }

    #[test]
    fn an_archive_is_whole_though_a_file_changed() {
        let said = |code, text: &str| Said { code, stdout: Vec::new(), stderr: text.into() };
        assert!(is_whole(&said(0, "")));
        assert!(is_whole(&said(1, "tar: log: file changed as we read it\n")));
        assert!(!is_whole(&said(1, "tar: x: No such file or directory\n")));
        assert!(!is_whole(&said(2, "tar: log: file changed as we read it\n")));
    }
}
