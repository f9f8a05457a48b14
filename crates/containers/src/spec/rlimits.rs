//! Limits of processes (getrlimit(2)).

use model::Result;
use model::instance::Ulimit;

use super::oci;
use crate::host::HostFacts;

/// The limits asked for, brought under what this daemon may give.
pub(super) fn rlimits(
    asked: &[Ulimit],
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<Vec<oci::Rlimit>> {
    asked.iter().map(|limit| rlimit(limit, host, warnings)).collect()
}

fn rlimit(limit: &Ulimit, host: &HostFacts, warnings: &mut Vec<String>) -> Result<oci::Rlimit> {
    let kind = limit.kind()?;
    let number = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let most = host.most(kind);
    let hard = number(limit.hard).min(most);
    let soft = number(limit.soft).min(hard);
    if hard < number(limit.hard) {
        warnings.push(format!(
            "ulimit {kind} is {most}, not {}: the daemon may not raise its own limit",
            if limit.hard < 0 { "unlimited".to_owned() } else { limit.hard.to_string() }
        ));
    }
    Ok(oci::Rlimit { kind: format!("RLIMIT_{}", kind.to_ascii_uppercase()), hard, soft })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(soft: i64, hard: i64, host: &HostFacts) -> (u64, u64, usize) {
        let asked = [Ulimit { name: "nofile".to_owned(), soft, hard }];
        let mut warnings = Vec::new();
        let limits = rlimits(&asked, host, &mut warnings).unwrap();
        (limits[0].soft, limits[0].hard, warnings.len())
    }

    #[test]
    fn brought_under_what_may_be_given() {
        let free = HostFacts::able();
        assert_eq!(check(1024, 65536, &free), (1024, 65536, 0));
        assert_eq!(check(-1, -1, &free), (u64::MAX, u64::MAX, 0));
        let mut bound = HostFacts::able();
        bound.capabilities.remove("CAP_SYS_RESOURCE");
        bound.hard_limits.insert("nofile".to_owned(), 20000);
        assert_eq!(check(1024, 20000, &bound), (1024, 20000, 0));
        assert_eq!(check(65536, 65536, &bound), (20000, 20000, 1));
        assert_eq!(check(-1, -1, &bound), (20000, 20000, 1));
        let unknown = [Ulimit { name: "nofiles".to_owned(), soft: 1, hard: 1 }];
        assert!(rlimits(&unknown, &free, &mut Vec::new()).is_err());
    }
}
