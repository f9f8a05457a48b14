//! The files of an app on this machine: those that reading it looks at, and no others, are sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use compose::{Asked, Files, SecretSource};
use model::app::{AppFile, AppFiles};
use model::data::Data;
use model::error::Context;
use model::{Error, ErrorKind, Result};

use super::builds::{self, Planned};
use super::repository::Repository;
use crate::archive::context::{Given, Ground};
use crate::parse;

/// Most bytes of one file that is read; the API takes no more of all together.
const MOST_BYTES: u64 = 1 << 20;
/// Most files looked at below a directory that is mounted.
const MOST_FILES: usize = 2000;
/// Most bytes of an archive unpacked, and most entries: there may be contexts of images in it.
const MOST_UNPACKED: u64 = 256 << 20;
const MOST_ENTRIES: usize = 50_000;
/// The name that standard input is read as.
const STDIN: &str = "compose.yaml";

/// What of an app is asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Compose files, or `-`; the usual names when empty.
    pub files: Vec<String>,
    /// A directory, a Compose file or an archive instead.
    pub path: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Values of variables.
    pub variables: BTreeMap<String, String>,
    /// Files of variables.
    pub variable_files: Vec<String>,
    /// Profiles.
    pub profiles: Vec<String>,
}

/// How Compose files are read, as flags.
#[derive(Debug, Args)]
pub struct Reading {
    /// Give a variable of the files a value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Read variables from a file instead of .env
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Take in services of this profile
    #[arg(long, value_name = "PROFILE")]
    profile: Vec<String>,
}

impl Reading {
    /// What is asked for with these flags.
    ///
    /// # Errors
    /// `Invalid` for a variable that is not written `NAME=VALUE`.
    pub fn wanted(
        self,
        files: Vec<String>,
        path: Option<String>,
        name: Option<String>,
    ) -> Result<Wanted> {
        let variables = parse::env::labels(&[], &self.set)?;
        let (variable_files, profiles) = (self.env_file, self.profile);
        Ok(Wanted { files, path, name, variables, variable_files, profiles })
    }
}

/// An app ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What it is called.
    pub name: String,
    /// Its files.
    pub files: AppFiles,
    /// The images that are built for it.
    pub builds: Vec<Planned>,
}

/// Where files come from; those that were read are remembered.
struct Place {
    root: PathBuf,
    /// Instead of what is below `root`, or before it.
    given: Given,
    /// Nothing but what is given is there.
    closed: bool,
    taken: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Files for Place {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let found = match self.given.files.get(path) {
            Some(bytes) => Some(small(path, bytes)?),
            None if self.closed => None,
            None => read_file(&self.root.join(path))?,
        };
        if let Some(bytes) = &found {
            self.taken.borrow_mut().insert(path.to_owned(), bytes.clone());
        }
        Ok(found)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        if self.closed {
            return self.given.files.list(directory);
        }
        let mut found = Vec::new();
        walk(&self.root, directory, &mut found)?;
        Ok(found)
    }
}

fn small(path: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    match bytes.len() as u64 > MOST_BYTES {
        false => Ok(bytes.to_vec()),
        true => Err(too_large(path)),
    }
}

fn too_large(path: &str) -> Error {
    Error::invalid(format!("{path} is larger than {MOST_BYTES} bytes"))
        .next("put it in a volume or an image")
}

impl Place {
    /// Where contexts of images are.
    fn ground(&self) -> Ground {
        match self.closed {
            true => Ground::Given(Arc::new(self.given.clone()), String::new()),
            false => Ground::Disk(self.root.clone()),
        }
    }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = || format!("cannot read {}", path.display());
    let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
    if !meta.is_file() {
        return Ok(None);
    }
    if meta.len() > MOST_BYTES {
        return Err(too_large(&path.to_string_lossy()));
    }
    let file = std::fs::File::open(path).context(ErrorKind::Invalid, failed)?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).context(ErrorKind::Invalid, failed)?;
    Ok(Some(bytes))
}

