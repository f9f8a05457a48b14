//! What the view shows and where the user is in it. Nothing here knows of terminals.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use client::wire::{Change, ChangeKind};
use link::instance::{ProcessTable, Stats};
use model::instance::{Instance, InstanceNoun};
use model::{Bytes, Cpus, Uid};

use crate::usage::Rates;

/// Lines of a log that are kept.
const LOG_LINES: usize = 2000;

/// A column that rows can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The instance's name.
    Name,
    /// Its phase.
    State,
    /// Processors in use.
    Cpu,
    /// Memory in use.
    Memory,
    /// Bytes over its networks.
    Net,
    /// Bytes to and from its disks.
    Disk,
    /// When it was made.
    Age,
}

impl Column {
    /// Whether most comes first.
    fn falls(self) -> bool {
        match self {
            Column::Cpu | Column::Memory | Column::Net | Column::Disk | Column::Age => true,
            Column::Name | Column::State => false,
        }
    }
}

/// An instance and what it uses.
#[derive(Debug, Clone)]
pub struct Row {
    /// The instance as it is.
    pub instance: Arc<Instance>,
    /// The last look, while it runs.
    pub stats: Option<Stats>,
    /// What lies between the last two looks.
    pub rates: Option<Rates>,
}

/// What is beside the list.
#[derive(Debug, Clone, Default)]
pub enum Pane {
    /// Nothing.
    #[default]
    None,
    /// All of one instance; its processes once they are known.
    Detail(Option<ProcessTable>),
    /// Its log, with what is not a whole line yet at the end.
    Log(Log),
    /// What the keys do.
    Help,
}

/// Lines of a log, the last ones.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: VecDeque<String>,
    begun: String,
}

impl Log {
    /// Takes what was printed. What would move the cursor is left out.
    pub fn push(&mut self, bytes: &[u8]) {
        for c in String::from_utf8_lossy(bytes).chars() {
            match c {
                '\n' => self.end_line(),
                '\t' => self.begun.push_str("    "),
                c if c.is_control() => {}
                c => self.begun.push(c),
            }
        }
    }

    /// All of it, with the line that has not ended yet.
    pub fn text(&self) -> impl Iterator<Item = &str> {
        let begun = Some(self.begun.as_str()).filter(|text| !text.is_empty());
        self.lines.iter().map(String::as_str).chain(begun)
    }

    fn end_line(&mut self) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(std::mem::take(&mut self.begun));
    }
}

/// What the user is asked or types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Prompt {
    /// Nothing.
    #[default]
    None,
    /// Which rows to show.
    Filter,
    /// Whether the instance of this name is to go.
    Remove(String),
}

/// The node behind the figures.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its name.
    pub node: String,
    /// Processors of all nodes.
    pub cpus: Cpus,
    /// Memory of all nodes.
    pub memory: Bytes,
    /// What is wrong, one sentence each.
    pub warnings: Vec<String>,
}

/// The view.
#[derive(Debug, Clone)]
pub struct View {
    /// The project whose instances these are.
    pub project: String,
    /// Where they run.
    pub machine: Machine,
    /// What the rows are ordered by, and whether the other way round.
    pub order: (Column, bool),
    /// Only rows with this in their name, image or state.
    pub filter: String,
    /// Also those that do not run.
    pub ended: bool,
    /// What is beside the list.
    pub pane: Pane,
    /// What the user is asked.
    pub prompt: Prompt,
    /// What was done last, or why it was not.
    pub message: String,
    /// Nothing was told yet.
    pub unread: bool,
    rows: BTreeMap<Uid, Row>,
    selected: Option<Uid>,
}

