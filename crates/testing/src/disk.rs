//! A small disk for a node to stand on, which a test can fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// A file system in a file, mounted. Who sweeps the node unmounts it.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Makes one of so many bytes, and mounts it on a directory of that name in `base`.
    pub fn mount(base: &Path, name: &str, size: u64) -> Result<Self> {
        let (file, place) = (base.join(format!("{name}.img")), base.join(name));
        File::create(&file)?.set_len(size)?;
        std::fs::create_dir(&place)?;
        // Nothing of it is kept back for root.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&file))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&file, &place]))?;
        Ok(Self { place })
    }

    /// Writes until nothing more can be written.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast())?;
        for size in [1 << 20, 4096, 512] {
            let piece = vec![b'x'; size];
            while file.write_all(&piece).is_ok() {}
        }
        // What does not fit any more is known to be so only when it is written back.
        let _ = file.sync_all();
        Ok(())
    }

    /// Takes that away again.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
