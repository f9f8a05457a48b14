//! What a container uses, runs and changed.

use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use containers::Process;
use images::Progress;
use link::ResultStream;
use link::instance::{
    Change, ChangeKind, CommitRequest, DiskSize, InterfaceStats, ProcessTable, Stats, Target,
};
use machines::qmp::BlockTraffic;
use model::error::Context as _;
use model::image::{ImageConfig, Reference};
use model::{Error, ErrorKind, Result};

use super::{Calls, Found};
use crate::context::Context;
use crate::guests;

const EVERY: Duration = Duration::from_secs(1);

/// What a running container uses, once or once a second.
pub fn stats(calls: &Calls, target: &Target, follow: bool) -> Result<ResultStream<Stats>> {
    let found = calls.find_live(target, true)?;
    let context = calls.context.clone();
    Ok(Box::pin(try_stream! {
        let mut told = None;
        yield read(&context, &found, &mut told).await?;
        if follow {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                yield read(&context, &found, &mut told).await?;
            }
        }
    }))
}

/// `told` is what a machine's QEMU said last of its disks: counters do not fall back to the cgroup's
/// because it was busy once.
async fn read(
    context: &Arc<Context>,
    found: &Found,
    told: &mut Option<BlockTraffic>,
) -> Result<Stats> {
    let uid = &found.instance.meta.id;
    let seen = context.engine.stats(&found.id).await?;
    if found.is_machine() {
        // The cgroup does not count what QEMU writes by way of the page cache (v1).
        *told = guests::disk_traffic(context, uid).await.or(*told);
    }
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // Instances in another's network, or the host's, have no interfaces of their own.
    let interfaces = context.fabric.driver().statistics(uid).await.unwrap_or_default();
    Ok(Stats {
        time: Some(seen.at),
        cpu_ns: nanos(seen.cpu.total),
        cpu_system_ns: nanos(seen.cpu.kernel),
        cpu_user_ns: nanos(seen.cpu.user),
        throttled: (seen.cpu.throttled_periods, nanos(seen.cpu.throttled)),
        online_cpus: seen.cpu.online,
        memory: seen.memory.working_set(),
        memory_total: seen.memory.usage,
        memory_limit: seen.memory.limit,
        pids: seen.pids.current,
        pids_limit: seen.pids.limit.unwrap_or(0),
        block: match told {
            Some(disks) => (disks.read, disks.written),
            None => (
                seen.block_io.iter().map(|device| device.read_bytes).sum(),
                seen.block_io.iter().map(|device| device.write_bytes).sum(),
            ),
        },
        interfaces: interfaces.into_iter().map(interface).collect(),
    })
}

fn interface(seen: network::InterfaceStatistics) -> InterfaceStats {
    InterfaceStats {
        name: seen.name,
        rx_bytes: seen.rx_bytes,
        rx_packets: seen.rx_packets,
        rx_errors: seen.rx_errors,
        rx_dropped: seen.rx_dropped,
        tx_bytes: seen.tx_bytes,
        tx_packets: seen.tx_packets,
        tx_errors: seen.tx_errors,
        tx_dropped: seen.tx_dropped,
    }
}

/// The processes of a running container.
pub async fn top(calls: &Calls, target: &Target, options: &str) -> Result<ProcessTable> {
    let found = calls.find_live(target, true)?;
    let processes = calls.context.engine.processes(&found.id).await?;
    if options.trim().is_empty() {
        return Ok(table(&processes));
    }
    let own: Vec<String> = processes.iter().map(|process| process.pid.to_string()).collect();
    let output = tokio::process::Command::new("ps")
        .args(options.split_whitespace())
        .output()
        .await
        .context(ErrorKind::Unavailable, || "ps cannot be run on the node".into())?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::invalid(format!("ps refuses {options:?}: {why}")).at("options"));
    }
    filter(&String::from_utf8_lossy(&output.stdout), &own)
}

fn table(processes: &[Process]) -> ProcessTable {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let row = |process: &Process| {
        let seconds = process.cpu.as_secs();
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let started = process.started.map(|at| at.0.strftime("%H:%M").to_string());
        let tty = if process.tty.is_empty() { "?".into() } else { process.tty.clone() };
        vec![
            process.uid.to_string(),
            process.pid.to_string(),
            process.parent.to_string(),
            "0".into(),
            started.unwrap_or_default(),
            tty,
            time,
            process.command.join(" "),
        ]
    };
    ProcessTable {
        titles: titles.map(str::to_owned).to_vec(),
        processes: processes.iter().map(row).collect(),
    }
}

