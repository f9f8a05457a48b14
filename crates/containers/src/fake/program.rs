//! The programs a fake container can run: `true`, `false`, `sh -c "exit N"`, `echo …`, `cat`.
//! Whatever else is run goes on until it is signalled or a test ends it.

use std::io::Cursor;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::engine::{ExecConfig, ExecStreams, Reader, Writer};

/// Bytes a pipe of the fake holds.
const PIPE: usize = 64 << 10;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// Prints, then ends with a code.
    Ends { prints: String, code: i32 },
    /// Copies its input to its output until that ends.
    Copies,
    /// Goes on.
    Stays,
}

impl Program {
    pub(super) fn of(command: &[String]) -> Self {
        let ends = |prints: String, code| Program::Ends { prints, code };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["true", ..] => ends(String::new(), 0),
            ["false", ..] => ends(String::new(), 1),
            ["echo", rest @ ..] => ends(format!("{}\n", rest.join(" ")), 0),
            ["cat"] => Program::Copies,
            ["sh", "-c", script] => match script.strip_prefix("exit ").map(str::parse) {
                Some(Ok(code)) => ends(String::new(), code),
                Some(Err(_)) | None => Program::Stays,
            },
            _ => Program::Stays,
        }
    }

    /// The streams of an exec that runs this; `end` is called with its exit code.
    pub(super) fn streams(
        self,
        pid: u32,
        exec: &ExecConfig,
        end: impl FnOnce(i32) + Send + 'static,
    ) -> ExecStreams {
        let empty = || Box::pin(Cursor::new(Vec::new())) as Reader;
        let stderr = (!exec.tty).then(empty);
        let (stdin, stdout): (Option<Writer>, Reader) = match self {
            Program::Ends { prints, code } => {
                end(code);
                let sink = || Box::pin(tokio::io::sink()) as Writer;
                (exec.stdin.then(sink), Box::pin(Cursor::new(prints.into_bytes())))
            }
            Program::Copies if exec.stdin => {
                let (outside, inside) = duplex(PIPE);
                let (reader, writer) = tokio::io::split(outside);
                tokio::spawn(copy_until_end(inside, end));
                (Some(Box::pin(writer)), Box::pin(reader))
            }
            Program::Copies => {
                end(0);
                (None, empty())
            }
            Program::Stays => {
                let sink = || Box::pin(tokio::io::sink()) as Writer;
                (exec.stdin.then(sink), empty())
            }
        };
        ExecStreams { pid, stdin, stdout, stderr }
    }
}

async fn copy_until_end(mut pipe: tokio::io::DuplexStream, end: impl FnOnce(i32)) {
    let mut buffer = vec![0; PIPE];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        if pipe.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
    end(0);
}