impl View {
    /// An empty view.
    pub fn new(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            machine: Machine::default(),
            order: (Column::Cpu, false),
            filter: String::new(),
            ended: true,
            pane: Pane::None,
            prompt: Prompt::None,
            message: String::new(),
            unread: true,
            rows: BTreeMap::new(),
            selected: None,
        }
    }

    /// Takes a change of an instance; the instance, unless it is gone.
    pub fn change(&mut self, change: Change<InstanceNoun>) -> Option<Arc<Instance>> {
        self.unread = false;
        let instance = change.object?;
        let id = instance.meta.id.clone();
        match change.r#type {
            ChangeKind::Added | ChangeKind::Modified => {}
            ChangeKind::Removed => {
                self.rows.remove(&id);
                return None;
            }
            ChangeKind::Bookmark => return None,
        }
        let new = Row { instance: instance.clone(), stats: None, rates: None };
        let row = self.rows.entry(id).or_insert(new);
        row.instance = instance.clone();
        Some(instance)
    }

    /// Takes a look at what an instance uses.
    pub fn sample(&mut self, id: &Uid, now: Stats) {
        if let Some(row) = self.rows.get_mut(id) {
            row.rates = row.stats.as_ref().map(|before| Rates::between(before, &now));
            row.stats = Some(now);
        }
    }

    /// An instance is not looked at any more.
    pub fn unmeasured(&mut self, id: &Uid) {
        if let Some(row) = self.rows.get_mut(id) {
            (row.stats, row.rates) = (None, None);
        }
    }

    /// Nothing is known any more: the platform went away.
    pub fn forget(&mut self) {
        self.rows.clear();
        self.unread = true;
    }

    /// All instances, shown or not.
    pub fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// The rows that are shown, in their order.
    pub fn shown(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.values().filter(|row| self.shows(row)).collect();
        let (column, turned) = self.order;
        rows.sort_by(|one, two| {
            let by = compare(column, one, two);
            let by = if column.falls() != turned { by.reverse() } else { by };
            by.then_with(|| one.instance.meta.name.cmp(&two.instance.meta.name))
        });
        rows
    }

    fn shows(&self, row: &Row) -> bool {
        let instance = &row.instance;
        let wanted = self.filter.to_lowercase();
        let images = instance.spec.containers.iter().map(|it| it.image.as_str());
        let mut words = images.chain([instance.meta.name.as_str(), instance.status.phase.as_str()]);
        (self.ended || instance.status.phase.is_live())
            && words.any(|word| word.to_lowercase().contains(&wanted))
    }

    /// Where the selected row stands among those shown.
    pub fn position(&self) -> Option<usize> {
        let rows = self.shown();
        let found =
            rows.iter().position(|row| Some(&row.instance.meta.id) == self.selected.as_ref());
        found.or(if rows.is_empty() { None } else { Some(0) })
    }

    /// The selected instance; the first when none was selected, or it is not shown any more.
    pub fn selected(&self) -> Option<&Row> {
        self.shown().get(self.position()?).copied()
    }

    /// The instance that stands selected on the screen; none when it has gone since it was drawn, for a
    /// key is meant for what was seen.
    pub fn chosen(&self) -> Option<Arc<Instance>> {
        let row = self.rows.get(self.selected.as_ref()?)?;
        self.shows(row).then(|| row.instance.clone())
    }

    /// Moves the selection by so many rows; to an end when there are not as many.
    pub fn go(&mut self, by: isize) {
        let Some(position) = self.position() else { return };
        let rows = self.shown();
        let to = position.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.selected = rows.get(to).map(|row| row.instance.meta.id.clone());
    }

    /// Orders by a column; the other way round when that is the order already.
    pub fn order_by(&mut self, column: Column) {
        self.keep_selected();
        let (now, turned) = self.order;
        self.order = (column, now == column && !turned);
    }

    /// The selection stays with the instance that it shows now.
    pub fn keep_selected(&mut self) {
        self.selected = self.selected().map(|row| row.instance.meta.id.clone());
    }
}

