//! Logins: given with each call in a header, checked by `POST /auth`, never kept.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, StatusCode};
use link::image::Login;
use model::ErrorKind;
use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::body::Json;
use crate::failure::{Failure, Reply};

/// Longest header that is read.
const LONGEST: usize = 64 << 10;

/// Base64 for URLs, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A login as clients send it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub(crate) struct AuthConfig {
    username: String,
    password: String,
    auth: String,
    serveraddress: String,
    identitytoken: String,
}

impl AuthConfig {
    /// The login for a registry; `None` when nobody logged in.
    pub(crate) fn login(mut self, registry: &str) -> Option<Login> {
        if self.username.is_empty() && !self.auth.is_empty() {
            let decoded = STANDARD.decode(&self.auth).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            let (user, password) = text.split_once(':')?;
            (self.username, self.password) =
                (user.to_owned(), password.trim_end_matches('\0').to_owned());
        }
        if self.username.is_empty() && self.identitytoken.is_empty() {
            return None;
        }
        Some(Login {
            registry: registry.to_owned(),
            username: self.username,
            password: self.password,
            identity_token: self.identitytoken,
        })
    }
}

/// The login in `X-Registry-Auth`. One that cannot be read is none, as Engine has it.
pub(super) fn of(headers: &HeaderMap, registry: &str) -> Option<Login> {
    let value = headers.get("x-registry-auth")?.as_bytes();
    if value.len() > LONGEST {
        return None;
    }
    let config: AuthConfig = serde_json::from_slice(&BASE64.decode(value).ok()?).ok()?;
    config.login(registry)
}

/// The logins in `X-Registry-Config`, which a build may show to many registries.
pub(crate) fn of_build(headers: &HeaderMap) -> Vec<Login> {
    let Some(value) = headers.get("x-registry-config") else { return Vec::new() };
    if value.len() > LONGEST {
        return Vec::new();
    }
    let decoded = BASE64.decode(value.as_bytes()).unwrap_or_default();
    let configs: BTreeMap<String, AuthConfig> =
        serde_json::from_slice(&decoded).unwrap_or_default();
    configs.into_iter().filter_map(|(registry, config)| config.login(&registry)).collect()
}

/// `POST /auth`.
pub(super) async fn check(
    State(engine): Shared,
    Extension(caller): crate::By,
    Json(config): Json<AuthConfig>,
) -> Reply {
    let registry = match config.serveraddress.as_str() {
        "" => "docker.io".to_owned(),
        address => host(address).to_owned(),
    };
    let login = config.login(&registry).unwrap_or_default();
    let login = Login { registry: registry.clone(), ..login };
    let checked = engine.control.images().check_login(&caller, "", login).await;
    let kept = checked.map_err(|error| refusal(&registry, error))?;
    let answer = json!({ "IdentityToken": kept.identity_token, "Status": "Login Succeeded" });
    Ok(respond(answer))
}

fn respond(answer: serde_json::Value) -> Response {
    (StatusCode::OK, axum::Json(answer)).into_response()
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The registry's address: those of this machine are spoken with in the clear.
pub(super) fn address(registry: &str) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let ours = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let scheme = if ours || host == "localhost" { "http" } else { "https" };
    format!("{scheme}://{registry}")
}

fn refusal(registry: &str, error: model::Error) -> Failure {
    let address = address(registry);
    match error.kind() {
        ErrorKind::Unauthenticated | ErrorKind::Forbidden => Failure::new(
            StatusCode::UNAUTHORIZED,
            format!("login attempt to {address}/v2/ failed with status: 401 Unauthorized"),
        ),
        ErrorKind::Unavailable => {
            let message = format!("Get \"{address}/v2/\": {}", error.chain());
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Login> {
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-auth", BASE64.encode(json).parse().unwrap());
        of(&headers, "r")
    }

    #[test]
    fn logins_in_headers() {
        let login = read(r#"{"username":"u","password":"p","serveraddress":"x"}"#).unwrap();
        assert_eq!((&*login.username, &*login.password, &*login.registry), ("u", "p", "r"));
        let packed = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("u:p:q"));
        assert_eq!(read(&packed).unwrap().password, "p:q");
        assert_eq!(read(r#"{"identitytoken":"t"}"#).unwrap().identity_token, "t");
        assert_eq!(read("{}"), None);
        assert_eq!(read("nothing"), None);
        assert_eq!(host("https://index.docker.io/v1/"), "index.docker.io");
        assert_eq!(address("127.0.0.1:5000"), "http://127.0.0.1:5000");
        assert_eq!(address("hub.example:5000"), "https://hub.example:5000");
    }
}
