//! The OpenAPI document, made from the table of routes.

use super::routes::{BodyKind, Parameter, Place, ROUTES, Route};
use serde_json::{Map, Value, json};
use shoal_node::Code;

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.row().code).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Shoal",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A key is everything after its slash, percent-decoded once and never \
                            normalised: it may contain slashes, which most generated clients \
                            must be told to leave alone.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": { "error": {
                        "type": "object",
                        "required": ["code", "message", "may_have_happened", "retry_helps"],
                        "properties": {
                            "code": { "type": "string", "enum": codes },
                            "message": { "type": "string" },
                            "may_have_happened": { "type": "boolean" },
                            "retry_helps": { "type": "boolean" },
                        },
                    }},
                },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    for (status, meaning) in route.answers {
        responses.insert(status.to_string(), json!({ "description": meaning }));
    }
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "A refusal; /v1/errors lists every code with its status.",
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Error" },
            }},
        }),
    );
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": route.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses,
    });
    let content = match route.body {
        BodyKind::None => return operation,
        BodyKind::Value => "application/octet-stream",
        BodyKind::Json => "application/json",
    };
    operation["requestBody"] = json!({ "content": { content: {} } });
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place.name(),
        "required": parameter.place == Place::Path,
        "description": parameter.doc,
        "schema": { "type": "string" },
    })
}

/// A name that no other route has: `put_v1_keyspaces_keyspace_keys_key`.
fn operation_id(route: &Route) -> String {
    let mut id = route.method.to_ascii_lowercase();
    for word in route.path.split(|c: char| !c.is_ascii_alphanumeric()) {
        if !word.is_empty() {
            id.push('_');
            id.push_str(word);
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_document_has_every_route_once() {
        let document = document();
        let mut ids = HashSet::new();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
            assert_eq!(operation["summary"], route.summary, "{}", route.path);
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id.clone()), "{id} is there twice");
            let names = operation["parameters"].as_array().expect("a list").len();
            assert_eq!(names, route.parameters.len());
        }
        let paths = document["paths"].as_object().expect("an object");
        let operations: usize =
            paths.values().map(|path| path.as_object().map_or(0, Map::len)).sum();
        assert_eq!(operations, ROUTES.len());
    }
}
