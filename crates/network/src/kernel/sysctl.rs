//! Kernel parameters of the calling thread's network namespace.

use std::io;
use std::path::PathBuf;

use model::Result;

use super::route::failed;

fn path(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(key)
}

/// The value of `net/<key>`, e.g. `ipv4/ip_forward`; none if the kernel doesn't have it.
pub fn read(key: &str) -> Option<String> {
    std::fs::read_to_string(path(key)).ok().map(|text| text.trim().to_owned())
}

/// Writes `net/<key>`. The key separates its parts by `/`, as names of interfaces may have dots.
pub fn write(key: &str, value: &str) -> Result<()> {
    std::fs::write(path(key), value)
        .map_err(|error| failed(error, &format!("setting net/{key} to {value}")))
}

/// Writes `net/<key>` if the kernel has it.
pub fn write_if_there(key: &str, value: &str) -> Result<()> {
    match std::fs::write(path(key), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| failed(error, &format!("setting net/{key} to {value}"))),
    }
}

/// Writes `net/<key>` unless it has the value already. Says whether it wrote.
pub fn ensure(key: &str, value: &str) -> Result<bool> {
    if read(key).as_deref() == Some(value) {
        return Ok(false);
    }
    write(key, value).map(|()| true)
}

/// Whether the kernel has IPv6 and it isn't switched off.
pub fn has_ipv6() -> bool {
    read("ipv6/conf/all/disable_ipv6").is_some_and(|value| value == "0")
}

/// Whether frames that a bridge forwards pass the IP firewall too (`br_netfilter`; a switch of the
/// host's that others may rely on). Then a packet led back to its sender by the firewall is sent back
/// by the bridge instead of the router, which a port allows only in hairpin mode.
pub fn filters_bridges() -> bool {
    filters_bridges6() || read("bridge/bridge-nf-call-iptables").as_deref() == Some("1")
}

/// The same for IPv6 alone. Then answers to the host's ::1 are led back to it while the frame is still
/// the bridge's, and the kernel drops what comes to ::1 by any link but loopback (`ip6_rcv_core`).
pub fn filters_bridges6() -> bool {
    read("bridge/bridge-nf-call-ip6tables").as_deref() == Some("1")
}
