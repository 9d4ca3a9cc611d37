//! The API's description (OpenAPI 3.1), generated from the routes and their types.
//!
//! Types say what they hold. Here comes what is the same for all of them (errors, the token, headers) and what an
//! attribute cannot say: which amounts go with which currency, and which days there are.

use scale_clock::Timestamp;
use serde_json::{Map, Value, json};
use utoipa::ToSchema as _;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::problem::{Fault, ProblemBody};
use super::wire;

const ABOUT: &str = "A person's transactions, and what training is doing.\n\n\
    Calls carry an access token (`authorization: Bearer …`). What belongs to somebody else does not exist: it is a 404.\n\n\
    Errors are problem details (RFC 9457), `application/problem+json`, with a stable `code`. \
    Every answer has an `x-request-id`; a good one that a request brings is kept.\n\n\
    Lists are newest first and are paged by `cursor`. \
    Calls are limited by person and by address: `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` say how many \
    are left until when, and a 429 or 503 says with `retry-after` when to come back. \
    Enrollment tokens are counted by the day as well.";

/// Operations that anybody may call.
const OPEN: [&str; 2] = ["health", "ready"];

/// One document from the parts. `now`: days of later years are not in it.
pub(super) fn describe<const N: usize>(parts: [OpenApi; N], now: Timestamp) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for part in parts {
        // A description is made of strings, numbers and maps with string keys.
        let mut part = serde_json::to_value(part).unwrap_or_default();
        for (path, methods) in object(&mut part["paths"]) {
            let known = paths.entry(path).or_insert_with(|| json!({}));
            if let Value::Object(known) = known {
                known.extend(object(&mut methods.clone()));
            }
        }
        schemas.extend(object(&mut part["components"]["schemas"]));
    }
    let mut extra: Vec<(String, RefOr<Schema>)> = Vec::new();
    Fault::schemas(&mut extra);
    ProblemBody::schemas(&mut extra);
    extra.push((Fault::name().into_owned(), <Fault as utoipa::PartialSchema>::schema()));
    extra.push((ProblemBody::name().into_owned(), <ProblemBody<'_> as utoipa::PartialSchema>::schema()));
    for (name, schema) in extra {
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    for schema in schemas.values_mut() {
        close(schema);
    }
    schemas.insert("RawData".to_owned(), raw_data());
    complete_new_transaction(&mut schemas, now);
    for (schema, field) in [
        ("NewTransaction", "description"),
        ("NewTransaction", "merchant_name"),
        ("NewTransaction", "payment_method"),
        ("NewCategory", "name"),
    ] {
        schemas[schema]["properties"][field]["pattern"] = wire::TEXT.into();
    }
    for methods in paths.values_mut() {
        for operation in methods.as_object_mut().into_iter().flat_map(Map::values_mut) {
            complete_operation(operation);
        }
    }
    paths["/api/v1/training/stream/{job_id}"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"] =
        event();
    complete_import(&mut paths["/api/v1/transactions/import"]["post"]["requestBody"]["content"]);
    paths.values_mut().chain(schemas.values_mut()).for_each(list_choices);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SCALE FL",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "transactions", "description": "A person's transactions, one by one and as files" },
            { "name": "categories", "description": "What transactions are for" },
            { "name": "training", "description": "The person's device taking part in a round" },
            { "name": "models", "description": "What rounds have made" },
            { "name": "devices", "description": "What a person's device needs to take part" },
            { "name": "me", "description": "Everything of one person" },
            { "name": "service", "description": "Whether the service runs" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": errors().map(|(_, name, description)| (name.to_owned(), problem(description)))
                .into_iter().collect::<Map<_, _>>(),
            "headers": headers(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of the issuer that the service is configured for" }
            },
        },
    })
}

pub(super) fn to_bytes(description: &Value) -> Vec<u8> {
    // It is JSON already.
    serde_json::to_vec(description).unwrap_or_default()
}

/// Statuses of problems, their names here and what they say.
fn errors() -> [(u16, &'static str, &'static str); 11] {
    [
        (400, "BadRequest", "The request cannot be read: its query, an id in its path, a header or its JSON"),
        (401, "Unauthorized", "No good access token"),
        (403, "Forbidden", "The token's account may not do this, or has to sign in with a second factor"),
        (404, "NotFound", "There is no such one, as far as this person can see"),
        (408, "SlowBody", "The body stopped arriving"),
        (413, "TooLarge", "The body is too large"),
        (415, "UnsupportedMediaType", "The body is of another kind"),
        (422, "InvalidValues", "The request was read, but its values cannot be; `errors` says which"),
        (429, "RateLimited", "Too many calls; `retry-after` says when to come back"),
        (500, "Internal", "Something went wrong here"),
        (503, "Unavailable", "Not at the moment; `retry-after` says when to come back"),
    ]
}

fn problem(description: &str) -> Value {
    let mut fields = Map::from_iter([("x-request-id".to_owned(), reference("headers/x-request-id"))]);
    if description.contains("retry-after") {
        fields.insert("retry-after".to_owned(), reference("headers/retry-after"));
    }
    json!({
        "description": description,
        "headers": fields,
        "content": { "application/problem+json": { "schema": reference("schemas/Problem") } },
    })
}

fn headers() -> Value {
    let number =
        |description: &str| json!({ "description": description, "schema": { "type": "integer", "minimum": 0 } });
    json!({
        "x-request-id": {
            "description": "The request's name in logs", "required": true,
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" },
        },
        "retry-after": number("Seconds until coming back helps"),
        "ratelimit-limit": number("Calls a minute"),
        "ratelimit-remaining": number("Calls left"),
        "ratelimit-reset": number("Seconds until there are more"),
    })
}

fn reference(what: &str) -> Value {
    json!({ "$ref": format!("#/components/{what}") })
}

fn object(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// An object has the properties it names and no others.
fn close(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut()
        && fields.contains_key("properties")
    {
        fields.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

/// A pattern that only lists words becomes a list of them, which generated clients can name.
fn list_choices(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(words) = fields.get("pattern").and_then(Value::as_str).and_then(choices) {
                let nullable =
                    fields.get("type").and_then(Value::as_array).is_some_and(|types| types.contains(&"null".into()));
                let words = words.into_iter().map(Value::from).chain(nullable.then_some(Value::Null));
                fields.insert("enum".to_owned(), words.collect());
                fields.remove("pattern");
            }
            fields.values_mut().for_each(list_choices);
        }
        Value::Array(items) => items.iter_mut().for_each(list_choices),
        _ => {}
    }
}

/// `^(one|two)$`
fn choices(pattern: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = pattern.strip_prefix("^(")?.strip_suffix(")$")?.split('|').collect();
    let plain = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.iter().all(plain).then(|| words.into_iter().map(str::to_owned).collect())
}

/// Errors that an operation can answer with, headers of all answers, the token.
fn complete_operation(operation: &mut Value) {
    let open = OPEN.iter().any(|id| operation["operationId"] == *id);
    let in_path = |parameter: &Value| parameter["in"] == "path";
    let has_path = operation["parameters"].as_array().is_some_and(|all| all.iter().any(in_path));
    let has_body = operation.get("requestBody").is_some();
    let answers = |status: u16| match status {
        500 | 503 => true,
        400 | 401 | 403 | 429 => !open,
        404 => has_path,
        408 | 413 | 415 | 422 => has_body,
        _ => false,
    };
    for (status, name, _) in errors().into_iter().filter(|(status, ..)| answers(*status)) {
        let responses = &mut operation["responses"];
        if responses.get(status.to_string()).is_none() {
            responses[status.to_string()] = reference(&format!("responses/{name}"));
        }
    }
    let own = operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for response in own.filter(|response| response.get("$ref").is_none()) {
        response["headers"]["x-request-id"] = reference("headers/x-request-id");
        if !open {
            for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
                response["headers"][name] = reference(&format!("headers/{name}"));
            }
        }
    }
    operation["security"] = if open { json!([]) } else { json!([{ "token": [] }]) };
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        // One that may be left out is not `null` when it is there.
        let schema = &mut parameter["schema"];
        if let Some(Value::Array(types)) = schema.get("type")
            && let Some(one) = types.iter().find(|name| *name != "null").cloned()
        {
            schema["type"] = one;
        }
        if ["merchant", "filename"].iter().any(|name| parameter["name"] == *name) {
            parameter["schema"]["pattern"] = wire::TEXT.into();
        }
        if parameter["name"] == "currency" {
            let codes = wire::new_transaction_cases().into_iter().flat_map(|(_, codes)| codes);
            parameter["schema"]["enum"] = codes.collect();
        }
    }
}

