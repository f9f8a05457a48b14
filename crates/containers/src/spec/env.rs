//! The environment.

/// The search path where the image names none, as Docker's.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The engine's own variables, then the image's, then those asked for; a later one takes the place
/// of an earlier one of its name, and a bare name removes it.
pub(super) fn container(
    hostname: &str,
    tty: bool,
    image: &[String],
    own: &[String],
) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    if !hostname.is_empty() {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    merge(&mut env, image);
    merge(&mut env, own);
    env
}

/// Puts `more` over `env`.
pub(super) fn merge(env: &mut Vec<String>, more: &[String]) {
    for entry in more {
        let name = name_of(entry);
        let place = env.iter().position(|known| name_of(known) == name);
        match (place, entry.contains('=')) {
            (Some(i), true) => env[i].clone_from(entry),
            (Some(i), false) => drop(env.remove(i)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
}

/// Adds `NAME=value` unless the name is there.
pub(super) fn set_default(env: &mut Vec<String>, name: &str, value: &str) {
    if !env.iter().any(|entry| name_of(entry) == name) {
        env.push(format!("{name}={value}"));
    }
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn later_wins_and_a_bare_name_removes() {
        let image = strings(&["PATH=/bin", "A=1", "B=2"]);
        let own = strings(&["B=3=4", "A", "C=", "D"]);
        assert_eq!(
            container("web", true, &image, &own),
            strings(&["PATH=/bin", "HOSTNAME=web", "TERM=xterm", "B=3=4", "C="])
        );
        assert_eq!(container("", false, &[], &[]), strings(&[DEFAULT_PATH]));
    }
}
