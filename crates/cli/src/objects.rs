//! What reads and removals of every noun have in common: selecting, printing, watching, waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::Objects;
use client::wire::{Change, ChangeKind, DeleteQuery, ListQuery};
use futures::{Stream, StreamExt};
use model::{Error, ErrorKind, Noun, Object, Result, Uid};
use serde_json::Value;

use crate::context::Output;
use crate::out::{self, Format};
use crate::plan;
use crate::screen::Screen;

/// Changes that come together are drawn together.
const PACE: Duration = Duration::from_millis(100);

/// Longest wait for what was asked to become true.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Which objects are listed, and how.
#[derive(Debug, Clone, Args)]
pub struct Listing {
    /// Only those with these labels: app=web,tier!=db
    #[arg(short = 'l', long, default_value = "", value_name = "SELECTOR")]
    pub selector: String,
    /// Only those with these fields: meta.name=web
    #[arg(short, long, default_value = "", value_name = "SELECTOR")]
    pub filter: String,
    /// Go on as they change
    #[arg(short, long)]
    pub watch: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// How objects of a noun look in a table.
pub struct View<N: Noun> {
    /// Titles of the columns.
    pub titles: &'static [&'static str],
    /// The columns of numbers.
    pub right: &'static [usize],
    /// An object's row.
    pub row: fn(&Object<N>) -> Vec<String>,
}

impl Listing {
    /// What is asked of the API.
    pub fn query(&self) -> ListQuery {
        ListQuery {
            labels: self.selector.clone(),
            fields: self.filter.clone(),
            ..ListQuery::default()
        }
    }

    /// Prints the objects, and goes on as they change if that is wanted.
    pub async fn show<N: Noun>(&self, objects: &Objects<N>, view: &View<N>) -> Result<()> {
        let query = self.query();
        let row = |object: &Object<N>| Some((view.row)(object));
        if self.watch {
            let shown = Shown { titles: view.titles, right: view.right, row: &row };
            return watch(objects, &query, self.output.output, &shown).await;
        }
        let items = objects.list_all(&query).await?;
        print(&items, self.output.output, view)
    }
}

/// Prints objects.
pub fn print<N: Noun>(items: &[Object<N>], format: Format, view: &View<N>) -> Result<()> {
    if out::structured(format, items)? {
        return Ok(());
    }
    if format == Format::Name {
        items.iter().for_each(|object| out::line(&object.meta.name));
        return Ok(());
    }
    out::table(view.titles, items.iter().map(view.row).collect(), view.right);
    Ok(())
}

/// Prints one object; for people as YAML, which shows all of it.
pub fn show<N: Noun>(object: &Object<N>, format: Format) -> Result<()> {
    match format {
        Format::Name => out::line(&object.meta.name),
        Format::Table => drop(out::structured(Format::Yaml, object)?),
        format => drop(out::structured(format, object)?),
    }
    Ok(())
}

/// How objects look that are watched. An object without a row is not shown.
pub struct Shown<'a, N: Noun> {
    /// Titles of the columns.
    pub titles: &'a [&'a str],
    /// The columns of numbers.
    pub right: &'a [usize],
    /// An object's row.
    pub row: &'a dyn Fn(&Object<N>) -> Option<Vec<String>>,
}

/// Shows objects as they change: on a terminal as one table that is drawn again, else a line for
/// each change.
pub async fn watch<N: Noun>(
    objects: &Objects<N>,
    query: &ListQuery,
    format: Format,
    shown: &Shown<'_, N>,
) -> Result<()> {
    watch_with(objects, query, format, shown, futures::stream::pending()).await
}