/// Days of the calendar, and amounts with as many decimals as their currency has.
fn complete_new_transaction(schemas: &mut Map<String, Value>, now: Timestamp) {
    let cases = wire::new_transaction_cases();
    let codes: Vec<&str> = cases.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    let schema = &mut schemas["NewTransaction"];
    schema["properties"]["transaction_date"]["pattern"] = days(wire::today(now).year()).into();
    schema["properties"]["currency"]["enum"] = codes.into();
    schema["properties"]["raw_data"]["$ref"] = "#/components/schemas/RawData".into();
    schema["anyOf"] = cases
        .into_iter()
        .map(|(amount, codes)| {
            json!({ "properties": {
                "amount": { "type": "string", "pattern": amount }, "currency": { "enum": codes },
            } })
        })
        .collect();
}

/// Days from 1900 to the end of this year, as a regular expression.
fn days(year: i32) -> String {
    let (tens, ones) = (year / 10 % 10, year % 10);
    let mut years = vec!["19[0-9]{2}".to_owned(), format!("20{tens}[0-{ones}]")];
    if tens > 0 {
        years.push(format!("20[0-{}][0-9]", tens - 1));
    }
    let leap: Vec<String> =
        (1900..=year).filter(|year| time::util::is_leap_year(*year)).map(|year| year.to_string()).collect();
    format!(
        "^(({})-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|({})-02-29)$",
        years.join("|"),
        leap.join("|"),
    )
}

