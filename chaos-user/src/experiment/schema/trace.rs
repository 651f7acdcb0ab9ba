//! What a type asks for when it is deserialized.
//!
//! A deserializer without data follows a path of fields into a type and notes what is asked for at
//! its end. Where that is a struct, its fields are the next paths to follow.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::{StrDeserializer, UnitDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, Visitor};
use serde_json::{Map, Value, json};

/// The name under which the YAML library asks for a value with its place …
const SPANNED: &str = "__yaml_spanned";
/// … and the key by which it knows a map that has both.
const MARK: &str = "__serde_saphyr_private_spanned";

type Field = &'static str;

/// The schema of a type, and the definitions that it refers to.
pub(super) fn schema_of<T: DeserializeOwned>() -> (Value, Map<String, Value>) {
    let mut definitions = Map::new();
    let root = look::<T>(&[]);
    let mut open: Vec<(Vec<Field>, Struct)> =
        root.holds.map(|one| (vec![], one)).into_iter().collect();
    while let Some((path, Struct { name, fields })) = open.pop() {
        if definitions.contains_key(&name) {
            continue;
        }
        let mut properties = Map::new();
        for field in fields {
            let below: Vec<Field> = path.iter().copied().chain([*field]).collect();
            let seen = look::<T>(&below);
            properties.insert((*field).to_owned(), seen.schema);
            open.extend(seen.holds.map(|one| (below, one)));
        }
        let definition =
            json!({"type": "object", "properties": properties, "additionalProperties": false});
        definitions.insert(name, definition);
    }
    (root.schema, definitions)
}

fn look<T: DeserializeOwned>(path: &[Field]) -> Seen {
    let seen = RefCell::new(Seen { schema: json!({}), holds: None });
    // That nothing makes no value is the rule.
    let _ = T::deserialize(Tracer { path, nullable: false, seen: &seen });
    seen.into_inner()
}

/// What was asked for.
struct Seen {
    schema: Value,
    holds: Option<Struct>,
}

/// A struct that the schema refers to.
struct Struct {
    name: String,
    fields: &'static [Field],
}

/// There is no value, and that is no surprise.
#[derive(Debug)]
struct Nothing;

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing to read")
    }
}

impl std::error::Error for Nothing {}

impl de::Error for Nothing {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[derive(Clone, Copy)]
struct Tracer<'a> {
    path: &'a [Field],
    nullable: bool,
    seen: &'a RefCell<Seen>,
}

impl Tracer<'_> {
    fn is<T>(self, schema: Value) -> Result<T, Nothing> {
        self.seen.borrow_mut().schema = if self.nullable { or_null(schema) } else { schema };
        Err(Nothing)
    }

    /// Puts what was asked for last into something that holds it.
    fn holds<T>(self, wrap: impl FnOnce(Value) -> Value) -> Result<T, Nothing> {
        if self.path.is_empty() {
            let inner = self.seen.borrow_mut().schema.take();
            return self.is(wrap(inner));
        }
        Err(Nothing)
    }
}

/// YAML has a null for a key without a value.
fn or_null(mut schema: Value) -> Value {
    match schema.get("type").cloned() {
        Some(Value::String(kind)) => schema["type"] = json!([kind, "null"]),
        Some(Value::Array(mut kinds)) => {
            kinds.push("null".into());
            schema["type"] = Value::Array(kinds);
        }
        _ if schema.as_object().is_some_and(|map| !map.is_empty()) => {
            return json!({"anyOf": [schema, {"type": "null"}]});
        }
        _ => {}
    }
    schema
}

