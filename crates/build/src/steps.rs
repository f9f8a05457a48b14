//! What buildah prints, in the words of a classic `docker build`.

/// One thing that a build says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A line, with its end.
    Text(String),
    /// Why it failed, and the exit code of the `RUN` that did.
    Failed {
        /// The sentence.
        message: String,
        /// The code; `None` when it was no `RUN`.
        code: Option<i32>,
    },
}

/// Reads lines one after the other.
#[derive(Debug, Default)]
pub struct Steps {
    /// The step that goes on.
    current: String,
}

/// Beginnings of lines that say only that bytes are copied.
const NOISE: [&str; 10] = [
    "Trying to pull ",
    "Resolving \"",
    "Resolved \"",
    "Getting image source signatures",
    "Copying blob ",
    "Copying config ",
    "Writing manifest to image destination",
    "Storing signatures",
    "subprocess exited with status ",
    "time=\"",
];

impl Steps {
    /// A line of standard output.
    pub fn output(&mut self, line: &str) -> Option<Step> {
        let bare = line.trim_end_matches('\n');
        let (stage, rest) = match bare.split_once("] ") {
            Some((stage, rest)) if stage.starts_with('[') => (format!("{stage}] "), rest),
            _ => (String::new(), bare),
        };
        if rest == "COMMIT" {
            return None;
        }
        if let Some((number, text)) =
            rest.strip_prefix("STEP ").and_then(|step| step.split_once(": "))
            && number.contains('/')
        {
            text.clone_into(&mut self.current);
            return Some(Step::Text(format!("{stage}Step {number} : {text}\n")));
        }
        if let Some(id) = rest.strip_prefix("--> ") {
            let told = match id.strip_prefix("Using cache ") {
                Some(id) => format!(" ---> Using cache\n ---> {}\n", short(id)),
                None => format!(" ---> {}\n", short(id)),
            };
            return Some(Step::Text(told));
        }
        // The last word of a program may stand before buildah's own.
        if let Some(said) = rest.strip_suffix("COMMIT").filter(|said| !said.is_empty()) {
            return Some(Step::Text(format!("{said}\n")));
        }
        Some(Step::Text(line.to_owned()))
    }

    /// A line of standard error.
    pub fn error(&mut self, line: &str) -> Option<Step> {
        if NOISE.iter().any(|noise| line.starts_with(noise)) {
            return None;
        }
        match line.strip_prefix("Error: ") {
            Some(told) => Some(self.failure(told.trim_end())),
            None => Some(Step::Text(line.to_owned())),
        }
    }

    /// Why a file is not there to be copied, without the directory of this machine where it would be.
    fn not_copied(&self, reason: &str) -> Option<String> {
        let (directory, path) = absent_source(reason)?;
        let verb = self.current.split_whitespace().next().unwrap_or("COPY");
        let place = match directory.ends_with("/context") {
            true => "file not found in build context or excluded by .dockerignore: ",
            false => "",
        };
        Some(format!("{verb} failed: {place}stat {path}: file does not exist"))
    }

    fn failure(&self, told: &str) -> Step {
        let reason = match told.strip_prefix("building at STEP \"") {
            Some(rest) => rest.split_once("\": ").map_or(rest, |(_, reason)| reason),
            None => told,
        };
        // The place that answers for images has told why.
        let reason = reason.split_once(": manifest unknown: ").map_or(reason, |(_, why)| why);
        let run = self.current.strip_prefix("RUN ");
        let code = reason.rsplit_once("exit status ").and_then(|(_, code)| code.parse().ok());
        if let Some(message) = self.not_copied(reason) {
            return Step::Failed { message, code: None };
        }
        match (run, code) {
            (Some(command), Some(code)) => Step::Failed {
                message: format!(
                    "The command '{}' returned a non-zero code: {code}",
                    shown(command)
                ),
                code: Some(code),
            },
            _ => Step::Failed { message: reason.to_owned(), code: None },
        }
    }
}

/// Where it looked is told before why: `checking on sources under "DIR": copier: stat: "/x": no such file`.
fn absent_source(reason: &str) -> Option<(&str, &str)> {
    let (_, rest) = reason.split_once("checking on sources under \"")?;
    let (directory, rest) = rest.split_once("\": copier: stat: \"")?;
    let (path, rest) = rest.split_once('"')?;
    rest.contains("no such file").then(|| (directory, path.trim_start_matches('/')))
}

/// The command as Docker says it: a shell's, or the words of a list.
fn shown(command: &str) -> String {
    let list: Option<Vec<String>> = serde_json::from_str(command).ok();
    list.map_or_else(|| format!("/bin/sh -c {command}"), |words| words.join(" "))
}

fn short(id: &str) -> &str {
    let id = id.trim().trim_start_matches("sha256:");
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Step> {
        Some(Step::Text(text.to_owned()))
    }

    #[test]
    fn lines_of_output() {
        let mut steps = Steps::default();
        for (line, expected) in [
            ("STEP 1/2: FROM busybox\n", text("Step 1/2 : FROM busybox\n")),
            ("[1/2] STEP 2/3: ARG X=1\n", text("[1/2] Step 2/3 : ARG X=1\n")),
            ("--> 0123456789abcdef\n", text(" ---> 0123456789ab\n")),
            ("--> Using cache 0123456789abcdef\n", text(" ---> Using cache\n ---> 0123456789ab\n")),
            ("COMMIT\n", None),
            ("[2/2] COMMIT\n", None),
            ("no endCOMMIT\n", text("no end\n")),
            ("hello\n", text("hello\n")),
        ] {
            assert_eq!(steps.output(line), expected, "{line}");
        }
    }

    #[test]
    fn what_went_wrong() {
        for (step, error, message, code) in [
            (
                "STEP 2/2: RUN exit 3",
                "Error: building at STEP \"RUN exit 3\": exit status 3\n",
                "The command '/bin/sh -c exit 3' returned a non-zero code: 3",
                Some(3),
            ),
            (
                "STEP 2/2: RUN [\"sh\",\"-c\",\"exit 4\"]",
                "Error: building at STEP \"RUN …\": while running runtime: exit status 4\n",
                "The command 'sh -c exit 4' returned a non-zero code: 4",
                Some(4),
            ),
            (
                "STEP 2/2: COPY a /b",
                "Error: building at STEP \"COPY a /b\": no such file\n",
                "no such file",
                None,
            ),
            (
                "STEP 1/1: FROM x",
                "Error: creating build container: reading manifest latest in 127.0.0.1:1/docker.io/\
                 library/x: manifest unknown: image x: not here\n",
                "image x: not here",
                None,
            ),
            (
                "STEP 2/2: COPY nosuch /",
                "Error: building at STEP \"COPY nosuch /\": checking on sources under \"/j/1/context\": \
                 copier: stat: \"/nosuch\": no such file or directory\n",
                "COPY failed: file not found in build context or excluded by .dockerignore: stat \
                 nosuch: file does not exist",
                None,
            ),
            (
                "STEP 1/1: FROM x",
                "Error: creating build container: x\n",
                "creating build container: x",
                None,
            ),
        ] {
            let mut steps = Steps::default();
            steps.output(step);
            let failed = Step::Failed { message: message.to_owned(), code };
            assert_eq!(steps.error(error), Some(failed), "{error}");
        }
        let mut steps = Steps::default();
        assert_eq!(steps.error("Copying blob sha256:1\n"), None);
        assert_eq!(steps.error("warning\n"), text("warning\n"));
    }
}
