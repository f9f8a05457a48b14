//! Draws the view.

use model::Bytes;
use model::instance::{Health, Instance, Phase};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row as Cells, Table, TableState, Wrap};

use super::view::{Column, Log, Pane, Prompt, Row, View};
use crate::commands::ps;
use crate::out;
use crate::usage::{compact, of_limit};

/// What the keys do, for those who ask.
const HELP: [(&str, &str); 14] = [
    ("up, down, PgUp, PgDn, Home, End", "select"),
    ("Enter", "all of the instance, and its processes"),
    ("l", "its log, as it is written"),
    ("Esc", "close what is beside the list"),
    ("/", "show only those with a text in name, image or state"),
    ("a", "show or hide those that do not run"),
    ("C M T D", "order by processor, memory, network traffic, disk; again: the other way round"),
    ("N S A", "order by name, state, age"),
    ("s", "stop it"),
    ("u", "start it up"),
    ("r", "restart it"),
    ("p", "pause it, or let it go on"),
    ("x", "remove it, after asking"),
    ("q", "leave"),
];

/// Narrower than this, columns that can be missed are left out.
const NARROW: u16 = 100;
const VERY_NARROW: u16 = 72;
const TINY: u16 = 40;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let beside = match view.pane {
        Pane::None => Constraint::Length(0),
        Pane::Help => Constraint::Length(u16::try_from(HELP.len() + 1).unwrap_or(u16::MAX)),
        Pane::Detail(_) | Pane::Log(_) => Constraint::Percentage(55),
    };
    let rows = [Constraint::Length(2), Constraint::Min(3), beside, Constraint::Length(1)];
    let [head, list, pane, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(summary(view)), head);
    draw_list(frame, list, view);
    draw_pane(frame, pane, view);
    frame.render_widget(Paragraph::new(foot_line(view)), foot);
}

fn summary(view: &View) -> Vec<Line<'static>> {
    let (mut running, mut failed, mut all, mut cpus, mut memory) = (0, 0, 0, 0.0, 0);
    for row in view.all() {
        all += 1;
        running += usize::from(row.instance.status.phase == Phase::Running);
        failed += usize::from(row.instance.status.phase == Phase::Failed);
        cpus += row.rates.map_or(0.0, |rates| rates.cpus);
        memory += row.stats.as_ref().map_or(0, |stats| stats.memory);
    }
    let machine = &view.machine;
    let mut first = vec![
        Span::from("hull").bold(),
        Span::from(format!(" {}  project {}  ", machine.node, view.project)),
        Span::from(format!("{all} instances, {running} running")),
    ];
    if failed > 0 {
        first.push(Span::from(format!(", {failed} failed")).red());
    }
    let memory = Bytes(memory);
    let used = format!("cpu {cpus:.2} of {}  memory {memory} of {}", machine.cpus, machine.memory);
    let mut second = vec![Span::from(used)];
    match machine.warnings.as_slice() {
        [] => {}
        [warning] => second.push(Span::from(format!("  {warning}")).yellow()),
        all => second.push(Span::from(format!("  {} warnings: hull status", all.len())).yellow()),
    }
    vec![Line::from(first), Line::from(second)]
}

fn foot_line(view: &View) -> Line<'static> {
    match &view.prompt {
        Prompt::Filter => {
            Line::from(format!("/{}\u{2588}  Enter keeps it, Esc clears it", view.filter))
        }
        Prompt::Remove(name) => {
            Line::from(format!("Stop and remove {name}, with what is only in it? y/N")).red().bold()
        }
        Prompt::None if !view.message.is_empty() => Line::from(view.message.clone()).yellow(),
        Prompt::None => {
            let filter = match view.filter.as_str() {
                "" => String::new(),
                filter => format!("only {filter:?}  "),
            };
            Line::from(format!(
                "{filter}Enter details  l log  / filter  s stop  u start  x remove  ? help  q leave"
            ))
            .dim()
        }
    }
}

/// A column of the list.
struct Field {
    /// What it orders by, if it can.
    by: Option<Column>,
    title: &'static str,
    width: Constraint,
    /// The narrowest screen that has it.
    least: u16,
    /// Of numbers, which stand below each other.
    right: bool,
    text: fn(&Row) -> String,
}

impl Field {
    const fn new(
        by: Option<Column>,
        title: &'static str,
        width: Constraint,
        least: u16,
        right: bool,
        text: fn(&Row) -> String,
    ) -> Self {
        Self { by, title, width, least, right, text }
    }

    fn cell(&self, text: String) -> Cell<'static> {
        let text = Text::from(text);
        Cell::from(if self.right { text.right_aligned() } else { text })
    }
}

