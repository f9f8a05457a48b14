//! From files to one tree: files parsed, variables filled in, services extended, files merged, other apps
//! included, services of inactive profiles taken out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::env_file::{self, Format};
use crate::field::Field;
use crate::files::{Miss, Reading, parent, resolve};
use crate::interpolate::{self, Variables};
use crate::told::{At, Source, Told};
use crate::yaml::{self, Node, Value};
use crate::{Asked, merge, old, rancher, schema};

/// The usual names of a Compose file, the first one first.
const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// The usual names of what is merged onto it when no files are named.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];
/// Deepest `include`, and longest chain of `extends`.
const DEEPEST: usize = 16;
/// Most services of one app.
const MOST_SERVICES: usize = 500;
/// Most apps that one includes, with those that these include.
const MOST_INCLUDED: usize = 100;
/// Few bytes that stand for many.
const TOO_MUCH: &str = "there is too much in services that extend others";
/// Kinds of resources that an included app brings.
const RESOURCES: [&str; 5] = ["services", "networks", "volumes", "secrets", "configs"];

/// What was loaded.
pub(crate) struct Loaded {
    /// The tree: `services`, `networks`, `volumes`, `secrets`, `configs`.
    pub tree: Node,
    /// What the files call the app, or what was asked.
    pub name: String,
    /// The values of variables.
    pub variables: Variables,
    /// The files are of a form in which what is used need not be declared.
    pub lenient: bool,
}

/// Loads files. What is wrong is told, and the tree then lacks it.
pub(crate) fn load(reading: &mut Reading<'_>, asked: &Asked, told: &Told) -> Option<Loaded> {
    let mut loader =
        Loader { reading, asked, told, lenient: false, opened: Vec::new(), included: 0 };
    loader.top()
}

struct Loader<'a, 'f> {
    reading: &'a mut Reading<'f>,
    asked: &'a Asked,
    told: &'a Told,
    lenient: bool,
    /// Files of the apps that are being loaded, to find circles.
    opened: Vec<String>,
    /// How many apps were included.
    included: usize,
}

/// An app: its directory, its variables and what was parsed of it.
struct Project {
    directory: String,
    variables: Variables,
    parsed: BTreeMap<String, Option<Arc<Node>>>,
}

impl Loader<'_, '_> {
    fn top(&mut self) -> Option<Loaded> {
        let files = self.names()?;
        let directory = parent(&files[0]).to_owned();
        let mut variables = self.environment(&directory, &self.asked.env_files);
        let name = self.asked.name.clone();
        if !name.is_empty() {
            variables.entry("COMPOSE_PROJECT_NAME".into()).or_insert(name);
        }
        let mut project = Project { directory, variables, parsed: BTreeMap::new() };
        self.lenient = self.rancher_file(&project.directory).is_some();
        let mut tree = self.project(&mut project, &files)?;
        self.profiles(&mut tree, &project.variables);
        if let Some(services) = tree.get("services")
            && services.entries().len() > MOST_SERVICES
        {
            let why = format!("an app has {MOST_SERVICES} services at most");
            self.told.refuse(&services.at, "services", why);
            return None;
        }
        schema::judge(&mut tree, self.told);
        self.rancher(&mut tree, &project);
        let written = tree.get("name").and_then(Node::as_text).map(str::to_owned);
        let name = match self.asked.name.is_empty() {
            true => written.unwrap_or_default(),
            false => self.asked.name.clone(),
        };
        let Project { variables, .. } = project;
        Some(Loaded { tree, name, variables, lenient: self.lenient })
    }

