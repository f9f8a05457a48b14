//! `hull logs`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::ListQuery;
use futures::StreamExt;
use link::instance::{LogRecord, LogsRequest};
use model::instance::Instance;
use model::service::SERVICE;
use model::{Error, ErrorKind, Result, Span, Time};

use crate::complete;
use crate::context::Context;
use crate::follow::Followed;

/// Shows what an instance printed, or all instances of a service.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull logs -f web\n  hull logs --since 10m --tail 100 web\n  hull logs -f shop               a service: its instances, also those that come later"
)]
pub struct Logs {
    /// Go on until it ends; with a service, until that is gone
    #[arg(short, long)]
    follow: bool,
    /// Nothing older: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Nothing newer
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only so many of the last lines, or all
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    tail: String,
    /// Show the times
    #[arg(short, long)]
    timestamps: bool,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// The instance or the service
    #[arg(add = ArgValueCompleter::new(complete::printing))]
    name: String,
}

impl Logs {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let request = LogsRequest {
            follow: self.follow,
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
            tail: match self.tail.as_str() {
                "all" => None,
                lines => Some(lines.parse().map_err(|_| {
                    Error::invalid(format!("{lines:?} is not a number of lines")).at("--tail")
                })?),
            },
            stdout: true,
            stderr: true,
        };
        let asked = context.instances().logs(&self.name, &self.container, &request).await;
        let mut records = match asked {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.of_service(context, request, error).await;
            }
            asked => asked?,
        };
        let mut printer = Printer::new(self.timestamps);
        let mut waiting =
            futures::stream::poll_fn(move |cx| records.poll_next_unpin(cx)).ready_chunks(256);
        while let Some(chunk) = waiting.next().await {
            for record in chunk {
                let record = record?;
                if printer.print(&record).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            if printer.stdout.flush().is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Logs {
    /// Of all instances of a service; `error` says that no instance is called so.
    async fn of_service(
        &self,
        context: &Context,
        request: LogsRequest,
        error: Error,
    ) -> Result<ExitCode> {
        let services = context.client.services(&context.project);
        let service = match services.get(&self.name).await {
            Err(other) if other.kind() == ErrorKind::NotFound => return Err(error),
            found => found?,
        };
        let labels = format!("{SERVICE}={}", service.meta.name);
        let meant = |instance: &Instance| {
            instance.meta.owner.as_ref().is_some_and(|owner| owner.id == service.meta.id)
        };
        let followed = Followed {
            query: ListQuery { labels, ..ListQuery::default() },
            meant: &meant,
            container: &self.container,
            request,
            timestamps: self.timestamps,
        };
        match self.follow {
            true => followed.follow(context, &services, &service.meta.id).await?,
            false => followed.show(context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints records to the streams they were written to, in their order.
struct Printer {
    stdout: std::io::BufWriter<std::io::StdoutLock<'static>>,
    stderr: std::io::StderrLock<'static>,
    timestamps: bool,
    /// The next record begins a line.
    begins: bool,
}

impl Printer {
    fn new(timestamps: bool) -> Self {
        let stdout = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
        Self { stdout, stderr: std::io::stderr().lock(), timestamps, begins: true }
    }

    /// Fails when nobody reads any more.
    fn print(&mut self, record: &LogRecord) -> std::io::Result<()> {
        let out: &mut dyn Write = match record.stderr {
            true => {
                // Where both are one terminal, what was written first is to be seen first.
                self.stdout.flush()?;
                &mut self.stderr
            }
            false => &mut self.stdout,
        };
        if self.begins && self.timestamps {
            write!(out, "{} ", record.time)?;
        }
        self.begins = record.complete;
        out.write_all(&record.bytes)
    }
}

/// A time in RFC 3339, seconds since 1970, or how long ago (`10m`).
pub fn moment(text: &str) -> Result<Time> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Time::from_unix(seconds, 0));
    }
    let ago = text.parse::<Span>().map_err(|_| {
        Error::invalid(format!("{text:?} is neither a time nor how long ago"))
            .next("write 2026-01-31T12:00:00Z or 10m")
    })?;
    let now = Time::now().0;
    Ok(Time(now.checked_sub(ago.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)))
}