const FIELDS: [Field; 10] = {
    use Constraint::{Fill, Length};
    [
        Field::new(Some(Column::Name), "NAME", Fill(3), 0, false, |row| {
            row.instance.meta.name.clone()
        }),
        Field::new(None, "TYPE", Length(9), NARROW, false, |row| {
            ps::kind(&row.instance).to_owned()
        }),
        Field::new(Some(Column::State), "STATE", Fill(2), 0, false, |row| ps::state(&row.instance)),
        Field::new(Some(Column::Cpu), "CPU", Length(7), TINY, true, |row| {
            row.rates.map(|rates| out::percent(rates.cpus)).unwrap_or_default()
        }),
        Field::new(Some(Column::Memory), "MEMORY", Length(8), TINY, true, |row| {
            row.stats.as_ref().map(|it| compact(it.memory)).unwrap_or_default()
        }),
        Field::new(None, "LIMIT", Length(7), VERY_NARROW, true, |row| {
            row.stats.as_ref().and_then(of_limit).map(out::percent).unwrap_or_default()
        }),
        Field::new(Some(Column::Net), "NET IN/OUT /s", Length(15), NARROW, true, |row| {
            row.rates.map(|rates| pair(rates.net)).unwrap_or_default()
        }),
        Field::new(Some(Column::Disk), "DISK R/W /s", Length(15), NARROW, true, |row| {
            row.rates.map(|rates| pair(rates.disk)).unwrap_or_default()
        }),
        Field::new(None, "PIDS", Length(5), VERY_NARROW, true, |row| {
            row.stats.as_ref().map(|it| it.pids.to_string()).unwrap_or_default()
        }),
        Field::new(Some(Column::Age), "AGE", Length(5), VERY_NARROW, true, |row| {
            out::age(row.instance.meta.created)
        }),
    ]
};

fn draw_list(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let shown = view.shown();
    if shown.is_empty() {
        let text = match view.filter.as_str() {
            _ if view.unread => "reading …",
            "" => "no instance; hull run -d IMAGE makes one",
            _ => "none of them; / changes the filter",
        };
        return frame.render_widget(Paragraph::new(text).dim(), area);
    }
    let fields: Vec<&Field> = FIELDS.iter().filter(|field| area.width >= field.least).collect();
    let (ordered, turned) = view.order;
    let title = |field: &&Field| {
        let mark = match field.by == Some(ordered) {
            true if turned => "\u{25b4}",
            true => "\u{25be}",
            false => "",
        };
        field.cell(format!("{}{mark}", field.title))
    };
    let row = |row: &&Row| {
        let cells = fields.iter().map(|field| field.cell((field.text)(row)));
        Cells::new(cells.collect::<Vec<_>>()).style(style(&row.instance))
    };
    let header = Cells::new(fields.iter().map(title).collect::<Vec<_>>());
    let rows: Vec<Cells<'_>> = shown.iter().map(row).collect();
    let table = Table::new(rows, fields.iter().map(|field| field.width))
        .header(header.style(Style::new().bold()))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(view.position());
    frame.render_stateful_widget(table, area, &mut state);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes a second")]
fn pair((one, two): (f64, f64)) -> String {
    format!("{}/{}", compact(one as u64), compact(two as u64))
}

fn style(instance: &Instance) -> Style {
    match (instance.status.phase, instance.status.health) {
        (Phase::Failed, _) | (Phase::Running, Health::Unhealthy) => Style::new().fg(Color::Red),
        (Phase::Pending | Phase::Creating | Phase::Restarting | Phase::Removing, _) => {
            Style::new().fg(Color::Yellow)
        }
        (Phase::Exited | Phase::Paused, _) => Style::new().add_modifier(Modifier::DIM),
        (Phase::Running, Health::Unchecked | Health::Starting | Health::Healthy) => Style::new(),
    }
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let name = view.selected().map(|row| row.instance.meta.name.clone()).unwrap_or_default();
    let block = |title: String| Block::new().borders(Borders::TOP).title(title);
    match &view.pane {
        Pane::None => {}
        Pane::Help => {
            let lines = HELP.map(|(key, what)| {
                Line::from(vec![Span::from(format!("{key:>31}  ")).bold(), Span::from(what)])
            });
            let text = Paragraph::new(lines.to_vec());
            frame.render_widget(text.block(block(" keys ".to_owned())), area);
        }
        Pane::Detail(_) => {
            let lines = view.selected().map(|row| detail(row, view)).unwrap_or_default();
            let text = Paragraph::new(lines).wrap(Wrap { trim: false });
            frame.render_widget(text.block(block(format!(" {name} "))), area);
        }
        Pane::Log(log) => {
            let text = Paragraph::new(last_lines(log, area));
            frame.render_widget(text.block(block(format!(" log of {name} "))), area);
        }
    }
}

/// The lines that fit, long ones broken.
fn last_lines(log: &Log, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width).max(1);
    let mut lines = Vec::new();
    for text in log.text() {
        let letters: Vec<char> = text.chars().collect();
        match letters.is_empty() {
            true => lines.push(Line::default()),
            false => lines.extend(
                letters.chunks(width).map(|part| Line::from(part.iter().collect::<String>())),
            ),
        }
    }
    let fit = usize::from(area.height.saturating_sub(1));
    lines.split_off(lines.len().saturating_sub(fit))
}

