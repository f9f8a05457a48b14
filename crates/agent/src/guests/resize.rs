//! More or less of processors and memory while a machine runs. What cannot be done now is done at the
//! next start, and said.

use machines::qmp::Qmp;
use model::instance::{ContainerSpec, Instance};
use model::{Bytes, Result};

use super::{Control, control};
use crate::context::Context;
use crate::steps::machine;

/// Memory is plugged in by this much (Linux's memory block on x86).
const MEMORY_BLOCK: u64 = 128 << 20;

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
    let mut resized = Resized::default();
    processors(&control.qmp, machine::cpus(container), &mut resized).await?;
    let asked = machine::memory(container).0;
    memory(&control, asked, &mut resized).await?;
    Ok(resized)
}

async fn processors(qmp: &Qmp, asked: u32, resized: &mut Resized) -> Result<()> {
    let (has, room) = machines::qmp::processors(&qmp.query_hotpluggable_cpus().await?);
    resized.cpus = has;
    if asked > has && asked <= room {
        resized.cpus = qmp.plug_processors(asked).await?;
    } else if asked != has {
        resized.pending.push(format!("{asked} processors (has {has}, room for {room})"));
    }
    Ok(())
}

async fn memory(control: &Control, asked: u64, resized: &mut Resized) -> Result<()> {
    let (qmp, most) = (&control.qmp, control.config.max_memory);
    let size = qmp.query_memory().await?;
    let has = size.base_memory.saturating_add(size.plugged_memory);
    resized.memory = Bytes(asked);
    if asked <= has {
        // The guest gives back what it can; a larger wish later takes it from the balloon again.
        return qmp.balloon(asked).await;
    }
    let more = asked - has;
    if asked <= most && more.is_multiple_of(MEMORY_BLOCK) {
        let backend = machines::qemu::more_memory(&control.config);
        qmp.add_memory(&format!("memory-{has}"), more, backend).await?;
        return qmp.balloon(asked).await;
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
