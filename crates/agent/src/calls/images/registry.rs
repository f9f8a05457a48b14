//! What is asked of registries besides images.

use images::Credentials;
use link::image::{Listing, Login, SearchHit, SearchRequest};
use model::image::Reference;
use model::{Error, Result};

use crate::calls::Calls;

/// What a name means at its registry.
pub async fn look_up(calls: &Calls, name: &str, login: Option<&Login>) -> Result<Listing> {
    let reference = Reference::parse(name).map_err(|error| error.at("name"))?;
    let login = login.map(credentials);
    let found = calls.context.images.puller.look_up(&reference, login.as_ref()).await?;
    let platform = |platform: images::Platform| {
        (platform.os, platform.architecture, platform.variant.unwrap_or_default())
    };
    Ok(Listing {
        digest: found.digest.to_string(),
        media_type: found.media_type,
        size: found.size,
        platforms: found.platforms.into_iter().map(platform).collect(),
    })
}

/// All tags of a repository.
pub async fn tags(calls: &Calls, name: &str, login: Option<&Login>) -> Result<Vec<String>> {
    let reference = Reference::parse(name).map_err(|error| error.at("name"))?;
    let login = login.map(credentials);
    calls.context.images.puller.tags(&reference, login.as_ref()).await
}

/// Repositories that fit a term.
pub async fn search(calls: &Calls, request: &SearchRequest) -> Result<Vec<SearchHit>> {
    let registry = registry_of(&request.registry);
    let login = request.login.as_ref().map(credentials);
    let puller = &calls.context.images.puller;
    let hits = puller.search(&registry, &request.term, request.limit, login).await?;
    let hit = |hit: images::SearchHit| SearchHit {
        name: hit.name,
        description: hit.description,
        stars: hit.star_count,
        official: hit.is_official,
    };
    Ok(hits.into_iter().map(hit).collect())
}

/// Checks a login and keeps nothing.
pub async fn check(calls: &Calls, login: Login) -> Result<Login> {
    let registry = registry_of(&login.registry);
    let checked = calls.context.images.puller.check_login(&registry, credentials(&login)).await?;
    Ok(match checked {
        Credentials::Basic { .. } | Credentials::Bearer { .. } => login,
        Credentials::Identity { token } => {
            Login { identity_token: token, password: String::new(), ..login }
        }
    })
}

/// Checks a login and keeps it.
pub async fn login(calls: &Calls, login: &Login) -> Result<()> {
    let registry = registry_of(&login.registry);
    calls.context.images.puller.login(&registry, credentials(login)).await
}

/// Forgets a login.
pub async fn logout(calls: &Calls, registry: &str) -> Result<()> {
    let registry = registry_of(registry);
    if calls.context.images.puller.logout(&registry).await? {
        return Ok(());
    }
    Err(Error::not_found(format!("there is no login for {registry}")))
}

pub fn registry_of(name: &str) -> String {
    match name.trim_end_matches('/') {
        "" | "https://index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => {
            "docker.io".into()
        }
        name => {
            let host = name.split_once("://").map_or(name, |(_, host)| host);
            host.split('/').next().unwrap_or(host).to_owned()
        }
    }
}

pub fn credentials(login: &Login) -> Credentials {
    match login.identity_token.as_str() {
        "" => Credentials::Basic { user: login.username.clone(), password: login.password.clone() },
        token => Credentials::Identity { token: token.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_in_many_ways() {
        for name in ["", "docker.io", "https://index.docker.io/v1/", "index.docker.io"] {
            assert_eq!(registry_of(name), "docker.io", "{name}");
        }
        assert_eq!(registry_of("https://r.example:5000/v2/"), "r.example:5000");
    }
}
