//! `hull top`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::Result;

use crate::complete;
use crate::context::{Context, Output};
use crate::out::{self, Format};

/// Shows the processes of an instance.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull top web\n  hull top web -o json\n  hull top web -- -eo pid,rss,args"
)]
pub struct Top {
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    #[command(flatten)]
    output: Output,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
    /// Options of ps(1), after --
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

impl Top {
    /// Runs the command. The name form prints process ids.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let options = self.options.join(" ");
        let table = context.instances().top(&self.name, &self.container, &options).await?;
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
}
