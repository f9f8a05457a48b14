//! The process's input, written into files that a shell in the guest feeds it.

use bytes::Bytes;
use model::{Error, Result};

use super::super::{GuestAgent, GuestFile};
use super::script::AHEAD;

/// Most that goes into one file: each costs the guest two programs.
pub(super) const FILE: usize = 1 << 20;

pub(super) struct Feed {
    dir: String,
    /// The next file to be written.
    next: u64,
    /// Bytes of what is being passed that are passed already.
    passed: usize,
    tell: GuestFile,
}

impl Feed {
    pub(super) async fn open(agent: &GuestAgent, dir: &str) -> Result<Self> {
        let tell = agent.file_open(&format!("{dir}/ack0"), "r+").await?;
        Ok(Self { dir: dir.to_owned(), next: 0, passed: 0, tell })
    }

    /// Passes bytes on; whether all of them. When not, or when it fails, it wants the same bytes
    /// again.
    pub(super) async fn write(&mut self, agent: &GuestAgent, bytes: Bytes) -> Result<bool> {
        while self.passed < bytes.len() {
            if !self.has_room(agent).await? {
                return Ok(false);
            }
            let part = &bytes[self.passed..bytes.len().min(self.passed + FILE)];
            // A file that a failed try has left is written anew.
            let file = agent.file_open(&self.path(self.next), "w").await?;
            let written = write_all(agent, file, part).await;
            agent.file_close(file).await?;
            written?;
            self.say(agent, &self.next.to_string()).await?;
            self.passed += part.len();
            self.next += 1;
        }
        self.passed = 0;
        Ok(true)
    }

    /// What was partly passed on will not be wanted again.
    pub(super) fn forget(&mut self) {
        self.passed = 0;
    }

    /// A file is removed when it is read.
    async fn has_room(&self, agent: &GuestAgent) -> Result<bool> {
        let Some(early) = self.next.checked_sub(AHEAD) else { return Ok(true) };
        match agent.file_if_there(&self.path(early)).await? {
            Some(file) => agent.file_close(file).await.map(|()| false),
            None => Ok(true),
        }
    }

    pub(super) async fn end(&self, agent: &GuestAgent) -> Result<()> {
        self.say(agent, "end").await
    }

    async fn say(&self, agent: &GuestAgent, word: &str) -> Result<()> {
        agent.file_write(self.tell, format!("{word}\n").as_bytes()).await?;
        agent.file_flush(self.tell).await
    }

    fn path(&self, index: u64) -> String {
        format!("{}/0.{index}", self.dir)
    }

    pub(super) async fn close(&self, agent: &GuestAgent) {
        let _ = agent.file_close(self.tell).await;
    }
}

async fn write_all(agent: &GuestAgent, file: GuestFile, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = agent.file_write(file, bytes).await?;
        if written == 0 {
            return Err(Error::conflict("the guest takes no more input: its memory may be full"));
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
