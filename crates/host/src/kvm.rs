//! Does a guest really run? A device `/dev/kvm` proves little: on some machines it opens, and guests
//! hang.
//!
//! A guest of 97 bytes begins as every PC does, in 16-bit real mode, says so, turns paging and long mode
//! on by its own instructions, says so from 64-bit code, and halts. Where that fails, a second guest is
//! put into long mode from outside, as paravirtual ones are. Each runs on a thread that is ended by a
//! signal when the time is over.

#[cfg(target_arch = "x86_64")]
mod guest;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was proved about KVM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Proof {
    /// `/dev/kvm` opens and makes a machine with a processor.
    pub device: bool,
    /// A guest ran 16-bit instructions.
    pub real_mode: bool,
    /// That guest reached 64-bit mode with paging by its own instructions.
    pub long_mode: bool,
    /// A guest that was put into 64-bit mode from outside ran there.
    pub put_into_long_mode: bool,
    /// The processor has virtualisation (`vmx` or `svm`), or is of an architecture that always does.
    pub hardware: bool,
    /// Why the first step that failed did.
    pub fault: Option<String>,
}

impl Proof {
    /// Whether ordinary guests can be expected to run.
    pub fn ordinary_guests(&self) -> bool {
        self.hardware && self.long_mode
    }
}

/// Tries it, each guest for `deadline` at most.
#[cfg(target_arch = "x86_64")]
pub fn probe(deadline: Duration) -> Proof {
    let cpuinfo = crate::proc::text("/proc/cpuinfo");
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let hardware = flags.split(' ').any(|flag| matches!(flag, "vmx" | "svm"));
    let mut proof = Proof { hardware, ..Proof::default() };
    let first = guest::run(guest::Start::RealMode, deadline);
    proof.device = first.made;
    proof.real_mode = first.said.contains(&guest::IN_REAL_MODE);
    proof.long_mode = first.ended && first.said.contains(&guest::IN_LONG_MODE);
    proof.fault = first.fault;
    if proof.device && !proof.long_mode {
        let second = guest::run(guest::Start::LongMode, deadline);
        proof.put_into_long_mode = second.ended && second.said.contains(&guest::IN_LONG_MODE);
        proof.fault = proof.fault.or(second.fault);
    }
    proof
}

/// Tries it. Guests of this architecture are not tried yet: only the device is.
#[cfg(not(target_arch = "x86_64"))]
pub fn probe(_: Duration) -> Proof {
    match std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Proof { device: true, hardware: true, ..Proof::default() },
        Err(error) => Proof { fault: Some(error.to_string()), ..Proof::default() },
    }
}
