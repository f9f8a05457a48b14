//! What is run: the entry point and its arguments.

use model::image::ImageConfig;
use model::instance::ContainerSpec;
use model::{Error, Result};

/// The program and its arguments, by Docker's rules: an entry point of one's own takes no arguments
/// from the image; an entry point of nothing, or of one empty word, clears the image's.
///
/// # Errors
/// `Invalid` when nothing is left to run.
pub fn command(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>> {
    let own_arguments = spec.command.as_deref().unwrap_or_default();
    let (entrypoint, arguments) = match spec.entrypoint.as_deref() {
        None if own_arguments.is_empty() => (&image.entrypoint[..], &image.command[..]),
        None => (&image.entrypoint[..], own_arguments),
        Some([]) if own_arguments.is_empty() => (&[][..], &image.command[..]),
        Some([word]) if word.is_empty() => (&[][..], own_arguments),
        Some(words) => (words, own_arguments),
    };
    let command: Vec<String> = entrypoint.iter().chain(arguments).cloned().collect();
    if command.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("neither the image nor the request says what to run")
            .at("command")
            .next("give a command"));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn as_docker_does() {
        // entry point, command; image's entry point, image's command; what is run
        for (entrypoint, command_asked, image_entrypoint, image_command, expected) in [
            (None, None, "e", "c d", Some("e c d")),
            (None, None, "", "c", Some("c")),
            (None, Some("x"), "e", "c", Some("e x")),
            (None, Some(""), "e", "c", Some("e c")),
            (Some("o"), None, "e", "c", Some("o")),
            (Some("o"), Some("x"), "e", "c", Some("o x")),
            (Some(""), None, "e", "c", Some("c")),
            (Some(""), Some("x"), "e", "c", Some("x")),
            (None, None, "", "", None),
            (Some(""), None, "e", "", None),
        ] {
            let spec = ContainerSpec {
                entrypoint: entrypoint.map(words),
                command: command_asked.map(words),
                ..ContainerSpec::default()
            };
            let image = ImageConfig {
                entrypoint: words(image_entrypoint),
                command: words(image_command),
                ..ImageConfig::default()
            };
            assert_eq!(command(&spec, &image).ok(), expected.map(words));
        }
        let cleared = ContainerSpec {
            entrypoint: Some(vec![String::new()]),
            command: Some(words("x")),
            ..ContainerSpec::default()
        };
        let image = ImageConfig { entrypoint: words("e"), ..ImageConfig::default() };
        assert_eq!(command(&cleared, &image).unwrap(), words("x"));
    }
}
