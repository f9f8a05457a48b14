//! Limits, restart policies and log options.

use model::instance::container::Throttle;
use model::instance::{LogOptions, RestartPolicy, Ulimit};
use model::{Bytes, Error, Result};

/// Reads one `--ulimit`: `nofile=1024:2048`, `core=unlimited`.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    let refuse = || {
        Error::invalid(format!("{text:?} is not a limit"))
            .at("--ulimit")
            .next("write NAME=SOFT[:HARD], e.g. nofile=1024:2048")
    };
    let (name, value) = text.split_once('=').ok_or_else(refuse)?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let number = |text: &str| match text {
        "unlimited" | "-1" => Ok(-1),
        digits => digits.parse::<i64>().ok().filter(|n| *n >= 0).ok_or_else(refuse),
    };
    Ok(Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
}

/// Reads `--restart`: `no`, `on-failure[:N]`, `always`, `unless-stopped`.
pub fn restart(text: &str) -> Result<RestartPolicy> {
    let refuse = || {
        Error::invalid(format!("{text:?} is not a restart policy"))
            .at("--restart")
            .next("use no, on-failure[:N], always or unless-stopped")
    };
    match text {
        "" | "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        "on-failure" => Ok(RestartPolicy::OnFailure { max: None }),
        other => {
            let max = other.strip_prefix("on-failure:").ok_or_else(refuse)?;
            let max: u32 = max.parse().map_err(|_| refuse())?;
            Ok(RestartPolicy::OnFailure { max: (max > 0).then_some(max) })
        }
    }
}

/// Reads all `--log-opt`s: `max-size=10m`, `max-file=3`.
pub fn log(options: &[String]) -> Result<LogOptions> {
    let mut log = LogOptions::default();
    for option in options {
        let refuse = |why: &str| {
            Error::invalid(format!("{option:?}: {why}"))
                .at("--log-opt")
                .next("use max-size=16m, max-file=5")
        };
        match option.split_once('=') {
            Some(("max-size", value)) => log.max_size = value.parse::<Bytes>()?,
            Some(("max-file", value)) => {
                log.max_files = value.parse().map_err(|_| refuse("not a number"))?;
            }
            _ => return Err(refuse("unknown option")),
        }
    }
    Ok(log)
}

/// Which bound of a device's I/O a flag sets.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// Bytes read in a second.
    ReadBps,
    /// Bytes written in a second.
    WriteBps,
    /// Reads in a second.
    ReadIops,
    /// Writes in a second.
    WriteIops,
}

/// Adds `DEVICE:RATE` to the bounds.
pub fn throttle(bounds: &mut Vec<Throttle>, bound: Bound, text: &str) -> Result<()> {
    let (device, rate) = text.rsplit_once(':').ok_or_else(|| {
        Error::invalid(format!("{text:?} is not DEVICE:RATE")).next("write /dev/sda:1m")
    })?;
    let rate = rate.parse::<Bytes>()?.0;
    let index = bounds.iter().position(|throttle| throttle.device == device).unwrap_or_else(|| {
        bounds.push(Throttle { device: device.to_owned(), ..Throttle::default() });
        bounds.len() - 1
    });
    let throttle = &mut bounds[index];
    match bound {
        Bound::ReadBps => throttle.read_bps = rate,
        Bound::WriteBps => throttle.write_bps = rate,
        Bound::ReadIops => throttle.read_iops = rate,
        Bound::WriteIops => throttle.write_iops = rate,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = |text| ulimit(text).map(|limit| (limit.soft, limit.hard));
        assert_eq!(limit("nofile=1024:2048").unwrap(), (1024, 2048));
        assert_eq!(limit("core=unlimited").unwrap(), (-1, -1));
        for text in ["nofile", "nofile=x", "nofile=1:-2"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn policies() {
        assert_eq!(restart("on-failure:3").unwrap(), RestartPolicy::OnFailure { max: Some(3) });
        assert_eq!(restart("on-failure:0").unwrap(), RestartPolicy::OnFailure { max: None });
        for text in ["never", "on-failure:x", "always:1"] {
            assert!(restart(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_options_and_bounds() {
        let log = log(&["max-size=1m".to_owned(), "max-file=2".into()]).unwrap();
        assert_eq!((log.max_size, log.max_files), (Bytes::mib(1), 2));
        assert!(super::log(&["frob=1".to_owned()]).is_err());
        let mut bounds = Vec::new();
        throttle(&mut bounds, Bound::ReadBps, "/dev/sda:1m").unwrap();
        throttle(&mut bounds, Bound::WriteIops, "/dev/sda:10").unwrap();
        assert_eq!(bounds.len(), 1);
        assert_eq!((bounds[0].read_bps, bounds[0].write_iops), (1 << 20, 10));
    }
}
