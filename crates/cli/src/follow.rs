//! What several instances print, each line with whose it is; also those that come later, as the platform
//! tells of them.

use std::collections::HashMap;

use client::Objects;
use client::wire::{ChangeKind, ListQuery};
use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use link::instance::{LogRecord, LogsRequest};
use model::instance::Instance;
use model::{Error, ErrorKind, Noun, Result, Time, Uid};

use crate::context::Context;
use crate::{objects, out};

/// Which instances, and what of each.
pub struct Followed<'a> {
    /// Selects them.
    pub query: ListQuery,
    /// Says of one that was selected whether it is meant.
    pub meant: &'a dyn Fn(&Instance) -> bool,
    /// The container; the first one when empty.
    pub container: &'a str,
    /// What is wanted of each.
    pub request: LogsRequest,
    /// Each line with its time.
    pub timestamps: bool,
}

/// What comes of an instance.
enum Told {
    Record(LogRecord),
    /// It prints nothing more for now.
    End,
}

/// What is known of an instance that prints.
struct Known {
    name: String,
    runs: u64,
    /// The run at which somebody began to listen.
    heard: u64,
    listening: bool,
    /// The time of its last line.
    last: Option<Time>,
    /// It had not run when it was first seen, and is read from its beginning.
    late: bool,
    /// It is not there any more; what it said may still come.
    removed: bool,
}

type Streams = SelectAll<BoxStream<'static, (Uid, Result<Told>)>>;

impl Followed<'_> {
    /// Prints what is there, instance by instance in the order of their names.
    pub async fn show(&self, context: &Context) -> Result<()> {
        let mut found = context.instances().list_all(&self.query).await?;
        found.retain(|it| (self.meant)(it) && has_printed(it));
        found.sort_by(|one, two| one.meta.name.cmp(&two.meta.name));
        for instance in found {
            let id = instance.meta.id.as_str();
            let instances = context.instances();
            let mut records = instances.logs(id, self.container, &self.request).await?;
            while let Some(record) = records.next().await {
                self.tell(&instance.meta.name, &record?);
            }
        }
        Ok(())
    }

    /// Prints what is there and what comes, until whom they belong to is gone and they have ended.
    pub async fn follow<N: Noun>(
        &self,
        context: &Context,
        owners: &Objects<N>,
        owner: &Uid,
    ) -> Result<()> {
        let mut known: HashMap<Uid, Known> = HashMap::new();
        let mut streams = Streams::new();
        let mut gone = std::pin::pin!(objects::gone(owners, owner));
        let mut is_gone = false;
        let mut changes = context.instances().watch(&self.query).await?;
        while !is_gone || !streams.is_empty() {
            tokio::select! {
                outcome = &mut gone, if !is_gone => {
                    outcome?;
                    is_gone = true;
                }
                change = changes.next() => {
                    let change = change.ok_or_else(ended)??;
                    let Some(instance) = change.object.filter(|it| (self.meant)(it)) else { continue };
                    let id = instance.meta.id.clone();
                    if change.r#type == ChangeKind::Removed {
                        match known.get_mut(&id) {
                            Some(one) if one.listening => one.removed = true,
                            Some(_) | None => drop(known.remove(&id)),
                        }
                        continue;
                    }
                    let one = known.entry(id).or_insert_with(|| Known::of(&instance));
                    one.see(&instance);
                    self.listen(context, &instance.meta.id, one, &mut streams).await?;
                }
                Some((id, told)) = streams.next(), if !streams.is_empty() => {
                    let Some(one) = known.get_mut(&id) else { continue };
                    match told? {
                        Told::Record(record) => {
                            self.tell(&one.name, &record);
                            one.last = Some(record.time);
                        }
                        Told::End if one.removed => drop(known.remove(&id)),
                        Told::End => {
                            one.listening = false;
                            self.listen(context, &id, one, &mut streams).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Listens to an instance in which something runs that nobody listened to.
    async fn listen(
        &self,
        context: &Context,
        id: &Uid,
        one: &mut Known,
        streams: &mut Streams,
    ) -> Result<()> {
        if one.listening || one.runs <= one.heard {
            return Ok(());
        }
        let request = match one.last {
            // What was told before is not told again.
            Some(last) => {
                LogsRequest { since: Some(after(last)), tail: None, ..self.request.clone() }
            }
            None if one.late => LogsRequest { tail: None, ..self.request.clone() },
            None => self.request.clone(),
        };
        let asked = context.instances().logs(id.as_str(), self.container, &request).await;
        let records = match asked {
            // It went between what was told of it and now, or is not on a node yet.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                return Ok(());
            }
            // One that keeps no log does not end what others say.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                out::remark(format!("{}: {}", one.name, error.message()));
                one.heard = one.runs;
                return Ok(());
            }
            asked => asked?,
        };
        (one.listening, one.heard) = (true, one.runs);
        let (its, end) = (id.clone(), id.clone());
        let records = records.map(move |record| (its.clone(), record.map(Told::Record)));
        let end = futures::stream::once(async move { (end, Ok(Told::End)) });
        streams.push(records.chain(end).boxed());
        Ok(())
    }

    fn tell(&self, name: &str, record: &LogRecord) {
        let time = if self.timestamps { format!("{} ", record.time) } else { String::new() };
        let text = String::from_utf8_lossy(&record.bytes);
        text.lines().for_each(|line| out::line(format!("{name} | {time}{line}")));
    }
}

impl Known {
    fn of(instance: &Instance) -> Self {
        let (name, runs) = (instance.meta.name.clone(), instance.status.runs);
        Self { name, runs, heard: 0, listening: false, last: None, late: runs == 0, removed: false }
    }

    fn see(&mut self, instance: &Instance) {
        self.name.clone_from(&instance.meta.name);
        self.runs = instance.status.runs;
    }
}

/// Whether there is anything to be read of it.
fn has_printed(instance: &Instance) -> bool {
    instance.status.runs > 0
}

fn after(time: Time) -> Time {
    Time(time.0.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(time.0))
}

fn ended() -> Error {
    Error::unavailable("the connection to the platform ended").next("run it again")
}