macro_rules! kinds {
    ($($method:ident => $schema:tt),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Nothing> {
            self.is(json!($schema))
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Nothing;

    kinds! {
        deserialize_bool => {"type": "boolean"},
        deserialize_i8 => {"type": "integer"},
        deserialize_i16 => {"type": "integer"},
        deserialize_i32 => {"type": "integer"},
        deserialize_i64 => {"type": "integer"},
        deserialize_u8 => {"type": "integer", "minimum": 0, "maximum": 255},
        deserialize_u16 => {"type": "integer", "minimum": 0, "maximum": 65535},
        deserialize_u32 => {"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32},
        deserialize_u64 => {"type": "integer", "minimum": 0},
        deserialize_f32 => {"type": "number"},
        deserialize_f64 => {"type": "number"},
        deserialize_char => {"type": "string", "minLength": 1, "maxLength": 1},
        // YAML reads `on: 8080` as a number before it is known that a text is wanted.
        deserialize_str => {"type": ["string", "number", "boolean"]},
        deserialize_string => {"type": ["string", "number", "boolean"]},
        deserialize_bytes => {"type": "string"},
        deserialize_byte_buf => {"type": "string"},
        deserialize_unit => {"type": "null"},
        deserialize_identifier => {"type": "string"},
        deserialize_ignored_any => {},
    }

    /// Either anything at all, or a quantity that says in words what it wants.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        let wanted = Wanted(&visitor).to_string();
        if wanted.starts_with("any ") {
            return self.is(json!({}));
        }
        self.is(json!({"type": ["string", "number"], "description": wanted}))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        visitor.visit_some(Tracer { nullable: true, ..self })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        if name == SPANNED {
            visitor.visit_newtype_struct(Placed(self))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.is(json!({"type": "null"}))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        let _ = visitor.visit_seq(Only { key: None, value: self.inside() });
        self.holds(|items| json!({"type": "array", "items": items}))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Nothing> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        let _ = visitor.visit_map(Only { key: Some("key"), value: self.inside() });
        self.holds(|values| json!({"type": "object", "additionalProperties": values}))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Nothing> {
        if let [field, path @ ..] = self.path {
            let value = Tracer { path, ..self.inside() };
            return visitor.visit_map(Only { key: Some(field), value });
        }
        let name = name.trim_end_matches("Document").to_lowercase();
        let reference = json!({"$ref": format!("#/$defs/{name}")});
        self.seen.borrow_mut().holds = Some(Struct { name, fields });
        self.is(reference)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Nothing> {
        self.is(json!({"enum": variants}))
    }
}

impl Tracer<'_> {
    /// For what is inside something that may be null itself.
    const fn inside(self) -> Self {
        Self { nullable: false, ..self }
    }
}

/// What a visitor says that it wants.
struct Wanted<'v, V>(&'v V);

impl<V: Expected> fmt::Display for Wanted<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value with its place in the file: a map, of which only the value matters.
struct Placed<'a>(Tracer<'a>);

impl<'de> Deserializer<'de> for Placed<'_> {
    type Error = Nothing;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Nothing> {
        visitor.visit_map(Marked { keys: vec!["value", MARK], value: self.0, mark: true })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A map with a mark that it is one of the library's own, and the value.
struct Marked<'a> {
    keys: Vec<&'static str>,
    value: Tracer<'a>,
    mark: bool,
}

impl<'de> de::MapAccess<'de> for Marked<'_> {
    type Error = Nothing;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Nothing> {
        match self.keys.pop() {
            Some(key) => seed.deserialize(StrDeserializer::new(key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Nothing> {
        if std::mem::take(&mut self.mark) {
            return seed.deserialize(UnitDeserializer::new());
        }
        seed.deserialize(self.value)
    }
}

/// A list or a map with one value.
struct Only<'a> {
    key: Option<&'a str>,
    value: Tracer<'a>,
}

impl<'de> de::SeqAccess<'de> for Only<'_> {
    type Error = Nothing;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Nothing> {
        seed.deserialize(self.value).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Only<'_> {
    type Error = Nothing;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Nothing> {
        match self.key.take() {
            Some(key) => seed.deserialize(StrDeserializer::new(key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Nothing> {
        seed.deserialize(self.value)
    }
}
