//! Addresses of things on the network.

/// An address as it may be shown: without the name and the password that it may hold.
#[must_use]
pub fn without_login(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_not_shown() {
        for (url, shown) in [
            ("https://joe:pw@e.org/x?y=@z", "https://e.org/x?y=@z"),
            ("joe:p@w@e.org", "e.org"),
            ("http://e.org/a@b", "http://e.org/a@b"),
            ("-", "-"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
