//! Capabilities of this process.

use model::capability::CAPABILITIES;

use crate::proc;

/// Effective capabilities, sorted by name.
pub fn effective() -> Vec<String> {
    let status = proc::text("/proc/self/status");
    let mask = proc::field(&status, "CapEff");
    names(mask.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0))
}

fn names(mask: u64) -> Vec<String> {
    let held = CAPABILITIES.iter().enumerate().filter(|(number, _)| mask & (1 << number) != 0);
    let mut names: Vec<String> = held.map(|(_, name)| (*name).to_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_names() {
        assert_eq!(
            names(1 | 1 << 21 | 1 << 40),
            ["CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_SYS_ADMIN"]
        );
        assert_eq!(names(u64::MAX).len(), CAPABILITIES.len());
        assert!(!names(0x1ff_feff_ffff).contains(&"CAP_SYS_RESOURCE".to_owned()));
    }
}
