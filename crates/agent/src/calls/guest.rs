//! What is asked of a container's processes and files, asked of a machine's guest, through the agent
//! inside it.

mod files;
mod run;

use std::sync::Arc;
use std::time::Duration;

use link::instance::{ExecRequest, ProcessTable, Target};
use link::{Input, Output, Session};
use machines::guest_agent::{self, Exec, GuestAgent};
use model::instance::{GuestFacts, GuestInterface};
use model::{Error, Result};
use tokio::sync::mpsc;

use super::sessions::{Ends, open};
use super::{Calls, Found};
use crate::guests;
use crate::steps::machine::DISK_FULL;

pub use files::{read_archive, stat_path, write_archive};
use run::Run;

/// Most that is kept of what a program prints that is asked something, in bytes.
const ANSWER: usize = 4 << 20;

/// How long a guest that is asked of itself may take.
const MOMENT: Duration = Duration::from_secs(3);
/// Most interfaces that are told of, and addresses of each.
const MOST_TOLD: usize = 64;
/// Most characters of a word of the guest.
const LONGEST: usize = 128;

/// The guest of an instance that is a machine; it must run.
pub fn of(calls: &Calls, target: &Target) -> Result<Option<Arc<GuestAgent>>> {
    let found = calls.find(target)?;
    if !found.is_machine() {
        return Ok(None);
    }
    calls.find_live(target, false)?;
    stands(&found)?;
    Ok(Some(guests::agent(&calls.context, &found.instance)))
}

/// Refuses to ask a guest that stands still, as a disk has no room.
fn stands(found: &Found) -> Result<()> {
    let known = found.handle.known.borrow();
    let reason = known.status.reason.as_ref().filter(|reason| reason.code == DISK_FULL);
    let Some(reason) = reason else { return Ok(()) };
    let name = &found.instance.meta.name;
    let error = Error::conflict(format!("machine {name:?}: {}", reason.message));
    Err(reason.next.iter().fold(error, |error, next| error.next(next.as_str())))
}

/// Refuses what cannot be asked of a machine.
pub fn not_of_a_machine(calls: &Calls, target: &Target, next: &str) -> Result<()> {
    let found = calls.find(target)?;
    if !found.is_machine() {
        return Ok(());
    }
    let name = &found.instance.meta.name;
    let error = Error::unsupported(format!("the files of machine {name:?} are on its disk"));
    Err(error.next(next))
}

/// What a guest tells of itself, as far as it does within a moment.
pub async fn facts(agent: &GuestAgent) -> Result<GuestFacts> {
    let asked = async {
        let interfaces = agent.interfaces().await?;
        let system = agent.os_info().await.unwrap_or_default();
        let host_name = agent.host_name().await.unwrap_or_default();
        Ok(GuestFacts {
            host_name: short(&host_name),
            system: short(&system.pretty_name),
            kernel: short(&system.kernel_release),
            interfaces: interfaces.iter().take(MOST_TOLD).map(interface).collect(),
        })
    };
    let late = |_| Error::unavailable("the guest does not tell of itself in time");
    tokio::time::timeout(MOMENT, asked).await.map_err(late)?
}

fn interface(told: &guest_agent::GuestInterface) -> GuestInterface {
    let addresses = told.ip_addresses.iter().take(MOST_TOLD);
    GuestInterface {
        name: short(&told.name),
        mac: short(&told.hardware_address),
        addresses: addresses.map(|it| format!("{}/{}", it.ip_address, it.prefix)).collect(),
    }
}

/// Of a guest's words what can be shown on one line of a terminal.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// Runs a further program in the guest.
pub(super) async fn exec(
    found: &Found,
    agent: &Arc<GuestAgent>,
    request: ExecRequest,
) -> Result<Session> {
    let detach = request.detach;
    let asked = Exec {
        command: request.command,
        env: request.env,
        user: request.user,
        workdir: request.workdir,
        terminal: request.tty.then_some(request.size),
        stdin: request.stdin && !detach,
        detach,
    };
    let mut run = Run::of(found);
    let process = tokio::select! {
        process = agent.exec(&asked) => process?,
        error = run.over() => return Err(error),
    };
    let (ends, session) = open();
    tokio::spawn(async move {
        let started = ends.output.send(Ok(Output::Started(0))).await;
        if started.is_ok() && !detach {
            converse(process, ends, run).await;
        }
    });
    Ok(session)
}

