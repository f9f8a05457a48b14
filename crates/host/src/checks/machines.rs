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