fn detail(row: &Row, view: &View) -> Vec<Line<'static>> {
    let instance = &row.instance;
    let mut lines = Vec::new();
    let mut say = |title: &str, text: String| {
        if !text.is_empty() {
            lines.push(Line::from(vec![
                Span::from(format!("{title:<10}")).bold(),
                Span::from(text),
            ]));
        }
    };
    say("state", ps::state(instance));
    if let Some(reason) = &instance.status.reason {
        say("reason", reason.message.clone());
        say("try", reason.next.clone().unwrap_or_default());
    }
    let join = |words: Vec<String>| words.join(", ");
    say("images", join(instance.spec.containers.iter().map(|it| it.image.to_string()).collect()));
    if let Some(placement) = &instance.spec.placement {
        say("node", placement.node.clone());
        say("ports", ps::ports(&placement.ports));
    }
    for warning in &instance.status.warnings {
        say("warning", warning.clone());
    }
    if let Pane::Detail(Some(table)) = &view.pane {
        lines.push(Line::default());
        let titles: Vec<&str> = table.titles.iter().map(String::as_str).collect();
        let text = out::table_lines(&titles, table.processes.clone(), &[], None);
        lines.extend(text.into_iter().map(Line::from));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use client::wire::{Change, ChangeKind};
    use model::instance::{InstanceSpec, Reason};
    use model::{Meta, Time};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn view() -> View {
        let mut view = View::new("default");
        view.machine.node = "one".to_owned();
        let each = [("web", Phase::Running), ("db", Phase::Failed)];
        for (number, (name, phase)) in each.into_iter().enumerate() {
            let id = format!("{number:064x}").parse().unwrap();
            let meta = Meta::new("default", name, id, Time::from_unix(0, 0));
            let mut instance = Instance::new(meta, InstanceSpec::default());
            instance.spec.runs = 1;
            instance.status.phase = phase;
            if phase == Phase::Failed {
                instance.status.reason = Some(Reason {
                    code: "ImageNotFound".to_owned(),
                    message: "there is no image postgres:99".to_owned(),
                    next: Some("hull image pull".to_owned()),
                });
            }
            let object = Some(Arc::new(instance));
            view.change(Change { r#type: ChangeKind::Added, revision: 1, object });
        }
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn every_size_of_terminal_has_what_matters() {
        let mut view = view();
        for (width, height) in [(20, 6), (60, 20), (80, 24), (200, 60)] {
            let text = screen(&view, width, height);
            assert!(text.contains("web") && text.contains("db"), "{width}x{height}:\n{text}");
        }
        let wide = screen(&view, 120, 20);
        assert!(wide.contains("NET IN/OUT") && wide.contains("2 instances, 1 running, 1 failed"));
        assert!(!screen(&view, 80, 20).contains("NET IN/OUT"));
        view.pane = Pane::Help;
        assert!(screen(&view, 100, 24).contains("after asking"));
    }

    #[test]
    fn the_selected_one_tells_why_it_is_as_it_is() {
        let mut view = view();
        view.order_by(Column::Name);
        view.go(0);
        view.pane = Pane::Detail(None);
        let text = screen(&view, 80, 24);
        assert!(text.contains("there is no image postgres:99"), "{text}");
        assert!(text.contains("hull image pull"), "{text}");
        view.prompt = Prompt::Remove("db".to_owned());
        assert!(screen(&view, 80, 24).contains("remove db"));
    }

    #[test]
    fn a_log_shows_its_end() {
        let mut view = view();
        let mut log = Log::default();
        (0..100).for_each(|number| log.push(format!("line {number}\n").as_bytes()));
        view.pane = Pane::Log(log);
        let text = screen(&view, 80, 24);
        assert!(text.contains("line 99") && !text.contains("line 80"), "{text}");
    }
}
