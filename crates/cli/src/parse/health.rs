//! Health checks: `--health-cmd` and its sisters.

use model::instance::{HealthCheck, Probe};
use model::{Error, Result, Span};

/// What the flags say.
#[derive(Debug, Default)]
pub struct Flags<'a> {
    /// `--no-healthcheck`.
    pub none: bool,
    /// `--health-cmd`.
    pub command: Option<&'a str>,
    /// `--health-http`: `PORT[/path]`.
    pub http: Option<&'a str>,
    /// `--health-tcp`: `PORT`.
    pub tcp: Option<u16>,
    /// `--health-grpc`: `PORT[/service]`.
    pub grpc: Option<&'a str>,
    /// `--health-interval`.
    pub interval: Option<Span>,
    /// `--health-timeout`.
    pub timeout: Option<Span>,
    /// `--health-retries`.
    pub retries: Option<u32>,
    /// `--health-start-period`.
    pub start_period: Option<Span>,
    /// `--health-start-interval`.
    pub start_interval: Option<Span>,
}

/// The check that the flags make; none when none of them names one.
pub fn check(flags: &Flags<'_>) -> Result<Option<HealthCheck>> {
    let mut probes = Vec::new();
    if flags.none {
        probes.push(Probe::None);
    }
    if let Some(command) = flags.command {
        let command = vec!["/bin/sh".into(), "-c".into(), command.to_owned()];
        probes.push(Probe::Exec { command });
    }
    if let Some(text) = flags.http {
        let (port, path) = split("--health-http", text)?;
        probes.push(Probe::Http { port, path: format!("/{path}"), tls: false });
    }
    if let Some(port) = flags.tcp {
        probes.push(Probe::Tcp { port });
    }
    if let Some(text) = flags.grpc {
        let (port, service) = split("--health-grpc", text)?;
        probes.push(Probe::Grpc { port, service });
    }
    if probes.len() > 1 {
        return Err(Error::invalid("give one health check only").at("--health-cmd"));
    }
    let Some(probe) = probes.pop() else {
        let times = flags.interval.is_some() || flags.timeout.is_some() || flags.retries.is_some();
        if times {
            return Err(Error::invalid("times of a health check without a check")
                .at("--health-interval")
                .next("give --health-cmd, --health-http, --health-tcp or --health-grpc too"));
        }
        return Ok(None);
    };
    let mut check = HealthCheck::new(probe);
    check.interval = flags.interval.unwrap_or(check.interval);
    check.timeout = flags.timeout.unwrap_or(check.timeout);
    check.retries = flags.retries.filter(|n| *n > 0).unwrap_or(check.retries);
    check.start_period = flags.start_period.unwrap_or(check.start_period);
    check.start_interval = flags.start_interval.unwrap_or(check.start_interval);
    Ok(Some(check))
}

fn split(flag: &str, text: &str) -> Result<(u16, String)> {
    let (port, rest) = text.split_once('/').unwrap_or((text, ""));
    let port = port.parse().map_err(|_| {
        Error::invalid(format!("{text:?} does not begin with a port")).at(flag.to_owned())
    })?;
    Ok((port, rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        let http = Flags { http: Some("80/live"), retries: Some(5), ..Flags::default() };
        let made = check(&http).unwrap().unwrap();
        assert_eq!(made.probe, Probe::Http { port: 80, path: "/live".into(), tls: false });
        assert_eq!(made.retries, 5);
        assert_eq!(check(&Flags::default()).unwrap(), None);
        for flags in [
            Flags { http: Some("x"), ..Flags::default() },
            Flags { tcp: Some(1), command: Some("true"), ..Flags::default() },
            Flags { interval: Some(Span::seconds(1)), ..Flags::default() },
        ] {
            assert!(check(&flags).is_err(), "{flags:?}");
        }
    }
}
