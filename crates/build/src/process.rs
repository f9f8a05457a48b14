//! A build that runs.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use model::error::Context;
use model::{ErrorKind, Result};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::cgroup::Cgroup;
use crate::job::{Job, Network};
use crate::lines::{self, Source};
use crate::steps::{Step, Steps};

/// Lines that wait for a slow reader.
const WAITING: usize = 64;

/// Goes into its cgroup and becomes the program: files to write itself into, `--`, the program's words.
pub(crate) const ENTER: &str =
    "while [ \"$1\" != -- ]; do echo 0 >\"$1\" || exit 125; shift; done; shift; exec \"$@\"";

/// Has a file be the namespace's resolv.conf, and becomes the program: the file, the program's words.
const RESOLVE: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";

/// A build that runs. It ends with this.
#[derive(Debug)]
pub struct Building {
    child: Child,
    lines: mpsc::Receiver<(Source, String)>,
    steps: Steps,
    cgroup: Option<Cgroup>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Well,
    /// It says why itself, or was killed.
    Badly {
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
    },
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match status.success() {
            true => Ended::Well,
            false => Ended::Badly { code: status.code() },
        }
    }
}

/// A program that is run in namespaces of its own, which end with it.
pub(crate) struct Program<'a> {
    pub(crate) file: &'a Path,
    pub(crate) words: Vec<String>,
    /// Environment, and nothing else.
    pub(crate) env: Vec<(String, String)>,
}

impl Program<'_> {
    /// Starts it for a job, with this file in the place of the host's resolv.conf.
    pub(crate) fn start(
        self,
        job: &Job,
        cgroup: Cgroup,
        resolv_conf: Option<&Path>,
    ) -> Result<Building> {
        let mut words = cgroup.entries();
        words.push("--".into());
        if !job.limits.cpus.is_empty() {
            words.extend(["taskset".into(), "--cpu-list".into(), job.limits.cpus.clone()]);
        }
        if let Network::Namespace { path, .. } = &job.network {
            words.extend(["nsenter".into(), format!("--net={}", path.display())]);
        }
        words.extend(self.walls(resolv_conf));
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "build"]).args(words);
        self.spawn(command, Some(cgroup))
    }

    /// Starts it for the builder's own sake.
    pub(crate) fn start_bare(self) -> Result<Building> {
        let words = self.walls(None);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        self.spawn(command, None)
    }

    /// Namespaces for mounts and processes; the first process takes all others with it.
    fn walls(&self, resolv_conf: Option<&Path>) -> Vec<String> {
        let walls = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
        let mut words = walls.map(str::to_owned).to_vec();
        words.push("--".into());
        if let Some(file) = resolv_conf {
            words.extend(["sh", "-c", RESOLVE, "build"].map(str::to_owned));
            words.push(file.display().to_string());
        }
        words.push(self.file.display().to_string());
        words.extend(self.words.iter().cloned());
        words
    }

    fn spawn(self, mut command: Command, cgroup: Option<Cgroup>) -> Result<Building> {
        command
            .env_clear()
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .context(ErrorKind::Internal, || format!("{} cannot be run", self.file.display()))?;
        let (sender, lines) = mpsc::channel(WAITING);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(lines::send(Source::Output, output, sender.clone()));
        }
        if let Some(error) = child.stderr.take() {
            tokio::spawn(lines::send(Source::Error, error, sender));
        }
        Ok(Building { child, lines, steps: Steps::default(), cgroup })
    }
}

impl Building {
    /// The next thing it says; `None` when it says no more.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            let step = match self.lines.recv().await? {
                (Source::Output, line) => self.steps.output(&line),
                (Source::Error, line) => self.steps.error(&line),
            };
            if step.is_some() {
                return step;
            }
        }
    }

    /// All it printed on standard output, and how it ended; at most `most` bytes are kept.
    pub(crate) async fn read(mut self, most: usize) -> Result<(String, String, Ended)> {
        let (mut output, mut error) = (String::new(), String::new());
        while let Some((source, line)) = self.lines.recv().await {
            let kept = match source {
                Source::Output => &mut output,
                Source::Error => &mut error,
            };
            if kept.len() + line.len() <= most {
                kept.push_str(&line);
            }
        }
        let ended = self.end().await?;
        Ok((output, error, ended))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// `Internal` when it cannot be waited for.
    pub async fn end(&mut self) -> Result<Ended> {
        let status = self.child.wait().await;
        let status = status.context(ErrorKind::Internal, || "a build got lost".to_owned())?;
        Ok(status.into())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // Killing the outermost process ends all that are in its namespace.
        let _ = self.child.start_kill();
        if let (Some(cgroup), Ok(runtime)) =
            (self.cgroup.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(cgroup.remove());
        }
    }
}