/// The same for rows that have something of other objects in them: whenever `also` yields, rows may have
/// become others.
pub async fn watch_with<N: Noun>(
    objects: &Objects<N>,
    query: &ListQuery,
    format: Format,
    shown: &Shown<'_, N>,
    also: impl Stream<Item = ()>,
) -> Result<()> {
    let mut known: BTreeMap<Uid, Arc<Object<N>>> = BTreeMap::new();
    let mut rows: BTreeMap<Uid, Option<Vec<String>>> = BTreeMap::new();
    let mut screen = Screen::new().filter(|_| format == Format::Table);
    let mut changes = objects.watch(query).await?.ready_chunks(256);
    let mut also = std::pin::pin!(also.fuse());
    if screen.is_none() && format == Format::Table {
        out::line(shown.titles.join("  "));
    }
    loop {
        let chunk = tokio::select! {
            chunk = changes.next() => match chunk {
                Some(chunk) => chunk,
                None => break,
            },
            Some(()) = also.next() => Vec::new(),
        };
        let others = chunk.is_empty();
        for change in chunk {
            let change = change?;
            if screen.is_none() {
                tell(&change, format, shown)?;
                note(&mut rows, &change, shown);
            }
            take(&mut known, change);
        }
        if others && screen.is_none() && format == Format::Table {
            tell_others(&known, &mut rows, shown);
        }
        let Some(screen) = &mut screen else { continue };
        let mut items: Vec<&Arc<Object<N>>> = known.values().collect();
        items.sort_by(|one, two| one.meta.name.cmp(&two.meta.name));
        let rows = items.iter().filter_map(|object| (shown.row)(object)).collect();
        screen.table(shown.titles, rows, shown.right);
        // What comes in a burst is drawn once; the stream holds it meanwhile.
        tokio::time::sleep(PACE).await;
    }
    Err(Error::unavailable("the connection to the platform ended").next("run it again"))
}

/// Remembers an object's row as it was told.
fn note<N: Noun>(
    rows: &mut BTreeMap<Uid, Option<Vec<String>>>,
    change: &Change<N>,
    shown: &Shown<'_, N>,
) {
    let Some(object) = &change.object else { return };
    match change.r#type {
        ChangeKind::Added | ChangeKind::Modified => {
            rows.insert(object.meta.id.clone(), (shown.row)(object));
        }
        ChangeKind::Removed => drop(rows.remove(&object.meta.id)),
        ChangeKind::Bookmark => {}
    }
}

/// Tells the rows that have become others by a change of something else.
fn tell_others<N: Noun>(
    known: &BTreeMap<Uid, Arc<Object<N>>>,
    rows: &mut BTreeMap<Uid, Option<Vec<String>>>,
    shown: &Shown<'_, N>,
) {
    for (id, object) in known {
        let row = (shown.row)(object);
        if rows.get(id) == Some(&row) {
            continue;
        }
        if let Some(row) = &row {
            out::line(row.join("  ").trim_end());
        }
        rows.insert(id.clone(), row);
    }
}

fn take<N: Noun>(known: &mut BTreeMap<Uid, Arc<Object<N>>>, change: Change<N>) {
    let Some(object) = change.object else { return };
    match change.r#type {
        ChangeKind::Added | ChangeKind::Modified => {
            known.insert(object.meta.id.clone(), object);
        }
        ChangeKind::Removed => {
            known.remove(&object.meta.id);
        }
        ChangeKind::Bookmark => {}
    }
}

fn tell<N: Noun>(change: &Change<N>, format: Format, shown: &Shown<'_, N>) -> Result<()> {
    let Some(object) = &change.object else { return Ok(()) };
    match format {
        Format::Json => return out::json_line(change),
        Format::Yaml => {
            out::line("---");
            out::structured(Format::Yaml, change)?;
        }
        Format::Name => out::line(&object.meta.name),
        Format::Table => {
            let row = (shown.row)(object).map(|row| row.join("  "));
            match (change.r#type, row) {
                (ChangeKind::Removed, _) => out::line(format!("{}  (removed)", object.meta.name)),
                (_, Some(row)) => out::line(row.trim_end()),
                (_, None) => {}
            }
        }
    }
    Ok(())
}

