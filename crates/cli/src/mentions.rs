//! Every `hull …` that a text of ours names is one that the command line understands: next steps and reasons of
//! errors, help, the documentation, the catalog and the console.
//!
//! Its subcommand must be there, and so must its options. Not looked at: whether what stands in the place of names and
//! values is right; commands whose very words are put together when they are told (`hull {kind} ls`); comments that
//! are no documentation; tests; what was said of older versions (CHANGELOG, decisions).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use proc_macro2::{TokenStream, TokenTree};
use regex::Regex;

use crate::{Cli, later};

/// Faces of the binary that are not the command line.
const FACES: [&str; 8] =
    ["daemon", "disk-tool", "hold", "init", "log-driver", "machine", "name-server", "supervise"];

/// Words behind `hull` by which it is no command but what a sentence is about, or a mark of ours.
const PROSE: [&str; 22] = [
    "again", "and", "answered", "as", "at", "cannot", "could", "does", "is", "itself", "knows",
    "names", "on", "retired", "root", "runs", "that", "to", "was", "which", "with", "without",
];

/// What stands in the place of what is not known before it is told.
const ANY: &str = "X";

/// The command line, with values of any kind, and nothing that has to be given.
fn forgiving(command: Command) -> Command {
    let any = |arg: clap::Arg| {
        let takes = arg.get_action().takes_values();
        let arg = arg.required(false);
        if takes { arg.value_parser(clap::value_parser!(OsString)) } else { arg }
    };
    command.mut_args(any).mut_subcommands(forgiving).subcommand_required(false)
}

/// A command that a text names, without its `hull`.
#[derive(Debug, PartialEq)]
struct Named {
    words: String,
    /// It is set apart from the sentence that it stands in.
    apart: bool,
}

/// What is wrong with a command.
fn fault(Named { words: command, apart }: &Named) -> Option<String> {
    let words = shlex::split(command);
    let words = words.unwrap_or_else(|| command.split_whitespace().map(str::to_owned).collect());
    let first = words.first()?.trim_end_matches(['`', '\'']);
    let known = FACES.contains(&first) || PROSE.contains(&first) || later::is_known(first);
    if known || first.contains(ANY) {
        return None;
    }
    let words = [&["hull".to_owned()], words.as_slice()].concat();
    static FORGIVING: LazyLock<Command> = LazyLock::new(|| forgiving(Cli::command()));
    let error = FORGIVING.clone().try_get_matches_from(words).err()?;
    let about = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    let wrong = match error.kind() {
        ErrorKind::InvalidSubcommand => !about(ContextKind::InvalidSubcommand).contains(ANY),
        ErrorKind::UnknownArgument => {
            let word = about(ContextKind::InvalidArg);
            // Other words too many may be the rest of a sentence.
            (*apart || word.starts_with('-')) && !word.contains(ANY)
        }
        ErrorKind::ArgumentConflict => true,
        _ => false,
    };
    wrong.then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// The commands that a text names.
fn commands(text: &str) -> Vec<Named> {
    static JOINT: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\\n\s*"));
    static FILLED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\$?\{[^{}]*\}"));
    static BEGIN: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(^|[\s`'"(:;|&])hull +([a-z]|X)"#));
    static END: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"[;,.:!?](\s|$|<)|\)|</|\s{2}|\s[#|>&<(—]|\s(or|and|then)\s|[`$\n]|\s?[{}]")
    });
    if !text.contains("hull ") {
        return Vec::new();
    }
    let joined = JOINT.replace_all(text, " ");
    let filled = FILLED.replace_all(&joined, ANY).replace('…', ANY);
    let command = |found: regex::Captures<'_>| {
        let rest = &filled[found.get(2).map_or(0, |it| it.start())..];
        let rest = &rest[..END.find(rest).map_or(rest.len(), |it| it.start())];
        let words = rest.replace(['[', ']'], "").trim().to_owned();
        Named { words, apart: &found[1] == "`" }
    };
    BEGIN.captures_iter(&filled).map(command).collect()
}

