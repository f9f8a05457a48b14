//! What an instance is handed: `--secret` and `--config`.

use model::instance::Handed;
use model::{Error, Result};

/// Reads each of them: `NAME`, or Docker's `source=NAME,target=/path,uid=N,gid=N,mode=0400`.
pub fn all(flag: &str, texts: &[String]) -> Result<Vec<Handed>> {
    texts.iter().map(|text| one(flag, text)).collect()
}

fn one(flag: &str, text: &str) -> Result<Handed> {
    let refuse = |why: &str| {
        Error::invalid(format!("{text:?} is not what can be handed to an instance: {why}"))
            .at(flag)
            .next("write NAME, or NAME,target=/path,uid=0,gid=0,mode=0400")
    };
    let mut handed = Handed::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or(("source", part));
        let number = |radix: u32| {
            let digits = value.strip_prefix("0o").unwrap_or(value);
            u32::from_str_radix(digits, radix)
                .map_err(|_| refuse(&format!("{part:?} has no number")))
        };
        match key {
            "source" | "src" => value.clone_into(&mut handed.source),
            "target" | "dst" | "destination" => value.clone_into(&mut handed.target),
            "uid" => handed.uid = number(10)?,
            "gid" => handed.gid = number(10)?,
            "mode" => handed.mode = number(8)?,
            _ => return Err(refuse(&format!("unknown option {key:?}"))),
        }
    }
    if handed.source.is_empty() {
        return Err(refuse("no name"));
    }
    Ok(handed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_docker_s() {
        let words = ["pw".to_owned(), "source=pw,target=/etc/pw,uid=5,gid=6,mode=0440".to_owned()];
        let full = Handed { uid: 5, gid: 6, mode: 0o440, ..Handed::named("pw") };
        let full = Handed { target: "/etc/pw".into(), ..full };
        assert_eq!(all("--secret", &words).unwrap(), [Handed::named("pw"), full]);
        for bad in ["", "target=/x", "pw,mode=9", "pw,uid=x", "pw,size=1"] {
            let error = all("--secret", &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.field(), Some("--secret"), "{bad}");
        }
    }
}
