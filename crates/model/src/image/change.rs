//! Changes of an image's configuration, a line each, as `docker commit --change` and `docker import
//! --change` have them: `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `LABEL`, `STOPSIGNAL`, `USER`, `VOLUME`,
//! `WORKDIR`.

use super::ImageConfig;
use crate::error::{Error, Result};
use crate::instance::{HealthCheck, Probe};

impl ImageConfig {
    /// Changes what the line names.
    ///
    /// # Errors
    /// `Invalid` for a word that changes nothing, and for a list that is not JSON.
    pub fn change(&mut self, line: &str) -> Result<()> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(Error::invalid(format!(
                "{line:?} is no change: nothing stands after the word"
            ))
            .at("changes")
            .next("write a line such as: ENV NAME=value"));
        }
        match word.to_ascii_uppercase().as_str() {
            "CMD" => self.command = command(rest)?,
            "ENTRYPOINT" => self.entrypoint = command(rest)?,
            "ENV" => {
                for (key, value) in pairs(rest)? {
                    self.env.retain(|old| old.split('=').next() != Some(key.as_str()));
                    self.env.push(format!("{key}={value}"));
                }
            }
            "HEALTHCHECK" if rest.eq_ignore_ascii_case("NONE") => {
                self.health = Some(HealthCheck::new(Probe::None));
            }
            "EXPOSE" => self.exposed_ports.extend(rest.split_whitespace().map(exposed)),
            "LABEL" => self.labels.extend(pairs(rest)?),
            "STOPSIGNAL" => rest.clone_into(&mut self.stop_signal),
            "USER" => rest.clone_into(&mut self.user),
            "VOLUME" => self.volumes.extend(words(rest)?),
            "WORKDIR" if rest.starts_with('/') => rest.clone_into(&mut self.workdir),
            "WORKDIR" => self.workdir = format!("{}/{rest}", self.workdir.trim_end_matches('/')),
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

/// `A=1 B="two words"`, or in the old form one name and the rest of the line: `A two words`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let without = |word: &str| {
        Error::invalid(format!("{word:?} is given no value"))
            .at("changes")
            .next("write NAME=value, in quotes if it has spaces")
    };
    let words = split(text);
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = text.split_once(char::is_whitespace).ok_or_else(|| without(text))?;
        return Ok(vec![(key.to_owned(), split(value).join(" "))]);
    }
    let pair = |word: &String| {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| without(word))
    };
    words.iter().map(pair).collect()
}

/// Words as a Dockerfile has them: quotes hold words together, a backslash takes a character's meaning.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, begun) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, _) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
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
        for line in
            ["ENV B=1 C=\"two words\" D=it\\'s", "LABEL x=1 y='2 3'", "WORKDIR /a", "WORKDIR b"]
        {
            config.change(line).unwrap();
        }
        assert_eq!(config.env, ["A=1", "B=1", "C=two words", "D=it's"]);
        assert_eq!((config.labels["x"].as_str(), config.labels["y"].as_str()), ("1", "2 3"));
        assert_eq!(config.workdir, "/a/b");
        for line in ["", "CMD", "RUN x", "ENV A", "ENV =1", "CMD [x"] {
            assert!(config.change(line).is_err(), "{line}");
        }
    }
}