    /// The files to read: those that were named, or those of the usual names.
    fn names(&mut self) -> Option<Vec<String>> {
        let nowhere = Arc::new(Source { file: NAMES[0].to_owned(), directory: String::new() });
        if !self.asked.files.is_empty() {
            let mut files = Vec::new();
            for name in &self.asked.files {
                match resolve("", name) {
                    Ok(path) => files.push(path),
                    Err(why) => self.told.refuse(&At::start(&nowhere), "", why),
                }
            }
            return (files.len() == self.asked.files.len()).then_some(files);
        }
        let usual = |names: &[&str], reading: &Reading<'_>| {
            names.iter().find(|name| reading.has(name)).map(|name| (*name).to_owned())
        };
        let Some(first) = usual(&NAMES, self.reading) else {
            let why = format!("there is none of {}", NAMES.join(", "));
            self.told.refuse(&At::start(&nowhere), "", why);
            return None;
        };
        Some([Some(first), usual(&OVERRIDES, self.reading)].into_iter().flatten().collect())
    }

    /// The values of variables: of the files, or of `.env` when none is named, and over them those that
    /// were asked.
    fn environment(&mut self, directory: &str, named: &[String]) -> Variables {
        let mut variables = Variables::new();
        let usual = [".env".to_owned()];
        let (files, required) = match named.is_empty() {
            true => (&usual[..], false),
            false => (named, true),
        };
        for written in files {
            let source =
                Arc::new(Source { file: written.clone(), directory: directory.to_owned() });
            let at = At::start(&source);
            let path = match resolve(if required { "" } else { directory }, written) {
                Ok(path) => path,
                Err(why) => {
                    self.told.refuse(&at, "", why);
                    continue;
                }
            };
            let mut outer = variables.clone();
            outer.extend(self.asked.variables.clone());
            for (name, value) in self.variables_of(&at, "", &path, Format::Usual, required, &outer)
            {
                variables.insert(name, value.unwrap_or_default());
            }
        }
        variables.extend(self.asked.variables.clone());
        variables
    }

    fn variables_of(
        &mut self,
        at: &At,
        what: &str,
        path: &str,
        format: Format,
        required: bool,
        outer: &Variables,
    ) -> Vec<(String, Option<String>)> {
        read_variables(self.reading, self.told, (at, what), path, format, required, outer)
    }

    /// The files of one app, merged.
    fn project(&mut self, project: &mut Project, files: &[String]) -> Option<Node> {
        let mut tree: Option<Node> = None;
        for path in files {
            let source = Source { file: path.clone(), directory: project.directory.clone() };
            for mut document in self.documents(&Arc::new(source), project, None)? {
                self.extend_all(&mut document, path, project);
                match &mut tree {
                    None => tree = Some(document),
                    Some(tree) => merge::merge(tree, document, &mut Vec::new()),
                }
            }
        }
        let mut tree = tree?;
        merge::settle(&mut tree);
        self.opened.extend(files.iter().cloned());
        self.include(&mut tree, project);
        self.opened.truncate(self.opened.len() - files.len());
        Some(tree)
    }

    /// The documents of a file, variables filled in, in the present form.
    fn documents(
        &mut self,
        source: &Arc<Source>,
        project: &mut Project,
        used: Option<&Field<'_>>,
    ) -> Option<Vec<Node>> {
        let refuse = |why: String| match used {
            Some(field) => field.refuse(why),
            None => self.told.refuse(&At::start(source), "", why),
        };
        let text = match self.reading.text(&source.file) {
            Ok(text) => text,
            Err(Miss::Absent) => {
                refuse(format!("there is no file {}", source.file));
                return None;
            }
            Err(Miss::Bad(why)) => {
                refuse(why);
                return None;
            }
        };
        let (mut documents, twice) = yaml::read(&text, source, self.told)?;
        documents.retain(|document| document.value != Value::Null);
        if documents.is_empty() {
            documents.push(Node::map(At::start(source)));
        }
        for document in &mut documents {
            if !matches!(document.value, Value::Map(_)) {
                let why = format!("a Compose file is a mapping, not {}", document.kind());
                self.told.refuse(&document.at, "", why);
                return None;
            }
            if project.variables.get("COMPOSE_PROJECT_NAME").is_none_or(String::is_empty)
                && let Some(name) = document.get("name").and_then(Node::as_text)
            {
                let name = interpolate::text(name, &project.variables, &mut BTreeSet::new());
                let name = name.unwrap_or_default();
                project.variables.insert("COMPOSE_PROJECT_NAME".into(), name);
            }
            interpolate::tree(document, &project.variables, self.told);
            self.lenient |= old::upgrade(document);
        }
        for (at, why) in twice {
            match self.lenient {
                true => self.told.ignore(&at, "", format!("{why}: the last one counts")),
                false => self.told.refuse(&at, "", why),
            }
        }
        Some(documents)
    }

    /// Puts what they extend below the services of a document.
    fn extend_all(&mut self, document: &mut Node, path: &str, project: &mut Project) {
        let Some(services) = document.get("services").cloned() else { return };
        if services.entries().len() > MOST_SERVICES {
            let why = format!("an app has {MOST_SERVICES} services at most");
            return self.told.refuse(&services.at, "services", why);
        }
        let names: Vec<_> = services
            .entries()
            .iter()
            .filter(|entry| entry.node.get("extends").is_some())
            .map(|entry| entry.key.clone())
            .collect();
        for name in names {
            let whole = self.extended(&services, &name, path, project, &mut Vec::new());
            if let (Some(whole), Some(services)) = (whole, document.get_mut("services")) {
                services.set(&name, whole);
            }
        }
    }

    fn extended(
        &mut self,
        services: &Node,
        name: &str,
        path: &str,
        project: &mut Project,
        chain: &mut Vec<(String, String)>,
    ) -> Option<Node> {
        if !self.told.spend_nodes(0) {
            return None;
        }
        let service = services.get(name)?;
        // It is copied, with the words that are merged over it.
        if !self.told.spend_nodes(if chain.is_empty() { 0 } else { service.count() }) {
            self.told.refuse(&service.at, name, TOO_MUCH);
            return None;
        }
        let mut service = service.clone();
        let Some(extends) = service.remove("extends") else { return Some(service) };
        let told = self.told;
        let field = Field::new(&extends.node, format!("services.{name}.extends"), told);
        let here = (path.to_owned(), name.to_owned());
        if chain.contains(&here) {
            field.refuse("services that extend each other in a circle");
            return None;
        }
        if chain.len() >= DEEPEST {
            field.refuse(format!("more than {DEEPEST} services that extend each other"));
            return None;
        }
        chain.push(here);
        let (base, file) = match &extends.node.value {
            Value::Text(base) => (base.clone(), None),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let base = field.get("service").and_then(|it| it.text());
                (base.map_or_else(|| name.to_owned(), str::to_owned), field.get("file"))
            }
        };
        let whole = match file {
            Some(file) => {
                let other = self.other_file(&file, project)?;
                let path = resolve(&file.at().source.directory, file.text()?).ok()?;
                match other.get("services") {
                    Some(services) => self.base(services, &base, &path, project, chain, &field),
                    None => {
                        field.refuse(format!("{path} has no services"));
                        None
                    }
                }
            }
            None => self.base(services, &base, path, project, chain, &field),
        };
        chain.pop();
        let mut whole = whole?;
        if !told.spend_nodes(whole.count()) {
            field.refuse(TOO_MUCH);
            return None;
        }
        let mut place = vec!["services".to_owned(), name.to_owned()];
        merge::merge(&mut whole, service, &mut place);
        Some(whole)
    }

    fn base(
        &mut self,
        services: &Node,
        base: &str,
        path: &str,
        project: &mut Project,
        chain: &mut Vec<(String, String)>,
        field: &Field<'_>,
    ) -> Option<Node> {
        if services.get(base).is_none() {
            field.refuse(format!("{path} has no service {base:?}"));
            return None;
        }
        self.extended(services, base, path, project, chain)
    }

    /// A file that a service extends one of.
    fn other_file(&mut self, file: &Field<'_>, project: &mut Project) -> Option<Arc<Node>> {
        let path = match resolve(&file.at().source.directory, file.text()?) {
            Ok(path) => path,
            Err(why) => {
                file.refuse(why);
                return None;
            }
        };
        if let Some(parsed) = project.parsed.get(&path) {
            return parsed.clone();
        }
        let directory = parent(&path).to_owned();
        let source = Arc::new(Source { file: path.clone(), directory });
        let documents = self.documents(&source, project, Some(file));
        let first = documents.and_then(|documents| documents.into_iter().next()).map(Arc::new);
        project.parsed.insert(path, first.clone());
        first
    }

    /// Loads the apps that this one includes, and takes over what is in them.
    fn include(&mut self, tree: &mut Node, project: &Project) {
        let Some(include) = tree.remove("include") else { return };
        let told = self.told;
        for item in Field::new(&include.node, "include", told).items() {
            let paths = match &item.node.value {
                Value::Map(_) => {
                    item.get("path").map(|path| path.one_or_more()).unwrap_or_default()
                }
                Value::Text(_) => vec![item.clone()],
                Value::Null | Value::List(_) => Vec::new(),
            };
            if paths.is_empty() {
                item.refuse("an include names the path of a Compose file");
                continue;
            }
            if let Some(other) = self.included(&item, &paths, project) {
                take_over(tree, other, &item);
            }
        }
    }

    fn included(
        &mut self,
        item: &Field<'_>,
        paths: &[Field<'_>],
        project: &Project,
    ) -> Option<Node> {
        let path_of = |field: &Field<'_>| match resolve(&project.directory, field.text()?) {
            Ok(path) => Some(path),
            Err(why) => {
                field.refuse(why);
                None
            }
        };
        let files: Vec<String> = paths.iter().filter_map(path_of).collect();
        let first = files.first().filter(|_| files.len() == paths.len())?;
        self.included += 1;
        if self.included > MOST_INCLUDED {
            item.refuse(format!("{MOST_INCLUDED} apps are included at most"));
            return None;
        }
        if self.opened.len() >= DEEPEST || files.iter().any(|file| self.opened.contains(file)) {
            item.refuse("files that include each other in a circle, or too deep");
            return None;
        }
        let directory = match item.get("project_directory") {
            Some(field) => match field.text()? {
                "." | "./" => project.directory.clone(),
                _ => path_of(&field)?,
            },
            None => parent(first).to_owned(),
        };
        let named = item.get("env_file").map(|it| it.one_or_more()).unwrap_or_default();
        let named: Vec<String> = named.iter().filter_map(path_of).collect();
        let mut variables = self.environment(&directory, &named);
        variables.extend(project.variables.clone());
        let mut inner = Project { directory, variables, parsed: BTreeMap::new() };
        for (file, field) in files.iter().zip(paths) {
            if !self.reading.has(file) {
                field.refuse(format!("there is no file {file}"));
                return None;
            }
        }
        self.project(&mut inner, &files)
    }

    /// Rancher's file beside the first one.
    fn rancher_file(&self, directory: &str) -> Option<String> {
        let beside = |name: &str| match directory.is_empty() {
            true => name.to_owned(),
            false => format!("{directory}/{name}"),
        };
        rancher::NAMES.iter().map(|name| beside(name)).find(|path| self.reading.has(path))
    }

    /// Puts what Rancher's file says below the services, where there is one beside the first file.
    fn rancher(&mut self, tree: &mut Node, project: &Project) {
        let Some(file) = self.rancher_file(&project.directory) else { return };
        let source = Arc::new(Source { file, directory: project.directory.clone() });
        let text = match self.reading.text(&source.file) {
            Ok(text) => text,
            Err(Miss::Bad(why)) => return self.told.refuse(&At::start(&source), "", why),
            Err(Miss::Absent) => return,
        };
        let (documents, twice) = yaml::read(&text, &source, self.told).unwrap_or_default();
        for (at, why) in twice {
            self.told.ignore(&at, "", format!("{why}: the last one counts"));
        }
        for mut document in documents {
            for key in [".catalog", "catalog"] {
                document.remove(key);
            }
            interpolate::tree(&mut document, &project.variables, self.told);
            rancher::attach(tree, &document, self.told);
        }
    }

    /// Takes services out of which no profile is active.
    fn profiles(&self, tree: &mut Node, variables: &Variables) {
        let named = variables.get("COMPOSE_PROFILES").map_or("", String::as_str);
        let of_variable = named.split(',').map(str::trim).filter(|name| !name.is_empty());
        let active: BTreeSet<&str> =
            self.asked.profiles.iter().map(String::as_str).chain(of_variable).collect();
        if active.contains("*") {
            return;
        }
        let Some(services) = tree.get_mut("services") else { return };
        let told = Told::default();
        let off: Vec<String> = services
            .entries()
            .iter()
            .filter(|entry| {
                let Some(profiles) = entry.node.get("profiles") else { return false };
                let names = Field::new(profiles, "", &told).texts();
                !names.is_empty() && !names.iter().any(|name| active.contains(name.as_str()))
            })
            .map(|entry| entry.key.clone())
            .collect();
        for name in off {
            services.remove(&name);
        }
    }
}

