//! Virtual machines.

use std::time::Duration;

use super::{Finding, Settings};
use crate::kvm::{self, Proof};

/// Longest each of two guests may take; one that runs needs a few milliseconds.
const DEADLINE: Duration = Duration::from_millis(400);

/// KVM: what was proved, no more.
pub fn kvm(_: &Settings) -> Finding {
    judge(&kvm::probe(DEADLINE))
}

/// Firmware for machines that boot by UEFI.
pub fn uefi(_: &Settings) -> Finding {
    let known = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"];
    let signed = ["/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"];
    let there = |files: &[&str]| files.iter().any(|file| std::path::Path::new(file).exists());
    match (there(&known), there(&signed)) {
        (true, true) => Finding::pass("machines can boot by UEFI, and by secure boot"),
        (true, false) => Finding::pass("machines can boot by UEFI, not by secure boot"),
        (false, _) => {
            Finding::warn("machines boot by BIOS only: there is no OVMF", "apt install ovmf")
        }
    }
}

/// How directories are shared with guests.
pub fn shares(_: &Settings) -> Finding {
    match crate::shares::virtiofsd() {
        Some(found) => Finding::pass(format!(
            "directories are shared with machines by virtiofs ({})",
            found.program.display()
        )),
        None => Finding::warn(
            "directories are shared with machines by 9p, which not every guest can mount: there is \
             no virtiofsd",
            "apt install virtiofsd (Debian 12 and Ubuntu 22.04: qemu-system-common)",
        ),
    }
}

/// Memory that is kept in huge pages for machines that ask for it.
pub fn huge_pages(_: &Settings) -> Finding {
    let meminfo = crate::proc::text("/proc/meminfo");
    let number = |field: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let (total, free) = (number("HugePages_Total"), number("HugePages_Free"));
    let size = model::Bytes(number("Hugepagesize") * 1024);
    Finding::pass(match total {
        0 => {
            "none are kept; machines that ask for them are refused (sysctl vm.nr_hugepages)".into()
        }
        _ => format!("{free} of {total} are free, {size} each"),
    })
}

/// Whether PCI devices can be given to guests.
pub fn passthrough(_: &Settings) -> Finding {
    let groups = std::fs::read_dir("/sys/kernel/iommu_groups").map_or(0, Iterator::count);
    let given = std::fs::read_dir("/sys/bus/pci/drivers/vfio-pci")
        .map_or(0, |files| files.flatten().filter(|file| is_address(&file.file_name())).count());
    Finding::pass(match groups {
        0 => "no IOMMU: PCI devices cannot be given to machines".to_owned(),
        _ => format!(
            "an IOMMU with {groups} groups; {given} devices are free for machines (vfio-pci)"
        ),
    })
}

fn is_address(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().split([':', '.']).count() == 4
}

fn judge(proof: &Proof) -> Finding {
    const EMULATED: &str = "virtual machines are emulated (TCG), which is slow";
    let fault = proof.fault.as_deref().unwrap_or("no reason was given");
    if !proof.device {
        return Finding::warn(
            format!("{fault}; {EMULATED}"),
            "turn virtualisation on in the firmware (or nested virtualisation in the hypervisor) \
             and load kvm_intel or kvm_amd",
        );
    }
    if proof.ordinary_guests() {
        return Finding::pass("a guest booted from 16-bit to 64-bit mode with paging");
    }
    let ran = match (proof.long_mode, proof.real_mode, proof.put_into_long_mode) {
        (true, _, _) => "a guest booted from 16-bit to 64-bit mode with paging, but the processor \
                         shows neither vmx nor svm: larger guests may hang"
            .to_owned(),
        (false, real, put) => {
            let real = if real { "16-bit code ran" } else { "no 16-bit code ran" };
            let put = if put {
                "64-bit code ran when the guest was put there from outside"
            } else {
                "64-bit code did not run"
            };
            format!("/dev/kvm opens; {real}, and {put} ({fault})")
        }
    };
    Finding::warn(
        format!("{ran}; {EMULATED}"),
        "use a machine, or a hypervisor with nested virtualisation, that shows vmx or svm",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn only_what_was_proved_is_said() {
        let none = Proof { fault: Some("/dev/kvm does not open".into()), ..Proof::default() };
        assert!(judge(&none).text.starts_with("/dev/kvm does not open"));
        let hung = Proof {
            device: true,
            hardware: true,
            real_mode: true,
            fault: Some("the guest hung (400 ms)".into()),
            ..Proof::default()
        };
        let told = judge(&hung);
        assert_eq!(told.outcome, Outcome::Warn);
        assert!(
            told.text.contains("16-bit code ran") && told.text.contains("hung"),
            "{}",
            told.text
        );
        let odd = Proof { device: true, real_mode: true, long_mode: true, ..Proof::default() };
        assert!(judge(&odd).text.contains("neither vmx nor svm"));
        let good = Proof { hardware: true, ..odd };
        assert_eq!(judge(&good).outcome, Outcome::Pass);
    }

    #[test]
    fn this_machine_answers_in_time() {
        let started = std::time::Instant::now();
        let proof = kvm::probe(DEADLINE);
        println!("{proof:?} in {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_millis(1300), "{:?}", started.elapsed());
        assert!(proof.long_mode || proof.fault.is_some() || proof.put_into_long_mode);
    }
}