/// Keeps of a listing the rows of these processes.
fn filter(listing: &str, own: &[String]) -> Result<ProcessTable> {
    let mut lines = listing.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let pid = titles.iter().position(|title| title == "PID").ok_or_else(|| {
        Error::invalid("the columns chosen do not contain PID").at("options").next("add pid to -o")
    })?;
    let split = |line: &str| -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let last = titles.len().saturating_sub(1).min(words.len());
        let mut row: Vec<String> = words[..last].iter().map(|word| (*word).to_owned()).collect();
        row.push(words[last..].join(" "));
        row
    };
    let rows = lines.map(split).filter(|row| row.get(pid).is_some_and(|pid| own.contains(pid)));
    let processes = rows.collect();
    Ok(ProcessTable { titles, processes })
}

/// What differs from the image.
pub async fn diff(calls: &Calls, target: &Target) -> Result<Vec<Change>> {
    let found = calls.find_made(target).await?;
    let changes = calls.context.engine.changes(&found.id).await?;
    Ok(changes
        .into_iter()
        .map(|change| Change {
            path: change.path,
            kind: match change.kind {
                containers::ChangeKind::Changed => ChangeKind::Changed,
                containers::ChangeKind::Added => ChangeKind::Added,
                containers::ChangeKind::Deleted => ChangeKind::Deleted,
            },
        })
        .collect())
}

/// How much disk a container takes: what it wrote is counted now, its image was when it came.
pub async fn disk_size(calls: &Calls, target: &Target) -> Result<DiskSize> {
    let found = calls.find(target)?;
    let written = match calls.context.engine.written(&found.id).await {
        // It was not made yet.
        Err(error) if error.kind() == model::ErrorKind::NotFound => model::Bytes(0),
        written => written?,
    };
    let pinned = {
        let known = found.handle.known.borrow();
        let seen = known.status.container(&found.container.name);
        found.container.made_from(seen).map(str::to_owned)
    };
    let name = pinned.unwrap_or_else(|| found.container.image.clone());
    let image = match calls.context.images.local.detail(&name).await {
        Err(error) if error.kind() == model::ErrorKind::NotFound => 0,
        detail => detail?.layers.iter().map(|layer| layer.0).sum(),
    };
    Ok(DiskSize { written: written.0, image })
}

/// Makes an image of a container.
pub async fn commit(calls: &Calls, target: &Target, request: CommitRequest) -> Result<String> {
    let found = calls.find_made(target).await?;
    let engine = &calls.context.engine;
    let name = match request.name.as_str() {
        "" => String::new(),
        name => Reference::parse(name).map_err(|error| error.at("name"))?.to_string(),
    };
    let pinned = {
        let known = found.handle.known.borrow();
        let seen = known.status.container(&found.container.name);
        seen.map(|seen| seen.image_digest.clone()).unwrap_or_default()
    };
    let policy = model::instance::PullPolicy::Never;
    let images = &calls.context.images;
    let image =
        images.ensure(&found.container.image, policy, Some(&pinned), Progress::none()).await?;
    if image.machine.is_some() {
        return super::images::machine::commit(calls, &found, &image, request).await;
    }
    let config = containers::CommitConfig {
        name,
        // Where the image's name points at an index, the layers are those of the manifest chosen.
        base: images.local.manifest_digest(&image.digest).await?.to_string(),
        config: committed(&image.config, &request),
        author: request.author,
        message: request.message,
    };
    let running = found.state() == model::instance::ContainerState::Running;
    let pause = request.pause && running;
    if pause {
        engine.pause(&found.id).await?;
    }
    let committed = engine.commit(&found.id, &config).await;
    if pause {
        engine.resume(&found.id).await?;
    }
    calls.context.images.forget();
    Ok(committed?.id)
}

/// The configuration of an image that is made of a container.
pub fn committed(base: &ImageConfig, request: &CommitRequest) -> ImageConfig {
    match request.config.clone() {
        None => base.clone(),
        Some(config) if request.whole => config,
        Some(changes) => base.clone().overlaid(changes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_filtered_by_pid() {
        let listing = "  PID USER     COMMAND\n   10 root     sleep 5\n   11 daemon   sh -c x y\n";
        let table = filter(listing, &["11".to_owned()]).unwrap();
        assert_eq!(table.titles, ["PID", "USER", "COMMAND"]);
        assert_eq!(table.processes, [["11", "daemon", "sh -c x y"]]);
        assert!(filter("USER COMMAND\n", &[]).is_err());
    }

    #[test]
    fn a_configuration_is_changed_or_whole() {
        let base = ImageConfig {
            entrypoint: vec!["/e".into()],
            command: vec!["old".into()],
            ..ImageConfig::default()
        };
        let config = ImageConfig { command: vec!["new".into()], ..ImageConfig::default() };
        let request = |config, whole| CommitRequest { config, whole, ..CommitRequest::default() };
        assert_eq!(committed(&base, &request(None, false)), base);
        assert_eq!(committed(&base, &request(Some(config.clone()), true)), config);
        let changed = committed(&base, &request(Some(config), false));
        assert_eq!((changed.entrypoint, changed.command), (vec!["/e".into()], vec!["new".into()]));
    }
}