/// Reads a file of variables; what is wrong is told at `place`, or in the file.
pub(crate) fn read_variables(
    reading: &mut Reading<'_>,
    told: &Told,
    (at, what): (&At, &str),
    path: &str,
    format: Format,
    required: bool,
    outer: &Variables,
) -> Vec<(String, Option<String>)> {
    let text = match reading.text(path) {
        Ok(text) => text,
        Err(Miss::Absent) => {
            if required {
                told.refuse(at, what, format!("there is no file {path}"));
            }
            return Vec::new();
        }
        Err(Miss::Bad(why)) => {
            told.refuse(at, what, why);
            return Vec::new();
        }
    };
    match env_file::read(&text, format, outer) {
        Ok(values) => {
            let bytes = values.iter().flat_map(|(_, value)| value).map(String::len).sum();
            if !told.spend_filled(bytes) {
                told.refuse(at, what, "variables make too much of these files");
                return Vec::new();
            }
            values
        }
        Err((line, why)) => {
            let source = Source { file: path.to_owned(), directory: String::new() };
            told.refuse(&At { source: Arc::new(source), line, column: 1 }, "", why);
            Vec::new()
        }
    }
}

/// Puts the resources of an included app beside those of the one that includes it.
fn take_over(tree: &mut Node, other: Node, item: &Field<'_>) {
    for kind in RESOURCES {
        let Some(theirs) = other.get(kind) else { continue };
        if tree.get(kind).is_none_or(|ours| ours.value == Value::Null) {
            tree.set(kind, Node::map(theirs.at.clone()));
        }
        let Some(ours) = tree.get_mut(kind) else { continue };
        let known = by_key(ours);
        let mut added = Vec::new();
        for entry in theirs.entries() {
            match known.get(entry.key.as_str()) {
                Some(own) if same(own, &entry.node) => {}
                Some(_) => item.refuse(format!("{kind}.{} stands in both files", entry.key)),
                None => added.push(entry.clone()),
            }
        }
        if let Value::Map(entries) = &mut ours.value {
            entries.extend(added);
        }
    }
}

fn by_key(node: &Node) -> HashMap<&str, &Node> {
    node.entries().iter().map(|entry| (entry.key.as_str(), &entry.node)).collect()
}

/// Whether two trees say the same, wherever they stand.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(_)) => {
            let others = by_key(other);
            one.len() == others.len()
                && one
                    .iter()
                    .all(|it| others.get(it.key.as_str()).is_some_and(|node| same(&it.node, node)))
        }
        (Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_), _) => false,
    }
}