fn walk(root: &Path, directory: &str, found: &mut Vec<String>) -> Result<()> {
    let place = root.join(directory);
    let Ok(entries) = std::fs::read_dir(&place) else { return Ok(()) };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(root, &path, found)?,
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
        if found.len() > MOST_FILES {
            return Err(Error::invalid(format!("{} has too many files", place.display())));
        }
    }
    Ok(())
}

/// Reads what is asked for, and takes along the files it was read from.
///
/// # Errors
/// What of the files cannot be honoured, with file, line and column.
pub fn pack(wanted: &Wanted, environment: impl Fn(&str) -> Option<String>) -> Result<Packed> {
    let (place, main) = place(wanted)?;
    let below = |path: &String| relative(&place.root, path);
    let mut asked = Asked {
        files: main,
        name: wanted.name.clone().unwrap_or_default(),
        variables: wanted.variables.clone(),
        env_files: wanted.variable_files.iter().map(below).collect::<Result<_>>()?,
        profiles: wanted.profiles.clone(),
        directory: None,
    };
    // Read once to see which files there are, and again with the variables they name.
    let _ = compose::read(&place, &asked);
    for (name, value) in mentioned(&place.taken.borrow(), environment) {
        asked.variables.entry(name).or_insert(value);
    }
    let mut read = compose::read(&place, &asked).map_err(Error::from)?;
    let name = match (wanted.name.clone(), read.name.as_str()) {
        (Some(name), _) => name,
        (None, "") => named_after(&place.root)?,
        (None, name) => name.to_owned(),
    };
    if read.name != name {
        // Images are called after it.
        let asked = Asked { name: name.clone(), ..asked.clone() };
        read = compose::read(&place, &asked).map_err(Error::from)?;
    }
    let builds = builds::of(&read, &place.ground());
    keep_from_sending(&read, &place.taken.borrow(), &mut asked);
    let file = |(path, bytes): (String, Vec<u8>)| AppFile { path, data: Data::new(bytes) };
    let files = AppFiles {
        files: place.taken.into_inner().into_iter().map(file).collect(),
        main: asked.files,
        variable_files: asked.env_files,
        variables: asked.variables,
        profiles: asked.profiles,
    };
    files.validate()?;
    Ok(Packed { name, files, builds })
}

/// Takes out variables that nothing but steps of builds is handed: those come with the build, and are kept
/// nowhere.
fn keep_from_sending(read: &compose::Wanted, files: &BTreeMap<String, Vec<u8>>, asked: &mut Asked) {
    let builds = read.services.iter().flat_map(|service| service.builds.values());
    let secrets = builds.flat_map(|build| build.secrets.values());
    let names: Vec<&String> = secrets
        .filter_map(|secret| match &secret.from {
            SecretSource::Environment(name) => Some(name),
            SecretSource::File(_) | SecretSource::Platform(_) => None,
        })
        .collect();
    if names.is_empty() {
        return;
    }
    let without_builds = |mut wanted: compose::Wanted| {
        wanted.services.iter_mut().for_each(|service| service.builds.clear());
        wanted
    };
    let name = read.name.clone();
    let mut less = Asked { name: name.clone(), ..asked.clone() };
    less.variables.retain(|name, _| !names.contains(&name));
    let all = Asked { name, ..asked.clone() };
    let [all, of_less] = [&all, &less].map(|asked| compose::read(files, asked).map(without_builds));
    if of_less.is_ok() && all == of_less {
        asked.variables = less.variables;
    }
}

