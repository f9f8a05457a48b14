//! How much may still be unpacked.

use model::{Bytes, Error, Result};

use crate::limits::Limits;

/// Counts what goes in and what comes out, and refuses what grows without end.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    limits: &'a Limits,
    entries: u64,
    /// Bytes that have come out, or that an entry announced, whichever is more.
    unpacked: u64,
    announced: u64,
}

impl<'a> Budget<'a> {
    pub fn new(limits: &'a Limits) -> Self {
        Self { limits, entries: 0, unpacked: 0, announced: 0 }
    }

    /// `more` bytes came out of `packed` bytes taken in so far.
    pub fn unpacked(&mut self, more: u64, packed: u64) -> Result<()> {
        self.unpacked = self.unpacked.saturating_add(more);
        self.bounded(self.unpacked)?;
        let past_floor = self.unpacked > self.limits.ratio_floor.0;
        if past_floor && self.unpacked / packed.max(1) > self.limits.ratio {
            return Err(Error::invalid(format!(
                "it unpacks to over {} times its size",
                self.limits.ratio
            ))
            .next("raise `ratio` under [images] in hull.toml if you trust it"));
        }
        Ok(())
    }

    /// An entry says it unpacks to `size` bytes.
    pub fn entry(&mut self, size: u64) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::invalid(format!("it has over {} entries", self.limits.entries)));
        }
        self.announced = self.announced.saturating_add(size);
        self.bounded(self.announced)
    }

    /// Bytes that have come out.
    pub fn total(&self) -> u64 {
        self.unpacked
    }

    /// Entries seen.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn bounded(&self, bytes: u64) -> Result<()> {
        let Bytes(most) = self.limits.unpacked;
        if bytes <= most {
            return Ok(());
        }
        Err(Error::invalid(format!("it unpacks to over {}", self.limits.unpacked))
            .next("raise `unpacked` under [images] in hull.toml if you trust it"))
    }
}