/// Files below a directory whose names end so, tests left out.
fn files(below: &str, ends: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below);
    let (mut found, mut left) = (Vec::new(), vec![root]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true if name == "tests" || name == "testing" || name == "decisions" => {}
                true => left.push(path),
                false if name.contains(".test.") || name == "mentions.rs" => {}
                false if ends.iter().any(|end| name.ends_with(end)) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// The texts of a program in Rust: literals, and what documents it.
fn of_rust(source: &str) -> Vec<String> {
    let tests = pattern(r"\n#\[cfg\(test\)\]\n(#.*\n)*mod \w+ \{");
    let source = &source[..tests.find(source).map_or(source.len(), |it| it.start())];
    let mut found = Vec::new();
    literals(TokenStream::from_str(source).unwrap(), &mut found);
    found
}

fn literals(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    found.push(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The code in a page: lines that are set in, or fenced, and what stands between backticks.
fn of_page(source: &str) -> Vec<String> {
    let mut parts = source.split("```").enumerate();
    let (mut code, mut prose) = (Vec::new(), String::new());
    for (at, part) in parts.by_ref() {
        match at % 2 {
            1 => code.push(part.to_owned()),
            _ => {
                let (set_in, lines): (Vec<&str>, Vec<&str>) =
                    part.lines().partition(|line| line.starts_with("    "));
                code.push(set_in.join("\n"));
                prose.push_str(&lines.join("\n"));
                prose.push('\n');
            }
        }
    }
    let spans = pattern(r"`([^`]+)`");
    code.extend(spans.captures_iter(&prose).map(|it| it[1].replace('\n', " ")));
    code
}

/// The texts of the console's sources. Where a command is a list of its words, they are one text.
fn of_console(source: &str) -> Vec<String> {
    let list = pattern(r"\[('hull [^\]]*)\]");
    let text = pattern(r#"'((?:[^'\\\n]|\\.)*)'|"([^"\n]*)"|`([^`]*)`?"#);
    let texts = |source: &str| -> Vec<String> {
        let part = |it: regex::Captures<'_>| {
            it.iter().skip(1).flatten().next().map_or("", |it| it.as_str()).replace("\\n", "\n")
        };
        text.captures_iter(source).map(part).collect()
    };
    let lists = list.captures_iter(source).map(|it| texts(&it[1]).join(" "));
    lists.chain(texts(source)).collect()
}

#[test]
fn every_command_that_is_named_is_there() {
    let (mut count, mut faults) = (0, Vec::new());
    type Read = fn(&str) -> Vec<String>;
    let places: [(&str, &[&str], Read); 4] = [
        ("catalog", &[".md"], of_page),
        ("crates", &[".rs"], of_rust),
        ("docs", &[".md"], of_page),
        ("console/src", &[".ts", ".tsx"], of_console),
    ];
    let files = places.into_iter().flat_map(|(below, ends, read)| {
        files(below, ends).into_iter().map(move |path| (path, read))
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|it| root.join(it));
    for (path, read) in files.chain(pages.map(|path| (path, of_page as Read))) {
        let source = std::fs::read_to_string(&path).unwrap();
        if !source.contains("hull ") {
            continue;
        }
        for mut named in read(&source).iter().flat_map(|text| commands(text)) {
            count += 1;
            named.apart |= path.extension().is_some_and(|it| it == "md");
            let (told, words) = (fault(&named), &named.words);
            faults.extend(told.map(|told| format!("{}: hull {words}: {told}", path.display())));
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 600, "only {count} were found: they are looked for in the wrong places");
}

#[test]
fn what_is_wrong_is_found() {
    for (text, wrong) in [
        ("hull node update {name} --cordon", true),
        ("hull node cordon {name}", false),
        ("first free it: hull volume free data", true),
        ("see `hull ps --none`, then try again", true),
        ("see `hull ps -a`, then try again", false),
        ("hull status tells what is slow", false),
        ("`hull status tells`", true),
        ("hull start {name}; or hull strat {name}", true),
        ("hull run -d --nmae x nginx", true),
        ("hull run -d nginx --nmae x", false),
        ("hull {kind} ls", false),
        ("hull rm -f $(hull ps -qx)", true),
        ("hull is not a command here", false),
    ] {
        let found = commands(text);
        assert!(!found.is_empty() || text.starts_with("hull is"), "{text}");
        let faults: Vec<_> = found.iter().filter_map(fault).collect();
        assert_eq!(!faults.is_empty(), wrong, "{text}: {found:?} {faults:?}");
    }
}

#[test]
fn they_are_found_in_texts_of_all_kinds() {
    let rust = "/// See `hull ps`.\nfn f() { g(\"next: hull rm \\\n        {name}\") }\n\
                #[cfg(test)]\nmod tests {\n    const X: &str = \"hull fly\";\n}\n";
    let page =
        "A `hull ps -a` and a `hull\nstop x`.\n\n    hull rm x   # gone\n\n```\nhull up\n```\n";
    let console =
        "['hull user create', x && `--role ${x}`, y || 'NAME'] \"hull status\\nhull check\"";
    let all = |texts: Vec<String>| -> Vec<String> {
        texts.iter().flat_map(|it| commands(it)).map(|it| it.words).collect()
    };
    assert_eq!(all(of_rust(rust)), ["ps", "rm X"]);
    assert_eq!(all(of_page(page)), ["rm x", "up", "ps -a", "stop x"]);
    let in_console = all(of_console(console));
    assert_eq!(in_console[0], "user create --role X NAME");
    assert!(in_console.ends_with(&["status".to_owned(), "check".to_owned()]), "{in_console:?}");
}
