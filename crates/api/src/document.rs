//! The OpenAPI document, put together beside the routes it describes.
//!
//! A route cannot be added without its [`Description`], so the document cannot lack one; and the
//! schemas are those of the types that are really read and written.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use client::wire::{NDJSON, PROBLEM, Problem};
use http::Method;
use model::{Noun, Object};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::shape::Schemas;

/// What is known of all routes.
pub(crate) struct Document {
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: Schemas,
    bodies: HashMap<TypeId, Value>,
    text: Bytes,
}

/// What is told of a route.
pub(crate) struct Description {
    id: String,
    tag: &'static str,
    summary: String,
    parameters: Vec<Value>,
    request: Option<Value>,
    responses: BTreeMap<String, Value>,
    schemas: Schemas,
    bodies: Vec<(TypeId, Value)>,
    messages: Option<Value>,
    open: bool,
}

/// A named schema together with all that it refers to.
pub(crate) struct Named {
    reference: Value,
    schemas: Schemas,
}

impl Named {
    /// The schema of a type that gives its own.
    pub(crate) fn of<T: ToSchema>() -> Self {
        let mut schemas = Schemas::new();
        collect::<T>(&mut schemas);
        let name = T::name();
        schemas.insert(name.to_string(), plain(T::schema()));
        Self { reference: reference(&name), schemas }
    }

    /// The schema of an object of a noun, named after its kind: `Instance`.
    pub(crate) fn object<N: Noun>() -> Self {
        let mut schemas = Schemas::new();
        let meta = add::<model::Meta>(&mut schemas);
        let spec = add::<N::Spec>(&mut schemas);
        let status = add::<N::Status>(&mut schemas);
        let title = title::<N>();
        let schema = json!({
            "type": "object",
            "description": format!("A record of kind {}.", N::KIND),
            "required": ["kind", "meta", "spec"],
            "properties": {
                "kind": { "type": "string", "enum": [N::KIND.as_str()] },
                "meta": meta,
                "spec": spec,
                "status": status,
            },
        });
        schemas.insert(title.clone(), schema);
        Self { reference: reference(&title), schemas }
    }

    /// A schema made of others: `build` is given their references.
    pub(crate) fn made(name: String, parts: Vec<Named>, build: impl Fn(&[Value]) -> Value) -> Self {
        let mut schemas = Schemas::new();
        let mut references = Vec::new();
        for part in parts {
            references.push(part.reference);
            merge(&mut schemas, part.schemas);
        }
        schemas.insert(name.clone(), build(&references));
        Self { reference: reference(&name), schemas }
    }

    /// This or that, without a name of its own.
    pub(crate) fn or(mut self, other: Named) -> Self {
        merge(&mut self.schemas, other.schemas);
        self.reference = json!({ "oneOf": [self.reference, other.reference] });
        self
    }

    /// A list of these, without a name of its own.
    pub(crate) fn array(self) -> Self {
        Self { reference: json!({ "type": "array", "items": self.reference }), ..self }
    }
}

/// Adds schemas. Two types of one name would make the document tell an untruth about one of them, and
/// bodies would be held against the wrong one; a test adds all there are.
fn merge(schemas: &mut Schemas, more: Schemas) {
    for (name, schema) in more {
        if let Some(known) = schemas.get(&name) {
            assert!(*known == schema, "two types are called {name}");
        }
        schemas.insert(name, schema);
    }
}

