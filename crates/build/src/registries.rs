//! How buildah is told to ask for every image at one place (containers-registries.conf(5),
//! containers-auth.json(5)): the name of the registry becomes the first part of the path there.

use std::collections::BTreeSet;

use crate::job::Supply;

/// User that is shown to the place.
pub const USER: &str = "build";

/// The file for these registries.
pub(crate) fn file(hosts: &BTreeSet<String>, supply: &Supply) -> String {
    let mut text = String::from(
        "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n",
    );
    for host in hosts {
        text.push_str(&format!(
            "[[registry]]\nprefix = {host:?}\nlocation = \"127.0.0.1:{}/{}\"\ninsecure = true\n",
            supply.port,
            component(host)
        ));
    }
    text
}

/// A registry as a component of a path, which has no colons; hosts have no underscores.
pub(crate) fn component(host: &str) -> String {
    host.replace(':', "__")
}

/// The registry that a component of a path stands for.
#[must_use]
pub fn host_of_component(component: &str) -> String {
    component.replace("__", ":")
}

/// The file with the password.
pub(crate) fn auth(supply: &Supply) -> String {
    use base64::Engine as _;
    let login = format!("{USER}:{}", supply.password);
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let host = format!("127.0.0.1:{}", supply.port);
    serde_json::json!({ "auths": { host: { "auth": login } } }).to_string()
}

/// Registries that the words of a Dockerfile, or values of its arguments, may name. What is none is
/// no harm: nobody asks for it.
pub(crate) fn hosts<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut hosts = BTreeSet::from(["docker.io".to_owned()]);
    for text in texts {
        let words = text.split(|c: char| c.is_whitespace() || "\"'=,{}()$".contains(c));
        hosts.extend(words.filter_map(host_of));
    }
    hosts
}

/// `h:5000` of `h:5000/app:1`. An argument's default stands behind `:-`.
fn host_of(word: &str) -> Option<String> {
    let word = word.split_once(":-").map_or(word, |(_, default)| default);
    let (host, path) = word.split_once('/')?;
    let first = host.bytes().next()?.is_ascii_alphanumeric();
    let good = host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:".contains(&c));
    let named = host.contains(['.', ':']) || host == "localhost";
    let address = host.ends_with(':');
    (first && good && named && !address && !path.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_in_words() {
        let text = "ARG BASE=ghcr.io/a/b\nFROM --platform=linux/amd64 h:5000/x:1 AS y\n\
                    COPY --from=quay.io/z/w /a /b\nRUN cat ./etc/x /y.z/w ${IMG:-r.io/q}\n\
                    FROM localhost/own\nFROM busybox\nADD https://e.org/x /";
        let found = hosts([text, "127.0.0.1:5/k"]);
        let expected =
            ["127.0.0.1:5", "docker.io", "ghcr.io", "h:5000", "localhost", "quay.io", "r.io"];
        assert_eq!(found, expected.map(str::to_owned).into());
    }

    #[test]
    fn all_are_asked_at_one_place() {
        let supply = Supply { port: 7, password: String::new() };
        let text = file(&["h:5".to_owned()].into(), &supply);
        assert!(text.contains("prefix = \"h:5\"\nlocation = \"127.0.0.1:7/h__5\"\n"), "{text}");
        assert_eq!(host_of_component("h__5"), "h:5");
    }
}
