//! One of the process's outputs, read from the files it goes into.

use bytes::Bytes;
use model::Result;

use super::super::file::PIECE;
use super::super::{GuestAgent, GuestFile};
use super::script::READS;

pub(super) struct Stream {
    dir: String,
    number: u32,
    /// The file being read, and how far.
    index: u64,
    file: Option<GuestFile>,
    offset: u64,
    /// The file after it, when it is there.
    next: Option<GuestFile>,
    /// The agent may have read what we did not get.
    astray: bool,
    acknowledge: GuestFile,
}

impl Stream {
    pub(super) async fn open(agent: &GuestAgent, dir: &str, number: u32) -> Result<Self> {
        let acknowledge = agent.file_open(&format!("{dir}/ack{number}"), "r+").await?;
        Ok(Self {
            dir: dir.to_owned(),
            number,
            index: 0,
            file: None,
            offset: 0,
            next: None,
            astray: false,
            acknowledge,
        })
    }

    /// What was written since; `None` for nothing.
    pub(super) async fn read(&mut self, agent: &GuestAgent) -> Result<Option<Bytes>> {
        loop {
            let Some(file) = self.current(agent).await? else { return Ok(None) };
            let bytes = self.piece(agent, file).await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if let Some(next) = self.next.take() {
                // Nothing more was added to this one after the next was begun.
                (self.file, self.offset, self.index) = (Some(next), 0, self.index + 1);
                agent.file_close(file).await?;
                agent.file_write(self.acknowledge, b"\n").await?;
                agent.file_flush(self.acknowledge).await?;
                continue;
            }
            // A new one is begun after so many reads of a byte or more.
            if self.offset < READS {
                return Ok(None);
            }
            self.next = agent.file_if_there(&self.path(self.index + 1)).await?;
            if self.next.is_none() {
                return Ok(None);
            }
        }
    }

    async fn current(&mut self, agent: &GuestAgent) -> Result<Option<GuestFile>> {
        if self.file.is_none() {
            self.file = agent.file_if_there(&self.path(self.index)).await?;
        }
        Ok(self.file)
    }

    async fn piece(&mut self, agent: &GuestAgent, file: GuestFile) -> Result<Bytes> {
        if self.astray {
            agent.file_seek(file, self.offset).await?;
        }
        self.astray = true;
        let bytes = agent.file_read(file, PIECE).await?;
        self.astray = false;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    fn path(&self, index: u64) -> String {
        format!("{}/{}.{index}", self.dir, self.number)
    }

    pub(super) async fn close(&self, agent: &GuestAgent) {
        for file in self.file.into_iter().chain(self.next).chain([self.acknowledge]) {
            let _ = agent.file_close(file).await;
        }
    }
}
