//! The clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, Settings};
use crate::proc;

/// 2026-01-01: this program is younger.
const OLDEST: u64 = 1_767_225_600;
/// 2100-01-01: certificates made now would outlive any client's idea of time.
const LATEST: u64 = 4_102_444_800;
/// Certificates and leases stand an error of this size.
const GOOD: Duration = Duration::from_millis(500);

/// Whether something keeps it right, adjtimex(2).
pub fn synchronised(_: &Settings) -> Finding {
    match state() {
        Ok((true, error)) if error <= GOOD => {
            Finding::pass(format!("synchronised, off by {error:.1?} at most"))
        }
        Ok((true, error)) => Finding::warn(
            format!("synchronised, but it may be off by {error:.1?}"),
            "wait for the time service to settle, or give it nearer servers",
        ),
        Ok((false, _)) => Finding::warn(
            "nothing keeps it right; nodes of a cluster must agree on the time",
            "apt-get install chrony (or systemd-timesyncd), unless the hypervisor sets it",
        ),
        Err(error) => Finding::warn(
            format!("the kernel does not tell ({error})"),
            "see that a time service runs: timedatectl",
        ),
    }
}

/// Whether the clock is synchronised, and the largest error it may have.
#[expect(unsafe_code, reason = "adjtimex has no safe form")]
fn state() -> std::io::Result<(bool, Duration)> {
    // SAFETY: all zeros is a valid `timex`, and with no modes set the call only reads.
    let (code, found) = unsafe {
        let mut found: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut found), found)
    };
    if code < 0 {
        return Err(std::io::Error::last_os_error());
    }
    let synchronised = code != libc::TIME_ERROR && found.status & libc::STA_UNSYNC == 0;
    let error = Duration::from_micros(u64::try_from(found.maxerror).unwrap_or(0));
    Ok((synchronised, error))
}

/// Whether the time can be true.
pub fn sane(_: &Settings) -> Finding {
    judge(SystemTime::now())
}

fn judge(now: SystemTime) -> Finding {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match seconds {
        0..OLDEST => Finding::fail(
            "it is in the past: certificates made now would not be valid",
            "set the clock: timedatectl set-time, or start a time service",
        ),
        LATEST.. => Finding::fail(
            "it is far in the future: certificates made now would not be valid",
            "set the clock: timedatectl set-time, or start a time service",
        ),
        _ => Finding::pass("plausible"),
    }
}

/// What it is read from: a slow source costs every program that looks at the time.
pub fn source(_: &Settings) -> Finding {
    let found = proc::text("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    match found.as_str() {
        "" => Finding::pass("not told by this kernel"),
        "acpi_pm" | "hpet" | "jiffies" | "refined-jiffies" => Finding::warn(
            format!("{found} is slow to read"),
            "let the hypervisor offer kvm-clock or a stable TSC",
        ),
        _ => Finding::pass(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn times_that_cannot_be() {
        let at = |seconds| judge(UNIX_EPOCH + Duration::from_secs(seconds)).outcome;
        assert_eq!(at(0), Outcome::Fail);
        assert_eq!(at(OLDEST), Outcome::Pass);
        assert_eq!(at(LATEST), Outcome::Fail);
    }
}