/// The kind's word as a schema's name: `Instance`.
pub(crate) fn title<N: Noun>() -> String {
    let word = N::KIND.as_str();
    let (first, rest) = word.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn plain(schema: RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema can be encoded")
}

fn add<T: ToSchema>(schemas: &mut Schemas) -> Value {
    collect::<T>(schemas);
    let name = T::name();
    schemas.insert(name.to_string(), plain(T::schema()));
    reference(&name)
}

fn collect<T: ToSchema>(schemas: &mut Schemas) {
    let mut found = Vec::new();
    T::schemas(&mut found);
    schemas.extend(found.into_iter().map(|(name, schema)| (name, plain(schema))));
}

impl Description {
    /// A route called `id` that does what `summary` says in a sentence.
    pub(crate) fn new(
        tag: &'static str,
        id: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        let mut description = Self {
            id: id.into(),
            tag,
            summary: summary.into(),
            parameters: Vec::new(),
            request: None,
            responses: BTreeMap::new(),
            schemas: Schemas::new(),
            bodies: Vec::new(),
            messages: None,
            open: false,
        };
        let problem = description.take(Named::of::<Problem>());
        let content = json!({ PROBLEM: { "schema": problem } });
        let failure = json!({ "description": "It was refused or failed.", "content": content });
        description.responses.insert("default".into(), failure);
        description
    }

    /// It needs no token.
    pub(crate) fn open(mut self) -> Self {
        self.open = true;
        self
    }

    fn take(&mut self, named: Named) -> Value {
        merge(&mut self.schemas, named.schemas);
        named.reference
    }

    /// The parameters of its query: the fields of `Q`.
    pub(crate) fn query<Q: ToSchema>(mut self) -> Self {
        let mut schemas = Schemas::new();
        collect::<Q>(&mut schemas);
        merge(&mut self.schemas, schemas);
        let schema = plain(Q::schema());
        let required = schema.get("required").cloned().unwrap_or_default();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let needed = required.as_array().is_some_and(|names| names.contains(&json!(name)));
            self.parameters.push(json!({
                "name": name,
                "in": "query",
                "required": needed,
                "description": description_of(field),
                "schema": field,
            }));
        }
        self
    }

    /// A header it looks at.
    pub(crate) fn header(mut self, name: &str, description: &str) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": { "type": "string" },
        }));
        self
    }

    /// Its JSON body, read as a `T`.
    pub(crate) fn body<T: ToSchema + 'static>(self) -> Self {
        self.body_as::<T>("application/json", Named::of::<T>())
    }

    /// Its body, read as a `T`, whose schema is `named`.
    pub(crate) fn body_as<T: 'static>(mut self, media_type: &str, named: Named) -> Self {
        let schema = self.take(named);
        self.bodies.push((TypeId::of::<T>(), schema.clone()));
        self.request = Some(json!({ "content": { media_type: { "schema": schema } } }));
        self
    }

    /// A message that is read as a `T` though it is no body.
    pub(crate) fn reads<T: ToSchema + 'static>(mut self, what: &str) -> Self {
        let schema = self.take(Named::of::<T>());
        self.bodies.push((TypeId::of::<T>(), schema.clone()));
        self.messages = Some(json!({ "description": what, "schema": schema }));
        self
    }

    /// Its body: bytes of this type.
    pub(crate) fn bytes(mut self, media_type: &str) -> Self {
        let content = json!({ media_type: { "schema": { "type": "string", "format": "binary" } } });
        self.request = Some(json!({ "content": content, "required": true }));
        self
    }

    /// A success whose body is JSON.
    pub(crate) fn answers(self, status: u16, description: &str, named: Named) -> Self {
        self.answers_as(status, description, "application/json", named)
    }

    /// A success whose body is JSON values, one a line.
    pub(crate) fn answers_lines(self, description: &str, named: Named) -> Self {
        self.answers_as(200, description, NDJSON, named)
    }

    fn answers_as(mut self, status: u16, text: &str, media_type: &str, named: Named) -> Self {
        let schema = self.take(named);
        self.content(status, text, media_type, json!({ "schema": schema }));
        self
    }

    /// A success whose body is bytes of this type.
    pub(crate) fn answers_bytes(mut self, description: &str, media_type: &str) -> Self {
        let schema = json!({ "schema": { "type": "string", "format": "binary" } });
        self.content(200, description, media_type, schema);
        self
    }

    /// A success without a body.
    pub(crate) fn answers_nothing(mut self, status: u16, description: &str) -> Self {
        self.responses.insert(status.to_string(), json!({ "description": description }));
        self
    }

    fn content(&mut self, status: u16, description: &str, media_type: &str, content: Value) {
        let place = self.responses.entry(status.to_string());
        let response =
            place.or_insert_with(|| json!({ "description": description, "content": {} }));
        response["content"][media_type] = content;
    }

    fn operation(&self, path: &str) -> Value {
        let mut parameters = path_parameters(path);
        parameters.extend(self.parameters.iter().cloned());
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": parameters,
            "responses": self.responses,
        });
        if let Some(request) = &self.request {
            operation["requestBody"] = request.clone();
        }
        if let Some(messages) = &self.messages {
            operation["x-websocket"] = messages.clone();
        }
        if self.open {
            operation["security"] = json!([{}]);
        }
        operation
    }
}