/// Where the files are, and the Compose files among them.
fn place(wanted: &Wanted) -> Result<(Place, Vec<String>)> {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let open =
        |root: PathBuf, given| Place { root, given, closed: false, taken: RefCell::default() };
    if let Some(repository) = repository(wanted)? {
        let files = repository.read()?;
        let place = open(here.join(&repository.name), files);
        return Ok((Place { closed: true, ..place }, Vec::new()));
    }
    if let Some(path) = &wanted.path {
        let full = here.join(path);
        if full.is_dir() {
            return Ok((open(full, Given::default()), Vec::new()));
        }
        if is_archive(path) {
            let place = open(here.join(stem(path)), unpack(&full)?);
            return Ok((Place { closed: true, ..place }, Vec::new()));
        }
    }
    let files: Vec<&String> = wanted.files.iter().chain(&wanted.path).collect();
    let Some(first) = files.first() else {
        return Ok((open(here, Given::default()), Vec::new()));
    };
    if first.as_str() == "-" {
        let mut bytes = Vec::new();
        let input = std::io::stdin().take(MOST_BYTES + 1);
        std::io::BufReader::new(input)
            .read_to_end(&mut bytes)
            .context(ErrorKind::Invalid, || "cannot read standard input".into())?;
        let files = BTreeMap::from([(STDIN.to_owned(), bytes)]);
        let given = Given { files, ..Given::default() };
        return Ok((open(here, given), vec![STDIN.to_owned()]));
    }
    let full = here.join(first);
    let root = full.parent().unwrap_or(&here).to_owned();
    if !full.exists() {
        return Err(Error::invalid(format!("there is no file {first:?}")).at("--file"));
    }
    let main = files.iter().map(|path| relative(&root, path)).collect::<Result<_>>()?;
    Ok((open(root, Given::default()), main))
}

/// The repository that is asked for instead of files of this machine.
fn repository(wanted: &Wanted) -> Result<Option<Repository>> {
    let mut words = wanted.files.iter().chain(&wanted.path);
    let Some(word) = words.find(|word| word.contains("://")) else { return Ok(None) };
    if wanted.files.len() + usize::from(wanted.path.is_some()) > 1 {
        return Err(Error::invalid("a repository is not merged with other files")
            .at("--file")
            .next("name it alone; what is in it may include other files of its"));
    }
    Repository::of(word).map(Some)
}

/// A path below the root, with `/` between its parts.
fn relative(root: &Path, path: &str) -> Result<String> {
    let full = std::env::current_dir().unwrap_or_default().join(path);
    let plain = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (full, root) = (plain(&full), plain(root));
    let below = full.strip_prefix(&root).ok().and_then(Path::to_str);
    below.map(str::to_owned).ok_or_else(|| {
        Error::invalid(format!("{path:?} is not below {}", root.display()))
            .at("--file")
            .next("keep the files of an app in one directory")
    })
}

/// The environment's values of what is named in the files.
fn mentioned(
    files: &BTreeMap<String, Vec<u8>>,
    environment: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for text in files.values().map(|bytes| String::from_utf8_lossy(bytes)) {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in
            words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase() || c == '_'))
        {
            if let Some(value) = environment(word) {
                found.insert(word.to_owned(), value);
            }
        }
    }
    found
}

fn named_after(root: &Path) -> Result<String> {
    let full = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let name =
        full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name: String = name.chars().filter(|c| good(*c)).collect();
    let name = name.trim_start_matches(['-', '_']);
    match name.is_empty() {
        false => Ok(name.to_owned()),
        true => Err(Error::invalid("the app has no name").next("give one: --name NAME")),
    }
}

