//! The process that keeps a container's output (`hull log-driver`).
//!
//! containerd's shim starts it (`binary://` of its runtime v2) with the reading ends of two pipes as
//! descriptors 3 and 4, and a pipe as 5 that is closed to say *ready*; the shim goes on to start the
//! container, which writes to the pipes itself. When the run is cleared the shim closes what it
//! holds of them and sends SIGTERM: what is in the pipes then is the end.
//!
//! There is one of these for every running container, so it is plain: no runtime, no threads, two
//! buffers.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model::Bytes;
use model::instance::LogOptions;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::Stream;
use super::writer::Writer;

/// The word that makes the program a driver.
pub const MODE: &str = "log-driver";

/// Bytes read at once. What a pipe holds beyond that waits in the kernel.
const CHUNK: usize = 64 << 10;

/// What a pipe is asked to hold, so that a burst does not wait for a busy disk (pipe(7)).
const PIPE: usize = 1 << 20;

/// How long a driver of named pipes waits for the container to be started.
const PATIENCE: Timespec = Timespec { tv_sec: 300, tv_nsec: 0 };

/// What a driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Where the log is kept.
    pub directory: PathBuf,
    /// Its bounds.
    pub options: LogOptions,
    /// The container has a terminal: the end of its output is the end, whatever the other pipe says.
    pub terminal: bool,
    /// Named pipes `stdout` and `stderr` are read in this directory instead of descriptors 3 and 4.
    pub pipes: Option<PathBuf>,
}

impl Job {
    /// The job as one argument, for [`Job::parse`]. Paths come last and are not quoted.
    pub fn argument(&self) -> String {
        let kind = if self.terminal { 't' } else { 'p' };
        let LogOptions { max_size, max_files, off: _ } = self.options;
        let directory = self.directory.display();
        match &self.pipes {
            None => format!("{}:{max_files}:{kind}:{directory}", max_size.0),
            Some(pipes) => {
                format!("{}:{max_files}:{kind}:{directory}\n{}", max_size.0, pipes.display())
            }
        }
    }

    /// Reads what [`Job::argument`] wrote.
    pub fn parse(argument: &str) -> Option<Self> {
        let mut parts = argument.splitn(4, ':');
        let max_size = Bytes(parts.next()?.parse().ok()?);
        let max_files = parts.next()?.parse().ok()?;
        let terminal = parts.next()? == "t";
        let (directory, pipes) = match parts.next()?.split_once('\n') {
            Some((directory, pipes)) => (directory, Some(PathBuf::from(pipes))),
            None => (argument.splitn(4, ':').nth(3)?, None),
        };
        let options = LogOptions { max_size, max_files, off: false };
        Some(Self { directory: directory.into(), options, terminal, pipes })
    }

    /// The address that makes containerd's shim start `program` for this job.
    pub fn address(&self, program: &Path) -> String {
        let quoted = |text: &str| {
            let mut out = String::new();
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"/-_.~:".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            out
        };
        format!(
            "binary://{}?{MODE}={}",
            quoted(&program.to_string_lossy()),
            quoted(&self.argument())
        )
    }
}

