//! `WWW-Authenticate` (RFC 9110, section 11.6.1), as far as registries use it.

use std::collections::HashMap;

use http::{HeaderMap, header};

/// How a registry wants to be shown who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token that `realm` hands out.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The best challenge in `headers`: a token before a password.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(header::WWW_AUTHENTICATE).into_iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let mut all: Vec<Self> = lines.flat_map(parse).filter_map(Self::known).collect();
        all.sort_by_key(|challenge| *challenge == Challenge::Basic);
        all.into_iter().next()
    }

    fn known((scheme, mut parameters): (String, HashMap<String, String>)) -> Option<Self> {
        match scheme.as_str() {
            "basic" => Some(Self::Basic),
            "bearer" => Some(Self::Bearer {
                realm: parameters.remove("realm")?,
                service: parameters.remove("service"),
                scope: parameters.remove("scope"),
            }),
            _ => None,
        }
    }
}

/// Schemes with their parameters; both in lower case, quoted values unquoted.
fn parse(mut rest: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut challenges: Vec<(String, HashMap<String, String>)> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        match (behind.trim_start().strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, behind) = read_value(value.trim_start());
                parameters.insert(word.to_ascii_lowercase(), value);
                rest = behind;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push((word.to_ascii_lowercase(), HashMap::new()));
                rest = behind;
            }
        }
    }
}

fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, line.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
        Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
    }

    #[test]
    fn what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        assert_eq!(of(&[hub]), expected);
        assert_eq!(of(&["BASIC realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(of(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(of(&["Basic realm=x, Bearer realm=\"y\\\"z\""]), bearer("y\"z", None, None));
        assert_eq!(
            of(&["Basic realm=x", "bearer realm = y , service=s"]),
            bearer("y", Some("s"), None)
        );
        for none in
            ["", "Negotiate abc==", "Bearer service=x", "=,=", "realm=x", "\"", "Digest a=\"b"]
        {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(line in "[ -~]{0,80}") {
            let _ = parse(&line);
        }
    }
}
