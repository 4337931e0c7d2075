//! Shapes: what is printed as JSON is declared once, with [`shape!`](crate::shape). The name, the type and the
//! comment of each field go from the declaration to `capconduit schema`, the manual and the tests.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value};

use crate::model::realtime;

/// A field of a JSON object, as the manual and `capconduit schema` describe it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Its name: of a row, that of the column.
    pub name: &'static str,
    /// What it holds.
    pub json: Json,
    /// What it says.
    pub about: &'static str,
    /// The fields of this object stand in its place.
    pub flat: bool,
}

impl Field {
    /// A field with its own place.
    #[must_use]
    pub const fn new(name: &'static str, json: Json, about: &'static str) -> Field {
        Field { name, json, about, flat: false }
    }

    /// The fields of a JSON object in the place of this one.
    #[must_use]
    pub const fn flat(fields: &'static [Field]) -> Field {
        Field { name: "", json: Json::Object(fields), about: "", flat: true }
    }

    /// Whether it is a point in time.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.json.known() == Json::Time
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Json {
    /// `7`
    Integer,
    /// `0.5`
    Number,
    /// `"text"`
    Text,
    /// `true`
    Boolean,
    /// A point in time: RFC 3339, UTC.
    Time,
    /// `"2026-07-01"`
    Date,
    /// Whatever the database holds.
    Any,
    /// An object of integers, whose names are not known before.
    Counts,
    /// An object.
    Object(&'static [Field]),
    /// A list.
    List(&'static Json),
    /// This, or null.
    Nullable(&'static Json),
}

impl Json {
    /// The type without null.
    #[must_use]
    pub fn known(self) -> Json {
        match self {
            Json::Nullable(json) => json.known(),
            json => json,
        }
    }
}

/// A type that is serialised as a JSON object; its fields are known without a value of it.
pub trait Fields {
    /// In the order in which they are printed.
    const FIELDS: &'static [Field];
}

/// These fields and those of the objects in them, in the order in which they are printed, each with its path: `id`;
/// `aor.contact` in the object `aor`; `attempts[].id` in each object of the list `attempts`.
#[must_use]
pub fn paths(fields: &[Field]) -> Vec<(String, Field)> {
    let mut all = Vec::new();
    for field in fields {
        let (between, inside) = match field.json.known() {
            Json::Object(fields) if field.flat => ("", fields),
            Json::Object(fields) => (".", fields),
            Json::List(Json::Object(fields)) => ("[].", *fields),
            _ => ("", &[][..]),
        };
        if !field.flat {
            all.push((field.name.to_owned(), *field));
        }
        let name = field.name;
        all.extend(paths(inside).into_iter().map(|(path, field)| (format!("{name}{between}{path}"), field)));
    }
    all
}

/// A type whose JSON type is known.
pub trait AsJson {
    /// The type.
    const JSON: Json;
}

impl<T: Fields> AsJson for T {
    const JSON: Json = Json::Object(T::FIELDS);
}

impl<T: AsJson> AsJson for Option<T> {
    const JSON: Json = Json::Nullable(&T::JSON);
}

impl<T: AsJson> AsJson for Vec<T> {
    const JSON: Json = Json::List(&T::JSON);
}

/// Declares the JSON types that Rust types are serialised as.
#[macro_export]
macro_rules! as_json {
    ($($json:ident: $($type:ty),+;)+) => {
        $($(impl $crate::model::shape::AsJson for $type {
            const JSON: $crate::model::shape::Json = $crate::model::shape::Json::$json;
        })+)+
    };
}

as_json! {
    Integer: i16, i32, i64, u32, u64, usize;
    Number: f32, f64;
    Text: String, &str, PathBuf, realtime::Text;
    Boolean: bool;
    Time: DateTime<Utc>;
    Date: NaiveDate;
    Any: Value, &Value;
    Counts: Map<String, Value>;
}

/// Describes the fields of printed JSON that has no struct.
#[macro_export]
macro_rules! fields {
    ($($name:ident: $type:ty = $about:literal),* $(,)?) => {
        const { &[$($crate::shape!(@field $name: $type = $about)),*] }
    };
}

/// Declares a struct that is printed as JSON; its fields' comments say what they hold. Of serde's attributes,
/// fields may have `flatten`, `skip` and `rename`.
#[macro_export]
macro_rules! shape {
    (@field skip $($rest:tt)*) => { $crate::model::shape::Field::flat(&[]) };
    (@field flatten $field:ident: $type:ty = $about:expr) => {
        $crate::model::shape::Field::flat(<$type as $crate::model::shape::Fields>::FIELDS)
    };
    (@field rename = $name:expr, $field:ident: $type:ty = $about:expr) => {
        $crate::model::shape::Field::new($name, <$type as $crate::model::shape::AsJson>::JSON, $about)
    };
    (@field $field:ident: $type:ty = $about:expr) => {
        $crate::shape!(@field rename = stringify!($field), $field: $type = $about)
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? {
        $($(#[doc = $doc:literal])* $(#[serde($serde:ident $(= $to:literal)?)])? $seen:vis $field:ident: $type:ty,)*
    }) => {
        #[derive(serde::Serialize)]
        $(#[$meta])*
        $vis struct $name $(<$life>)? {
            $($(#[doc = $doc])* $(#[serde($serde $(= $to)?)])? $seen $field: $type,)*
        }

        impl $(<$life>)? $crate::model::shape::Fields for $name $(<$life>)? {
            const FIELDS: &'static [$crate::model::shape::Field] = &[
                $($crate::shape!(@field $($serde $(= $to,)?)? $field: $type = concat!($($doc),*))),*
            ];
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    shape! {
        /// An object in another.
        struct Inner {
            /// How
            /// many.
            count: Option<i64>,
        }
    }

    shape! {
        struct Outer<'a> {
            /// Its type.
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(flatten)]
            flat: Inner,
            #[serde(skip)]
            aside: bool,
            /// More.
            more: Vec<Inner>,
        }
    }

    #[test]
    fn a_declaration_is_described() {
        let described: Vec<_> =
            paths(Outer::FIELDS).into_iter().map(|(path, field)| (path, field.json, field.about)).collect();
        let count = Json::Nullable(&Json::Integer);
        let expected = [
            ("type", Json::Text, " Its type."),
            ("count", count, " How many."),
            ("more", Json::List(&Json::Object(Inner::FIELDS)), " More."),
            ("more[].count", count, " How many."),
        ];
        assert_eq!(described, expected.map(|(path, json, about)| (path.to_owned(), json, about)));
        let outer = Outer { kind: "a", flat: Inner { count: Some(1) }, aside: true, more: vec![Inner { count: None }] };
        let text = serde_json::to_string(&outer).expect("JSON");
        assert_eq!(text, r#"{"type":"a","count":1,"more":[{"count":null}]}"#);
        assert!(outer.aside, "it is not printed, and so not described");
    }
}