/// The whole program: `hull log-driver <job>`. Descriptors 3, 4 and 5 are as the shim gives them.
pub fn main() -> ExitCode {
    let job = std::env::args().nth(2).and_then(|argument| Job::parse(&argument));
    let Some(job) = job else {
        return ExitCode::from(2);
    };
    match run(&job) {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell: the shim sees that the pipe of readiness closed with nothing
        // behind it, and the container's writes fail.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(job: &Job) -> io::Result<()> {
    let stop = stop_signals()?;
    let (outputs, ready) = match &job.pipes {
        None => inherited(),
        Some(directory) => (named(directory)?, None),
    };
    let mut writer = Writer::open(&job.directory, job.options)?;
    for (_, pipe) in &outputs {
        prepare(pipe)?;
    }
    drop(ready);
    if job.pipes.is_some() && !somebody_came(&outputs)? {
        return Ok(());
    }
    keep(job, outputs, &stop, &mut writer)
}

/// Signals that ask for the end come as something to read.
fn stop_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

type Outputs = Vec<(Stream, OwnedFd)>;

fn inherited() -> (Outputs, Option<OwnedFd>) {
    #[expect(unsafe_code, reason = "descriptors the shim handed over have no safe constructor")]
    // SAFETY: this process was just started and nothing else in it owns these descriptors.
    let [out, err, ready] = [3 as RawFd, 4, 5].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (vec![(Stream::Stdout, out), (Stream::Stderr, err)], Some(ready))
}

fn named(directory: &Path) -> io::Result<Outputs> {
    // Outlive the daemon that started this, and its terminal.
    let _ = rustix::process::setsid();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |stream: Stream| {
        let pipe = rustix::fs::open(directory.join(stream.as_str()), flags, Mode::empty())?;
        Ok((stream, pipe))
    };
    [Stream::Stdout, Stream::Stderr].into_iter().map(open).collect()
}

fn prepare(pipe: &OwnedFd) -> io::Result<()> {
    // A smaller pipe is slower, not wrong.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    Ok(())
}

/// Waits for the other side of named pipes to be opened: until then they read as ended.
fn somebody_came(outputs: &Outputs) -> io::Result<bool> {
    let mut polled: Vec<_> =
        outputs.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
    Ok(poll(&mut polled, Some(&PATIENCE))? > 0)
}

/// Keeps output until it ends, or until asked to stop and all that is there is kept.
fn keep(job: &Job, mut outputs: Outputs, stop: &SignalFd, writer: &mut Writer) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while !outputs.is_empty() {
        let asked = wait(&outputs, stop)?;
        let mut ended = Vec::new();
        for (stream, pipe) in &outputs {
            if drain(*stream, pipe, asked, &mut chunk, writer)? {
                ended.push(*stream);
            }
        }
        if asked || (job.terminal && ended.contains(&Stream::Stdout)) {
            return Ok(());
        }
        outputs.retain(|(stream, _)| !ended.contains(stream));
    }
    Ok(())
}

/// Waits for something to do; true when asked to stop.
fn wait(outputs: &Outputs, stop: &SignalFd) -> io::Result<bool> {
    let mut polled: Vec<_> =
        outputs.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
    let stop = stop.as_fd();
    polled.push(PollFd::new(&stop, PollFlags::IN));
    match poll(&mut polled, None) {
        Ok(_) => Ok(polled.last().is_some_and(|stop| !stop.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Reads once, or `whole` all there is. True at the end.
fn drain(
    stream: Stream,
    pipe: &OwnedFd,
    whole: bool,
    chunk: &mut [u8],
    writer: &mut Writer,
) -> io::Result<bool> {
    let mut pipe = File::from(pipe.try_clone()?);
    loop {
        match pipe.read(chunk) {
            Ok(0) => return Ok(true),
            Ok(n) => writer.write(stream, &chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !whole {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(pipes: Option<&str>) -> Job {
        Job {
            directory: "/var/lib/hull: a/logs/ü".into(),
            options: LogOptions { max_size: Bytes(4096), max_files: 3, off: false },
            terminal: true,
            pipes: pipes.map(PathBuf::from),
        }
    }

    #[test]
    fn a_job_travels_as_one_argument() {
        for job in [job(None), job(Some("/run/hull/io:1"))] {
            assert_eq!(Job::parse(&job.argument()), Some(job));
        }
        for bad in ["", "1:2", "x:2:p:/a"] {
            assert_eq!(Job::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_quoted() {
        assert_eq!(
            job(None).address(Path::new("/usr/bin/hull")),
            "binary:///usr/bin/hull?log-driver=4096:3:t:/var/lib/hull:%20a/logs/%C3%BC"
        );
    }

    #[test]
    fn named_pipes_are_kept_to_their_end() {
        let place = tempfile::tempdir().unwrap();
        for stream in ["stdout", "stderr"] {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                place.path().join(stream),
                rustix::fs::FileType::Fifo,
                Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
        }
        let outputs = named_without_session(place.path());
        let stop = stop_signals().unwrap();
        let writers: Vec<File> = ["stdout", "stderr"]
            .iter()
            .map(|name| File::options().write(true).open(place.path().join(name)).unwrap())
            .collect();
        assert!(std::io::Write::write(&mut &writers[0], b"hello\n").is_ok());
        drop(writers);
        let log = place.path().join("log");
        let job = Job { directory: log.clone(), pipes: None, terminal: false, ..job(None) };
        let mut writer = Writer::open(&log, job.options).unwrap();
        keep(&job, outputs, &stop, &mut writer).unwrap();
        let text = std::fs::read_to_string(log.join("1.log")).unwrap();
        assert!(text.ends_with(" stdout F hello\n"), "{text}");
    }

    fn named_without_session(directory: &Path) -> Outputs {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        [Stream::Stdout, Stream::Stderr]
            .map(|s| {
                (s, rustix::fs::open(directory.join(s.as_str()), flags, Mode::empty()).unwrap())
            })
            .into()
    }
}
