//! `hull stats`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::ListQuery;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::{LocalBoxStream, select_all};
use link::instance::Stats as Sample;
use model::instance::Phase;
use model::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::context::{Context, Output};
use crate::out::{self, Format};
use crate::screen::Screen;
use crate::usage::{self, Rates, compact};
use crate::{complete, exit};

const TITLES: [&str; 7] = ["NAME", "CPU", "MEMORY", "OF LIMIT", "NET IN/OUT", "DISK R/W", "PIDS"];
const RIGHT: [usize; 6] = [1, 2, 3, 4, 5, 6];

/// The view is drawn again at most this often.
const PACE: Duration = Duration::from_millis(500);

/// Shows what instances use.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull stats\n  hull stats --no-stream web db\n  hull stats -o json web"
)]
pub struct Stats {
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// The container, in groups of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    #[command(flatten)]
    output: Output,
    /// The instances; all that run when none is named
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    names: Vec<String>,
}

/// What an instance uses, between two looks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Use {
    name: String,
    /// Processors in use: 1.5 is one and a half.
    cpus: f64,
    /// The last look.
    stats: Sample,
}

type Samples = LocalBoxStream<'static, (String, Result<Sample>)>;

/// Processor time is told by what lies between two looks.
const LOOKS: usize = 2;

impl Stats {
    /// What all instances use, once.
    pub fn once_for_all(output: Output) -> Self {
        Self { no_stream: true, container: String::new(), output, names: Vec::new() }
    }

    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let samples = match self.names.as_slice() {
            [] => {
                let samples = self.samples(context, &running(context).await?, true).await?;
                // One that ended since it was listed is not missed.
                samples.filter(|(_, it)| ready(!it.as_ref().is_err_and(has_gone))).boxed_local()
            }
            names => self.samples(context, names, false).await?,
        };
        if self.no_stream { self.once(samples).await } else { self.live(samples).await }
    }

    /// Looks at each again and again; with `--no-stream` twice.
    async fn samples(&self, context: &Context, names: &[String], pass: bool) -> Result<Samples> {
        let mut streams = Vec::new();
        for name in names {
            let samples = match context.instances().stats(name, &self.container, true).await {
                Err(error) if pass && has_gone(&error) => continue,
                samples => samples?,
            };
            let samples = samples.take(if self.no_stream { LOOKS } else { usize::MAX });
            let name = name.clone();
            streams.push(samples.map(move |sample| (name.clone(), sample)).boxed_local());
        }
        Ok(select_all(streams).boxed_local())
    }

    /// Two looks at each: processor time is told by what lies between them.
    async fn once(&self, mut samples: Samples) -> Result<ExitCode> {
        let mut firsts: BTreeMap<String, Sample> = BTreeMap::new();
        let mut uses: BTreeMap<String, Use> = BTreeMap::new();
        let mut code = ExitCode::SUCCESS;
        while let Some((name, sample)) = samples.next().await {
            match (sample, firsts.get(&name)) {
                (Ok(sample), Some(first)) => {
                    uses.entry(name.clone()).or_insert_with(|| between(&name, first, sample));
                }
                (Ok(sample), None) => drop(firsts.insert(name, sample)),
                (Err(error), _) => {
                    out::failure(&error);
                    code = exit::code(&error);
                }
            }
        }
        let uses: Vec<Use> = uses.into_values().collect();
        if out::structured(self.output.output, &uses)? {
            return Ok(code);
        }
        if self.output.output == Format::Name {
            uses.iter().for_each(|it| out::line(&it.name));
            return Ok(code);
        }
        out::table(&TITLES, uses.iter().map(row).collect(), &RIGHT);
        Ok(code)
    }

    async fn live(&self, mut samples: Samples) -> Result<ExitCode> {
        let mut screen = Screen::new().filter(|_| self.output.output == Format::Table);
        let mut lasts: BTreeMap<String, Sample> = BTreeMap::new();
        let mut uses: BTreeMap<String, Use> = BTreeMap::new();
        let mut drawn = None;
        while let Some((name, sample)) = samples.next().await {
            let Ok(sample) = sample else {
                // It ended; the others go on.
                lasts.remove(&name);
                uses.remove(&name);
                continue;
            };
            if let Some(last) = lasts.insert(name.clone(), sample.clone()) {
                let now = between(&name, &last, sample);
                if screen.is_none() {
                    self.tell(&now)?;
                }
                uses.insert(name, now);
            }
            let Some(screen) = &mut screen else { continue };
            if drawn.is_none_or(|at: tokio::time::Instant| at.elapsed() >= PACE) {
                screen.table(&TITLES, uses.values().map(row).collect(), &RIGHT);
                drawn = (uses.len() == lasts.len()).then(tokio::time::Instant::now);
            }
        }
        Err(Error::unavailable("none of the instances runs any more").next("see hull ps -a"))
    }

    /// A line for each look, where there is no screen.
    fn tell(&self, now: &Use) -> Result<()> {
        match self.output.output {
            Format::Json => out::json_line(now)?,
            Format::Yaml => {
                out::line("---");
                out::structured(Format::Yaml, now)?;
            }
            Format::Name => out::line(&now.name),
            Format::Table => out::line(row(now).join("  ")),
        }
        Ok(())
    }
}

async fn running(context: &Context) -> Result<Vec<String>> {
    let query = ListQuery::default();
    let instances = context.instances().list_all(&query).await?.into_iter();
    let live = instances.filter(|it| it.status.phase == Phase::Running);
    let names: Vec<String> = live.map(|it| it.meta.name).collect();
    if names.is_empty() {
        return Err(Error::not_found("no instance runs").next("hull run -d IMAGE starts one"));
    }
    Ok(names)
}

fn between(name: &str, before: &Sample, now: Sample) -> Use {
    let cpus = Rates::between(before, &now).cpus;
    Use { name: name.to_owned(), cpus, stats: now }
}

fn row(it: &Use) -> Vec<String> {
    let stats = &it.stats;
    let pair = |one: u64, two: u64| format!("{}/{}", compact(one), compact(two));
    vec![
        it.name.clone(),
        out::percent(it.cpus),
        compact(stats.memory),
        usage::of_limit(stats).map_or_else(|| "-".to_owned(), out::percent),
        pair(usage::sum(stats, |it| it.rx_bytes), usage::sum(stats, |it| it.tx_bytes)),
        pair(stats.block.0, stats.block.1),
        stats.pids.to_string(),
    ]
}

/// Whether an instance is not there any more, or does not run.
fn has_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict)
}

#[cfg(test)]
mod tests {
    use model::Time;

    use super::*;

    #[test]
    fn processor_time_is_told_by_the_difference() {
        let sample = |seconds: i64, cpu_ns: u64| Sample {
            time: Some(Time::from_unix(seconds, 0)),
            cpu_ns,
            memory: 3 << 20,
            memory_limit: 12 << 20,
            pids: 2,
            block: (0, 4096),
            ..Sample::default()
        };
        let it = between("web", &sample(1, 0), sample(3, 1_000_000_000));
        assert_eq!(row(&it), ["web", "50.0%", "3M", "25.0%", "0B/0B", "0B/4K", "2"]);
        let still = between("web", &sample(1, 5), sample(1, 9));
        assert_eq!(row(&still)[1], "0.0%");
    }
}
