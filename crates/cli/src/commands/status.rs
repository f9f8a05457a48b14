//! `hull status`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use model::Result;

use crate::commands::daemon;
use crate::context::{Context, Output};
use crate::out::{self, Format};

/// How the platform is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull status\n  hull status --wait")]
pub struct Status {
    /// Wait until it is ready, for a minute at most
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

/// Longest wait for readiness.
const PATIENCE: Duration = Duration::from_secs(60);

impl Status {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if self.wait {
            until_ready(context, PATIENCE).await?;
        }
        let status = context.client.system().status().await;
        let status = status.map_err(|error| daemon::reason(context).unwrap_or(error))?;
        if out::structured(self.output.output, &status)? {
            return Ok(ExitCode::SUCCESS);
        }
        if self.output.output == Format::Name {
            out::line(&status.node);
            return Ok(ExitCode::SUCCESS);
        }
        let ready = if status.ready { "ready" } else { "not ready" };
        out::line(format!("node       {} ({ready})", status.node));
        out::line(format!("version    {}", status.version));
        out::line(format!("reached at {}", context.client.host()));
        for address in &status.addresses {
            out::line(format!("serves     {address} as {}", status.authority));
        }
        if let Some(started) = status.started {
            out::line(format!("up for     {}", out::age(started)));
        }
        out::line(format!("instances  {} running, {} in all", status.running, status.instances));
        for warning in &status.warnings {
            out::line(format!("warning    {warning}"));
        }
        Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Waits until the daemon answers and is ready, or has said why it cannot start.
pub async fn until_ready(context: &Context, patience: Duration) -> Result<()> {
    let end = tokio::time::Instant::now() + patience;
    loop {
        match context.client.system().ready().await {
            Ok(()) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= end => return Err(error),
            Err(_) => {}
        }
        if let Some(reason) = daemon::reason(context) {
            return Err(reason);
        }
        // There is nobody yet who could tell; a look costs a connection to a socket.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