fn compare(column: Column, one: &Row, two: &Row) -> Ordering {
    let rate = |of: fn(&Rates) -> f64| {
        let value = |row: &Row| row.rates.as_ref().map_or(0.0, of);
        value(one).total_cmp(&value(two))
    };
    let memory = |row: &Row| row.stats.as_ref().map_or(0, |stats| stats.memory);
    match column {
        Column::Name => one.instance.meta.name.cmp(&two.instance.meta.name),
        Column::State => one.instance.status.phase.as_str().cmp(two.instance.status.phase.as_str()),
        Column::Cpu => rate(|rates| rates.cpus),
        Column::Memory => memory(one).cmp(&memory(two)),
        Column::Net => rate(|rates| rates.net.0 + rates.net.1),
        Column::Disk => rate(|rates| rates.disk.0 + rates.disk.1),
        Column::Age => one.instance.meta.created.cmp(&two.instance.meta.created),
    }
}

#[cfg(test)]
mod tests {
    use model::instance::{InstanceSpec, Phase};
    use model::{Meta, Time};

    use super::*;

    fn change(r#type: ChangeKind, name: &str, phase: Phase) -> Change<InstanceNoun> {
        let meta = Meta::new("default", name, id(name), Time::from_unix(0, 0));
        let mut instance = Instance::new(meta, InstanceSpec::default());
        instance.status.phase = phase;
        Change { r#type, revision: 1, object: Some(Arc::new(instance)) }
    }

    fn id(name: &str) -> Uid {
        format!("{:0<64}", name.bytes().map(|b| format!("{b:02x}")).collect::<String>())
            .parse()
            .unwrap()
    }

    fn look(seconds: i64, cpu_ns: u64) -> Stats {
        Stats { time: Some(Time::from_unix(seconds, 0)), cpu_ns, ..Stats::default() }
    }

    fn names(view: &View) -> Vec<&str> {
        view.shown().iter().map(|row| row.instance.meta.name.as_str()).collect()
    }

    fn three() -> View {
        let mut view = View::new("default");
        view.change(change(ChangeKind::Added, "a", Phase::Running));
        view.change(change(ChangeKind::Added, "b", Phase::Running));
        view.change(change(ChangeKind::Added, "c", Phase::Exited));
        for (name, cpu) in [("a", 100), ("b", 900)] {
            view.sample(&id(name), look(1, 0));
            view.sample(&id(name), look(2, cpu));
        }
        view
    }

    #[test]
    fn rows_are_ordered_and_filtered() {
        let mut view = three();
        assert_eq!(names(&view), ["b", "a", "c"]);
        view.order_by(Column::Cpu);
        assert_eq!(names(&view), ["c", "a", "b"], "the other way round");
        view.order_by(Column::Name);
        assert_eq!(names(&view), ["a", "b", "c"]);
        view.ended = false;
        assert_eq!(names(&view), ["a", "b"]);
        view.filter = "B".to_owned();
        assert_eq!(names(&view), ["b"]);
        view.filter = "exited".to_owned();
        assert!(names(&view).is_empty());
    }

    #[test]
    fn the_selection_stays_with_its_instance() {
        let mut view = three();
        view.keep_selected();
        assert_eq!(view.chosen().unwrap().meta.name, "b");
        view.sample(&id("a"), look(3, 3_000_000_000));
        assert_eq!(names(&view)[0], "a");
        assert_eq!((view.chosen().unwrap().meta.name.as_str(), view.position()), ("b", Some(1)));
        view.go(9);
        assert_eq!(view.chosen().unwrap().meta.name, "c");
        view.change(change(ChangeKind::Removed, "c", Phase::Exited));
        assert!(view.chosen().is_none(), "a key is not meant for what moved there");
        assert_eq!(view.position(), Some(0));
    }

    #[test]
    fn a_log_has_no_say_in_the_terminal() {
        let mut log = Log::default();
        log.push(b"one\x1b[2J\r\ntw");
        log.push(b"o\tthree");
        assert_eq!(log.text().collect::<Vec<_>>(), ["one[2J", "two    three"]);
        (0..LOG_LINES + 5).for_each(|_| log.push(b"\n"));
        assert_eq!(log.text().count(), LOG_LINES);
    }
}