/// Any JSON whose texts are without the one character that Postgres cannot keep.
fn raw_data() -> Value {
    let text = "^[^\\u0000]*$";
    let itself = reference("schemas/RawData");
    json!({
        "description": "Any JSON without the character U+0000",
        "type": ["object", "array", "string", "number", "boolean", "null"],
        "pattern": text,
        "propertyNames": { "pattern": text },
        "additionalProperties": itself,
        "items": itself,
    })
}

/// One event of a stream, by the names of its fields.
fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "event": { "type": "string", "enum": ["progress", "complete", "failed"] },
            "id": { "type": "string", "pattern": "^[0-9]+$", "description": "Grows; give the last as `last-event-id`" },
            "data": {
                "type": "string", "contentMediaType": "application/json",
                "contentSchema": reference("schemas/TrainingJob"), "description": "The job",
            },
            "retry": { "type": "integer", "description": "Milliseconds to wait before coming back" },
        },
        "required": ["event", "id", "data"],
    })
}

fn complete_import(content: &mut Value) {
    content["text/csv"]["schema"] = json!({ "type": "string", "minLength": 1 });
    content["application/json"]["schema"] = json!({
        "description": "An array of flat objects, or an object that has one as `transactions`. Names of fields are found as \
            those of columns are",
        "type": ["array", "object"],
        "items": { "type": "object" },
        "minItems": 1,
    });
    content["application/json"]["example"] = json!([
        { "date": "2026-02-28", "description": "Coffee", "amount": "-3.20", "currency": "EUR" }
    ]);
    content["multipart/form-data"] = json!({
        "schema": {
            "type": "object",
            "properties": { "file": {
                "type": "string", "format": "binary",
                "description": "The file; JSON if its part says `application/json` or its name ends so, CSV otherwise",
            } },
            "required": ["file"],
            "additionalProperties": false,
        },
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Value {
        super::super::openapi(Timestamp::from_millis(1_790_000_000_000))
    }

    /// Every reference in the document leads to something that is not only another reference. A schema may hold itself, as
    /// any JSON does, but one that *is* itself says nothing.
    #[test]
    fn references_lead_somewhere() {
        fn check(value: &Value, whole: &Value) {
            match value {
                Value::Object(fields) => {
                    let mut through = Vec::new();
                    let mut at = value;
                    while let Some(to) = at.get("$ref").and_then(Value::as_str) {
                        assert!(!through.contains(&to), "{through:?} lead to each other");
                        through.push(to);
                        at = whole.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} leads nowhere"));
                    }
                    fields.values().for_each(|value| check(value, whole));
                }
                Value::Array(items) => items.iter().for_each(|value| check(value, whole)),
                _ => {}
            }
        }
        let whole = described();
        check(&whole, &whole);
        assert_eq!(whole["components"]["schemas"]["RawData"]["items"], reference("schemas/RawData"), "it holds itself");
    }

    #[test]
    fn every_operation_says_how_it_fails() {
        let whole = described();
        let mut operations = 0;
        for (path, methods) in whole["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations += 1;
                let name = format!("{method} {path}");
                let responses = operation["responses"].as_object().unwrap();
                let open = path.ends_with("/health") || path.ends_with("/ready");
                assert!(responses.contains_key("503"), "{name}");
                assert_eq!(responses.contains_key("401"), !open, "{name}");
                assert_eq!(responses.contains_key("429"), !open, "{name}");
                assert_eq!(operation["security"] == json!([]), open, "{name}");
                assert_eq!(responses.contains_key("415"), operation.get("requestBody").is_some(), "{name}");
                assert!(!path.contains('{') || responses.contains_key("404"), "{name}");
                assert!(operation.get("parameters").is_none_or(Value::is_array), "{name}");
                assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{name}");
            }
        }
        assert_eq!(operations, 20);
    }

    #[test]
    fn objects_are_closed_and_named() {
        let whole = described();
        let schemas = whole["components"]["schemas"].as_object().unwrap();
        for name in ["Problem", "Fault", "Transaction", "NewTransaction", "TrainingJob", "CreatedTrainingJob", "Export"]
        {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}: {:?}", schemas.keys());
        }
        // What may be null is there all the same.
        let required = schemas["Transaction"]["required"].as_array().unwrap();
        assert_eq!(required.len(), schemas["Transaction"]["properties"].as_object().unwrap().len());
    }

    #[test]
    fn choices_are_listed() {
        let whole = described();
        let listed = |pointer: &str| whole.pointer(pointer).unwrap()["enum"].clone();
        assert_eq!(listed("/components/schemas/Upload/properties/upload_type"), json!(["csv", "json"]));
        let sources = json!(["import", "prediction", "person", null]);
        assert_eq!(listed("/components/schemas/NewTransaction/properties/category_source"), sources);
        assert_eq!((choices("^[a-z]+$"), choices("^(a|[b])$"), choices("^()$")), (None, None, None));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // The expression in small: Rust's standard library has none, and the tests of the server use another engine.
        let pattern = days(2026);
        assert!(pattern.contains("19[0-9]{2}|202[0-6]|20[0-1][0-9]"), "{pattern}");
        assert!(pattern.contains("|2024)-02-29") && !pattern.contains("1900)") && !pattern.contains("|1900|"));
    }
}