/// A field's description; that of an optional one stands beside its type.
fn description_of(field: &Value) -> &str {
    let choices = field.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let mut places = std::iter::once(field).chain(choices);
    places.find_map(|place| place.get("description")?.as_str()).unwrap_or_default()
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let description = match name {
                "project" => "The project's name.",
                _ => "Name, id, or the beginning of an id.",
            };
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": description,
                "schema": { "type": "string" },
            })
        })
        .collect()
}

impl Document {
    pub(crate) fn new() -> Self {
        Self {
            paths: BTreeMap::new(),
            schemas: Schemas::new(),
            bodies: HashMap::new(),
            text: Bytes::new(),
        }
    }

    /// Adds a route.
    pub(crate) fn add(&mut self, method: &Method, path: &str, description: Description) {
        let operation = description.operation(path);
        merge(&mut self.schemas, description.schemas);
        self.bodies.extend(description.bodies);
        let methods = self.paths.entry(path.to_owned()).or_default();
        methods.insert(method.as_str().to_lowercase(), operation);
    }

    /// Writes the document; routes added later are not in it.
    pub(crate) fn finish(&mut self) {
        let mut text = serde_json::to_string_pretty(&self.value()).expect("JSON can be encoded");
        text.push('\n');
        self.text = text.into();
    }

    fn value(&self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Monohull",
                "description": include_str!("document.md"),
                "version": "v1",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "security": [{ "token": [] }],
            "paths": self.paths,
            "components": {
                "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
                "schemas": self.schemas,
            },
        })
    }

    /// The document's text.
    pub(crate) fn text(&self) -> Bytes {
        self.text.clone()
    }

    /// Schemas by name.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// The schema of a type that is read from a body.
    pub(crate) fn body(&self, id: TypeId) -> &Value {
        self.bodies.get(&id).expect("a route that reads a type describes it")
    }
}

/// The schema of what creates an object of a noun.
pub(crate) fn draft<N: Noun>() -> Named {
    let parts = vec![Named::of::<client::wire::DraftMeta>(), Named::of::<N::Spec>()];
    Named::made(format!("{}Draft", title::<N>()), parts, |parts| {
        json!({
            "type": "object",
            "required": ["spec"],
            "properties": { "meta": parts[0], "spec": parts[1] },
        })
    })
}

/// The schema of a page of objects.
pub(crate) fn list<N: Noun>() -> Named {
    Named::made(format!("{}List", title::<N>()), vec![Named::object::<N>()], |parts| {
        json!({
            "type": "object",
            "required": ["revision", "items"],
            "properties": {
                "revision": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The store's revision this was true at.",
                },
                "items": { "type": "array", "items": parts[0] },
                "continue": {
                    "type": "string",
                    "description": "To be given back for the next page; absent on the last one.",
                },
            },
        })
    })
}

/// The schema of a line of a watch.
pub(crate) fn change<N: Noun>() -> Named {
    let parts = vec![Named::object::<N>(), Named::of::<client::wire::ChangeKind>()];
    Named::made(format!("{}Change", title::<N>()), parts, |parts| {
        json!({
            "type": "object",
            "required": ["type", "revision"],
            "properties": {
                "type": parts[1],
                "revision": { "type": "integer", "format": "int64", "minimum": 0 },
                "object": parts[0],
            },
        })
    })
}

/// Fixes at compile time that [`Named::object`] describes [`Object`] as it is.
#[expect(dead_code, reason = "read by the compiler only")]
fn object_has_these_fields<N: Noun>(object: Object<N>) {
    let Object { kind: _, meta: _, spec: _, status: _ } = object;
}
