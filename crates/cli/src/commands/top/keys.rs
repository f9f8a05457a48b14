//! The view's loop: keys, what the platform tells, and what is done.

use std::process::ExitCode;
use std::time::Duration;

use client::wire::{DeleteQuery, StopRequest};
use client::{Client, Instances};
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use link::ResultStream;
use link::instance::{LogRecord, LogsRequest, ProcessTable};
use model::error::Context as _;
use model::instance::{Instance, Phase};
use model::{Bytes, Cpus, ErrorKind, Result};
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::draw;
use super::feed::{Feed, News, reach};
use super::view::{Column, Log, Machine, Pane, Prompt, View};
use crate::context::Context;

/// What comes in a burst is drawn once in so long.
const PACE: Duration = Duration::from_millis(200);
/// Ages on the screen are at most this old.
const STALE: Duration = Duration::from_secs(5);
/// Rows that a page key moves by.
const PAGE: isize = 20;
/// Lines of a log that are read back.
const TAIL: u64 = 500;

/// What was asked came to this.
enum Done {
    Said(String),
    Machine(Machine),
    Processes(String, ProcessTable),
}

/// A verb of instances.
type Work = fn(Instances, String) -> BoxFuture<'static, Result<Instance>>;

/// What a key leads to.
enum Next {
    Stay,
    Leave,
}

struct Driver {
    client: Client,
    instances: Instances,
    view: View,
    /// The log that is shown, and what goes on being printed.
    log: Option<ResultStream<LogRecord>>,
    done: mpsc::Sender<Done>,
}

/// Shows the view until the user leaves it. The terminal is as it was when this returns or panics.
///
/// # Errors
/// Why the platform does not answer, when it does not at the beginning.
pub async fn drive(context: &Context) -> Result<ExitCode> {
    let instances = context.instances();
    reach(&instances).await?;
    let failed = || "the terminal cannot be set".to_owned();
    let mut terminal = ratatui::try_init().context(ErrorKind::Internal, failed)?;
    let shown = run(context, instances, &mut terminal).await;
    ratatui::restore();
    shown.context(ErrorKind::Internal, || "the terminal cannot be drawn on".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

async fn run(
    context: &Context,
    instances: Instances,
    terminal: &mut DefaultTerminal,
) -> std::io::Result<()> {
    let (done, mut results) = mpsc::channel(16);
    let mut feed = Feed::new(instances.clone());
    let view = View::new(&context.project);
    let client = context.client.clone();
    let mut driver = Driver { client, instances, view, log: None, done };
    driver.ask_machine();
    let mut keys = EventStream::new();
    let mut draw_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = sleep_until(draw_at) => {
                driver.view.keep_selected();
                terminal.draw(|frame| draw::draw(frame, &driver.view))?;
                draw_at = Instant::now() + STALE;
                continue;
            }
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if let Next::Leave = driver.press(key) {
                        return Ok(());
                    }
                    draw_at = Instant::now();
                }
                Some(Ok(Event::Resize(..))) => draw_at = Instant::now(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            news = feed.next() => driver.hear(news, &mut feed),
            Some(result) = results.recv() => driver.take(result),
            Some(record) = next_line(&mut driver.log) => driver.print(record),
        }
        draw_at = draw_at.min(Instant::now() + PACE);
    }
}

