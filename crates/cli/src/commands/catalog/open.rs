//! Where an app of a template is opened.

use std::collections::BTreeMap;

use client::{Host, Objects};
use model::app::AppNoun;

use crate::context::Context;
use crate::out;

/// Says where an app that is ready is opened, where its template tells that.
pub(super) async fn tell(context: &Context, apps: &Objects<AppNoun>, name: &str) {
    // It is a remark: an app is none the worse for a template that went meanwhile.
    let Ok(app) = apps.get(name).await else { return };
    let Some(origin) = &app.spec.origin else { return };
    let templates = context.client.templates(&context.project);
    let detail = templates.get(&origin.catalog, &origin.template, Some(&origin.version)).await;
    let Ok(detail) = detail else { return };
    let Some(version) = detail.template.version(Some(&detail.version)) else { return };
    let host = match context.client.host() {
        Host::Unix(_) => "localhost",
        Host::Https { name, .. } => name,
    };
    if let Some(address) = address(&version.open, &origin.answers, host) {
        out::remark(format!("open {address}"));
    }
}

/// The address, with the answers in it. None where it is not one of the web: templates are by strangers.
fn address(open: &str, answers: &BTreeMap<String, String>, host: &str) -> Option<String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut text = open.replace("HOST", &host);
    for (variable, answer) in answers {
        text = text.replace(&format!("${{{variable}}}"), answer);
    }
    let of_the_web = text.starts_with("http://") || text.starts_with("https://");
    let plain = text.chars().all(|c| c.is_ascii_graphic()) && !text.contains("${");
    (of_the_web && plain).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_answers_and_are_of_the_web() {
        let answers = BTreeMap::from([("port".to_owned(), "81".to_owned())]);
        for (open, host, expected) in [
            ("http://HOST:${port}/", "localhost", Some("http://localhost:81/")),
            ("https://HOST:${port}/x", "fd00::1", Some("https://[fd00::1]:81/x")),
            ("http://HOST:${other}/", "localhost", None),
            ("file:///etc/passwd", "localhost", None),
            ("http://HOST/\u{1b}[2J", "localhost", None),
            ("", "localhost", None),
        ] {
            assert_eq!(address(open, &answers, host).as_deref(), expected, "{open}");
        }
    }
}
