//! More or less of processors and memory while a machine runs. What cannot be done now is done at the
//! next start, and said.

use std::time::Duration;

use machines::guest_agent::{GuestAgent, InUse};
use machines::qmp::Qmp;
use model::instance::{ContainerSpec, Instance};
use model::{Bytes, Result};
use tokio::time::{Instant, sleep};

use super::{Control, agent, control};
use crate::context::Context;
use crate::steps::machine;

/// Memory is plugged in by this much (Linux's memory block on x86).
const MEMORY_BLOCK: u64 = 128 << 20;
/// Longest wait for a guest to see what was plugged in, and how often it is asked meanwhile.
const SEEN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// What a machine has after its wishes changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resized {
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// Changes that wait for the next start.
    pub pending: Vec<String>,
}

/// Brings a running machine to what is wanted, as far as it can go there.
pub async fn resize(
    context: &Context,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<Resized> {
    let control = control(context, &wanted.meta.id).await?;
    let agent = agent(context, wanted);
    let mut resized = Resized::default();
    processors(&control, &agent, machine::cpus(container), &mut resized).await?;
    let asked = machine::memory(container).0;
    memory(&control, &agent, asked, &mut resized).await?;
    Ok(resized)
}

async fn processors(
    control: &Control,
    agent: &GuestAgent,
    asked: u32,
    resized: &mut Resized,
) -> Result<()> {
    let qmp = &control.qmp;
    let (has, room) = machines::qmp::processors(&qmp.query_hotpluggable_cpus().await?);
    resized.cpus = has;
    if asked < has || asked > room {
        resized.pending.push(format!("{asked} processors (has {has}, room for {room})"));
        return Ok(());
    }
    if asked > has {
        resized.cpus = qmp.plug_processors(asked).await?;
    }
    // Also those that were plugged in before, when no agent answered.
    if asked > control.config.cpus {
        let used = put_to_use(agent, asked.into(), GuestAgent::use_processors).await;
        if let Ok(InUse { offline: 1.., online }) = used {
            resized.pending.push(format!("{asked} processors (the guest uses {online} of them)"));
        }
    }
    Ok(())
}

async fn memory(
    control: &Control,
    agent: &GuestAgent,
    asked: u64,
    resized: &mut Resized,
) -> Result<()> {
    let (qmp, most) = (&control.qmp, control.config.max_memory);
    let size = qmp.query_memory().await?;
    let has = size.base_memory.saturating_add(size.plugged_memory);
    resized.memory = Bytes(asked);
    if asked <= has {
        return shrink(qmp, agent, (asked, has), size.plugged_memory > 0, resized).await;
    }
    let more = asked - has;
    if asked <= most && more.is_multiple_of(MEMORY_BLOCK) {
        let before = agent.use_memory().await.unwrap_or_default();
        let backend = machines::qemu::more_memory(&control.config);
        qmp.add_memory(&format!("memory-{has}"), more, backend).await?;
        qmp.balloon(asked).await?;
        let total = before.total().saturating_add(more);
        if let Ok(used) = put_to_use(agent, total, GuestAgent::use_memory).await
            && used.online < total
        {
            let missing = Bytes(total - used.online);
            let asked = Bytes(asked);
            resized.pending.push(format!("{asked} of memory (the guest leaves {missing} unused)"));
        }
        return Ok(());
    }
    qmp.balloon(has).await?;
    resized.memory = Bytes(has);
    let block = Bytes(MEMORY_BLOCK);
    resized.pending.push(format!(
        "{} of memory (has {}, room for {}, in steps of {block})",
        Bytes(asked),
        Bytes(has),
        Bytes(most)
    ));
    Ok(())
}

/// Has the guest give back what it can; a larger wish later takes it from the balloon again.
///
/// The balloon is as large as what is to be given back of the memory the guest *uses*: of one that left
/// unused what was plugged in, all it has could be asked for otherwise.
async fn shrink(
    qmp: &Qmp,
    agent: &GuestAgent,
    (asked, has): (u64, u64),
    plugged: bool,
    resized: &mut Resized,
) -> Result<()> {
    let unused = match plugged {
        true => agent.use_memory().await.map(|used| used.offline),
        false => Ok(0),
    };
    match unused {
        Ok(unused) => qmp.balloon(asked.saturating_add(unused).min(has)).await,
        Err(error) if asked < has => {
            tracing::debug!(error = %error.chain(), "a guest does not say how much memory it uses");
            resized.memory = Bytes(has);
            resized.pending.push(format!(
                "{} of memory (has {}, and without a guest agent that answers nobody knows how much it uses)",
                Bytes(asked),
                Bytes(has)
            ));
            Ok(())
        }
        Err(_) => qmp.balloon(has).await,
    }
}

/// Has a guest use what was plugged in, as soon as it sees it: `total` at least. Without an agent it is
/// the guest's own affair.
async fn put_to_use<'a, F: Future<Output = Result<InUse>>>(
    agent: &'a GuestAgent,
    total: u64,
    put: impl Fn(&'a GuestAgent) -> F,
) -> Result<InUse> {
    agent.ping().await?;
    let deadline = Instant::now() + SEEN;
    loop {
        let used = put(agent).await?;
        if used.online >= total || Instant::now() > deadline {
            return Ok(used);
        }
        sleep(LOOK).await;
    }
}
