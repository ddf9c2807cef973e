//! The JSON Schema of a job file, for editors: completion, descriptions, and squiggles as one types.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};

use super::JobFile;

/// The schema's own name; where it is found is up to who publishes it.
pub const ID: &str = "urn:weir:schema:job-file:1";

/// The JSON Schema (draft 2020-12) of a job file.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(Tidy);
    let mut schema = settings.into_generator().into_root_schema_for::<JobFile>();
    schema.insert("$id".to_owned(), ID.into());
    schema.insert("title".to_owned(), "Weir job file".into());
    schema
}

/// TOML has no null: what may be absent is just not required. And lines end where paragraphs do.
#[derive(Debug, Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        drop_null_type(schema);
        drop_null_alternative(schema);
        let description = schema.get("description").and_then(|text| text.as_str());
        if let Some(text) = description.map(str::to_owned) {
            let paragraphs: Vec<String> =
                text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
            schema.insert("description".to_owned(), paragraphs.join("\n\n").into());
        }
    }
}

fn drop_null_type(schema: &mut Schema) {
    let types = schema.get("type").and_then(|types| types.as_array());
    let only = types.and_then(|types| match &types[..] {
        [only, null] if null == "null" => Some(only.clone()),
        _ => None,
    });
    if let Some(only) = only {
        schema.insert("type".to_owned(), only);
    }
}

fn drop_null_alternative(schema: &mut Schema) {
    let alternatives = schema.get("anyOf").and_then(|any| any.as_array());
    let only = alternatives.and_then(|alternatives| match &alternatives[..] {
        [only, null] if null["type"] == "null" => only.as_object().cloned(),
        _ => None,
    });
    if let Some(only) = only {
        schema.remove("anyOf");
        let schema = schema.ensure_object();
        for (key, value) in only {
            // What is said of the field stands before what is said of its type.
            schema.entry(key).or_insert(value);
        }
    }
}
