//! Changes of an image's configuration, a line each, as `docker commit --change` and `docker import
//! --change` have them: `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `LABEL`, `STOPSIGNAL`, `USER`, `VOLUME`,
//! `WORKDIR`.

use super::ImageConfig;
use crate::error::{Error, Result};

impl ImageConfig {
    /// Changes what the line names.
    ///
    /// # Errors
    /// `Invalid` for a word that changes nothing, and for a list that is not JSON.
    pub fn change(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word.to_ascii_uppercase().as_str() {
            "CMD" => self.command = command(rest)?,
            "ENTRYPOINT" => self.entrypoint = command(rest)?,
            "ENV" => {
                let entry = rest.replacen(' ', "=", usize::from(!rest.contains('=')));
                let name = |entry: &str| entry.split('=').next().map(str::to_owned);
                self.env.retain(|old| name(old) != name(&entry));
                self.env.push(entry);
            }
            "EXPOSE" => self.exposed_ports.extend(rest.split_whitespace().map(exposed)),
            "LABEL" => {
                let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
                self.labels.insert(unquoted(key), unquoted(value));
            }
            "STOPSIGNAL" => rest.clone_into(&mut self.stop_signal),
            "USER" => rest.clone_into(&mut self.user),
            "VOLUME" => self.volumes.extend(words(rest)?),
            "WORKDIR" => rest.clone_into(&mut self.workdir),
            _ => {
                return Err(Error::invalid(format!("{word:?} is no change of an image"))
                    .at("changes")
                    .next(
                        "use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR",
                    ));
            }
        }
        Ok(())
    }
}

fn command(text: &str) -> Result<Vec<String>> {
    if text.starts_with('[') {
        return words(text);
    }
    Ok(vec!["/bin/sh".into(), "-c".into(), text.into()])
}

fn words(text: &str) -> Result<Vec<String>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| {
            Error::invalid(format!("{text:?} is not a JSON list of words"))
                .at("changes")
                .caused_by(error)
        });
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn exposed(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut config = ImageConfig { env: vec!["A=0".into()], ..ImageConfig::default() };
        for line in ["CMD [\"a\", \"b\"]", "ENV A 1", "expose 80", "LABEL k=\"v\"", "USER u"] {
            config.change(line).unwrap();
        }
        assert_eq!(config.command, ["a", "b"]);
        assert_eq!(config.env, ["A=1"]);
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.labels["k"], "v");
        assert!(config.change("RUN x").is_err());
        assert!(config.change("CMD [x").is_err());
    }
}