fn is_archive(path: &str) -> bool {
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| path.ends_with(end))
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// The files of an archive; a directory that all of them are in is left out.
fn unpack(path: &Path) -> Result<Given> {
    let broken = || format!("{} is no archive that can be read", path.display());
    let file = std::fs::File::open(path).context(ErrorKind::Invalid, broken)?;
    let plain = path.extension().is_some_and(|end| end == "tar");
    let reader: Box<dyn Read> = match plain {
        true => Box::new(file),
        false => Box::new(flate2::read::MultiGzDecoder::new(file)),
    };
    let mut archive = tar::Archive::new(reader.take(2 * MOST_UNPACKED));
    let (mut found, mut left) = (Given::default(), MOST_UNPACKED);
    for (count, entry) in archive.entries().context(ErrorKind::Invalid, broken)?.enumerate() {
        let entry = entry.context(ErrorKind::Invalid, broken)?;
        if count > MOST_ENTRIES || entry.size() > left {
            return Err(Error::invalid(format!(
                "{} holds more than an app may have",
                path.display()
            )));
        }
        left -= entry.size();
        take_in(&mut found, entry).context(ErrorKind::Invalid, broken)?;
    }
    let top = found.files.keys().next().and_then(|name| name.split_once('/'));
    let top = top.map(|(top, _)| format!("{top}/"));
    match top {
        Some(top) if found.files.keys().all(|name| name.starts_with(&top)) => {
            Ok(without(found, &top))
        }
        _ => Ok(found),
    }
}

fn take_in<R: Read>(found: &mut Given, entry: tar::Entry<'_, R>) -> std::io::Result<()> {
    let kind = entry.header().entry_type();
    let name = entry.path()?.to_string_lossy().into_owned();
    let name = name.trim_start_matches("./").to_owned();
    if kind.is_symlink() {
        let target = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
        found.links.insert(name, target);
        return Ok(());
    }
    if !kind.is_file() {
        return Ok(());
    }
    if entry.header().mode()? & 0o111 != 0 {
        found.programs.insert(name.clone());
    }
    let mut bytes = Vec::new();
    entry.take(MOST_UNPACKED).read_to_end(&mut bytes)?;
    found.files.insert(name, bytes);
    Ok(())
}

/// The same without the directory that all of it is in.
fn without(found: Given, top: &str) -> Given {
    let inner = |name: &str| name.strip_prefix(top).map(str::to_owned);
    let Given { files, programs, links, left_out } = found;
    Given {
        files: files.into_iter().filter_map(|(name, it)| Some((inner(&name)?, it))).collect(),
        programs: programs.iter().filter_map(|name| inner(name)).collect(),
        links: links.into_iter().filter_map(|(name, it)| Some((inner(&name)?, it))).collect(),
        left_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    const COMPOSE: &str = "services:\n  web:\n    image: nginx:$TAG\n    secrets: [pw]\nsecrets:\n  pw:\n    file: secret/pw.txt\n";

    #[test]
    fn what_is_read_is_sent_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("Shop");
        let files = [("compose.yaml", COMPOSE), ("secret/pw.txt", "x"), ("private.key", "y")];
        write(&dir, &files);
        let path = Some(dir.to_str().unwrap().to_owned());
        let wanted = Wanted { path, ..Wanted::default() };
        let tag = |name: &str| (name == "TAG").then(|| "1.27".to_owned());
        let packed = pack(&wanted, tag).unwrap();
        assert_eq!(packed.name, "shop");
        let sent: Vec<_> = packed.files.files.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(sent, ["compose.yaml", "secret/pw.txt"]);
        assert_eq!(packed.files.variables, BTreeMap::from([("TAG".into(), "1.27".into())]));
    }

    #[test]
    fn an_archive_is_unpacked_without_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.tar");
        let mut builder = tar::Builder::new(std::fs::File::create(&path).unwrap());
        for (name, text) in [("shop-1.0/compose.yaml", COMPOSE), ("shop-1.0/secret/pw.txt", "x")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        let path = Some(path.to_str().unwrap().to_owned());
        let tag = |name: &str| (name == "TAG").then(|| "1.27".to_owned());
        let packed = pack(&Wanted { path, ..Wanted::default() }, tag).unwrap();
        assert_eq!((packed.name.as_str(), packed.files.files.len()), ("shop", 2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("compose.yaml", "services:\n  web:\n    image: 7\n    ports: [x]\n")]);
        let path = Some(dir.path().to_str().unwrap().to_owned());
        let error = pack(&Wanted { path, ..Wanted::default() }, |_| None).unwrap_err();
        assert!(error.message().contains("compose.yaml:4:"), "{}", error.message());
    }
}
