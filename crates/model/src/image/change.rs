//! Changes of an image's configuration, a line each, as `docker commit --change` and `docker import
//! --change` have them.

use super::ImageConfig;
use crate::error::{Error, Result};
use crate::instance::{HealthCheck, Probe};

/// What a line can begin with.
const WORDS: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl ImageConfig {
    /// The same with the fields of `changes` that aren't empty in place of its own; variables and labels
    /// one by one.
    #[must_use]
    pub fn overlaid(mut self, changes: Self) -> Self {
        let text = |new: String, old: String| if new.is_empty() { old } else { new };
        let list = |new: Vec<String>, old: Vec<String>| if new.is_empty() { old } else { new };
        for entry in changes.env {
            let name = entry.split('=').next().unwrap_or_default().to_owned();
            self.env.retain(|old| old.split('=').next() != Some(name.as_str()));
            self.env.push(entry);
        }
        self.labels.extend(changes.labels);
        Self {
            user: text(changes.user, self.user),
            env: self.env,
            entrypoint: list(changes.entrypoint, self.entrypoint),
            command: list(changes.command, self.command),
            workdir: text(changes.workdir, self.workdir),
            volumes: list(changes.volumes, self.volumes),
            exposed_ports: list(changes.exposed_ports, self.exposed_ports),
            labels: self.labels,
            stop_signal: text(changes.stop_signal, self.stop_signal),
            health: changes.health.or(self.health),
            on_build: list(changes.on_build, self.on_build),
        }
    }

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
            "HEALTHCHECK" => self.health = Some(health(rest)?),
            "ONBUILD" => self.on_build.push(rest.to_owned()),
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
                    .next(format!("use {}", WORDS.join(", "))));
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

/// `NONE`, or options and then `CMD` with a command.
fn health(text: &str) -> Result<HealthCheck> {
    let first = |text: &str| {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        (word.to_owned(), rest.trim().to_owned())
    };
    let mut check = HealthCheck::new(Probe::None);
    let (mut word, mut rest) = first(text);
    while let Some(option) = word.strip_prefix("--") {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        set(&mut check, name, value)?;
        (word, rest) = first(&rest);
    }
    if word.eq_ignore_ascii_case("CMD") && !rest.is_empty() {
        check.probe = Probe::Exec { command: command(&rest)? };
    } else if !word.eq_ignore_ascii_case("NONE") || !rest.is_empty() {
        return Err(Error::invalid(format!("{text:?} is no check of a container's health"))
            .at("changes")
            .next("write HEALTHCHECK CMD and a command, or HEALTHCHECK NONE"));
    }
    Ok(check)
}

fn set(check: &mut HealthCheck, option: &str, value: &str) -> Result<()> {
    let refuse = || {
        Error::invalid(format!("--{option}={value} says nothing of a check"))
            .at("changes")
            .next("use --interval, --timeout, --start-period, --start-interval, --retries")
    };
    if option == "retries" {
        check.retries = value.parse().map_err(|error| refuse().caused_by(error))?;
        return Ok(());
    }
    let span = match option {
        "interval" => &mut check.interval,
        "timeout" => &mut check.timeout,
        "start-period" => &mut check.start_period,
        "start-interval" => &mut check.start_interval,
        _ => return Err(refuse()),
    };
    *span = value.parse().map_err(|error| refuse().caused_by(error))?;
    Ok(())
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
    fn changes_replace_what_they_name() {
        let base = ImageConfig {
            env: vec!["A=1".into(), "B=2".into()],
            command: vec!["old".into()],
            workdir: "/old".into(),
            ..ImageConfig::default()
        };
        let changes = ImageConfig {
            env: vec!["A=3".into()],
            command: vec!["new".into()],
            ..ImageConfig::default()
        };
        let made = base.overlaid(changes);
        assert_eq!(made.env, ["B=2", "A=3"]);
        assert_eq!((made.command, &*made.workdir), (vec!["new".to_owned()], "/old"));
    }

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
        for line in ["ONBUILD RUN x", "HEALTHCHECK --retries=2 --interval=5s CMD true"] {
            config.change(line).unwrap();
        }
        assert_eq!(config.on_build, ["RUN x"]);
        let health = config.health.clone().unwrap();
        assert_eq!((health.retries, health.interval), (2, "5s".parse().unwrap()));
        assert_eq!(health.probe, Probe::Exec { command: command("true").unwrap() });
        config.change("HEALTHCHECK none").unwrap();
        assert_eq!(config.health.clone().unwrap().probe, Probe::None);
        for line in [
            "",
            "CMD",
            "RUN x",
            "ENV A",
            "ENV =1",
            "CMD [x",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --odd=1 CMD x",
            "HEALTHCHECK --retries=x CMD x",
        ] {
            assert!(config.change(line).is_err(), "{line}");
        }
    }
}
