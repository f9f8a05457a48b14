//! `hull audit`.

use std::process::ExitCode;

use clap::Args;
use client::wire::AuditQuery;
use futures::TryStreamExt;
use model::Result;

use crate::commands::logs::moment;
use crate::context::{Context, Output};
use crate::out;

/// Shows who asked for what, the newest last: what changes something, enters an instance or carries out what is in
/// one or in an image, sign-ins, and what was refused. For admins.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull audit\n  hull audit --by ann --since 7d\n  hull audit --failed -n 1000 -o json\n  hull audit --path /instances/web"
)]
pub struct Audit {
    /// Nothing older: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Of this token or user
    #[arg(long, default_value = "", value_name = "NAME")]
    by: String,
    /// Whose path has this in it
    #[arg(long, default_value = "", value_name = "TEXT")]
    path: String,
    /// Only what was refused, or failed
    #[arg(long)]
    failed: bool,
    /// Only so many of the last
    #[arg(short = 'n', long, default_value_t = 200, value_name = "COUNT")]
    tail: u32,
    #[command(flatten)]
    output: Output,
}

impl Audit {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let query = AuditQuery {
            since: self.since.as_deref().map(moment).transpose()?,
            before: None,
            by: self.by,
            path: self.path,
            failed: self.failed,
            limit: Some(self.tail),
        };
        let mut entries: Vec<audit::Entry> =
            context.client.users().audit(&query).await?.try_collect().await?;
        entries.reverse();
        if out::structured(self.output.output, &entries)? {
            return Ok(ExitCode::SUCCESS);
        }
        let rows = entries.iter().map(|entry| {
            let who = if entry.by.is_empty() { "-" } else { &entry.by };
            let status = match entry.status {
                0 => "left".to_owned(),
                status => status.to_string(),
            };
            vec![
                format!("{:.3}", entry.time.0),
                who.to_owned(),
                entry.from.clone(),
                status,
                entry.method.clone(),
                entry.path.clone(),
            ]
        });
        out::table(&["TIME", "WHO", "FROM", "STATUS", "METHOD", "PATH"], rows.collect(), &[]);
        Ok(ExitCode::SUCCESS)
    }
}
