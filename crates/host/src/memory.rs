//! Giving back the memory that a start needed and idling does not.

use std::ffi::c_void;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use rustix::time::{ClockId, clock_gettime};

/// Gives back what the allocator holds free, and takes the program's own code and constants out of the memory this
/// process is counted for: what of it is used comes back from the page cache, a page at a time.
///
/// A start runs through most of the program once. Afterwards a fraction of it is used, while all that
/// was touched would stay mapped for as long as the process lives.
pub fn give_back() {
    // SAFETY: it looks at the allocator's own state, under its own locks.
    #[allow(unsafe_code, reason = "glibc has no safe form of it")]
    unsafe {
        libc::malloc_trim(0);
    }
    for (start, length) in code() {
        // SAFETY: the range is a private mapping of a file that cannot be written to. Its pages are as
        // the file has them, and are read from there again.
        #[allow(unsafe_code, reason = "the kernel is told of a range of addresses")]
        let advised = unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "code not given back");
        }
    }
}

/// How long the processors worked for this process so far, all its threads together.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// Bytes of memory that this process has now (`VmRSS`, proc_pid_status(5)); 0 where the kernel does not say.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
}

/// Where the code and the constants of the program and its libraries are mapped: begin and length.
fn code() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(mapping).collect()
}

/// A line of proc_pid_maps(5), if it is the code of a file or its constants. The latter are in the first
/// segment; what is read only elsewhere may have been relocated (RELRO), and is no more as the file has it.
fn mapping(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (access, offset) = (words.next()?, words.next()?);
    let unchanged = access == "r-xp" || (access == "r--p" && offset.bytes().all(|b| b == b'0'));
    let file = words.nth(2)?.starts_with('/');
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    (unchanged && file).then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_data() {
        let line = "55cb45fdd000-55cb484ce000 r-xp 009cd000 fe:00 5419585    /usr/bin/hull";
        assert_eq!(mapping(line), Some((0x55cb_45fd_d000, 0x24f_1000)));
        let constants = "55cb45000000-55cb45fdd000 r--p 00000000 fe:00 5419585    /usr/bin/hull";
        assert_eq!(mapping(constants), Some((0x55cb_4500_0000, 0xfd_d000)));
        for other in [
            "55cb4857d000-55cb48583000 r--p 02f6b000 fe:00 5419585   /usr/bin/hull",
            "55cb48583000-55cb4858c000 rw-p 02f71000 fe:00 5419585   /usr/bin/hull",
            "7fff0000-7fff1000 r-xp 00000000 00:00 0    [vdso]",
            "7fff0000-7fff1000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(mapping(other), None, "{other}");
        }
    }

    #[test]
    fn the_program_goes_on() {
        give_back();
        assert!(!code().is_empty() && resident() > 1 << 20);
    }
}