/// The next of a log, if one is shown; its end is waited out for ever.
async fn next_line(log: &mut Option<ResultStream<LogRecord>>) -> Option<Result<LogRecord>> {
    match log {
        Some(stream) => match stream.next().await {
            Some(record) => Some(record),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Driver {
    fn hear(&mut self, news: News, feed: &mut Feed) {
        match news {
            News::Change(change) => {
                if let Some(instance) = self.view.change(change) {
                    feed.measure(&instance);
                }
            }
            News::Sample(id, stats) => self.view.sample(&id, *stats),
            News::Unmeasured(id) => self.view.unmeasured(&id),
            News::Lost(error) => {
                self.view.forget();
                self.view.message = format!("{}; asking again", error.chain());
            }
        }
    }

    fn take(&mut self, result: Done) {
        match result {
            Done::Said(message) => self.view.message = message,
            Done::Machine(machine) => self.view.machine = machine,
            Done::Processes(name, table) => {
                let chosen = self.view.chosen();
                if let Pane::Detail(processes) = &mut self.view.pane
                    && chosen.is_some_and(|it| it.meta.name == name)
                {
                    *processes = Some(table);
                }
            }
        }
    }

    fn print(&mut self, record: Result<LogRecord>) {
        let Pane::Log(log) = &mut self.view.pane else { return };
        match record {
            Ok(record) => log.push(&record.bytes),
            Err(error) => {
                self.view.message = error.chain();
                self.log = None;
            }
        }
    }

    fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Leave,
                _ => Next::Stay,
            };
        }
        match std::mem::take(&mut self.view.prompt) {
            Prompt::None => return self.press_plain(key.code),
            Prompt::Filter => self.press_filter(key.code),
            Prompt::Remove(name) => match key.code {
                KeyCode::Char('y' | 'Y') => self.remove(name),
                _ => self.view.message = format!("{name} stays"),
            },
        }
        Next::Stay
    }

    fn press_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => return self.view.filter.clear(),
            KeyCode::Backspace => drop(self.view.filter.pop()),
            KeyCode::Char(c) => self.view.filter.push(c),
            _ => {}
        }
        self.view.prompt = Prompt::Filter;
    }

    fn press_plain(&mut self, key: KeyCode) -> Next {
        self.view.message.clear();
        match key {
            KeyCode::Char('q') => return Next::Leave,
            KeyCode::Esc => self.close(),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::PageDown => self.go(PAGE),
            KeyCode::PageUp => self.go(-PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Char('/') => self.view.prompt = Prompt::Filter,
            KeyCode::Char('a') => self.view.ended = !self.view.ended,
            KeyCode::Char('?' | 'h') => {
                self.close();
                self.view.pane = Pane::Help;
            }
            KeyCode::Enter => self.open_detail(),
            KeyCode::Char('l') => self.open_log(),
            KeyCode::Char('s') => self.stop(),
            KeyCode::Char('u') => self.start(),
            KeyCode::Char('r') => self.restart(),
            KeyCode::Char('p') => self.pause(),
            KeyCode::Char('x') | KeyCode::Delete => self.ask_remove(),
            KeyCode::Char(letter) => {
                if let Some(column) = column_of(letter) {
                    self.view.order_by(column);
                }
            }
            _ => {}
        }
        Next::Stay
    }

    fn go(&mut self, by: isize) {
        self.view.go(by);
        // What is beside the list follows the selection.
        match self.view.pane {
            Pane::Detail(_) => self.open_detail(),
            Pane::Log(_) => self.open_log(),
            Pane::None | Pane::Help => {}
        }
    }

    fn close(&mut self) {
        self.view.pane = Pane::None;
        self.log = None;
    }

    fn open_detail(&mut self) {
        self.close();
        let Some(instance) = self.view.chosen() else { return };
        self.view.pane = Pane::Detail(None);
        if instance.status.phase != Phase::Running {
            return;
        }
        let (instances, done) = (self.instances.clone(), self.done.clone());
        let name = instance.meta.name.clone();
        tokio::spawn(async move {
            // A machine without an agent has no list of processes: the rest is shown all the same.
            if let Ok(table) = instances.top(&name, "", "").await {
                let _ = done.send(Done::Processes(name, table)).await;
            }
        });
    }

    fn open_log(&mut self) {
        self.close();
        let Some(instance) = self.view.chosen() else { return };
        self.view.pane = Pane::Log(Log::default());
        let request = LogsRequest {
            follow: true,
            tail: Some(TAIL),
            stdout: true,
            stderr: true,
            since: None,
            until: None,
        };
        let (instances, name) = (self.instances.clone(), instance.meta.name.clone());
        let opened = async move { instances.logs(&name, "", &request).await };
        let log = futures::stream::once(opened).flat_map(|stream| match stream {
            Ok(stream) => stream,
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        });
        self.log = Some(log.boxed());
    }

    fn stop(&self) {
        self.act("stopped", |instances, name| {
            async move { instances.stop(&name, &StopRequest::default(), false).await }.boxed()
        });
    }

    fn start(&self) {
        self.act("started", |instances, name| {
            async move { instances.start(&name, false).await }.boxed()
        });
    }

    fn restart(&self) {
        self.act("restarted", |instances, name| {
            async move { instances.restart(&name, &StopRequest::default(), false).await }.boxed()
        });
    }

    fn pause(&self) {
        match self.view.chosen().is_some_and(|it| it.status.phase == Phase::Paused) {
            true => self.act("goes on", |instances, name| {
                async move { instances.unpause(&name, false).await }.boxed()
            }),
            false => self.act("paused", |instances, name| {
                async move { instances.pause(&name, false).await }.boxed()
            }),
        }
    }

    fn ask_remove(&mut self) {
        if let Some(instance) = self.view.chosen() {
            self.view.prompt = Prompt::Remove(instance.meta.name.clone());
        }
    }

    fn remove(&self, name: String) {
        self.act_on(name, "removed", |instances, name| {
            let options = DeleteQuery { force: true, ..DeleteQuery::default() };
            async move { instances.delete(&name, options).await }.boxed()
        });
    }

    /// Does something to the selected instance.
    fn act(&self, did: &'static str, work: Work) {
        if let Some(instance) = self.view.chosen() {
            self.act_on(instance.meta.name.clone(), did, work);
        }
    }

    /// Does something to an instance, and says what came of it.
    fn act_on(&self, name: String, did: &'static str, work: Work) {
        let (asked, done) = (work(self.instances.clone(), name.clone()), self.done.clone());
        tokio::spawn(async move {
            let message = match asked.await {
                Ok(_) => format!("{name} {did}"),
                Err(error) => error.chain(),
            };
            let _ = done.send(Done::Said(message)).await;
        });
    }

    /// Asks what the figures are parts of.
    fn ask_machine(&self) {
        let (client, done) = (self.client.clone(), self.done.clone());
        tokio::spawn(async move {
            if let Ok(machine) = machine(&client).await {
                let _ = done.send(Done::Machine(machine)).await;
            }
        });
    }
}

async fn machine(client: &Client) -> Result<Machine> {
    let status = client.system().status().await?;
    let nodes = client.nodes().list_all(&client::wire::ListQuery::default()).await?;
    Ok(Machine {
        node: status.node,
        cpus: Cpus::from_milli(nodes.iter().map(|node| node.status.cpus.milli()).sum()),
        memory: Bytes(nodes.iter().map(|node| node.status.memory.0).sum()),
        warnings: status.warnings,
    })
}

/// The column that a letter orders by.
fn column_of(letter: char) -> Option<Column> {
    Some(match letter {
        'N' => Column::Name,
        'S' => Column::State,
        'C' | 'P' => Column::Cpu,
        'M' => Column::Memory,
        'T' => Column::Net,
        'D' => Column::Disk,
        'A' => Column::Age,
        _ => return None,
    })
}
