//! A volume plugin of Docker's kind as a process of its own, whose faults a test chooses.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PROGRAM: &str = include_str!("plugin/plugin.py");

/// A plugin, whose volumes are directories. It ends with the test.
#[derive(Debug)]
pub struct Plugin {
    socket: PathBuf,
    state: PathBuf,
    child: Option<Child>,
}

impl Plugin {
    /// Starts one of that name where a platform below `root` finds it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(root: &Path, name: &str) -> Result<Self> {
        let socket = root.join("run/docker/plugins").join(format!("{name}.sock"));
        let state = root.join("plugin").join(name);
        std::fs::create_dir_all(&state)?;
        let mut plugin = Self { socket, state, child: None };
        plugin.begin()?;
        Ok(plugin)
    }

    /// Starts its process, which was killed.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn begin(&mut self) -> Result<()> {
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM])
            .args([&self.socket, &self.state])
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3 cannot be started")?;
        let mut line = String::new();
        let out = child.stdout.take().context("it has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        self.child = Some(child);
        ensure!(line == "ready\n", "the plugin said {line:?}");
        Ok(())
    }

    /// Kills its process. Its socket stays where it is, as that of any that is killed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its name is free again.
    pub fn vanish(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Says what goes wrong from now on: by method, as the program's own words have it.
    ///
    /// # Errors
    /// The file system's.
    pub fn behave(&self, how: &Value) -> Result<()> {
        let draft = self.state.join("behaviour.draft");
        std::fs::write(&draft, how.to_string())?;
        Ok(std::fs::rename(draft, self.state.join("behaviour.json"))?)
    }

    /// Where a volume's contents are.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.state.join("volumes").join(name)
    }

    /// Who mounts a volume, each as often as he mounts it.
    pub fn users(&self, volume: &str) -> Vec<String> {
        let text = std::fs::read(self.state.join("mounts.json")).unwrap_or_default();
        let mounts: Value = serde_json::from_slice(&text).unwrap_or_default();
        let users = mounts[volume].as_array().into_iter().flatten();
        users.filter_map(|user| user.as_str().map(str::to_owned)).collect()
    }

    /// How often a method was called for a volume, and did what it was asked.
    pub fn done(&self, method: &str, volume: &str) -> usize {
        let text = std::fs::read_to_string(self.state.join("calls")).unwrap_or_default();
        let calls = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let done = |call: &Value| {
            call[0] == format!("VolumeDriver.{method}")
                && call[1]["Name"] == volume
                && call[2]["Err"].as_str().unwrap_or_default().is_empty()
        };
        calls.filter(done).count()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.vanish();
    }
}