/// Carries what both sides say until the program has ended, or its guest, or the user is gone.
async fn converse(process: guest_agent::Session, ends: Ends, mut run: Run) {
    let guest_agent::Session { input, mut output } = process;
    let feeder = tokio::spawn(feed(ends.input, input));
    loop {
        let item = tokio::select! {
            biased;
            item = output.recv() => item,
            error = run.over() => {
                let _ = ends.output.send(Err(error)).await;
                break;
            }
            () = ends.output.closed() => break,
        };
        let Some(item) = item else { break };
        let item = match item {
            Ok(output) => Ok(told(output)),
            Err(error) => Err(run.explains(error).await),
        };
        if ends.output.send(item).await.is_err() {
            break;
        }
    }
    feeder.abort();
}

async fn feed(mut from: mpsc::Receiver<Input>, to: mpsc::Sender<guest_agent::Input>) {
    while let Some(input) = from.recv().await {
        if to.send(said(input)).await.is_err() {
            return;
        }
    }
}

fn said(input: Input) -> guest_agent::Input {
    match input {
        Input::Stdin(bytes) => guest_agent::Input::Stdin(bytes),
        Input::StdinEnd => guest_agent::Input::StdinEnd,
        Input::Resize { width, height } => guest_agent::Input::Resize { width, height },
        Input::Signal(name) => guest_agent::Input::Signal(name),
    }
}

fn told(output: guest_agent::Output) -> Output {
    match output {
        guest_agent::Output::Stdout(bytes) => Output::Stdout(bytes),
        guest_agent::Output::Stderr(bytes) => Output::Stderr(bytes),
        guest_agent::Output::Exit(code) => Output::Exit(code),
    }
}

/// What a program said that was asked something.
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output, as far as it is kept.
    pub stdout: Vec<u8>,
    /// Its standard error, as far as it is kept.
    pub stderr: Vec<u8>,
}

impl Said {
    /// Its standard error as a sentence's end.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs a program without input to its end. It is killed when this is dropped before.
pub async fn ask(agent: &Arc<GuestAgent>, command: &[&str]) -> Result<Said> {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let process = agent.exec(&Exec { command, ..Exec::default() }).await?;
    to_the_end(process).await
}

/// Waits for the end of a program.
async fn to_the_end(process: guest_agent::Session) -> Result<Said> {
    let mut reaper = Reaper { input: Some(process.input) };
    let mut output = process.output;
    let mut said = Said { code: 0, stdout: Vec::new(), stderr: Vec::new() };
    while let Some(item) = output.recv().await {
        match item? {
            guest_agent::Output::Stdout(bytes) => keep(&mut said.stdout, &bytes),
            guest_agent::Output::Stderr(bytes) => keep(&mut said.stderr, &bytes),
            guest_agent::Output::Exit(code) => {
                reaper.input = None;
                said.code = code;
                return Ok(said);
            }
        }
    }
    Err(Error::internal("a program in a guest ended without an exit code"))
}

fn keep(all: &mut Vec<u8>, more: &[u8]) {
    let room = ANSWER.saturating_sub(all.len());
    all.extend_from_slice(&more[..more.len().min(room)]);
}

/// Kills a program that nobody waits for any more.
struct Reaper {
    input: Option<mpsc::Sender<guest_agent::Input>>,
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            let _ = input.try_send(guest_agent::Input::Signal("KILL".to_owned()));
        }
    }
}

/// The processes of the guest, as its own `ps` tells them; that of busybox knows no options.
pub async fn top(agent: &Arc<GuestAgent>, options: &str) -> Result<ProcessTable> {
    let own = ["sh", "-c", "ps -ef 2>/dev/null || ps"];
    let words: Vec<&str> = options.split_whitespace().collect();
    let asked = [&["ps"], words.as_slice()].concat();
    let said = ask(agent, if words.is_empty() { &own } else { &asked }).await?;
    if said.code != 0 {
        let error = format!("ps in the guest refuses {options:?}: {}", said.complaint());
        return Err(Error::invalid(error).at("options"));
    }
    Ok(table(&String::from_utf8_lossy(&said.stdout)))
}

fn table(listing: &str) -> ProcessTable {
    let mut lines = listing.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let last = titles.len().saturating_sub(1);
    let row = |line: &str| -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (first, rest) = words.split_at(last.min(words.len()));
        first.iter().map(|word| (*word).to_owned()).chain([rest.join(" ")]).collect()
    };
    ProcessTable { processes: lines.map(row).collect(), titles }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_a_table() {
        let seen = table("PID   USER     COMMAND\n    1 root     {init} /bin/sh /init\n");
        assert_eq!(seen.titles, ["PID", "USER", "COMMAND"]);
        assert_eq!(seen.processes, [["1", "root", "{init} /bin/sh /init"]]);
        assert!(table("").processes.is_empty());
    }
}
