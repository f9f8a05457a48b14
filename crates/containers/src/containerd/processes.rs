//! The processes of a container, from /proc (proc_pid_stat(5)).

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use model::{Bytes, Error, Result, Time};

use super::cgroup::Cgroup;
use super::stats::TICKS;
use super::{Containerd, create::blocking};
use crate::engine::{ContainerId, Process};
use crate::spec::cgroup_path;

impl Containerd {
    pub(super) async fn list_processes(&self, id: &ContainerId) -> Result<Vec<Process>> {
        let record = self.record(id).await?;
        let cgroup = Cgroup::at(&cgroup_path(&record.config));
        let found = blocking(move || {
            let boot = boot_time();
            Ok(cgroup.processes().into_iter().filter_map(|pid| read(pid, boot)).collect::<Vec<_>>())
        })
        .await?;
        if found.is_empty() {
            return Err(
                Error::conflict(format!("container {id} is not running")).next("start it first")
            );
        }
        Ok(found)
    }
}

/// Seconds from 1970 to the machine's start.
fn boot_time() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// One process; `None` if it ended meanwhile.
fn read(pid: u32, boot: Option<u64>) -> Option<Process> {
    let directory = format!("/proc/{pid}");
    let stat = std::fs::read_to_string(format!("{directory}/stat")).ok()?;
    let line = std::fs::read(format!("{directory}/cmdline")).ok()?;
    let uid = std::fs::metadata(&directory).ok()?.uid();
    let (name, fields) = split(&stat)?;
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = |count: u64| Duration::from_millis(count.saturating_mul(1000 / TICKS));
    let status = std::fs::read_to_string(format!("{directory}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let started = boot.zip(number(22)).map(|(boot, start)| {
        let since = ticks(start);
        let seconds = i64::try_from(boot + since.as_secs()).unwrap_or(i64::MAX);
        Time::from_unix(seconds, i32::try_from(since.subsec_nanos()).unwrap_or(0))
    });
    Some(Process {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        uid,
        state: fields.first()?.chars().next()?,
        cpu: ticks(number(14)? + number(15)?),
        resident: Bytes(kilobytes.unwrap_or(0) << 10),
        threads: u32::try_from(number(20)?).ok()?,
        tty: terminal(number(7)?),
        started,
        command: command(&line, name),
    })
}

/// The name, and the fields from the third on. The name may hold anything.
fn split(stat: &str) -> Option<(&str, Vec<&str>)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    Some((name, after.split_whitespace().collect()))
}

fn command(line: &[u8], name: &str) -> Vec<String> {
    let words: Vec<String> = line
        .strip_suffix(b"\0")
        .unwrap_or(line)
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if line.is_empty() { vec![format!("[{name}]")] } else { words }
}

/// Device numbers as the kernel packs them; pseudo terminals have majors 136 to 143.
fn terminal(device: u64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        0 => String::new(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let own = read(std::process::id(), boot_time()).unwrap();
        assert_eq!(own.command[0], std::env::args().next().unwrap());
        assert!(own.threads >= 1 && own.resident.0 > 0);
        assert!(own.started.is_some_and(|at| at <= Time::now()));
    }

    #[test]
    fn odd_names() {
        let (name, fields) = split("7 (a) b (c) S 1 2").unwrap();
        assert_eq!((name, fields), ("a) b (c", vec!["S", "1", "2"]));
        assert_eq!(command(b"", "kthread"), ["[kthread]"]);
        assert_eq!(command(b"sh\0-c\0\0", "sh"), ["sh", "-c", ""]);
        assert_eq!(terminal(0x8803), "pts/3");
    }
}