/// Changes fields of one object (RFC 7396), or shows what would change.
pub async fn patch<N: Noun>(
    objects: &Objects<N>,
    name: &str,
    patch: &Value,
    plan: bool,
) -> Result<()> {
    let write = objects.patch(name, patch, None, plan);
    if plan {
        return plan::change(objects, name, write).await;
    }
    write.await?;
    out::line(name);
    Ok(())
}

/// Removes one object. One that is gone already is no failure of a second try, and is told.
pub async fn remove<N: Noun>(
    objects: &Objects<N>,
    name: &str,
    plan: bool,
    wait: bool,
) -> Result<()> {
    let object = objects.delete(name, DeleteQuery { plan, ..DeleteQuery::default() }).await?;
    if plan {
        plan::removal(&object);
        return Ok(());
    }
    if wait {
        until_gone(objects, &object.meta.id).await?;
    }
    out::line(name);
    Ok(())
}

/// Waits until an object is as `good` says, which tells `None` while it is not known yet.
pub async fn until<N: Noun>(
    objects: &Objects<N>,
    id: &Uid,
    good: impl Fn(&Object<N>) -> Option<Result<()>>,
) -> Result<Arc<Object<N>>> {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut changes = objects.watch(&by_id(id)).await?;
        while let Some(change) = changes.next().await {
            let change = change?;
            let Some(object) = change.object else { continue };
            if change.r#type == ChangeKind::Removed {
                return Err(Error::not_found(format!("{} was removed", object.title())));
            }
            if let Some(outcome) = good(&object) {
                return outcome.map(|()| object);
            }
        }
        Err(Error::unavailable("the connection to the platform ended"))
    });
    waited.await.unwrap_or_else(|_| Err(late::<N>()))
}

/// Waits until an object is gone, however long that takes.
pub async fn gone<N: Noun>(objects: &Objects<N>, id: &Uid) -> Result<()> {
    let mut changes = objects.watch(&by_id(id)).await?;
    match objects.get(id.as_str()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => drop(found?),
    }
    while let Some(change) = changes.next().await {
        if change?.r#type == ChangeKind::Removed {
            return Ok(());
        }
    }
    Err(Error::unavailable("the connection to the platform ended").next("run it again"))
}

/// Waits until an object is gone.
pub async fn until_gone<N: Noun>(objects: &Objects<N>, id: &Uid) -> Result<()> {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut changes = objects.watch(&by_id(id)).await?;
        // The watch began before this look: whatever happens after it is told.
        match objects.get(id.as_str()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Ok(object) => going(&object)?,
            Err(error) => return Err(error),
        }
        while let Some(change) = changes.next().await {
            let change = change?;
            if change.r#type == ChangeKind::Removed {
                return Ok(());
            }
            change.object.as_deref().map_or(Ok(()), going)?;
        }
        Err(Error::unavailable("the connection to the platform ended"))
    });
    waited.await.unwrap_or_else(|_| Err(late::<N>()))
}

/// Refuses an object whose removal was called off: others' storage may refuse one.
fn going<N: Noun>(object: &Object<N>) -> Result<()> {
    if object.meta.deleted.is_some() {
        return Ok(());
    }
    let status = serde_json::to_value(&object.status).unwrap_or_default();
    let told = |field: &str| status.pointer(field).and_then(|words| words.as_str());
    let why = told("/reason/message").unwrap_or("nobody says why");
    let error = Error::conflict(format!("{} is not removed: {why}", object.title()));
    Err(match told("/reason/next") {
        Some(next) => error.next(next),
        None => error,
    })
}

fn late<N: Noun>() -> Error {
    Error::unavailable(format!("the {} takes longer than {PATIENCE:?}", N::KIND))
        .next("it goes on without you; look at it again later")
}

fn by_id(id: &Uid) -> ListQuery {
    ListQuery { fields: format!("meta.id={id}"), ..ListQuery::default() }
}
