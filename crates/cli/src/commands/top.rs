//! `hull top`.

mod draw;
mod feed;
mod keys;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::{Error, Result};

use super::stats::Stats;
use crate::complete;
use crate::context::{Context, Output};
use crate::out::{self, Format};

const EXAMPLES: &str = "Examples:
  hull top
  hull top web
  hull top web -o json
  hull top web -- -eo pid,rss,args

Without a name it is a view of all instances that is driven by keys; ? lists them.";

/// Shows what runs and what it uses; of one instance, its processes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME", requires = "name")]
    container: String,
    #[command(flatten)]
    output: Output,
    /// The instance; a view of all when none is named
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: Option<String>,
    /// Options of ps(1), after --
    #[arg(last = true, value_name = "OPTIONS", requires = "name")]
    options: Vec<String>,
}

impl Top {
    /// Runs the command. The name form prints process ids.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let Some(name) = &self.name else { return self.all(context).await };
        let options = self.options.join(" ");
        let table = context.instances().top(name, &self.container, &options).await?;
        if out::structured(self.output.output, &table)? {
            return Ok(ExitCode::SUCCESS);
        }
        if self.output.output == Format::Name {
            let pid = table.titles.iter().position(|title| title == "PID").unwrap_or(0);
            let pids = table.processes.iter().filter_map(|process| process.get(pid));
            pids.for_each(out::line);
            return Ok(ExitCode::SUCCESS);
        }
        let titles: Vec<&str> = table.titles.iter().map(String::as_str).collect();
        out::table(&titles, table.processes, &[]);
        Ok(ExitCode::SUCCESS)
    }

    async fn all(&self, context: &Context) -> Result<ExitCode> {
        if self.output.output != Format::Table {
            return Stats::once_for_all(self.output).run(context).await;
        }
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Error::invalid("this view is for a terminal")
                .next("hull stats --no-stream, or hull top -o json, prints what it would show"));
        }
        keys::drive(context).await
    }
}
